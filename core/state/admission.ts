/**
 * How does a join token become an entry of the log?
 *
 * The token's secret is the seed of two keys, each by HKDF-SHA256 (RFC 5869) with an `info` of its
 * own. With the **admission key** a joining machine signs its own admission, within the limits that
 * an admin signed for that key. An invitation of a new user needs one more: the user begins with the
 * **invitation key**, and the machine that joins by the token replaces it by its own, so that nobody
 * else, whoever made the token included, has a key of theirs.
 *
 * A coordinator sees the public halves only. It must never be shown the secret.
 * @module
 */
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { toBase64Url, utf8 } from "../bytes.ts";
import { MeshError } from "../errors.ts";
import { type Identity, identityFromSeed, KEY_BYTES, peerIdOf, sign } from "../identity/keys.ts";
import { TOKEN_SECRET_BYTES } from "../identity/token.ts";
import { type AuthorityId, type Body, proofBytes, sortedSet } from "./bodies.ts";
import type { SignedEntry } from "./entry.ts";
import { type MeshLog, signAll } from "./log.ts";
import { type Authority, type MeshState, type User, userOfKey } from "./state.ts";

const ADMISSION_INFO = "tunnelmesh-admission-key-v1";
const INVITATION_INFO = "tunnelmesh-invitation-key-v1";

const ASK = "Ask an admin of the mesh for another one: tunnelmesh token create";

/** A new user and the token by which their first machine joins. */
export interface Invitation {
  /** The user's name. */
  readonly name: string;
  /** The token's id and secret. */
  readonly authority: AuthorityId;
  readonly secret: Uint8Array;
  readonly note: string;
  /** Until when the token holds, wall time; null for ever. */
  readonly expiresAt: number | null;
  /** Tags of the machine, and how long it may be away. */
  readonly tags: readonly string[];
  readonly expiresAfterMs: number | null;
}

/** The key that signs admissions by a token. @throws {RangeError} when the secret is no token's. */
export function admissionKey(secret: Uint8Array): Identity {
  return derivedKey(secret, ADMISSION_INFO);
}

/** The key that an invited user has until they join. @throws {RangeError} as {@link admissionKey} */
export function invitationKey(secret: Uint8Array): Identity {
  return derivedKey(secret, INVITATION_INFO);
}

/**
 * The right of a token when it admits a node at wall time `at`. A coordinator asks this with its own
 * time, before it appends an admission: it has no reason to believe the date in the entry.
 * @param key base64url of the admission key's public half.
 * @throws {MeshError} "token-invalid", "token-revoked", "token-expired", "token-used"
 */
export function expectAdmitting(
  state: MeshState,
  id: AuthorityId,
  key: string,
  at: number,
): Authority {
  const authority = state.authorities.get(id);
  // Only who knows the secret learns that a token was revoked, is used up or has expired.
  if (authority?.key !== key) throw refusal("token-invalid", "the mesh does not know this token");
  const { limits, uses, withdrawnAt } = authority;
  if (withdrawnAt !== null) throw refusal("token-revoked", "the token was revoked");
  if (limits.expiresAt !== null && at > limits.expiresAt) {
    throw refusal("token-expired", "the token has expired");
  }
  if (uses >= limits.maxNodes) throw refusal("token-used", "the token was used by another node");
  return authority;
}

/**
 * The admission of a machine by a token, signed and tried, not appended. A machine that is a member
 * already needs none: ask `log.state.nodes` first, for its answer may have got lost.
 * @param key {@link admissionKey} of the token's secret.
 * @param identity base64url of the machine's identity key.
 * @throws {MeshError} as {@link expectAdmitting}; "authority-exceeded" for a machine that was
 *   revoked, "entry-conflict" for one that is a member
 */
export function admissionEntry(
  log: MeshLog,
  id: AuthorityId,
  key: Identity,
  identity: string,
  at: number,
): SignedEntry {
  const { limits } = expectAdmitting(log.state, id, toBase64Url(key.publicKey), at);
  const { user, tags, expiresAfterMs } = limits;
  const body = { type: "node-admit", identity, user, tags, expiresAfterMs, authority: id } as const;
  return signAll(log, key, [body], at)[0]!;
}

/** What an admin states to invite a user: that they exist, and that their token admits one node. */
export function inviteBodies(invitation: Invitation): Body[] {
  const { name, authority, secret, note, expiresAt, expiresAfterMs } = invitation;
  const { publicKey } = invitationKey(secret);
  const user = peerIdOf(publicKey);
  const tags = sortedSet(invitation.tags);
  return [
    { type: "user-add", name, key: toBase64Url(publicKey) },
    {
      type: "token-authority",
      authority,
      key: toBase64Url(admissionKey(secret).publicKey),
      limits: { maxNodes: 1, expiresAt, user, tags, expiresAfterMs },
      note,
    },
  ];
}

/**
 * {@link inviteBodies} signed by an admin and tried, not appended.
 * @throws {MeshError} "entry-invalid", "entry-forbidden", "entry-conflict"
 */
export function inviteEntries(
  log: MeshLog,
  admin: Identity,
  invitation: Invitation,
  at: number,
): SignedEntry[] {
  return signAll(log, admin, inviteBodies(invitation), at);
}

/** Whom a token invites and who has not claimed that yet; undefined for a token of another kind. */
export function invitedUser(state: MeshState, secret: Uint8Array): User | undefined {
  return userOfKey(state, toBase64Url(invitationKey(secret).publicKey));
}

/**
 * Gives an invited user the key of the machine that joined by their token; signed and tried, not
 * appended. To be stated after the machine's admission, so that a machine that is refused does not
 * use the invitation up.
 * @throws {MeshError} "token-used" when it was claimed, "token-invalid" when it invites nobody,
 *   "entry-conflict" when the machine's key is or was another user's
 */
export function claimEntry(
  log: MeshLog,
  secret: Uint8Array,
  node: Identity,
  at: number,
): SignedEntry {
  const old = invitationKey(secret);
  const user = invitedUser(log.state, secret);
  if (!user) {
    throw log.state.retiredKeys.has(toBase64Url(old.publicKey))
      ? refusal("token-used", "the token was used by another node")
      : refusal("token-invalid", "the mesh does not know this token");
  }
  const key = toBase64Url(node.publicKey);
  const proof = toBase64Url(sign(node, proofBytes(log.meshId, user.id, key)));
  return signAll(log, old, [{ type: "key-rotate", user: user.id, key, proof }], at)[0]!;
}

function derivedKey(secret: Uint8Array, info: string): Identity {
  if (secret.length !== TOKEN_SECRET_BYTES) {
    throw new RangeError(`Cannot derive a key: the secret has ${secret.length} bytes`);
  }
  return identityFromSeed(hkdf(sha256, secret, undefined, utf8(info), KEY_BYTES));
}

type TokenCode = "token-invalid" | "token-revoked" | "token-expired" | "token-used";

function refusal(code: TokenCode, why: string): MeshError {
  return new MeshError(code, `Cannot join: ${why}`, { hint: ASK });
}
