/**
 * `tunnelmesh node`: which machines are members, whose, with which tags, and until when?
 * @module
 */
import { z } from "zod";
import type { MeshNodeReport } from "../../core/daemon/mesh_report.ts";
import { MeshError } from "../../core/errors.ts";
import { Label, sortedSet } from "../../core/state/bodies.ts";
import { type Command, defineCommand, defineGroup, type Permissions } from "../command.ts";
import { type Column, formatTime } from "../format.ts";
import { absenceOf, absenceOption, expiryShown, parseAbsence } from "../node_expiry.ts";
import { admit } from "./node_admit.ts";
import { applyChange, findNode, standingOf } from "../mesh_standing.ts";
import type { Output } from "../output.ts";
import { KEY, YES } from "../statements.ts";

const PERMISSIONS: Permissions = { opens: ["$control"] };

const name = z.string().min(1).meta({
  positional: 0,
  placeholder: "NODE",
  description: "Name or id of the node",
  completes: "peers",
});

const list = defineCommand({
  name: "list",
  aliases: ["ls"],
  summary: "List the members: whose they are, their tags, until when",
  description: "`tunnelmesh peers` shows how they are connected.",
  examples: [{ command: "tunnelmesh node list", meaning: "All of them, this one too" }],
  permissions: PERMISSIONS,
  async run(_input, { out, daemon }) {
    using client = await daemon();
    const { nodes, me } = await client.mesh();
    const sorted = [...nodes].sort((a, b) => a.name < b.name ? -1 : 1);
    out.list(sorted, COLUMNS, (node) => [
      node.id === me.node ? `${node.name} (this)` : node.name,
      node.user ?? "-",
      node.tags.join(", ") || "-",
      stateOf(node, out),
      expiryShown(node, Date.now(), out),
      node.id,
    ]);
  },
});

/** A member that has left is in the log still, and in no netmap. */
function stateOf({ online, lastSeen }: MeshNodeReport, out: Output): string {
  if (online === true) return out.green("online");
  return lastSeen === 0 ? "not seen" : `seen ${formatTime(lastSeen)}`;
}

const COLUMNS: readonly Column[] = [
  { title: "Name" },
  { title: "User" },
  { title: "Tags", shrinksTo: 8 },
  { title: "State" },
  { title: "Expires" },
  { title: "Id" },
];

const revoke = defineCommand({
  name: "revoke",
  aliases: ["remove", "rm"],
  summary: "Make a node a stranger, everywhere at once",
  description:
    "For a machine that was lost, stolen or sold. Its sessions end wherever the news arrives. " +
    "Only an admin can let that key in again, with `tunnelmesh node admit`; no token does.",
  examples: [
    { command: 'tunnelmesh node revoke laptop --reason "Stolen in Lyon"', meaning: "Asks first" },
  ],
  input: z.strictObject({
    name,
    reason: z.string().max(200).default("").meta({ description: "Why, for the audit log" }),
    yes: YES,
    key: KEY,
  }),
  permissions: PERMISSIONS,
  prepare: ({ key }, context) => standingOf(context, key),
  async run({ name, reason, yes }, context, standing) {
    const node = findNode(standing.mesh, name);
    const isOwn = node.id === standing.mesh.me.node ? ", the node of this machine" : "";
    return await applyChange(
      {
        bodies: [{ type: "node-revoke", node: node.id, reason }],
        after: ({ users, nodes }) => ({ users, nodes: nodes.filter(({ id }) => id !== node.id) }),
        question: `Revoke ${node.name}${isOwn}?`,
        done: [`Node ${node.name} is revoked`],
        document: { id: node.id, name: node.name, reason },
      },
      standing,
      context,
      yes,
    );
  },
});

const tag = defineCommand({
  name: "tag",
  summary: "Put tags on a node, or take them off",
  description: "Policies speak of tags: what changes for whom is shown first.",
  examples: [
    { command: "tunnelmesh node tag nas server backup", meaning: "Adds two tags" },
    { command: "tunnelmesh node tag nas server --remove new", meaning: "Adds one, takes one" },
  ],
  input: z.strictObject({
    name,
    tags: z.array(Label).default([]).meta({
      positional: 1,
      placeholder: "TAG",
      description: "Tags to add",
    }),
    remove: z.array(Label).default([]).meta({ description: "Tag to take off" }),
    yes: YES,
    key: KEY,
  }),
  permissions: PERMISSIONS,
  prepare: ({ key }, context) => standingOf(context, key),
  async run({ name, tags: added, remove, yes }, context, standing) {
    const node = findNode(standing.mesh, name);
    const absent = remove.find((each) => !node.tags.includes(each));
    if (absent !== undefined || added.length + remove.length === 0) {
      const why = absent === undefined ? "no tag is named" : `${node.name} has no tag ${absent}`;
      throw new MeshError("usage", `Cannot change tags: ${why}`, {
        hint: `The tags of ${node.name}: ${node.tags.join(", ") || "none"}`,
      });
    }
    const tags = sortedSet([...node.tags, ...added].filter((each) => !remove.includes(each)));
    return await applyChange(
      {
        // What is so already needs no entry in the log.
        bodies: tags.join() === sortedSet(node.tags).join()
          ? []
          : [{ type: "tag-set", node: node.id, tags }],
        after: ({ users, nodes }) => ({
          users,
          nodes: nodes.map((each) => each.id === node.id ? { ...each, tags } : each),
        }),
        question: null,
        done: [
          `Node ${node.name} has ${tags.length === 0 ? "no tags" : `tags ${tags.join(", ")}`}`,
        ],
        document: { id: node.id, name: node.name, tags },
      },
      standing,
      context,
      yes,
    );
  },
});

const renew = defineCommand({
  name: "renew",
  summary: "Let a node be away for its time again, or for another time",
  description:
    "A node that is away too long expires, and does not come back by itself. This brings it back.",
  examples: [
    { command: "tunnelmesh node renew nas", meaning: "Its time begins anew" },
    { command: "tunnelmesh node renew nas --after never", meaning: "It never expires" },
    { command: "tunnelmesh node renew ci-7 --after 12h", meaning: "After half a day without it" },
  ],
  input: z.strictObject({
    name,
    after: absenceOption("as before"),
    key: KEY,
  }),
  permissions: PERMISSIONS,
  prepare: ({ key }, context) => standingOf(context, key),
  async run({ name, after }, context, standing) {
    const node = findNode(standing.mesh, name);
    const before = standing.state.nodes.get(node.id)?.expiresAfterMs ?? null;
    const expiresAfterMs = parseAbsence(after, before);
    return await applyChange(
      {
        bodies: [{ type: "node-expire-policy", node: node.id, expiresAfterMs }],
        after: null,
        question: null,
        done: [`Node ${node.name} is renewed; it ${absenceOf(expiresAfterMs)}`],
        document: { id: node.id, name: node.name, expiresAfterMs },
      },
      standing,
      context,
      true,
    );
  },
});

export const node: Command = defineGroup({
  name: "node",
  summary: "List, tag, renew, revoke and admit machines",
  subcommands: [list, tag, renew, revoke, admit],
});
