/**
 * What does the daemon tell of the mesh's signed state, and how is it asked to state something?
 *
 * Answers and requests of `/v1/mesh` and what is below it; only the main socket has them.
 * @module
 */
import { z } from "zod";
import { Body, Hash, PolicyDocuments, UserId, UserName } from "../state/bodies.ts";
import { Entry, SignedEntry } from "../state/entry.ts";
import { PeerId } from "../ids.ts";

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
  isWithdrawn: z.boolean().optional(),
});

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
  me: z.object({
    node: PeerId,
    user: z.string().nullable(),
    userId: UserId.nullable(),
    isAdmin: z.boolean(),
  }),
  users: z.array(MeshUserReport).readonly(),
  nodes: z.array(MeshNodeReport).readonly(),
  authorities: z.array(MeshAuthorityReport).readonly(),
  revoked: z.array(z.object({ id: PeerId, at: At, reason: z.string() })).readonly(),
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
