/**
 * What can be stated about a mesh? The body of every kind of log entry, as strict schemas.
 *
 * Sets are written as sorted lists without repetition, so that one meaning has one text. People are
 * named by {@link UserId}, which outlives their names and keys.
 * @module
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { z } from "zod";
import { fromBase64Url, toHex, utf8 } from "../bytes.ts";
import { IdentityText, MAX_PEERS, WallTime } from "../control/messages.ts";
import { isIdentityKey } from "../identity/keys.ts";
import { PeerId, PeerName } from "../ids.ts";
import { PATH_KINDS } from "../path/address.ts";

export const MAX_TAGS = 32;
export const MAX_POLICY_FILES = 64;
/** All documents of a policy together, in UTF-16 units. */
export const MAX_POLICY_LENGTH = 262_144;
const MINUTE_MS = 60_000;
const TEN_YEARS_MS = 10 * 365 * 86_400_000;

/** Lower-case hex of a SHA-256. */
export const Hash = z.string().regex(/^[0-9a-f]{64}$/, "must be 64 lower-case hex digits");
export type Hash = z.infer<typeof Hash>;

/** base64url of an ed25519 public key that can be trusted to verify what its owner signed. */
export const Key = IdentityText.refine(
  // Asked even of what is no base64url.
  (text) => IdentityText.safeParse(text).success && isIdentityKey(fromBase64Url(text)),
  "must be a valid ed25519 public key",
);

/** A user, whatever they are called and whichever key they use now: `peerIdOf` of their first key. */
export const UserId = PeerId;
export type UserId = z.infer<typeof UserId>;

/** What a user is called; unique in the mesh. */
export const UserName = z.string().regex(
  /^[a-z0-9]([a-z0-9._@-]{0,61}[a-z0-9])?$/,
  "must be 1 to 63 letters, digits and . _ @ -, and start and end with a letter or digit",
);

/** Name of a tag: a DNS label. */
export const Label = PeerName;

/** Tag of the nodes that coordinate the mesh; like every tag it is an admin's to give. */
export const COORDINATOR_TAG = "coordinator";

/** Name of an admission right; that of a join token is the token's id. */
export const AuthorityId = z.string().regex(
  /^[A-Za-z0-9_-]{1,64}$/,
  "must be 1 to 64 of A-Za-z0-9_-",
);
export type AuthorityId = z.infer<typeof AuthorityId>;

/** A list that stands for a set. */
function setOf<T extends z.ZodType<string>>(item: T, max: number) {
  return z.array(item).max(max).readonly().refine(
    (list) => list.every((each, i) => i === 0 || list[i - 1]! < each),
    "must be sorted and without repetition",
  );
}

export const Tags = setOf(Label, MAX_TAGS);
/** How long a node may be away until it is no member any more; null for ever. */
export const ExpiresAfterMs = z.int().min(MINUTE_MS).max(TEN_YEARS_MS).nullable();

/** One file of the policy, opaque here. */
export const PolicyDocument = z.strictObject({
  /** Relative path with `/`. */
  file: z.string().max(128).regex(
    /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/,
    "must be a relative path of letters, digits and . _ -",
  ),
  text: z.string().max(MAX_POLICY_LENGTH),
});
export type PolicyDocument = z.infer<typeof PolicyDocument>;

export const PolicyDocuments = z.array(PolicyDocument).max(MAX_POLICY_FILES).readonly()
  .refine(
    (list) => list.every(({ file }, i) => i === 0 || list[i - 1]!.file < file),
    "must be sorted by file, each file once",
  )
  .refine(
    (list) => list.reduce((sum, { text }) => sum + text.length, 0) <= MAX_POLICY_LENGTH,
    `must have at most ${MAX_POLICY_LENGTH} characters in all`,
  );

/** What a key may admit on behalf of the admin who signed it. */
export const Limits = z.strictObject({
  /** Admissions in all; those of nodes that were revoked since count. */
  maxNodes: z.int().positive().max(MAX_PEERS),
  /** Entries dated later are refused. */
  expiresAt: WallTime.nullable(),
  /** Whose the nodes are, exactly. */
  user: UserId.nullable(),
  tags: Tags,
  expiresAfterMs: ExpiresAfterMs,
});

const PathKinds = z.array(z.enum(PATH_KINDS)).readonly()
  .refine((list) => new Set(list).size === list.length, "must be without repetition");

/** Which kinds of path a node uses for a peer. */
export const TransportPreference = z.strictObject({
  /** Best first. */
  order: PathKinds.refine((list) => list.length > 0, "must not be empty"),
  /** Never used. */
  exclude: PathKinds.refine((list) => list.length < PATH_KINDS.length, "must leave a kind"),
});
export type TransportPreference = Readonly<z.infer<typeof TransportPreference>>;

/** What an admin remembers a token by. */
export const Note = z.string().max(200);

const Signature = z.string().regex(/^[A-Za-z0-9_-]{85}[AQgw]$/, "must be base64url of 64 bytes");

export const Body = z.discriminatedUnion("type", [
  /** The mesh begins; the signer is its first admin. The nonce sets apart meshes that begin alike. */
  z.strictObject({
    type: z.literal("genesis"),
    name: UserName,
    nonce: z.string().regex(/^[0-9a-f]{32}$/),
  }),
  /** The key is repeated so that the chain of admins can be followed without the users. */
  z.strictObject({ type: z.literal("admin-add"), user: UserId, key: Key }),
  z.strictObject({ type: z.literal("admin-remove"), user: UserId }),
  z.strictObject({ type: z.literal("user-add"), name: UserName, key: Key }),
  z.strictObject({ type: z.literal("user-rename"), user: UserId, name: UserName }),
  /** Revokes the user's nodes as well; an admin can be removed while there is another. */
  z.strictObject({ type: z.literal("user-remove"), user: UserId }),
  z.strictObject({
    type: z.literal("node-admit"),
    identity: Key,
    user: UserId.nullable(),
    tags: Tags,
    expiresAfterMs: ExpiresAfterMs,
    /** The right by which somebody other than an admin signed this; null for an admin. */
    authority: AuthorityId.nullable(),
  }),
  z.strictObject({ type: z.literal("node-revoke"), node: PeerId, reason: z.string().max(200) }),
  /** Also counts as a sign of life, so that it brings an expired node back. */
  z.strictObject({
    type: z.literal("node-expire-policy"),
    node: PeerId,
    expiresAfterMs: ExpiresAfterMs,
  }),
  z.strictObject({ type: z.literal("tag-set"), node: PeerId, tags: Tags }),
  z.strictObject({ type: z.literal("policy-set"), documents: PolicyDocuments, hash: Hash }),
  /**
   * Signed by the old key, with the new key's signature of {@link proofBytes} as `proof`, so that
   * nobody locks themselves out by a slip; or by an admin for a key that was lost, without proof.
   */
  z.strictObject({
    type: z.literal("key-rotate"),
    user: UserId,
    key: Key,
    proof: Signature.nullable(),
  }),
  /** Null limits withdraw the right; what it admitted stays. */
  z.strictObject({
    type: z.literal("token-authority"),
    authority: AuthorityId,
    key: Key,
    limits: Limits.nullable(),
    note: Note,
  }),
  /** A null preference withdraws what was set, so that the node's own configuration holds. */
  z.strictObject({
    type: z.literal("transport-set"),
    node: PeerId,
    peer: PeerId,
    preference: TransportPreference.nullable(),
  }),
  /** Hash of the state's text before this entry, which changes nothing. */
  z.strictObject({ type: z.literal("snapshot"), stateHash: Hash }),
]);
export type Body = Readonly<z.infer<typeof Body>>;
export type BodyOf<T extends Body["type"]> = Extract<Body, { type: T }>;

/** What the new key signs in a key-rotate. */
export function proofBytes(meshId: string, user: UserId, key: string): Uint8Array {
  return utf8(`tunnelmesh-key-proof-v1\0${meshId}\0${user}\0${key}`);
}

/** Names a policy by its content: SHA-256 over the JSON text of `[[file, text], ...]`. */
export function policyHash(documents: readonly PolicyDocument[]): Hash {
  return hashText(JSON.stringify(documents.map(({ file, text }) => [file, text])));
}

/** Hex of SHA-256 over the UTF-8 bytes. */
export function hashText(text: string): Hash {
  return toHex(sha256(utf8(text)));
}

/** A list as the schemas want sets. */
export function sortedSet<T extends string>(items: Iterable<T>): T[] {
  return [...new Set(items)].sort();
}
