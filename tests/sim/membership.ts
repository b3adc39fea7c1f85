/**
 * A simulated machine's requests to the coordinator: to become a member, to state something about
 * the mesh, and to be none any more.
 * @module
 */
import { toBase64Url } from "../../core/bytes.ts";
import { PATHS, signCall, signRegistration, tokenProofBytes } from "../../core/control/envelope.ts";
import { leavingRecord, type Membership, membershipOf } from "../../core/daemon/membership.ts";
import { admissionOf } from "../../core/daemon/registration.ts";
import { type Identity, sign } from "../../core/identity/keys.ts";
import { type JoinToken, tokenIdOf } from "../../core/identity/token.ts";
import { admissionKey } from "../../core/state/admission.ts";
import type { SignedEntry } from "../../core/state/entry.ts";
import { MeshLog } from "../../core/state/log.ts";
import type { Coordinator } from "./coordinator.ts";
import { verifyShared } from "./log_disk.ts";

/** Name of the user whose machine joins first. */
export const FIRST_USER = "anna";

/** Who asks whom. */
export interface Applicant {
  readonly coordinator: Coordinator;
  readonly identity: Identity;
  readonly name: string;
}

/**
 * Registers as the daemon does: reads the log by the token, then brings what follows.
 * @throws {MeshError} what the coordinator refuses with.
 */
export function joinMesh(
  applicant: Applicant,
  before: { readonly token: JoinToken | null; readonly membership: Membership | null },
  wallTime: number,
): Membership {
  const { coordinator, identity, name } = applicant;
  const { token } = before;
  const log = token && readLog(applicant, token.meshId, token);
  const { reply, events } = coordinator.ask((service, moment) => {
    const text = toBase64Url(identity.publicKey);
    const { challenge } = service.challenge({ identity: text }, moment);
    const terms = { identity, userName: FIRST_USER, wallTime: () => wallTime };
    const body = {
      challenge,
      identity: text,
      name,
      aliases: [],
      version: "0",
      time: wallTime,
      ...(token && log ? admissionOf(log, token, terms, challenge) : {}),
    };
    return service.register(signRegistration(identity, body), moment);
  });
  coordinator.publish(events);
  const place = { urls: ["https://c:8443"], caCertificate: null };
  return membershipOf(identity, place, { ...reply, caCertificate: "" }, before.membership);
}

/** Reads the mesh's whole log, as a member or by a token. @throws {MeshError} */
export function readLog(
  { coordinator, identity }: Pick<Applicant, "coordinator" | "identity">,
  meshId: string,
  token: JoinToken | null,
): MeshLog {
  const own = toBase64Url(identity.publicKey);
  let log: MeshLog | null = null;
  for (;;) {
    const from: number = log === null ? 0 : log.head.seq + 1;
    const { entries, head } = coordinator.ask((service, moment) => {
      const { challenge } = service.challenge({ identity: own }, moment);
      const proof = token && {
        id: tokenIdOf(token.secret),
        signature: toBase64Url(
          sign(admissionKey(token.secret), tokenProofBytes(challenge, own)),
        ),
      };
      const body = { challenge, identity: own, from, ...(proof ? { token: proof } : {}) };
      const call = { method: "POST", path: PATHS.logRead, body } as const;
      return service.readLog(signCall(identity, call), moment).read(moment);
    });
    const [first, ...rest] = entries;
    const following: readonly unknown[] = log ? entries : rest;
    log ??= MeshLog.begin(first, meshId, verifyShared);
    for (const entry of following) log.append(entry);
    if (log.head.seq >= head) return log;
  }
}

/** Has the coordinator append entries. @throws {MeshError} what it refuses with. */
export function appendLog(
  { coordinator, identity }: Pick<Applicant, "coordinator" | "identity">,
  entries: readonly SignedEntry[],
): void {
  coordinator.ask((service, moment) => {
    const own = toBase64Url(identity.publicKey);
    const { challenge } = service.challenge({ identity: own }, moment);
    const body = { challenge, identity: own, entries };
    const call = { method: "POST", path: PATHS.log, body } as const;
    service.appendLog(signCall(identity, call), moment);
  });
  coordinator.publish([]);
}

/** Gives name and address back. */
export function leaveMesh({ coordinator, identity }: Applicant, membership: Membership): void {
  const record = leavingRecord(identity, membership);
  const { events } = coordinator.ask((service, moment) => {
    const text = toBase64Url(identity.publicKey);
    const { challenge } = service.challenge({ identity: text }, moment);
    const path = `${PATHS.nodes}/${identity.peerId}`;
    const body = { challenge, identity: text, record };
    const envelope = signCall(identity, { method: "DELETE", path, body });
    return service.leave(identity.peerId, envelope, moment);
  });
  coordinator.publish(events);
}
