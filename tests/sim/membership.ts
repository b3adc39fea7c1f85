/**
 * A simulated machine's requests to the coordinator: to become a member, and to be none any more.
 * @module
 */
import { toBase64Url } from "../../core/bytes.ts";
import { PATHS, signCall, signRegistration } from "../../core/control/envelope.ts";
import { leavingRecord, type Membership, membershipOf } from "../../core/daemon/membership.ts";
import type { Identity } from "../../core/identity/keys.ts";
import { formatCredential, type JoinToken } from "../../core/identity/token.ts";
import type { Coordinator } from "./coordinator.ts";

/** Who asks whom. */
interface Applicant {
  readonly coordinator: Coordinator;
  readonly identity: Identity;
  readonly name: string;
}

/** Registers. @throws {MeshError} what the coordinator refuses with. */
export function joinMesh(
  { coordinator, identity, name }: Applicant,
  before: { readonly token: JoinToken | null; readonly membership: Membership | null },
  wallTime: number,
): Membership {
  const service = coordinator.service!;
  const text = toBase64Url(identity.publicKey);
  const { challenge } = service.challenge({ identity: text }, coordinator.moment);
  const { reply, events } = service.register(
    signRegistration(identity, {
      challenge,
      identity: text,
      name,
      aliases: [],
      version: "0",
      time: wallTime,
      ...(before.token ? { token: formatCredential(before.token) } : {}),
    }),
    coordinator.moment,
  );
  coordinator.publish(events);
  const place = { urls: ["https://c:8443"], caCertificate: null };
  return membershipOf(identity, place, { ...reply, caCertificate: "" }, before.membership);
}

/** Gives name and address back. */
export function leaveMesh({ coordinator, identity }: Applicant, membership: Membership): void {
  const service = coordinator.service!;
  const text = toBase64Url(identity.publicKey);
  const { challenge } = service.challenge({ identity: text }, coordinator.moment);
  const record = leavingRecord(identity, membership);
  const path = `${PATHS.nodes}/${identity.peerId}`;
  const body = { challenge, identity: text, record };
  const envelope = signCall(identity, { method: "DELETE", path, body });
  coordinator.publish(service.leave(identity.peerId, envelope, coordinator.moment).events);
}
