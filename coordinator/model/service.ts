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
import { fromBase64Url, fromUtf8, toBase64Url } from "../../core/bytes.ts";
import { callBytes, type CallMethod, PATHS, registerBytes } from "../../core/control/envelope.ts";
import {
  BareBody,
  type ChallengeReply,
  type ChallengeRequest,
  type Envelope,
  LeaveBody,
  parseJson,
  RegisterBody,
  type RegisterReply,
  TokenCreateBody,
  type TokenCreateReply,
  type TokenListReply,
  TokenOptions,
} from "../../core/control/messages.ts";
import { MeshError } from "../../core/errors.ts";
import { peerIdOf, verify } from "../../core/identity/keys.ts";
import { verifyNodeRecord } from "../../core/identity/record.ts";
import {
  encodeToken,
  hashTokenSecret,
  parseCredential,
  TOKEN_ID_BYTES,
  TOKEN_SECRET_BYTES,
} from "../../core/identity/token.ts";
import type { PeerId } from "../../core/ids.ts";
import type { Millis } from "../../core/machine.ts";
import type { Random } from "../../core/random.ts";
import { memberOf, type ModelEvent } from "./apply.ts";
import { Challenges } from "./challenges.ts";
import type { Registry } from "./registry.ts";
import type { Node, State } from "./state.ts";
import { tokenInfo } from "./tokens.ts";

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

/** A registration's reply but for the certificates. */
export type Registration = Omit<RegisterReply, "caCertificate" | "certificate">;

export interface ServiceOptions {
  readonly registry: Registry;
  readonly random: Random;
  readonly version: string;
  /** What tokens pin, 32 bytes; all zero with a public certificate. */
  readonly caPin: Uint8Array;
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
   * @throws {MeshError} "challenge-invalid", "identity-mismatch", "token-*", "name-*",
   *   "address-pool-exhausted", "protocol-invalid"
   */
  register(
    envelope: Envelope,
    moment: Moment,
  ): Answer<Registration> & { readonly tlsPublicKey: string | null } {
    const body = parseJson(RegisterBody, envelope.body, "registration");
    this.#authenticate(envelope, body, registerBytes(envelope.body), moment);
    const credential = body.token === undefined ? null : parseCredential(body.token);
    const token = credential && {
      id: toBase64Url(credential.id),
      hash: toBase64Url(hashTokenSecret(credential.secret)),
    };
    const events = this.#options.registry.execute({
      type: "register",
      at: moment.wallTime,
      identity: body.identity,
      name: body.name,
      aliases: body.aliases,
      token,
    });
    const node = memberOf(this.state, idOf(body.identity));
    const reply = this.#describe(node, moment);
    return { reply, events, tlsPublicKey: body.tlsPublicKey ?? null };
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

  /** `POST /api/v1/tokens`, for admins. */
  createTokenFor(envelope: Envelope, moment: Moment): Answer<TokenCreateReply> {
    const body = parseJson(TokenCreateBody, envelope.body, "request for a token");
    this.#authenticateCall("POST", PATHS.tokens, envelope, body, moment);
    const admin = this.#admin(body.identity);
    const { challenge: _, identity: __, ...options } = body;
    return this.createToken(options, admin.id, moment);
  }

  /** `GET /api/v1/tokens`, for admins. */
  listTokensFor(envelope: Envelope, moment: Moment): TokenListReply {
    const body = parseJson(BareBody, envelope.body, "request for the tokens");
    this.#authenticateCall("GET", PATHS.tokens, envelope, body, moment);
    this.#admin(body.identity);
    return this.listTokens(moment);
  }

  /** `DELETE /api/v1/tokens/:id`, for admins. */
  revokeTokenFor(
    id: string,
    envelope: Envelope,
    moment: Moment,
  ): Answer<Record<string, never>> {
    const body = parseJson(BareBody, envelope.body, "request to revoke a token");
    this.#authenticateCall("DELETE", `${PATHS.tokens}/${id}`, envelope, body, moment);
    this.#admin(body.identity);
    return this.revokeToken(id, moment);
  }

  /** Makes a token on behalf of `createdBy`, or of this machine's operator (null). */
  createToken(
    options: TokenOptions,
    createdBy: PeerId | null,
    { wallTime }: Moment,
  ): Answer<TokenCreateReply> {
    const { expiresInMs, ...choices } = TokenOptions.parse(options);
    const { random, registry, caPin } = this.#options;
    const id = random.bytes(TOKEN_ID_BYTES);
    const secret = random.bytes(TOKEN_SECRET_BYTES);
    const idText = toBase64Url(id);
    const events = registry.execute({
      type: "create-token",
      at: wallTime,
      id: idText,
      hash: toBase64Url(hashTokenSecret(secret)),
      ...choices,
      expiresAt: expiresInMs === undefined ? null : wallTime + expiresInMs,
      createdBy,
    });
    const info = tokenInfo(this.state.tokens.get(idText)!, wallTime);
    return { reply: { token: encodeToken({ caPin, id, secret }), info }, events };
  }

  listTokens({ wallTime }: Moment): TokenListReply {
    return { tokens: [...this.state.tokens.values()].map((token) => tokenInfo(token, wallTime)) };
  }

  /** @throws {MeshError} "token-invalid" when there is no such token. */
  revokeToken(id: string, { wallTime }: Moment): Answer<Record<string, never>> {
    const events = this.#options.registry.execute({ type: "revoke-token", at: wallTime, id });
    return { reply: {}, events };
  }

  #describe(node: Node, { wallTime }: Moment): Registration {
    const { meshId, cidr4, prefix6 } = this.state;
    return {
      id: node.id,
      name: node.name,
      aliases: [...node.aliases],
      addresses: [node.ip4, node.ip6],
      meshId,
      cidr4,
      prefix6,
      isAdmin: node.isAdmin,
      isCoordinator: node.isCoordinator,
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

  /** @throws {MeshError} "peer-unknown", "forbidden" */
  #admin(identity: string): Node {
    const node = memberOf(this.state, idOf(identity));
    if (node.isAdmin) return node;
    throw new MeshError("forbidden", `Cannot manage tokens: node "${node.name}" is not an admin`, {
      hint: "Run this on the node that was first in the mesh",
    });
  }
}

function idOf(identity: string): PeerId {
  return peerIdOf(fromBase64Url(identity));
}

/** Reads the header of a signed GET, the reverse of `formatAuthorization`. */
export function parseAuthorization(header: string | undefined): Envelope {
  const match = /^TunnelMesh ([A-Za-z0-9_-]{1,4096})\.([A-Za-z0-9_-]{86})$/.exec(header ?? "");
  const invalid = "Cannot read the request: it needs a signed Authorization header";
  if (!match) throw new MeshError("challenge-invalid", invalid);
  try {
    const body = fromUtf8(fromBase64Url(match[1]!));
    return { body, signature: match[2]! };
  } catch (cause) {
    throw new MeshError("challenge-invalid", invalid, { cause });
  }
}
