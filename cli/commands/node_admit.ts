/**
 * `tunnelmesh node admit`: a machine becomes a member by its key, because an admin says so.
 *
 * Beside a join token this is the other way in: the only one for a machine that was revoked, and one
 * for a machine whose key is known beforehand.
 * @module
 */
import { z } from "zod";
import type { MeshReport } from "../../core/daemon/mesh_report.ts";
import { MeshError } from "../../core/errors.ts";
import { fromBase64Url, toBase64Url } from "../../core/bytes.ts";
import { peerIdOf } from "../../core/identity/keys.ts";
import { fingerprint } from "../../core/identity/openssh.ts";
import { encodeToken, TOKEN_SECRET_BYTES } from "../../core/identity/token.ts";
import type { PeerId } from "../../core/ids.ts";
import { type BodyOf, Label, sortedSet } from "../../core/state/bodies.ts";
import { DEFAULT_EXPIRES_AFTER_MS } from "../../core/state/expiry.ts";
import { MeshLog } from "../../core/state/log.ts";
import { type MemberNode, userOfKey } from "../../core/state/state.ts";
import { type CommandContext, defineCommand } from "../command.ts";
import { readIfPresent } from "../files.ts";
import type { Host } from "../host.ts";
import { readKeyArgument } from "../key_argument.ts";
import { applyChange, findUser, type Standing, standingOf } from "../mesh_standing.ts";
import { absolutePath } from "../paths.ts";
import { absenceOf, absenceOption, parseAbsence } from "../node_expiry.ts";
import { KEY, YES } from "../statements.ts";

/** Whom to admit. */
interface Applicant {
  readonly id: PeerId;
  /** base64url. */
  readonly identity: string;
  /** What it was before it was revoked, as far as the log tells. */
  readonly former: MemberNode | null;
  readonly isRevoked: boolean;
}

/** What is known before it is stated. */
interface Prepared {
  readonly standing: Standing;
  readonly applicant: Applicant;
  /** What machines reach the coordinator by. */
  readonly url: string;
}

const input = z.strictObject({
  node: z.string().min(1).meta({
    positional: 0,
    placeholder: "NODE",
    description: 'Id or name of a revoked node; or a key: a .pub file, or "ssh-ed25519 AAAA..."',
    completes: "files",
  }),
  user: z.string().optional().meta({
    description: "Whose the machine is",
    placeholder: "NAME",
    whenAbsent: "as before it was revoked, else yours",
  }),
  tag: z.array(Label).default([]).meta({
    description: "Tag of the machine; may be given more than once. Without --user it is nobody's",
    placeholder: "TAG",
  }),
  expiresAfter: absenceOption("as before it was revoked, else 180d"),
  yes: YES,
  key: KEY,
});
type Wishes = z.infer<typeof input>;

export const admit = defineCommand({
  name: "admit",
  summary: "Admit a machine by its key: one that was revoked, or a new one",
  description:
    "The only way back for a node that was revoked; its user and tags are those of before, unless " +
    "told otherwise. A new machine needs no token of its own then: the printed line, which admits " +
    "nobody else, only tells it which mesh to join.",
  examples: [
    { command: "tunnelmesh node admit laptop", meaning: "It was revoked, and was found again" },
    { command: "tunnelmesh node admit nas.pub --tag server", meaning: "The machine with that key" },
    {
      command: 'tunnelmesh node admit "ssh-ed25519 AAAA..." --user bob --expires-after never',
      meaning: "One of bob's, however long it is away",
    },
  ],
  input,
  permissions: { opens: ["$control"] },
  async prepare({ node, key }, context) {
    const standing = await standingOf(context, key);
    const applicant = applicantOf(context.host, node, standing);
    const client = await context.daemon();
    return { standing, applicant, url: (await client.status()).coordinator.url };
  },
  run,
});

async function run(
  wishes: Wishes,
  context: CommandContext,
  { standing, applicant, url }: Prepared,
): Promise<number> {
  const { mesh } = standing;
  const body = admissionOf(wishes, standing, applicant);
  const { id, isRevoked } = applicant;
  const name = nameOf(mesh, id);
  const user = mesh.users.find((each) => each.id === body.user)?.name ?? null;
  const whose = [user ?? "", ...body.tags.map((tag) => `tag:${tag}`)].filter(Boolean).join(" ");
  const print = fingerprint(fromBase64Url(body.identity));
  const command = `sudo tunnelmesh join ${url} --token ${pointer(mesh)}`;
  return await applyChange(
    {
      bodies: [body],
      after: (view) => ({
        ...view,
        nodes: [...view.nodes, { id, name, user, tags: body.tags }],
      }),
      question: isRevoked ? `Admit ${name} again, which was revoked?` : null,
      done: [
        `Node ${name} is admitted, key ${print}, for ${whose}; it ${
          absenceOf(body.expiresAfterMs)
        }.`,
        isRevoked
          ? "Its daemon comes back by itself; where it was reset or has left, run:"
          : "On that machine, run:",
        "",
        `  ${command}`,
      ],
      document: { id, name, user, tags: body.tags, key: print, url, command },
    },
    standing,
    context,
    wishes.yes,
  );
}

/** What is stated. @throws {MeshError} `name-unknown`, `usage` when nobody says whose it shall be */
function admissionOf(
  { user: name, tag, expiresAfter }: Wishes,
  standing: Standing,
  { identity, former, isRevoked, id }: Applicant,
): BodyOf<"node-admit"> {
  const { mesh, signer, state } = standing;
  const isChosen = name !== undefined || tag.length > 0;
  const formerUser = former?.user ?? null;
  // Whoever had it may be gone, and it must not become the admin's by a slip.
  const isLost = isRevoked &&
    (former === null || formerUser !== null && !state.users.has(formerUser));
  if (!isChosen && isLost) {
    throw new MeshError("usage", `Cannot admit node ${id}: whose it was is not known any more`, {
      hint: "Say whose it shall be: --user NAME or --tag TAG",
    });
  }
  const own = signer === null
    ? mesh.me.userId
    : userOfKey(state, toBase64Url(signer.publicKey))?.id ?? null;
  const user = name !== undefined
    ? findUser(mesh, name).id
    : tag.length > 0
    ? null
    : former !== null
    ? formerUser
    : own;
  return {
    type: "node-admit",
    identity,
    user,
    tags: sortedSet(isChosen ? tag : former?.tags ?? []),
    expiresAfterMs: parseAbsence(
      expiresAfter,
      former ? former.expiresAfterMs : DEFAULT_EXPIRES_AFTER_MS,
    ),
    authority: null,
  };
}

/** Finds whom an argument means. @throws {MeshError} `key-invalid`, `peer-unknown`, `entry-conflict` */
function applicantOf(host: Host, argument: string, standing: Standing): Applicant {
  const { mesh, state } = standing;
  const word = argument.replace(/^node:/, "");
  const revoked = mesh.revoked.filter(({ id, name }) => id === word || name === word);
  if (revoked.length > 1) {
    const ids = revoked.map(({ id }) => id).join(", ");
    throw new MeshError(
      "usage",
      `Cannot admit "${argument}": several revoked nodes have that name`,
      {
        hint: `Name one by its id: ${ids}`,
      },
    );
  }
  const known = revoked[0] && state.revoked.get(revoked[0].id);
  const identity = known?.identity ?? keyOf(host, argument, mesh);
  const id = peerIdOf(fromBase64Url(identity));
  if (state.nodes.has(id)) throw isMember(nameOf(mesh, id));
  const isRevoked = state.revoked.has(id);
  return { id, identity, isRevoked, former: isRevoked ? formerNode(standing, id) : null };
}

/** The key that is no revoked node's id or name. */
function keyOf(host: Host, argument: string, mesh: MeshReport): string {
  const isKey = argument.startsWith("ssh-") || readIfPresent(absolutePath(host, argument)) !== null;
  if (isKey) return readKeyArgument(host, argument).key;
  const member = mesh.nodes.find(({ id, name }) => id === argument || name === argument);
  if (member) throw isMember(member.name);
  const names = mesh.revoked.map(({ id, name }) => name === id ? id : `${name} (${id})`);
  const who = names.length === 0 ? "None is" : `Revoked are: ${names.slice(-8).join(", ")}`;
  throw new MeshError("peer-unknown", `Cannot admit "${argument}": no such node was revoked`, {
    hint: `${who}. A new machine is named by its public key: a .pub file, or the line itself`,
  });
}

/** The node as it was when it was a member last; null where the log begins later. */
function formerNode({ entries, mesh }: Standing, id: PeerId): MemberNode | null {
  const log = MeshLog.begin(entries[0], mesh.meshId);
  let former: MemberNode | null = null;
  for (const entry of entries.slice(1)) {
    log.append(entry);
    former = log.state.nodes.get(id) ?? former;
  }
  return former;
}

/** A token that says which mesh to join and admits nobody: there is no right for its secret. */
function pointer({ caPin, meshId }: MeshReport): string {
  const secret = new Uint8Array(TOKEN_SECRET_BYTES);
  return encodeToken({ caPin: fromBase64Url(caPin), meshId, secret });
}

function nameOf({ nodes, revoked }: MeshReport, id: PeerId): string {
  return [...nodes, ...revoked].find((each) => each.id === id)?.name ?? id;
}

function isMember(name: string): MeshError {
  return new MeshError("entry-conflict", `Cannot admit ${name}: it is a member already`, {
    hint: `If it has expired: tunnelmesh node renew ${name}`,
  });
}
