/**
 * `tunnelmesh bind`: who has which rights on buckets, shares, NFS and panels?
 * @module
 */
import { z } from "zod";
import { MeshError } from "../../core/errors.ts";
import { bindingText } from "../../core/policy/words.ts";
import { type Command, defineCommand, defineGroup, type Permissions } from "../command.ts";
import { applyEdit, changeIn, prepareEdit, subjectWord } from "../edit_command.ts";
import type { Column } from "../format.ts";
import { addListed, countListed, removeListed } from "../policy_edit.ts";
import { expectApplied } from "../policy_world.ts";
import { KEY, YES } from "../statements.ts";
import { rightEntries } from "./role.ts";

const PERMISSIONS: Permissions = { opens: ["$control"] };

/** What narrows or explains a binding. */
export interface BindingOptions {
  readonly bucket?: readonly string[] | undefined;
  readonly share?: readonly string[] | undefined;
  readonly nfs?: readonly string[] | undefined;
  readonly panel?: readonly string[] | undefined;
  readonly deny?: boolean | undefined;
  readonly comment?: string | undefined;
}

/**
 * The entry of a document that gives `to` roles, or rights such as `bucket:media:read`.
 * @throws {MeshError} `usage` when the words are of both kinds.
 */
export function bindingOf(
  to: string,
  words: readonly string[],
  { bucket, share, nfs, panel, deny, comment }: BindingOptions,
): Record<string, unknown> {
  const objects = { buckets: bucket, shares: share, nfs, panels: panel };
  const narrowing = Object.entries(objects).filter(([, list]) => list !== undefined);
  const ends = { ...(deny ? { action: "deny" } : {}), ...(comment ? { comment } : {}) };
  if (words.every((word) => !word.includes(":"))) {
    const role = words.length === 1 ? words[0] : words;
    return { to, role, ...Object.fromEntries(narrowing), ...ends };
  }
  const [entry, ...more] = rightEntries(words);
  if (more.length > 0 || narrowing.length > 0) {
    const why = more.length > 0 ? "one binding gives one right" : "the rights say on what already";
    throw new MeshError("usage", `Cannot bind: ${why}`, {
      hint: "Make several bindings, or a role: `tunnelmesh role create`",
    });
  }
  return { to, ...entry, ...ends };
}

const list = defineCommand({
  name: "list",
  aliases: ["ls"],
  summary: "List the bindings of the policy",
  permissions: PERMISSIONS,
  async prepare(_input, { daemon }) {
    return expectApplied(await (await daemon()).mesh()).policy;
  },
  async run(_input, { out, daemon }, { bindings }) {
    using _client = await daemon();
    const all = bindings.map((binding, i) => ({
      number: i + 1,
      text: bindingText(binding),
      where: binding.origin.where,
      comment: binding.origin.comment,
    }));
    if (all.length === 0 && !out.isJson) return out.line("The policy has no bindings");
    out.list(all, COLUMNS, ({ number, text, where, comment }) => [
      String(number),
      text,
      comment,
      where,
    ]);
  },
});

const COLUMNS: readonly Column[] = [
  { title: "#", align: "right" },
  { title: "Binding", shrinksTo: 24 },
  { title: "Why", shrinksTo: 8 },
  { title: "Written at" },
];

function objects(kind: string, alias?: string) {
  return z.array(z.string().min(1)).optional().meta({
    description: `Of a role, only on this ${kind}`,
    placeholder: "NAME",
    ...(alias ? { alias } : {}),
  });
}

const create = defineCommand({
  name: "create",
  aliases: ["add"],
  summary: "Give somebody a role or a right, or deny it",
  examples: [
    {
      command: "tunnelmesh bind create group:dev bucket-write -b builds",
      meaning: "A role, narrowed",
    },
    { command: "tunnelmesh bind create user:bob bucket:media/films:read", meaning: "A right" },
    { command: "tunnelmesh bind create tag:untrusted nfs-read --deny", meaning: "Nobody's NFS" },
  ],
  input: z.strictObject({
    subject: z.string().min(1).meta({
      positional: 0,
      description: "user:NAME, node:NAME, tag:NAME, group:NAME, everyone, or a bare name",
    }),
    rights: z.array(z.string().min(1)).min(1).meta({
      positional: 1,
      placeholder: "ROLE",
      description: "Roles, or rights such as bucket:NAME:read",
    }),
    bucket: objects("bucket or NAME/PREFIX", "b"),
    share: objects("share"),
    nfs: objects("export"),
    panel: objects("panel"),
    deny: z.boolean().default(false).meta({ description: "Deny it, whoever else allows it" }),
    comment: z.string().max(1000).optional().meta({ description: "Why; shown where it decides" }),
    yes: YES,
    key: KEY,
  }),
  permissions: PERMISSIONS,
  prepare: ({ subject, rights, key, yes: _, ...options }, context) =>
    prepareEdit(context, key, (editing) => {
      const binding = bindingOf(subjectWord(subject, editing), rights, options);
      return changeIn(
        editing.applied.texts,
        (text) => countListed(text, "bindings") > 0,
        (text) => addListed(text, "bindings", binding),
      );
    }),
  run: ({ yes }, context, edit) => applyEdit(edit, context, yes),
});

const remove = defineCommand({
  name: "delete",
  aliases: ["rm", "remove"],
  summary: "Take a binding out of the policy",
  examples: [{ command: "tunnelmesh bind delete 3", meaning: "By the number that the list shows" }],
  input: z.strictObject({
    number: z.string().regex(/^[1-9]\d{0,8}$/, "must be a number of the list").meta({
      positional: 0,
      placeholder: "NUMBER",
      description: "Number of the binding in `tunnelmesh bind list`",
    }),
    yes: YES,
    key: KEY,
  }),
  permissions: PERMISSIONS,
  prepare: ({ number, key }, context) =>
    prepareEdit(context, key, ({ applied: { texts } }) => {
      let index = Number(number) - 1;
      for (const { file, text } of texts) {
        const count = countListed(text, "bindings");
        if (index < count) {
          return texts.map((each) =>
            each.file === file ? { ...each, text: removeListed(text, "bindings", index) } : each
          );
        }
        index -= count;
      }
      throw new MeshError("usage", `Cannot delete binding ${number}: there is none`, {
        hint: "`tunnelmesh bind list` numbers them",
      });
    }),
  run: ({ yes }, context, edit) => applyEdit(edit, context, yes),
});

export const bind: Command = defineGroup({
  name: "bind",
  summary: "Give roles and rights to users, groups, nodes and tags",
  description: "Bindings are part of the policy, which these commands edit and apply.",
  subcommands: [list, create, remove],
});
