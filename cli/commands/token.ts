/**
 * `tunnelmesh token`: which tokens admit nodes to the mesh?
 * @module
 */
import { z } from "zod";
import { parseDuration } from "../../core/config/units.ts";
import type { MeshAuthorityReport } from "../../core/daemon/mesh_report.ts";
import { Label, UserName } from "../../core/state/bodies.ts";
import { type Command, defineCommand, defineGroup, type Permissions } from "../command.ts";
import { type Column, formatTime } from "../format.ts";
import type { Output } from "../output.ts";
import { usage } from "../parse.ts";

const PERMISSIONS: Permissions = { opens: ["$control"] };

const create = defineCommand({
  name: "create",
  aliases: ["add"],
  summary: "Make a join token and print the line to paste on the other machine",
  description:
    "Shown once: the mesh's log holds only the public half of its key. Needs an admin's machine. " +
    "What joins with it is yours, or of --user, or, with --tag alone, nobody's.",
  examples: [
    { command: "tunnelmesh token create", meaning: "For one machine, within a day" },
    {
      command: "tunnelmesh token create --reusable --expires 7d --note ci",
      meaning: "For any number of machines, within a week",
    },
    {
      command: "tunnelmesh token create --tag server --expires 1h",
      meaning: "For a machine that belongs to nobody and has that tag",
    },
    {
      command: "tunnelmesh token create --new-user bob",
      meaning: "Invite bob, whose key becomes that of the machine where he joins",
    },
    {
      command: "tunnelmesh token create --json | jq -r .token > token",
      meaning: "Only the token, for a script",
    },
  ],
  input: z.strictObject({
    reusable: z.boolean().default(false).meta({
      description: "Admits any number of nodes instead of one",
    }),
    expires: z.string().default("24h").meta({
      description: "How long it admits, e.g. 30m, 24h, 7d; `never` for no end",
      placeholder: "TIME",
    }).refine((text) => text === "never" || (parseDuration(text) ?? 0) > 0, {
      error: "must be a time such as 30m, 24h or 7d, or never",
    }),
    note: z.string().max(200).default("").meta({ description: "A word on what it is for" }),
    user: z.string().optional().meta({
      description: "Whose the machines are; by default yours",
      placeholder: "NAME",
    }),
    newUser: UserName.optional().meta({
      description: "Make a user of that name and invite them",
      placeholder: "NAME",
    }),
    tag: z.array(Label).default([]).meta({
      description: "Tag of the machines; may be given more than once",
      placeholder: "TAG",
    }),
    coordinator: z.boolean().default(false).meta({
      description: "The machine runs a coordinator of the mesh",
    }),
  }),
  permissions: PERMISSIONS,
  async run({ expires, tag: tags, coordinator: isCoordinator, ...choices }, { out, daemon }) {
    if (choices.newUser !== undefined && (choices.reusable || choices.user !== undefined)) {
      throw usage("tunnelmesh token create", "--new-user goes with neither --user nor --reusable");
    }
    using client = await daemon();
    const { url } = (await client.status()).coordinator;
    const expiresInMs = parseDuration(expires);
    const made = await client.createToken({ ...choices, tags, isCoordinator, expiresInMs });
    const { id, token, expiresAt } = made;
    const role = isCoordinator ? " --coordinator" : "";
    const command = `sudo tunnelmesh join ${url} --token ${token}${role}`;
    const admits = choices.reusable ? "any number of machines" : "one machine";
    out.document({ ...made, url, command }, () => [
      `Token ${id} admits ${admits}, ${lifeOf(expiresAt)}.`,
      "On the machine that shall join, run:",
      "",
      `  ${out.bold(command)}`,
    ]);
  },
});

const list = defineCommand({
  name: "list",
  aliases: ["ls"],
  summary: "List the join tokens",
  examples: [{ command: "tunnelmesh token list", meaning: "Newest first, without the secrets" }],
  permissions: PERMISSIONS,
  async run(_input, { out, daemon }) {
    using client = await daemon();
    const { authorities } = await client.mesh();
    if (authorities.length === 0 && !out.isJson) {
      return out.line("No tokens: `tunnelmesh token create` makes one");
    }
    const sorted = [...authorities].sort((a, b) => b.createdAt - a.createdAt);
    const tokens = sorted.map((each) => ({ ...each, state: stateOf(each, Date.now()) }));
    out.list(tokens, COLUMNS, (token) => rowOf(token, out));
  },
});

const revoke = defineCommand({
  name: "revoke",
  aliases: ["rm", "delete"],
  summary: "Make a join token useless",
  description: "Nodes that joined with it stay members.",
  examples: [
    { command: "tunnelmesh token revoke 3q2-7wAAAAA", meaning: "By the id that the list shows" },
    { command: "tunnelmesh token revoke -- -Zx09_aBcDe", meaning: "An id that begins with a dash" },
  ],
  input: z.strictObject({
    id: z.string().regex(/^[A-Za-z0-9_-]{11}$/, "must be a token's id, 11 characters").meta({
      positional: 0,
      description: "Id of the token",
    }),
  }),
  permissions: PERMISSIONS,
  async run({ id }, { out, daemon }) {
    using client = await daemon();
    await client.revokeToken(id);
    out.document({ id, state: "revoked" }, () => [`Token ${id} is revoked`]);
  },
});

export const token: Command = defineGroup({
  name: "token",
  summary: "Make, list and revoke join tokens",
  subcommands: [create, list, revoke],
});

const COLUMNS: readonly Column[] = [
  { title: "Id" },
  { title: "State" },
  { title: "Admits" },
  { title: "Used", align: "right" },
  { title: "For" },
  { title: "Expires" },
  { title: "Note", shrinksTo: 8 },
];

type State = "valid" | "used" | "expired" | "revoked";

function stateOf(token: MeshAuthorityReport, now: number): State {
  if (token.withdrawnAt !== null) return "revoked";
  if (token.expiresAt !== null && now > token.expiresAt) return "expired";
  return token.uses >= token.maxNodes ? "used" : "valid";
}

function rowOf(token: MeshAuthorityReport & { readonly state: State }, out: Output): string[] {
  const whose = [token.user ?? "", ...token.tags.map((tag) => `tag:${tag}`)].filter(Boolean);
  return [
    token.id,
    token.state === "valid" ? out.green(token.state) : out.dim(token.state),
    token.maxNodes > 1 ? "many" : "one",
    String(token.uses),
    whose.join(" "),
    token.expiresAt === null ? "never" : formatTime(token.expiresAt),
    token.note,
  ];
}

function lifeOf(expiresAt: number | null): string {
  return expiresAt === null ? "without end" : `until ${formatTime(expiresAt)}`;
}
