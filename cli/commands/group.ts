/**
 * `tunnelmesh group`: who belongs together?
 * @module
 */
import { z } from "zod";
import { nearest } from "../../core/config/nearest.ts";
import { MeshError } from "../../core/errors.ts";
import { formatSubjects } from "../../core/policy/reader.ts";
import {
  BUILTIN_GROUPS,
  formatSubject,
  NAME_FORM,
  NAME_PATTERN,
} from "../../core/policy/subject.ts";
import { parseSubject } from "../../core/policy/subject.ts";
import { MeshSubjects } from "../../core/policy/subjects.ts";
import { type Command, defineCommand, defineGroup, type Permissions } from "../command.ts";
import { applyEdit, changeIn, type Editing, prepareEdit, subjectWord } from "../edit_command.ts";
import type { Column } from "../format.ts";
import { adminChange } from "../mesh_admins.ts";
import { applyChange, standingOf } from "../mesh_standing.ts";
import { addListed, addMembers, addNamed, membersIn } from "../policy_edit.ts";
import { removeMember, removeNamed } from "../policy_edit.ts";
import type { PolicyText } from "../policy_files.ts";
import { expectApplied, viewOf } from "../policy_world.ts";
import { KEY, YES } from "../statements.ts";
import { bindingOf } from "./bind.ts";

const PERMISSIONS: Permissions = { opens: ["$control"] };
const ADMINS = "admins";

const group = z.string().transform((text) => text.replace(/^group:/, "")).meta({
  positional: 0,
  placeholder: "GROUP",
  description: "Name of the group",
});
const members = z.array(z.string().min(1)).min(1).meta({
  positional: 1,
  placeholder: "MEMBER",
  description: "user:NAME, node:NAME, tag:NAME, group:NAME, or the bare name of one",
  completes: "peers",
});

const list = defineCommand({
  name: "list",
  aliases: ["ls"],
  summary: "List the groups",
  permissions: PERMISSIONS,
  async prepare(_input, { daemon }) {
    const mesh = await (await daemon()).mesh();
    return { mesh, policy: expectApplied(mesh).policy };
  },
  async run(_input, { out, daemon }, { mesh, policy }) {
    using _client = await daemon();
    const subjects = new MeshSubjects(policy, viewOf(mesh));
    const admins = mesh.users.filter(({ isAdmin }) => isAdmin).map(({ name }) => `user:${name}`);
    const written = [
      { name: "everyone", members: ["all users and nodes"], where: "built in" },
      { name: ADMINS, members: admins.sort(), where: "built in" },
      ...[...policy.groups].map(([name, { members, where }]) => ({
        name,
        members: members.map(formatSubject),
        where,
      })),
    ];
    const groups = written.map((each) => {
      const { nodes, users } = subjects.resolve({ kind: "group", name: each.name }, "allow");
      return { ...each, users: users.size, nodes: nodes.size };
    });
    out.list(groups, COLUMNS, ({ name, members, where, users, nodes }) => [
      name,
      String(users),
      String(nodes),
      members.join(", ") || "-",
      where,
    ]);
  },
});

const COLUMNS: readonly Column[] = [
  { title: "Name" },
  { title: "Users", align: "right" },
  { title: "Nodes", align: "right" },
  { title: "Members", shrinksTo: 12 },
  { title: "Written at" },
];

const show = defineCommand({
  name: "members",
  summary: "Show whom a group comes to",
  examples: [{ command: "tunnelmesh group members dev", meaning: "Its users and nodes" }],
  input: z.strictObject({ group }),
  permissions: PERMISSIONS,
  async prepare(_input, { daemon }) {
    const mesh = await (await daemon()).mesh();
    return { mesh, policy: expectApplied(mesh).policy };
  },
  async run({ group }, { out, daemon }, { mesh, policy }) {
    using _client = await daemon();
    expectKnown(group, [...BUILTIN_GROUPS, ...policy.groups.keys()]);
    const found = new MeshSubjects(policy, viewOf(mesh))
      .resolve({ kind: "group", name: group }, "allow");
    const nodes = mesh.nodes.filter(({ id }) => found.nodes.has(id)).map(({ name }) => name).sort();
    const users = [...found.users].sort();
    const written = formatSubjects(policy.groups.get(group)?.members ?? []);
    out.document({ name: group, written, users, nodes }, () => [
      `Written  ${written || "-"}`,
      `Users    ${users.join(", ") || "none"}`,
      `Nodes    ${nodes.join(", ") || "none"}`,
    ]);
  },
});

const create = defineCommand({
  name: "create",
  summary: "Make a group in the policy",
  examples: [
    { command: "tunnelmesh group create dev bob alice", meaning: "With two users in it" },
    { command: 'tunnelmesh group create ops -d "On call"', meaning: "Empty, with a comment" },
  ],
  input: z.strictObject({
    group: z.string().regex(NAME_PATTERN, NAME_FORM).meta(group.meta()!),
    members: members.optional().meta(members.meta()!),
    description: z.string().max(200).regex(/^[^\r\n]*$/, "must be one line").default("").meta({
      alias: "d",
      description: "A comment beside it",
    }),
    yes: YES,
    key: KEY,
  }),
  permissions: PERMISSIONS,
  prepare: ({ group, members = [], description, key }, context) =>
    prepareEdit(context, key, (editing) => {
      const { applied } = editing;
      const existing = applied.policy.groups.get(group);
      if (existing || isBuiltIn(group)) {
        const where = existing ? `is at ${existing.where} already` : "is built in";
        throw new MeshError("usage", `Cannot make group ${group}: it ${where}`, {
          hint: `\`tunnelmesh group add-member ${group} MEMBER\` adds to it`,
        });
      }
      const words = members.map((word) => subjectWord(word, editing));
      return changeIn(
        applied.texts,
        (text) => /^groups:/m.test(text),
        (text) => addNamed(text, "groups", group, words, description),
      );
    }),
  run: ({ yes }, context, edit) => applyEdit(edit, context, yes),
});

const remove = defineCommand({
  name: "delete",
  aliases: ["rm", "remove"],
  summary: "Take a group out of the policy",
  description: "A group that rules, bindings or tests still name is not deleted.",
  input: z.strictObject({ group, yes: YES, key: KEY }),
  permissions: PERMISSIONS,
  prepare: ({ group, key }, context) =>
    prepareEdit(
      context,
      key,
      (editing) => edited(group, editing, (text) => removeNamed(text, "groups", group)),
    ),
  run: ({ yes }, context, edit) => applyEdit(edit, context, yes),
});

/** `add-member` and `remove-member`; of admins they state who is one. */
function memberCommand(isAdded: boolean): Command {
  const [verb, alias] = isAdded ? ["add-member", "add"] : ["remove-member", "rm-member"];
  return defineCommand({
    name: verb,
    aliases: [alias],
    summary: isAdded
      ? "Put users, nodes, tags or groups into a group"
      : "Take members out of a group",
    description: isAdded
      ? "To put a user into `admins` makes the user an admin."
      : "To take a user out of `admins` ends that; the last admin stays.",
    examples: isAdded
      ? [
        { command: "tunnelmesh group add-member dev bob tag:ci", meaning: "A user and a tag" },
        { command: "tunnelmesh group add-member admins bob", meaning: "bob is an admin too" },
      ]
      : [{ command: "tunnelmesh group remove-member dev bob", meaning: "Shows what bob loses" }],
    input: z.strictObject({ group, members, yes: YES, key: KEY }),
    permissions: PERMISSIONS,
    async prepare({ group, members, key }, context) {
      if (group === ADMINS) return { standing: await standingOf(context, key), edit: null };
      const edit = await prepareEdit(context, key, (editing) => {
        const words = members.map((word) => isAdded ? subjectWord(word, editing) : word);
        return isAdded ? withMembers(group, words, editing) : withoutMembers(group, words, editing);
      });
      return { edit, standing: null };
    },
    async run({ members, yes }, context, { edit, standing }) {
      if (edit !== null) return await applyEdit(edit, context, yes);
      return await applyChange(adminChange(standing, members, isAdded), standing, context, yes);
    },
  });
}

function withMembers(group: string, words: readonly string[], editing: Editing): PolicyText[] {
  return edited(group, editing, (text) => {
    const old = membersIn(text, group)!;
    const double = words.find((word) => old.includes(word));
    if (double !== undefined) {
      throw new MeshError("usage", `Cannot add ${double} to group ${group}: it is in it`);
    }
    return addMembers(text, group, [...new Set(words)]);
  });
}

function withoutMembers(group: string, words: readonly string[], editing: Editing): PolicyText[] {
  return edited(group, editing, (text) =>
    words.reduce((before, word) => {
      const written = membersIn(before, group)!;
      const meant = plainly(word, editing);
      const found = written.find((each) => each === word) ??
        written.find((each) => plainly(each, editing) === meant);
      if (found !== undefined) return removeMember(before, group, found);
      throw new MeshError("usage", `Cannot take ${word} out of group ${group}: it is not in it`, {
        hint: `Written there: ${written.join(", ") || "nobody"}`,
      });
    }, text));
}

/** A member with its kind; what is nobody's any more stays as it is written. */
function plainly(word: string, editing: Editing): string {
  try {
    return subjectWord(word, editing);
  } catch {
    const subject = parseSubject(word);
    return subject === null ? word : formatSubject(subject);
  }
}

const grant = defineCommand({
  name: "grant",
  summary: "Give a group a role",
  description: "The same as `tunnelmesh bind create group:GROUP ROLE`.",
  examples: [
    { command: "tunnelmesh group grant dev bucket-write -b builds", meaning: "On one bucket" },
    { command: "tunnelmesh group grant ops panel-viewer", meaning: "On all that the role is for" },
  ],
  input: z.strictObject({
    group,
    role: z.string().min(1).meta({ positional: 1, description: "Role to give" }),
    bucket: z.array(z.string().min(1)).optional().meta({
      alias: "b",
      description: "Only on this bucket, or NAME/PREFIX",
    }),
    yes: YES,
    key: KEY,
  }),
  permissions: PERMISSIONS,
  prepare: ({ group, role, bucket, key }, context) =>
    prepareEdit(context, key, (editing) => {
      const { applied } = editing;
      expectKnown(group, [...BUILTIN_GROUPS, ...applied.policy.groups.keys()]);
      const to = formatSubject({ kind: "group", name: group });
      const binding = bindingOf(to, [role], { bucket });
      return changeIn(
        applied.texts,
        (text) => /^bindings:/m.test(text),
        (text) => addListed(text, "bindings", binding),
      );
    }),
  run: ({ yes }, context, edit) => applyEdit(edit, context, yes),
});

/** The documents with the one changed that defines `group`. @throws {MeshError} `usage` */
function edited(
  group: string,
  { applied }: Editing,
  change: (text: string) => string,
): PolicyText[] {
  if (isBuiltIn(group)) {
    throw new MeshError("usage", `Cannot change group ${group}: it is built in`, {
      hint: group === ADMINS
        ? "`tunnelmesh user promote NAME` makes an admin"
        : "All users and nodes are in it; make a group of your own for some of them",
    });
  }
  expectKnown(group, [...applied.policy.groups.keys()]);
  return changeIn(applied.texts, (text) => membersIn(text, group) !== null, change);
}

function isBuiltIn(group: string): boolean {
  return BUILTIN_GROUPS.some((each) => each === group);
}

function expectKnown(group: string, known: readonly string[]): void {
  if (known.includes(group)) return;
  const near = nearest(group, known);
  throw new MeshError("name-unknown", `Cannot find group "${group}": the policy has none`, {
    hint: near === null
      ? `\`tunnelmesh group create ${group}\` makes it`
      : `Did you mean "${near}"?`,
  });
}

export const groups: Command = defineGroup({
  name: "group",
  summary: "Make groups, and put users and nodes into them",
  description:
    "Groups are part of the policy: these commands edit its documents, comments kept, and apply " +
    "them as `policy apply` does.",
  examples: [{ command: "tunnelmesh group create dev bob", meaning: "Then write rules for it" }],
  subcommands: [list, show, create, remove, memberCommand(true), memberCommand(false), grant],
});
