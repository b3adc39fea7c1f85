/**
 * What does the coordinator answer to registrations and signed calls?
 *
 * The HTTP API without HTTP: parsed requests in, replies and model events out. The routes in
 * `coordinator/` and the simulator drive the same functions. Certificates are added by the caller,
 * since making them needs the system's cryptography.
 *
 * Every signed request proves possession of the identity's key over a challenge that this process
 * issued to that identity and that serves once; what it asks for happens only after that.
 * @module
 */
import { fromBase64Url } from "../../core/bytes.ts";
import {
  callBytes,
  type CallMethod,
  PATHS,
  registerBytes,
  tokenProofBytes,
} from "../../core/control/envelope.ts";
import {
  type ChallengeReply,
  type ChallengeRequest,
  type Envelope,
  LeaveBody,
  LogAppendBody,
  type LogAppendReply,
  LogReadBody,
  type LogReadReply,
  MAX_LOG_REQUEST_BYTES,
  parseJson,
  RegisterBody,
  type RegisterReply,
} from "../../core/control/messages.ts";
import { MeshError } from "../../core/errors.ts";
import { peerIdOf, verify } from "../../core/identity/keys.ts";
import { verifyNodeRecord } from "../../core/identity/record.ts";
import type { PeerId } from "../../core/ids.ts";
import type { Millis } from "../../core/machine.ts";
import type { Random } from "../../core/random.ts";
import { expectPresent } from "./absence.ts";
import { memberOf, type ModelEvent } from "./apply.ts";
import { Challenges } from "./challenges.ts";
import type { Mesh } from "./mesh.ts";
import type { Registry } from "./registry.ts";
import type { Node, State } from "./state.ts";

/** When a request came: monotonic for lifetimes of challenges, wall time for everything told. */
export interface Moment {
  readonly now: Millis;
  readonly wallTime: number;
}

/** A reply and what it did to the model; the control hub is told the events. */
export interface Answer<T> {
  readonly reply: T;
  readonly events: readonly ModelEvent[];
}

/** What is read of the log, when it is read. */
export interface LogReading {
  readonly identity: string;
  /** Whether it is read to join, so that an entry will follow. */
  readonly joins: boolean;
  read(moment: Moment): LogReadReply;
}

/** A registration's reply but for the certificates. */
export type Registration = Omit<RegisterReply, "caCertificate" | "certificate">;

/** Public keys that a registration wants certified. */
export interface CertificatesWanted {
  readonly tlsPublicKey: string | null;
  /** Null for all but nodes with a coordinator beside them. */
  readonly coordinator: NonNullable<RegisterBody["coordinator"]> | null;
}

export interface ServiceOptions {
  readonly registry: Registry;
  readonly random: Random;
  readonly mesh: Mesh;
  readonly version: string;
  /** Makes this a follower: `https://host:port` of the coordinator that it follows. */
  readonly leader?: string | null;
}

/** The coordinator's answers. */
export class Service {
  readonly #options: ServiceOptions;
  readonly #challenges: Challenges;

  constructor(options: ServiceOptions) {
    this.#options = options;
    this.#challenges = new Challenges(options.random);
  }

  get state(): State {
    return this.#options.registry.state;
  }

  challenge(request: ChallengeRequest, { now }: Moment): ChallengeReply {
    return { challenge: this.#challenges.issue(request.identity, now) };
  }

  /**
   * Admits a node or welcomes it back: same identity, same addresses.
   * @throws {MeshError} "challenge-invalid", "identity-mismatch", "token-*", "entry-*", "log-*",
   *   "name-*", "peer-unknown", "address-pool-exhausted", "protocol-invalid", "not-leading"
   */
  register(envelope: Envelope, moment: Moment): Answer<Registration> & CertificatesWanted {
    this.#expectLeading("register nodes");
    const body = parseJson(RegisterBody, envelope.body, "registration");
    this.#authenticate(envelope, body, registerBytes(envelope.body), moment);
    this.#admit(body, moment);
    const events = this.#options.registry.execute({
      type: "register",
      at: moment.wallTime,
      identity: body.identity,
      name: body.name,
      aliases: body.aliases,
    });
    const node = memberOf(this.state, idOf(body.identity));
    const reply = this.#describe(node, moment);
    const coordinator = reply.isCoordinator ? body.coordinator ?? null : null;
    return { reply, events, tlsPublicKey: body.tlsPublicKey ?? null, coordinator };
  }

  /** Lets the mesh's log say whether the sender is a member, with what it brings for that. */
  #admit(body: RegisterBody, { wallTime }: Moment): void {
    const { mesh } = this.#options;
    const id = idOf(body.identity);
    const { identity, challenge, name, first } = body;
    if (!mesh.isMember(id) && first) {
      const bytes = tokenProofBytes(challenge, identity);
      const proof = { bytes, signature: fromBase64Url(first.signature) };
      mesh.begin({ identity, user: first.user, name }, proof, wallTime);
    } else if (!mesh.isMember(id)) {
      mesh.admit(id, body.entries ?? [], wallTime);
    }
    expectPresent(this.#options, id, wallTime);
  }

  /** Takes a node's signed farewell; its name and addresses are free after that. */
  leave(id: PeerId, envelope: Envelope, moment: Moment): Answer<Record<string, never>> {
    const body = parseJson(LeaveBody, envelope.body, "request to leave");
    this.#authenticateCall("DELETE", `${PATHS.nodes}/${id}`, envelope, body, moment);
    const record = verifyNodeRecord(body.record);
    if (record.id !== id || idOf(body.identity) !== id) {
      throw new MeshError("forbidden", `Cannot remove node ${id}: only the node itself may leave`);
    }
    const events = this.#options.registry.execute({
      type: "leave",
      at: moment.wallTime,
      id,
      record: body.record,
    });
    return { reply: {}, events };
  }

  /**
   * `POST /api/v1/log/read`, for members and the invited.
   * @throws {MeshError} "peer-unknown", "token-*"
   */
  readLog(envelope: Envelope, moment: Moment): LogReading {
    const body = parseJson(LogReadBody, envelope.body, "request for the mesh's log");
    this.#authenticateCall("POST", PATHS.logRead, envelope, body, moment);
    const { identity, challenge, from, token } = body;
    const proof = tokenProofBytes(challenge, identity);
    const { mesh } = this.#options;
    const reader = { id: idOf(identity), from, token };
    const read = () => mesh.read(reader, proof, moment.wallTime);
    // Who may not read is refused before anybody waits.
    read();
    return {
      identity,
      joins: !mesh.isMember(reader.id),
      read: ({ now }) => ({ ...read(), challenge: this.#challenges.issue(identity, now) }),
    };
  }

  /**
   * `POST /api/v1/log`: entries for the mesh's log, from any member. Who may state them is the
   * log's to say, whoever brings them.
   * @throws {MeshError} "peer-unknown", "entry-*", "log-*", "not-leading"
   */
  appendLog(envelope: Envelope, moment: Moment): LogAppendReply {
    this.#expectLeading("add to the mesh's log");
    const what = "entries for the mesh's log";
    const body = parseJson(LogAppendBody, envelope.body, what, MAX_LOG_REQUEST_BYTES);
    this.#authenticateCall("POST", PATHS.log, envelope, body, moment);
    const { mesh } = this.#options;
    memberOf(this.state, idOf(body.identity));
    mesh.append(body.entries, moment.wallTime);
    return mesh.log.head;
  }

  /** There is one order of entries and one who gives addresses, so there is one who leads. */
  #expectLeading(what: string): void {
    const { leader } = this.#options;
    if (!leader) return;
    throw new MeshError("not-leading", `Cannot ${what}: only the coordinator at ${leader} does`, {
      hint: "Try again when that one is back; traffic and policy go on without it",
    });
  }

  #describe(node: Node, { wallTime }: Moment): Registration {
    const { meshId, cidr4, prefix6 } = this.state;
    const { mesh } = this.#options;
    return {
      id: node.id,
      name: node.name,
      aliases: [...node.aliases],
      addresses: [node.ip4, node.ip6],
      meshId,
      cidr4,
      prefix6,
      isAdmin: mesh.isAdmin(node.identity),
      isCoordinator: mesh.isCoordinator(node.id),
      recordSeq: node.recordSeq,
      time: wallTime,
      coordinatorVersion: this.#options.version,
    };
  }

  #authenticateCall(
    method: CallMethod,
    path: string,
    envelope: Envelope,
    body: { readonly challenge: string; readonly identity: string },
    moment: Moment,
  ): void {
    this.#authenticate(envelope, body, callBytes(method, path, envelope.body), moment);
  }

  /** The cheap check first: an invalid challenge costs a hash, not a signature verification. */
  #authenticate(
    envelope: Envelope,
    body: { readonly challenge: string; readonly identity: string },
    bytes: Uint8Array,
    { now }: Moment,
  ): void {
    this.#challenges.check(body.challenge, body.identity, now);
    const key = fromBase64Url(body.identity);
    if (!verify(key, bytes, fromBase64Url(envelope.signature))) {
      throw new MeshError(
        "identity-mismatch",
        "Cannot accept the request: its signature is not of the identity it names",
        { hint: "Check that the private key belongs to the identity" },
      );
    }
    this.#challenges.spend(body.challenge, now);
  }
}

function idOf(identity: string): PeerId {
  return peerIdOf(fromBase64Url(identity));
}
