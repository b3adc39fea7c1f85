/**
 * What a node keeps of the mesh it belongs to, and how it comes to belong: `mesh.json`.
 *
 * Everything needed to run is in it, so a restart asks no coordinator: the node forwards at once and
 * connects beside that.
 * @module
 */
import { z } from "zod";
import { RegisterReply } from "../control/messages.ts";
import type { Identity } from "../identity/keys.ts";
import { SignedRecord, signNodeRecord, verifyNodeRecord } from "../identity/record.ts";
import { isSameOffer, offerFields, type Offers, offersOf } from "../exit/offers.ts";
import { LogFile } from "../platform/log_file.ts";
import type { MeshLog } from "../state/log.ts";
import type { StateDir } from "./state_dir.ts";

const FILE = "mesh.json";
const LOG_FILE = "mesh.log";

/** The content of `mesh.json`. */
export const Membership = z.strictObject({
  /** `https://host:port` of the coordinators. */
  urls: z.array(z.string()).min(1),
  /** PEM that coordinators are checked against; null for the system's roots. */
  caCertificate: z.string().nullable(),
  reply: RegisterReply,
  /** This node's own record, newest. */
  record: SignedRecord,
});
export type Membership = z.infer<typeof Membership>;

/** @throws {MeshError} `state-invalid` */
export async function loadMembership(state: StateDir): Promise<Membership | null> {
  return await state.readJson(FILE, Membership);
}

/** Keeps it on disk. */
export async function saveMembership(state: StateDir, membership: Membership): Promise<void> {
  await state.writeJson(FILE, membership);
}

/** Forgets the mesh; the identity stays. */
export async function removeMembership(state: StateDir): Promise<void> {
  await state.remove(FILE);
  await removePeers(state);
}

/** Forgets what was seen of peers: names and addresses of another mesh would be held against it. */
export async function removePeers(state: StateDir): Promise<void> {
  for (const name of ["netmap.json", "seen.json", LOG_FILE]) await state.remove(name);
}

/** This node's copy of the mesh's log; null when there is none. @throws {MeshError} "state-invalid" */
export function openLogFile(state: StateDir, meshId: string): LogFile | null {
  return LogFile.open(state.pathOf(LOG_FILE), meshId);
}

/** Keeps a log that was read for the first time. */
export function createLogFile(state: StateDir, log: MeshLog): LogFile {
  return LogFile.create(state.pathOf(LOG_FILE), log);
}

/**
 * The membership that a registration gives: with the record of before when its facts still hold,
 * so that restarting does not make the mesh carry a new one.
 */
export function membershipOf(
  identity: Identity,
  coordinator: { readonly urls: readonly string[]; readonly caCertificate: string | null },
  reply: RegisterReply,
  before: Membership | null,
): Membership {
  const { name, aliases, addresses, meshId } = reply;
  const known = before?.reply;
  const isSame = known?.meshId === meshId && known.name === name &&
    known.addresses.join() === addresses.join() && known.aliases.join() === aliases.join() &&
    before !== null && seqOf(before.record) >= reply.recordSeq;
  const last = Math.max(reply.recordSeq, before ? seqOf(before.record) : -1);
  const record = isSame ? before.record : signNodeRecord(identity, {
    name,
    aliases,
    addresses: [...addresses],
    meshId,
    seq: last + 1,
  });
  return { urls: [...coordinator.urls], caCertificate: coordinator.caCertificate, reply, record };
}

/** The same membership with a record that states these offers; the very same when it does already. */
export function offering(identity: Identity, membership: Membership, offers: Offers): Membership {
  const { exit: _exit, routes: _routes, ...facts } = verifyNodeRecord(membership.record);
  if (isSameOffer(offersOf({ exit: _exit, routes: _routes }), offers)) return membership;
  const next = { ...facts, seq: facts.seq + 1, ...offerFields(offers) };
  return { ...membership, record: signNodeRecord(identity, next) };
}

/** The record that gives this node's name and addresses up. */
export function leavingRecord(identity: Identity, membership: Membership): SignedRecord {
  const { name, aliases, addresses, meshId } = membership.reply;
  return signNodeRecord(identity, {
    name,
    aliases,
    addresses: [...addresses],
    meshId,
    seq: seqOf(membership.record) + 1,
    left: true,
  });
}

function seqOf(record: SignedRecord): number {
  const payload: unknown = JSON.parse(record.payload);
  return z.object({ seq: z.int().nonnegative() }).parse(payload).seq;
}
