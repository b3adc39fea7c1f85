/**
 * `tunnelmesh token`: which tokens admit nodes to the mesh?
 * @module
 */
import { z } from "zod";
import { parseDuration } from "../../core/config/units.ts";
import { PATHS } from "../../core/control/envelope.ts";
import type { TokenCreateReply, TokenInfo, TokenListReply } from "../../core/control/messages.ts";
import { type Command, defineCommand, defineGroup, type Permissions } from "../command.ts";
import { type Column, formatTime } from "../format.ts";
import type { Output } from "../output.ts";

const PERMISSIONS: Permissions = { opens: ["$control"] };

const create = defineCommand({
  name: "create",
  aliases: ["add"],
  summary: "Make a join token and print the line to paste on the other machine",
  description: "Shown once: the coordinator keeps only a hash of it. Needs an admin's node.",
  examples: [
    { command: "tunnelmesh token create", meaning: "For one machine, within a day" },
    {
      command: "tunnelmesh token create --reusable --expires 7d --note ci",
      meaning: "For any number of machines, within a week",
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
  }),
  permissions: PERMISSIONS,
  async run({ reusable, expires, note }, { out, daemon }) {
    using client = await daemon();
    const { url } = (await client.status()).coordinator;
    const expiresInMs = parseDuration(expires);
    const body = { reusable, note, ...(expiresInMs === null ? {} : { expiresInMs }) };
    const call = { method: "POST", path: PATHS.tokens, body } as const;
    const { token, info } = await client.admin<TokenCreateReply>(call);
    const command = `sudo tunnelmesh join ${url} --token ${token}`;
    out.document({ ...info, token, url, command }, () => [
      `Token ${info.id} admits ${reusable ? "any number of nodes" : "one node"}, ${lifeOf(info)}.`,
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
    const call = { method: "GET", path: PATHS.tokens, body: {} } as const;
    const { tokens } = await client.admin<TokenListReply>(call);
    if (tokens.length === 0 && !out.isJson) {
      return out.line("No tokens: `tunnelmesh token create` makes one");
    }
    const sorted = [...tokens].sort((a, b) => b.createdAt - a.createdAt);
    out.list(sorted, COLUMNS, (token) => rowOf(token, out));
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
    await client.admin({ method: "DELETE", path: `${PATHS.tokens}/${id}`, body: {} });
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
  { title: "Expires" },
  { title: "Note", shrinksTo: 8 },
];

function rowOf(token: TokenInfo, out: Output): string[] {
  const state = token.state === "valid" ? out.green(token.state) : out.dim(token.state);
  const expires = token.expiresAt === null ? "never" : formatTime(token.expiresAt);
  return [
    token.id,
    state,
    token.reusable ? "many" : "one",
    String(token.uses),
    expires,
    token.note,
  ];
}

function lifeOf({ expiresAt }: TokenInfo): string {
  return expiresAt === null ? "without end" : `until ${formatTime(expiresAt)}`;
}
