/**
 * `tunnelmesh role`: rights by name.
 * @module
 */
import { z } from "zod";
import { MeshError } from "../../core/errors.ts";
import { BUILTIN_ROLES } from "../../core/policy/builtin.ts";
import {
  formatObject,
  type Grant,
  OBJECT_KIND_NAMES,
  OBJECT_KINDS,
  type ObjectKind,
  type Right,
  rightOf,
  RIGHTS,
} from "../../core/policy/objects.ts";
import { NAME_FORM, NAME_PATTERN } from "../../core/policy/subject.ts";
import { type Command, defineCommand, defineGroup, type Permissions } from "../command.ts";
import { applyEdit, changeIn, prepareEdit } from "../edit_command.ts";
import type { Column } from "../format.ts";
import { addNamed, removeNamed, rolesIn } from "../policy_edit.ts";
import { expectApplied } from "../policy_world.ts";
import { KEY, YES } from "../statements.ts";

const PERMISSIONS: Permissions = { opens: ["$control"] };

const name = z.string().regex(NAME_PATTERN, NAME_FORM).meta({
  positional: 0,
  placeholder: "ROLE",
  description: "Name of the role",
});

/** Objects that one right is for, as a document writes them. */
export type RightEntry = { right: Right } & { [kind in ObjectKind]?: string[] };

/** Reads `bucket:media/films:write`. @throws {MeshError} `usage` */
export function rightWord(word: string): { right: Right; kind: ObjectKind; object: string } {
  const [first, last] = [word.indexOf(":"), word.lastIndexOf(":")];
  const kind = OBJECT_KIND_NAMES.find((each) => OBJECT_KINDS[each] === word.slice(0, first));
  const right = RIGHTS.find((each) => each === word.slice(last + 1));
  if (kind !== undefined && right !== undefined && last > first + 1) {
    return { right, kind, object: word.slice(first + 1, last) };
  }
  throw new MeshError("usage", `Cannot read the right "${word}"`, {
    hint: "Write bucket:NAME:RIGHT, share:, nfs: or panel:; RIGHT is read, write or admin",
  });
}

/** Rights of one kind together. */
export function rightEntries(words: readonly string[]): RightEntry[] {
  const read = words.map(rightWord);
  return RIGHTS.flatMap((right) => {
    const own = read.filter((each) => each.right === right);
    if (own.length === 0) return [];
    const entry: RightEntry = { right };
    for (const { kind, object } of own) entry[kind] = [...entry[kind] ?? [], object];
    return [entry];
  });
}

const list = defineCommand({
  name: "list",
  aliases: ["ls"],
  summary: "List the roles, built in and of the policy",
  permissions: PERMISSIONS,
  async prepare(_input, { daemon }) {
    const { texts } = expectApplied(await (await daemon()).mesh());
    return texts.flatMap(({ file, text }) =>
      Object.entries(rolesIn(text)).map(([name, parts]) => ({
        name,
        rights: parts.flatMap((part) => entryText(part as RightEntry)),
        where: file,
      }))
    );
  },
  async run(_input, { out, daemon }, own) {
    using _client = await daemon();
    const builtIn = [...BUILTIN_ROLES].map(([name, grants]) => ({
      name,
      rights: grants.map(grantText),
      where: "built in",
    }));
    out.list([...builtIn, ...own], COLUMNS, ({ name, rights, where }) => [
      name,
      rights.join(", "),
      where,
    ]);
  },
});

const COLUMNS: readonly Column[] = [
  { title: "Name" },
  { title: "Rights", shrinksTo: 20 },
  { title: "Written in" },
];

function grantText(grant: Grant): string {
  return `${formatObject(grant)}:${rightOf(grant.level)}`;
}

function entryText(entry: RightEntry): string[] {
  return OBJECT_KIND_NAMES.flatMap((kind) =>
    [entry[kind] ?? []].flat().map((object) => `${OBJECT_KINDS[kind]}:${object}:${entry.right}`)
  );
}

const create = defineCommand({
  name: "create",
  summary: "Make a role in the policy",
  examples: [{
    command: "tunnelmesh role create film-crew bucket:media/films:write panel:s3:read",
    meaning: "Then `tunnelmesh bind create group:crew film-crew`",
  }],
  input: z.strictObject({
    name,
    rights: z.array(z.string().min(1)).min(1).meta({
      positional: 1,
      placeholder: "RIGHT",
      description: "bucket:NAME:read, share:NAME:write, nfs:NAME:admin, panel:NAME:read; * is all",
    }),
    yes: YES,
    key: KEY,
  }),
  permissions: PERMISSIONS,
  prepare: ({ name, rights, key }, context) =>
    prepareEdit(context, key, ({ applied: { texts } }) => {
      const file = texts.find(({ text }) => Object.hasOwn(rolesIn(text), name))?.file;
      if (BUILTIN_ROLES.has(name) || file !== undefined) {
        const where = file === undefined ? "is built in" : `is in ${file} already`;
        throw new MeshError("usage", `Cannot make role ${name}: it ${where}`, {
          hint: "Choose another name, or edit the policy: `tunnelmesh policy export`",
        });
      }
      return changeIn(
        texts,
        (text) => /^roles:/m.test(text),
        (text) => addNamed(text, "roles", name, rightEntries(rights)),
      );
    }),
  run: ({ yes }, context, edit) => applyEdit(edit, context, yes),
});

const remove = defineCommand({
  name: "delete",
  aliases: ["rm", "remove"],
  summary: "Take a role out of the policy",
  description: "A role that a binding still names is not deleted.",
  input: z.strictObject({ name, yes: YES, key: KEY }),
  permissions: PERMISSIONS,
  prepare: ({ name, key }, context) =>
    prepareEdit(context, key, ({ applied: { texts } }) => {
      const has = (text: string) => Object.hasOwn(rolesIn(text), name);
      if (texts.some(({ text }) => has(text))) {
        return changeIn(texts, has, (text) => removeNamed(text, "roles", name));
      }
      const why = BUILTIN_ROLES.has(name) ? "it is built in" : "the policy has none of that name";
      throw new MeshError("usage", `Cannot delete role ${name}: ${why}`, {
        hint: "`tunnelmesh role list` lists them",
      });
    }),
  run: ({ yes }, context, edit) => applyEdit(edit, context, yes),
});

export const role: Command = defineGroup({
  name: "role",
  summary: "Give names to rights on buckets, shares, NFS and panels",
  description: "Roles are part of the policy, which these commands edit and apply.",
  subcommands: [list, create, remove],
});
