/**
 * How does a mesh begin, when its coordinator runs before anybody has joined?
 *
 * The coordinator signs the genesis. With the first join it hands the mesh over in four entries: the
 * first user, whose key is their machine's identity; that they are an admin; their machine; and its
 * own removal, after which its key may state nothing.
 * @module
 */
import { fromBase64Url } from "../bytes.ts";
import { type Identity, peerIdOf } from "../identity/keys.ts";
import { type Body, sortedSet } from "./bodies.ts";
import { type SignedEntry, signEntry } from "./entry.ts";
import { draftGenesis, MeshLog, signAll } from "./log.ts";

/** What the coordinator is called as a user, until the first one joins. */
export const BOOTSTRAP_USER = "coordinator";

/** Who joins first. */
export interface FirstMember {
  /** The user's name. */
  readonly name: string;
  /** base64url of the node's identity key, which becomes the user's key as well. */
  readonly key: string;
  readonly tags: readonly string[];
  readonly expiresAfterMs: number | null;
}

/**
 * A new mesh with the coordinator as its only user.
 * @param nonce 32 random lower-case hex digits.
 * @param at Wall time, milliseconds since 1970.
 */
export function beginMesh(coordinator: Identity, nonce: string, at: number): MeshLog {
  return MeshLog.begin(signEntry(coordinator, draftGenesis(BOOTSTRAP_USER, nonce, at)), null);
}

/**
 * Hands a mesh over to whoever joins first, and appends the entries that do it.
 * @param at Wall time, milliseconds since 1970.
 * @throws {MeshError} "entry-invalid", "entry-conflict"; "entry-forbidden" when it was handed over
 *   before. The log has not changed then.
 */
export function bootstrapEntries(
  log: MeshLog,
  coordinator: Identity,
  first: FirstMember,
  at: number,
): SignedEntry[] {
  const { name, key, expiresAfterMs } = first;
  const user = peerIdOf(fromBase64Url(key));
  const tags = sortedSet(first.tags);
  const bodies: Body[] = [
    { type: "user-add", name, key },
    { type: "admin-add", user, key },
    { type: "node-admit", identity: key, user, tags, expiresAfterMs, authority: null },
    { type: "user-remove", user: coordinator.peerId },
  ];
  const entries = signAll(log, coordinator, bodies, at);
  for (const entry of entries) log.append(entry);
  return entries;
}
