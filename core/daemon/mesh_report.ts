/**
 * What does the daemon tell of the mesh's signed state, and how is it asked to state something?
 *
 * Answers and requests of `/v1/mesh` and what is below it; only the main socket has them.
 * @module
 */
import { z } from "zod";
import { Body, Hash, Label, MAX_TAGS, PolicyDocuments, UserId, UserName } from "../state/bodies.ts";
import { Entry, SignedEntry } from "../state/entry.ts";
import { PeerId } from "../ids.ts";
import { PATH_KINDS } from "../path/address.ts";

/** Milliseconds since 1970. */
const At = z.int().nonnegative();

export const MeshUserReport = z.object({
  id: UserId,
  name: UserName,
  isAdmin: z.boolean(),
  /** Fingerprint as `ssh-keygen -l` shows it. */
  key: z.string().startsWith("SHA256:"),
  addedAt: At,
});
export type MeshUserReport = Readonly<z.infer<typeof MeshUserReport>>;

export const MeshNodeReport = z.object({
  id: PeerId,
  /** From the node's own record; its id while that is not known. */
  name: z.string(),
  /** Name of the user whose it is. */
  user: z.string().nullable(),
  tags: z.array(z.string()).readonly(),
  addresses: z.array(z.string()).readonly(),
  online: z.boolean().nullable(),
  lastSeen: At,
  /** When it stops being a member if it stays away; null for never. */
  expiresAt: At.nullable(),
  admittedAt: At,
});
export type MeshNodeReport = Readonly<z.infer<typeof MeshNodeReport>>;

/** Who may admit nodes besides admins: join tokens, mostly. */
export const MeshAuthorityReport = z.object({
  id: z.string(),
  note: z.string(),
  uses: z.int().nonnegative(),
  maxNodes: z.int().positive(),
  expiresAt: At.nullable(),
  user: z.string().nullable(),
  tags: z.array(z.string()).readonly(),
  createdAt: At,
  /** Name of the admin; null for one who is gone. */
  createdBy: z.string().nullable(),
  withdrawnAt: At.nullable(),
});
export type MeshAuthorityReport = Readonly<z.infer<typeof MeshAuthorityReport>>;

/** The policy that was stated last. */
export const MeshPolicyReport = z.object({
  hash: Hash,
  seq: z.int().nonnegative(),
  at: At,
  /** Name of the user who stated it. */
  by: z.string(),
  documents: PolicyDocuments,
});
export type MeshPolicyReport = Readonly<z.infer<typeof MeshPolicyReport>>;

/** `GET /v1/mesh`. */
export const MeshReport = z.object({
  meshId: z.string(),
  /** Number and hash of the newest entry. */
  seq: z.int().nonnegative(),
  hash: Hash,
  /** What join tokens pin: base64url of SHA-256 over the mesh's root certificate, or of zeros. */
  caPin: z.string(),
  me: z.object({
    node: PeerId,
    user: z.string().nullable(),
    userId: UserId.nullable(),
    isAdmin: z.boolean(),
  }),
  users: z.array(MeshUserReport).readonly(),
  nodes: z.array(MeshNodeReport).readonly(),
  authorities: z.array(MeshAuthorityReport).readonly(),
  revoked: z.array(z.object({
    id: PeerId,
    /** What it was called when it was seen last; its id where nobody here saw it. */
    name: z.string(),
    at: At,
    reason: z.string(),
  })).readonly(),
  /** Which kinds of path admins have chosen for a node and a peer of it. */
  transports: z.array(z.object({
    node: PeerId,
    peer: PeerId,
    order: z.array(z.enum(PATH_KINDS)).readonly(),
    exclude: z.array(z.enum(PATH_KINDS)).readonly(),
  })).readonly(),
  /** Null while the first policy holds. */
  policy: MeshPolicyReport.nullable(),
});
export type MeshReport = Readonly<z.infer<typeof MeshReport>>;

/** `GET /v1/mesh/log`: every entry. */
export const MeshLogReport = z.object({
  meshId: z.string(),
  entries: z.array(SignedEntry).readonly(),
});
export type MeshLogReport = Readonly<z.infer<typeof MeshLogReport>>;

/** `POST /v1/mesh/draft`: what would have to be signed. */
export const DraftRequest = z.strictObject({ body: Body });
export const DraftReport = z.object({ entry: Entry });
export type DraftReport = Readonly<z.infer<typeof DraftReport>>;

/** `POST /v1/mesh/append`: a signed entry, or a body for the daemon to sign with its own key. */
export const AppendRequest = z.union([
  z.strictObject({ signed: SignedEntry }),
  z.strictObject({ body: Body }),
]);
export type AppendRequest = Readonly<z.infer<typeof AppendRequest>>;

/** The entry that was taken. */
export const AppendReport = z.object({ seq: z.int().nonnegative(), hash: Hash });
export type AppendReport = Readonly<z.infer<typeof AppendReport>>;

/** `POST /v1/tokens`: what the creator of a join token chooses. */
export const TokenRequest = z.strictObject({
  /** Whether it admits any number of nodes, or one. */
  reusable: z.boolean().default(false),
  /** Life from creation; null does not expire. */
  expiresInMs: z.int().positive().max(10 * 365 * 86_400_000).nullable(),
  note: z.string().max(200).default(""),
  /** Name of the user whose its nodes are; null for one's own, or nobody's where there are tags. */
  user: z.string().nullable().default(null),
  /** Name of a user to be made, whose key becomes that of the machine that joins. */
  newUser: UserName.nullable().default(null),
  tags: z.array(Label).max(MAX_TAGS).default([]),
  /** Whether its nodes are coordinators of the mesh. */
  isCoordinator: z.boolean().default(false),
});
export type TokenRequest = Readonly<z.infer<typeof TokenRequest>>;

/** A join token; its secret is shown this once. */
export const TokenReport = z.object({
  id: z.string(),
  token: z.string(),
  expiresAt: At.nullable(),
  reusable: z.boolean(),
  note: z.string(),
});
export type TokenReport = Readonly<z.infer<typeof TokenReport>>;

/** `POST /v1/tokens/revoke` */
export const TokenRevokeRequest = z.strictObject({ id: z.string().min(1).max(64) });
export type TokenRevokeRequest = Readonly<z.infer<typeof TokenRevokeRequest>>;
