/**
 * The signed log of a mesh for tests: who coordinates it, who is its admin, and who is admitted.
 *
 * Everything follows from the seeds below, so that every run has the same mesh id. Functions that
 * end in a participle append to the log that they are given, and answer what was appended.
 * @module
 */
import assert from "node:assert/strict";
import { toBase64Url } from "../core/bytes.ts";
import { tokenProofBytes } from "../core/control/envelope.ts";
import type { IsMember } from "../core/control/roster.ts";
import { type ErrorCode, MeshError } from "../core/errors.ts";
import { type Identity, identityFromSeed, sign } from "../core/identity/keys.ts";
import { TOKEN_SECRET_BYTES, tokenIdOf } from "../core/identity/token.ts";
import type { PeerId } from "../core/ids.ts";
import { SeededRandom } from "../core/random.ts";
import { admissionEntry, admissionKey, claimEntry, inviteBodies } from "../core/state/admission.ts";
import { type Body, type BodyOf, sortedSet } from "../core/state/bodies.ts";
import { beginMesh, bootstrapEntries } from "../core/state/bootstrap.ts";
import { type SignedEntry, signEntry } from "../core/state/entry.ts";
import { expiryOf } from "../core/state/expiry.ts";
import { signHead } from "../core/state/head.ts";
import { fold, type MeshLog } from "../core/state/log.ts";
import { LogSync, type SyncOptions } from "../core/state/sync.ts";
import { Mesh } from "../coordinator/model/mesh.ts";

/** Wall time at which the log begins; tests begin at the same time. */
export const EPOCH = 1_700_000_000_000;

/** Seeds of identities that no test numbers. */
const COORDINATOR_SEED = 1_000_001;
const ADMIN_SEED = 1_000_002;
const FIRST_SECRET_SEED = 2_000_000;

/** The identity of number `n`, the same in every run. */
export function identityOf(n: number): Identity {
  return identityFromSeed(new SeededRandom(n + 1).bytes(32));
}

/** base64url of an identity's public key. */
export function keyOf(identity: Identity): string {
  return toBase64Url(identity.publicKey);
}

/** The coordinator's own key: it signs the genesis and heads. */
export const COORDINATOR = identityOf(COORDINATOR_SEED);
/** Whose machine joined first in {@link meshLog}; no test's node. */
export const ADMIN = identityOf(ADMIN_SEED);
/** What the admin of {@link meshLog} is called. */
export const ADMIN_NAME = "anna";

/** A mesh that nobody has joined. @param nonce One digit, for a mesh that is another one. */
export function newMeshLog(nonce = "0"): MeshLog {
  return beginMesh(COORDINATOR, nonce.repeat(32), EPOCH);
}

/** A mesh with its first admin, whose machine is a member, and nobody else. */
export function meshLog(admin: Identity = ADMIN, nonce = "0"): MeshLog {
  const log = newMeshLog(nonce);
  const first = { name: ADMIN_NAME, key: keyOf(admin), tags: [], expiresAfterMs: null };
  bootstrapEntries(log, COORDINATOR, first, EPOCH);
  return log;
}

/** A log that begins as `log` is, and goes its own way. */
export function copyOf(log: MeshLog): MeshLog {
  return fold(entriesOf(log), log.meshId);
}

export function entriesOf(log: MeshLog): SignedEntry[] {
  return log.since(0).map(({ signed }) => signed);
}

/** Who says something, and at which wall time; the admin and {@link EPOCH} when absent. */
export interface Said {
  readonly by?: Identity;
  readonly at?: number;
}

/** Signs what would follow, without appending it. */
export function drafted(log: MeshLog, body: Body, { by = ADMIN, at = EPOCH }: Said = {}) {
  return signEntry(by, log.draft(body, at));
}

/** Appends a statement. */
export function stated(log: MeshLog, body: Body, said: Said = {}): SignedEntry {
  return log.append(drafted(log, body, said)).signed;
}

/** What an admission says. Without user and tags the node is the admin's. */
export function admission(
  log: MeshLog,
  identity: Identity,
  over: Partial<BodyOf<"node-admit">> & Said = {},
): BodyOf<"node-admit"> {
  const { by: _by, at: _at, tags = [], ...rest } = over;
  const owner = tags.length > 0 ? null : log.state.users.values().find((u) => u.isAdmin)!.id;
  return {
    type: "node-admit",
    identity: keyOf(identity),
    user: owner,
    tags: sortedSet(tags),
    expiresAfterMs: null,
    authority: null,
    ...rest,
  };
}

/** Makes a node a member by an admin's own word. */
export function admitted(
  log: MeshLog,
  identity: Identity,
  over: Partial<BodyOf<"node-admit">> & Said = {},
): SignedEntry {
  return stated(log, admission(log, identity, over), over);
}

/** Ends a membership. */
export function revoked(log: MeshLog, node: PeerId, said: Said = {}): SignedEntry {
  return stated(log, { type: "node-revoke", node, reason: "test" }, said);
}

/** A token's secret, the same in every run. */
export function secretOf(n: number): Uint8Array {
  return new SeededRandom(FIRST_SECRET_SEED + n).bytes(TOKEN_SECRET_BYTES);
}

/** What a join token may; by default any number of nodes of the admin, for ever. */
export type TokenLimits = Partial<NonNullable<BodyOf<"token-authority">["limits"]>>;

/** States the right of a join token. */
export function tokenMade(
  log: MeshLog,
  secret: Uint8Array,
  limits: TokenLimits = {},
  said: Said = {},
): SignedEntry {
  const user = log.state.users.values().find(({ isAdmin }) => isAdmin)!.id;
  return stated(log, {
    type: "token-authority",
    authority: tokenIdOf(secret),
    key: keyOf(admissionKey(secret)),
    limits: {
      maxNodes: 4096,
      expiresAt: null,
      user: limits.tags?.length ? null : user,
      tags: [],
      expiresAfterMs: null,
      ...limits,
    },
    note: "test",
  }, said);
}

/** Withdraws a join token's right. */
export function tokenWithdrawn(log: MeshLog, secret: Uint8Array, said: Said = {}): SignedEntry {
  const key = keyOf(admissionKey(secret));
  const authority = tokenIdOf(secret);
  return stated(log, { type: "token-authority", authority, key, limits: null, note: "" }, said);
}

/** Invites a new user by a token. */
export function userInvited(
  log: MeshLog,
  secret: Uint8Array,
  name: string,
  said: Said = {},
): SignedEntry[] {
  const authority = tokenIdOf(secret);
  const terms = { note: "test", expiresAt: null, tags: [], expiresAfterMs: null };
  const bodies = inviteBodies({ name, authority, secret, ...terms });
  return bodies.map((body) => stated(log, body, said));
}

/**
 * What a machine brings to be admitted by a token, with its claim of the user where the token
 * invites one. Nothing is appended.
 */
export function joining(
  log: MeshLog,
  secret: Uint8Array,
  identity: Identity,
  at: number = EPOCH,
  { claims = false }: { readonly claims?: boolean } = {},
): SignedEntry[] {
  const trial = log.branch();
  const key = admissionKey(secret);
  const entry = admissionEntry(trial, tokenIdOf(secret), key, keyOf(identity), at);
  if (!claims) return [entry];
  trial.append(entry);
  return [entry, claimEntry(trial, secret, identity, at)];
}

/** What shows that the sender knows a token's secret. */
export function tokenProof(secret: Uint8Array, challenge: string, identity: Identity) {
  const bytes = tokenProofBytes(challenge, keyOf(identity));
  return { bytes, signature: sign(admissionKey(secret), bytes) };
}

/** Asserts that `run` fails with `code`; returns the error. */
export function refuses(run: () => unknown, code: ErrorCode): MeshError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof MeshError, String(error));
    assert.equal(error.code, code, error.message);
    return error;
  }
  assert.fail(`expected "${code}", but it succeeded`);
}

/** A coordinator's view of a log; what it would put on the disk goes to `kept`. */
export function meshOf(
  log: MeshLog,
  kept: SignedEntry[] = [],
  identity: Identity = COORDINATOR,
): Mesh {
  return new Mesh({ log, identity, keep: (entries) => kept.push(...entries) });
}

/** Whether a log has somebody as a member, as nodes ask it. */
export function membership(log: MeshLog, wallTime: () => number = () => EPOCH): IsMember {
  return (id, lastSeen) => {
    const node = log.state.nodes.get(id);
    return node !== undefined && expiryOf(node, lastSeen, wallTime()).state !== "expired";
  };
}

/** What keeps a log level with that of others, for a node of that identity. */
export function syncOf(
  log: MeshLog,
  identity: Identity,
  wallTime: () => number = () => EPOCH,
  options: Partial<SyncOptions> = {},
): LogSync {
  const { meshId } = log;
  const sign = (head: MeshLog["head"]) =>
    signHead(identity, { meshId, ...head, at: Math.floor(wallTime()) });
  return new LogSync({ log, sign, ...options });
}
