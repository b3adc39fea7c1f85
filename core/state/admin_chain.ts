/**
 * Who is an admin, told by those entries alone that change it?
 *
 * The entries that change the admins or their keys form a chain of their own (`admins` in each
 * entry). Whoever follows it from the genesis knows who may sign a snapshot, without the users,
 * nodes and policies between.
 * @module
 */
import { fromBase64Url } from "../bytes.ts";
import { MeshError } from "../errors.ts";
import { peerIdOf } from "../identity/keys.ts";
import type { UserId } from "./bodies.ts";
import {
  type Entry,
  invalidEntry,
  meshIdOf,
  NO_HASH,
  NO_MESH,
  type VerifiedEntry,
  verifyEntry,
} from "./entry.ts";
import { expectProof } from "./permit.ts";
import { admins, type MeshState } from "./state.ts";

/** Keys of the admins by user. */
export type AdminKeys = ReadonlyMap<UserId, string>;

/** Most entries of a chain that are accepted; each costs a signature check. */
export const MAX_ADMIN_ENTRIES = 4096;

/** The admins of a state. */
export function adminKeysOf(state: MeshState): AdminKeys {
  return new Map(admins(state).map(({ id, key }) => [id, key]));
}

/** Whether an entry changes who is an admin, or with which key. */
export function changesAdmins(keys: AdminKeys, { body }: Entry): boolean {
  return body.type === "genesis" || body.type === "admin-add" || body.type === "admin-remove" ||
    ((body.type === "key-rotate" || body.type === "user-remove") && keys.has(body.user));
}

/**
 * Checks that an entry can begin a log.
 * @param meshId The id it must have; null when the log is the caller's own.
 * @throws {MeshError} "entry-invalid", "entry-foreign"
 */
export function expectGenesis(genesis: VerifiedEntry, meshId: string | null): void {
  const { seq, previous, admins, meshId: stated, body } = genesis.entry;
  const isFirst = seq === 0 && previous === NO_HASH && admins === NO_HASH && stated === NO_MESH;
  if (body.type !== "genesis" || !isFirst) throw invalidEntry("it does not begin a log");
  const id = meshIdOf(genesis);
  if (meshId === null || meshId === id) return;
  throw new MeshError("entry-foreign", `Cannot use genesis: it is of mesh ${id}, not ${meshId}`);
}

/**
 * Follows the chain from the genesis.
 * @returns the admins at its end, and the hash that the next entry must have as `admins`.
 * @throws {MeshError} "entry-invalid", "entry-foreign", "entry-forbidden", "log-gap"
 */
export function followAdmins(
  chain: readonly unknown[],
  meshId: string,
): { keys: AdminKeys; hash: string; entries: VerifiedEntry[] } {
  if (chain.length === 0 || chain.length > MAX_ADMIN_ENTRIES) {
    throw invalidEntry(`${chain.length} entries are no chain of admins`);
  }
  const genesis = verifyEntry(chain[0]);
  expectGenesis(genesis, meshId);
  let keys: AdminKeys = new Map([[peerIdOf(fromBase64Url(genesis.signer)), genesis.signer]]);
  const entries = [genesis];
  for (const signed of chain.slice(1)) {
    const next = verifyEntry(signed);
    const last = entries.at(-1)!;
    if (next.entry.meshId !== meshId) {
      throw new MeshError("entry-foreign", `Cannot use entry: it is of mesh ${next.entry.meshId}`);
    }
    if (next.entry.admins !== last.hash || next.entry.seq <= last.entry.seq) {
      throw new MeshError("log-gap", "Cannot follow the admins: an entry between is missing");
    }
    keys = nextAdmins(keys, next);
    entries.push(next);
  }
  return { keys, hash: entries.at(-1)!.hash, entries };
}

function nextAdmins(keys: AdminKeys, { entry, signer }: VerifiedEntry): AdminKeys {
  const { body, meshId } = entry;
  if (![...keys.values()].includes(signer)) {
    throw new MeshError("entry-forbidden", "Cannot follow the admins: a stranger signed a change");
  }
  const next = new Map(keys);
  switch (body.type) {
    case "admin-add":
      return next.set(body.user, body.key);
    case "admin-remove":
    case "user-remove":
      if (next.delete(body.user) && next.size > 0) return next;
      throw invalidEntry("it leaves no admin or removes none");
    case "key-rotate":
      if (!keys.has(body.user)) throw invalidEntry("it rotates the key of somebody else");
      if (keys.get(body.user) === signer) expectProof(body, meshId);
      return next.set(body.user, body.key);
    default:
      throw invalidEntry(`${body.type} does not change the admins`);
  }
}
