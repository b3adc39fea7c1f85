/**
 * `tunnelmesh user`: who belongs to the mesh, by which key, and who may change it?
 * @module
 */
import { z } from "zod";
import { toBase64Url } from "../../core/bytes.ts";
import { MeshError } from "../../core/errors.ts";
import { type Identity, sign } from "../../core/identity/keys.ts";
import { fingerprint } from "../../core/identity/openssh.ts";
import { type BodyOf, proofBytes, UserName } from "../../core/state/bodies.ts";
import { type Command, defineCommand, defineGroup, type Permissions } from "../command.ts";
import { type Column, formatCount, formatTime } from "../format.ts";
import { readKeyArgument } from "../key_argument.ts";
import { adminChange } from "../mesh_admins.ts";
import { applyChange, findUser, type Standing, standingOf } from "../mesh_standing.ts";
import { KEY, loadSigner, YES } from "../statements.ts";

const PERMISSIONS: Permissions = { opens: ["$control"] };

const name = z.string().min(1).meta({ positional: 0, description: "Name of the user" });
const keyArgument = z.string().min(1).meta({
  positional: 1,
  placeholder: "PUBLIC-KEY",
  description: 'The user\'s SSH key: a .pub file, or the line "ssh-ed25519 AAAA..."',
  completes: "files",
});

const list = defineCommand({
  name: "list",
  aliases: ["ls"],
  summary: "List the users of the mesh",
  examples: [{ command: "tunnelmesh user list", meaning: "With their keys and nodes" }],
  permissions: PERMISSIONS,
  async run(_input, { out, daemon }) {
    using client = await daemon();
    const { users, nodes, me } = await client.mesh();
    const sorted = [...users].sort((a, b) => a.name < b.name ? -1 : 1).map((user) => ({
      ...user,
      nodes: nodes.filter((node) => node.user === user.name).map((node) => node.name).sort(),
    }));
    out.list(sorted, COLUMNS, (user) => [
      user.id === me.userId ? `${user.name} (you)` : user.name,
      user.isAdmin ? out.green("admin") : "",
      user.nodes.join(", ") || "-",
      user.key,
      formatTime(user.addedAt),
    ]);
  },
});

const COLUMNS: readonly Column[] = [
  { title: "Name" },
  { title: "" },
  { title: "Nodes", shrinksTo: 8 },
  { title: "Key", shrinksTo: 16 },
  { title: "Since" },
];

const add = defineCommand({
  name: "add",
  aliases: ["create"],
  summary: "Make somebody a user, known by their SSH key",
  description: "A user is what a key signs as. Their machines join by a token, or are admitted.",
  examples: [
    { command: "tunnelmesh user add bob bob.pub", meaning: "The key that bob sent" },
    {
      command: 'tunnelmesh user add bob "ssh-ed25519 AAAA... bob@desk"',
      meaning: "The same, pasted",
    },
  ],
  input: z.strictObject({
    name: UserName.meta({ positional: 0, description: "What the user shall be called" }),
    publicKey: keyArgument,
    key: KEY,
  }),
  permissions: PERMISSIONS,
  async prepare({ publicKey, key }, context) {
    const added = readKeyArgument(context.host, publicKey);
    return { added, standing: await standingOf(context, key) };
  },
  async run({ name }, context, { added, standing }) {
    const body = { type: "user-add", name, key: added.key } as const;
    const print = fingerprint(added.publicKey);
    return await applyChange(
      {
        bodies: [body],
        after: null,
        question: null,
        done: [`User ${name} is added, key ${print}`],
        document: { name, key: print },
      },
      standing,
      context,
      true,
    );
  },
});

const remove = defineCommand({
  name: "remove",
  aliases: ["rm", "delete"],
  summary: "Remove a user and revoke all nodes of theirs",
  description: "An admin is demoted first. The key can never be used in this mesh again.",
  examples: [{ command: "tunnelmesh user remove bob", meaning: "Shows what ends, and asks" }],
  input: z.strictObject({ name, yes: YES, key: KEY }),
  permissions: PERMISSIONS,
  prepare: ({ key }, context) => standingOf(context, key),
  async run({ name, yes }, context, standing) {
    const user = findUser(standing.mesh, name);
    const nodes = standing.mesh.nodes.filter((node) => node.user === user.name);
    const names = nodes.map((node) => node.name).sort();
    const which = names.length === 0 ? "" : ` (${names.join(", ")})`;
    return await applyChange(
      {
        bodies: [{ type: "user-remove", user: user.id }],
        after: ({ users, nodes }) => ({
          users: users.filter((each) => each.name !== user.name),
          nodes: nodes.filter((node) => node.user !== user.name),
        }),
        question: `Remove ${user.name} and revoke ${formatCount(nodes.length, "node")}${which}?`,
        done: [
          `User ${user.name} is removed, ${formatCount(nodes.length, "node")} revoked${which}`,
        ],
        document: { name: user.name, revoked: names },
      },
      standing,
      context,
      yes,
    );
  },
});

const rename = defineCommand({
  name: "rename",
  summary: "Give a user another name",
  description:
    "Key and nodes stay. A policy that names the user by the old name means nobody then, so " +
    "what changes is shown first.",
  examples: [{ command: "tunnelmesh user rename bob robert", meaning: "bob is robert now" }],
  input: z.strictObject({
    name,
    newName: UserName.meta({ positional: 1, description: "What the user shall be called" }),
    yes: YES,
    key: KEY,
  }),
  permissions: PERMISSIONS,
  prepare: ({ key }, context) => standingOf(context, key),
  async run({ name, newName, yes }, context, standing) {
    const user = findUser(standing.mesh, name);
    return await applyChange(
      {
        bodies: [{ type: "user-rename", user: user.id, name: newName }],
        after: (view) => ({ ...view, renamed: { name: user.name, to: newName } }),
        question: null,
        done: [`User ${user.name} is ${newName} now`],
        document: { name: newName, before: user.name },
      },
      standing,
      context,
      yes,
    );
  },
});

/** `promote` and `demote`. */
function adminCommand(isAdmin: boolean): Command {
  const verb = isAdmin ? "promote" : "demote";
  return defineCommand({
    name: verb,
    summary: isAdmin ? "Make a user an admin" : "Make an admin a user like others",
    description: isAdmin
      ? "Have two admins: what one key can do, nobody can undo who lost it."
      : "The last admin cannot be demoted.",
    examples: [{
      command: `tunnelmesh user ${verb} bob`,
      meaning: `The same as \`tunnelmesh group ${isAdmin ? "add" : "remove"}-member admins bob\``,
    }],
    input: z.strictObject({ name, yes: YES, key: KEY }),
    permissions: PERMISSIONS,
    prepare: ({ key }, context) => standingOf(context, key),
    run: ({ name, yes }, context, standing) =>
      applyChange(adminChange(standing, [name], isAdmin), standing, context, yes),
  });
}

const rotateKey = defineCommand({
  name: "rotate-key",
  summary: "Replace a user's key",
  description:
    "A user replaces their own key with the private file of the new one, so that both sign. An " +
    "admin replaces a key that was lost or stolen with the public one. The old key is never " +
    "accepted again; name, nodes and rights stay. A daemon keeps its own identity: where that " +
    "was the old key, sign later changes with --key.",
  examples: [
    { command: "tunnelmesh user rotate-key bob new.pub", meaning: "An admin, for bob" },
    {
      command: "tunnelmesh user rotate-key bob ~/.ssh/new --key ~/.ssh/old",
      meaning: "bob himself",
    },
  ],
  input: z.strictObject({
    name,
    newKey: z.string().min(1).meta({
      positional: 1,
      description: "The new key: a private key's file, a .pub file, or a line",
      completes: "files",
    }),
    key: KEY,
  }),
  permissions: PERMISSIONS,
  async prepare({ newKey, key }, context) {
    const next = readKeyArgument(context.host, newKey);
    const prover = next.isPrivate ? await loadSigner(context.host, newKey) : null;
    return { next, prover, standing: await standingOf(context, key) };
  },
  async run({ name }, context, { next, prover, standing }) {
    const user = findUser(standing.mesh, name);
    return await applyChange(
      {
        bodies: [rotation(standing, user.id, next.key, prover)],
        after: null,
        question: null,
        done: [`User ${user.name} has key ${fingerprint(next.publicKey)} now`],
        document: { name: user.name, key: fingerprint(next.publicKey), before: user.key },
      },
      standing,
      context,
      true,
    );
  },
});

function rotation(
  { mesh, signer, state }: Standing,
  user: string,
  key: string,
  prover: Identity | null,
): BodyOf<"key-rotate"> {
  const isOwn = signer === null
    ? mesh.me.userId === user
    : state.users.get(user)?.key === toBase64Url(signer.publicKey);
  if (isOwn && prover === null) {
    throw new MeshError("usage", "Cannot rotate your own key: the new one has to sign as well", {
      hint: "Name the new private key's file instead of the public one",
    });
  }
  const proof = prover && toBase64Url(sign(prover, proofBytes(mesh.meshId, user, key)));
  return { type: "key-rotate", user, key, proof };
}

export const user: Command = defineGroup({
  name: "user",
  summary: "Add, remove and promote users",
  description: "A user is an SSH key with a name. docs/users.md tells more.",
  examples: [{ command: "tunnelmesh user add bob bob.pub", meaning: "Then give bob a token" }],
  subcommands: [list, add, remove, rename, adminCommand(true), adminCommand(false), rotateKey],
});
