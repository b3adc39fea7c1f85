/**
 * Who is connected to the coordinator, and what is each of them told?
 *
 * The server side of `/api/v1/control` as a machine; sockets have numbers that the shell chose.
 *
 * ```
 * connect --> (challenge sent) --hello--> live --close, 45 s of silence, refused--> gone
 * ```
 *
 * Invariants: an identity has at most one live connection, the newest; the end of an older one
 * changes nothing. Each live connection got one full netmap and then every delta after it, in
 * order. Changes are told at once when the mesh is quiet and at most every {@link FLUSH_MS}
 * otherwise, so that 200 nodes that reconnect together do not cost 200 x 200 messages.
 *
 * A follower does the same for whoever connects to it; it adopts members instead of registering
 * them, and what it knows of the others comes from the node beside it ({@link Elsewhere}).
 *
 * Presence (who is online, endpoints) lives here and dies with the process; nodes announce
 * themselves again within seconds. Registrations and records go through the {@link Registry}, talk
 * about the mesh's log through the {@link LogDesk}.
 * @module
 */
import { fromBase64Url, toBase64Url } from "../../core/bytes.ts";
import type { FeedMessage } from "../../core/control/feed.ts";
import { controlBytes } from "../../core/control/envelope.ts";
import {
  type Hello,
  type NodeMessage,
  parseNodeMessage,
  type ServerMessage,
} from "../../core/control/messages.ts";
import { isSameRecord, RecordVerifier } from "../../core/control/roster.ts";
import { unreachable } from "../../core/assert.ts";
import { MeshError } from "../../core/errors.ts";
import { peerIdOf, verify } from "../../core/identity/keys.ts";
import type { SignedRecord } from "../../core/identity/record.ts";
import type { PeerId } from "../../core/ids.ts";
import type { Ip } from "../../core/ip.ts";
import { type Machine, type Millis, NEVER } from "../../core/machine.ts";
import type { SyncEvent } from "../../core/state/sync.ts";
import { expectPresent } from "./absence.ts";
import { memberOf, type ModelEvent } from "./apply.ts";
import { mayReturn } from "./returning.ts";
import { Directory } from "./directory.ts";
import { RateLimiter } from "./rate_limiter.ts";
import { LogDesk } from "./log_desk.ts";
import type { ConnectionId } from "./presence.ts";
import type { ControlHubOptions, HubEffect, HubEvent } from "./hub_types.ts";
import { type Node, SEEN_STEP_MS } from "./state.ts";

export type { ControlHubOptions, HubEffect, HubEvent } from "./hub_types.ts";
export type { ConnectionId } from "./presence.ts";

/** A node silent for so long is offline; three of its pings. */
export const SILENCE_MS = 45_000;
/** From connect to a valid hello. */
export const HELLO_WITHIN_MS = 10_000;
/** Least time between two deltas. */
export const FLUSH_MS = 50;
/** Connections that have not said who they are; the oldest is dropped for another one. */
export const MAX_WAITING = 256;
/** Messages of one connection; calls beyond theirs are ignored, others end the connection. */
const MESSAGE_LIMIT = { burst: 1000, perSecond: 100, capacity: 8192 };
const CALL_LIMIT = { burst: 256, perSecond: 20, capacity: 8192 };

interface Connection {
  readonly id: ConnectionId;
  readonly remote: Ip;
  readonly nonce: string;
  readonly openedAt: Millis;
  heardAt: Millis;
  /** Null until its hello was accepted. */
  peer: PeerId | null;
}

/** The server side of all control connections; see the module's doc. */
export class ControlHub implements Machine<HubEvent, HubEffect> {
  readonly #options: ControlHubOptions;
  readonly #verifier: RecordVerifier;
  readonly #desk: LogDesk;
  readonly #connections = new Map<ConnectionId, Connection>();
  readonly #messages = new RateLimiter(MESSAGE_LIMIT);
  readonly #calls = new RateLimiter(CALL_LIMIT);
  readonly #directory: Directory;
  #flushAt: Millis = NEVER;
  #flushedAt: Millis = -NEVER;
  /** No connection expires before this; it may be early. */
  #expiryAt: Millis = NEVER;
  #wallTime = 0;
  #effects: HubEffect[] = [];

  constructor(options: ControlHubOptions) {
    this.#options = options;
    this.#verifier = options.verifier ?? new RecordVerifier();
    this.#directory = new Directory({ ...options, isFollower: !!options.adoption });
    this.#desk = new LogDesk(options.mesh, options.registry);
  }

  get deadline(): Millis {
    return Math.min(this.#flushAt, this.#expiryAt, this.#desk.deadline);
  }

  /** The peers that are online, and connections that have not said who they are. */
  get counts(): { readonly online: number; readonly waiting: number } {
    let online = 0;
    for (const { peer } of this.#connections.values()) if (peer) online++;
    return { online, waiting: this.#connections.size - online };
  }

  isOnline(id: PeerId): boolean {
    return this.#directory.connectionOf(id) !== null;
  }

  handle(event: HubEvent, now: Millis): HubEffect[] {
    this.#wallTime = event.wallTime;
    this.#effects = [];
    switch (event.type) {
      case "connect":
        this.#connect(event.connection, event.remote, now);
        break;
      case "message":
        this.#receive(event.connection, event.text, now);
        break;
      case "close":
        this.#forget(event.connection, now);
        break;
      case "changed":
        this.#follow(event.events, now);
        break;
      case "fed":
        this.#fed(event.message, now);
        break;
      case "tick":
        this.#log({ type: "tick" }, now);
        break;
      default:
        unreachable(event);
    }
    // Also what a request that was refused in the end has added.
    if (this.#desk.isBehind) this.#log({ type: "appended" }, now);
    if (now >= this.#expiryAt) this.#expire(now);
    if (now >= this.#flushAt) this.#flush(now);
    return this.#effects;
  }

  /** The node beside a follower tells something; what is refused of it harms nothing else. */
  #fed(message: FeedMessage, now: Millis): void {
    const { adoption, mesh } = this.#options;
    if (!adoption) return;
    switch (message.type) {
      case "entries": {
        const alert = mesh.appendFed(message.entries);
        if (alert) this.#effects.push({ type: "alert", alert });
        return this.#log({ type: "appended" }, now);
      }
      case "peers": {
        this.#follow(adoption.takeAll(message.peers, this.#wallTime), now);
        const news = message.isPresence ? this.#directory.told(message.peers) : [];
        for (const id of news) this.#markDirty(id, now);
        return;
      }
      case "alone":
        for (const id of this.#directory.elsewhere.end()) this.#markDirty(id, now);
        return;
      default:
        unreachable(message);
    }
  }

  #connect(id: ConnectionId, remote: Ip, now: Millis): void {
    if (this.counts.waiting >= MAX_WAITING) {
      const oldest = [...this.#connections.values()].find(({ peer }) => peer === null)!;
      this.#end(oldest.id, now);
    }
    const nonce = toBase64Url(this.#options.random.bytes(32));
    const connection = { id, remote, nonce, openedAt: now, heardAt: now, peer: null };
    this.#connections.set(id, connection);
    this.#expiryAt = Math.min(this.#expiryAt, now + HELLO_WITHIN_MS);
    this.#send(id, { type: "challenge", nonce });
  }

  #receive(id: ConnectionId, text: string, now: Millis): void {
    const connection = this.#connections.get(id);
    if (!connection) return;
    connection.heardAt = now;
    try {
      if (!this.#messages.take(String(id), now)) {
        throw new MeshError("rate-limited", "Cannot take more messages: too many at once");
      }
      this.#act(connection, parseNodeMessage(text), now);
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      this.#refuse(id, error, now);
    }
  }

  #act(connection: Connection, message: NodeMessage, now: Millis): void {
    if (message.type === "hello") return this.#greet(connection, message, now);
    const { peer } = connection;
    if (!peer) {
      const state = `"${message.type}" came before "hello"`;
      throw new MeshError("protocol-invalid", `Cannot read message: ${state}`);
    }
    switch (message.type) {
      case "endpoints":
        Object.assign(this.#directory.presence.get(peer)!, {
          claimed: message.endpoints,
          links: message.links,
        });
        return this.#markDirty(peer, now);
      case "record":
        return this.#takeRecord(memberOf(this.#state, peer), message.record, now);
      case "ping":
        this.#saw(memberOf(this.#state, peer));
        return this.#send(connection.id, { type: "pong", id: message.id, time: this.#wallTime });
      case "call":
        return this.#passCall(connection, peer, message.peer, now);
      case "log":
        return this.#log(
          { type: "message", source: String(connection.id), text: message.text },
          now,
        );
      default:
        unreachable(message);
    }
  }

  /** Talks about the mesh's log, and takes leave of those who are no members any more. */
  #log(event: SyncEvent, now: Millis): void {
    const moment = { now, wallTime: this.#wallTime };
    const { effects, left, gone, hasGrown } = this.#desk.handle(event, moment);
    this.#effects.push(...effects);
    if (gone.length > 0) this.#effects.push({ type: "gone", peers: gone });
    this.#follow(left, now);
    if (!hasGrown || !this.#directory.areCoordinatorsOther) return;
    if (this.#flushAt === NEVER) this.#flushAt = Math.max(now, this.#flushedAt + FLUSH_MS);
  }

  #greet(connection: Connection, hello: Hello, now: Millis): void {
    if (connection.peer) {
      throw new MeshError("protocol-invalid", 'Cannot read message: a second "hello"');
    }
    const key = fromBase64Url(hello.identity);
    const id = peerIdOf(key);
    expectPresent(this.#options, id, this.#wallTime);
    const isProven = verify(key, controlBytes(connection.nonce), fromBase64Url(hello.signature));
    if (isProven) this.#welcome(id, hello.record, now);
    const node = memberOf(this.#state, id);
    if (!isProven || node.identity !== hello.identity) {
      throw new MeshError("identity-mismatch", "Cannot accept hello: the signature is not its own");
    }
    this.#takeRecord(node, hello.record, now);
    const before = this.#directory.connectionOf(node.id);
    connection.peer = node.id;
    this.#directory.presence.set(node.id, {
      connection: connection.id,
      claimed: hello.endpoints,
      links: hello.links,
      udpPort: hello.udpPort,
      remote: connection.remote,
      bootId: hello.bootId,
      lastSeen: this.#wallTime,
    });
    if (before !== null) {
      const message = "Cannot keep the connection: the same identity connected again";
      this.#refuse(before, new MeshError("already-running", message), now);
    }
    this.#saw(node);
    this.#send(connection.id, { type: "netmap", netmap: this.#directory.netmap() });
    const source = String(connection.id);
    this.#log({ type: "connected", source, key: node.identity, isCoordinator: false }, now);
    this.#markDirty(node.id, now);
  }

  /** Takes the word of a member that is not registered for what it is called and where it is. */
  #welcome(id: PeerId, signed: SignedRecord, now: Millis): void {
    const { adoption, registry } = this.#options;
    const at = this.#wallTime;
    if (adoption) return this.#follow(adoption.take(signed, at), now);
    if (registry.state.nodes.has(id)) return;
    const record = this.#verifier.verify(signed);
    if (record.id !== id || !mayReturn(registry.state, record)) return;
    this.#follow(registry.execute({ type: "adopt", at, record: signed, seenAt: at }), now);
  }

  /** Keeps when a node was heard of: one that is away for too long expires. */
  #saw({ id, seenAt }: Node): void {
    const at = this.#wallTime;
    if (at - seenAt >= SEEN_STEP_MS) this.#options.registry.execute({ type: "seen", at, id });
  }

  /** Verifies a record and keeps it; one that is known already costs nothing. */
  #takeRecord(node: Node, signed: SignedRecord, now: Millis): void {
    if (node.record && isSameRecord(node.record, signed)) return;
    const { adoption } = this.#options;
    if (adoption) return this.#follow(adoption.take(signed, this.#wallTime), now);
    this.#verifier.verify(signed);
    const at = this.#wallTime;
    const command = { type: "update-record", at, id: node.id, record: signed } as const;
    this.#follow(this.#options.registry.execute(command), now);
  }

  /** Tells `to` that `from` begins a handshake with it, and where `from` is. */
  #passCall(connection: Connection, from: PeerId, to: PeerId, now: Millis): void {
    const target = this.#directory.connectionOf(to);
    if (target === null || to === from || !this.#calls.take(String(connection.id), now)) return;
    this.#send(target, { type: "call", peer: from, endpoints: this.#directory.endpointsOf(from) });
  }

  #follow(events: readonly ModelEvent[], now: Millis): void {
    for (const event of events) {
      this.#markDirty(event.id, now);
      if (event.type !== "node-left") continue;
      this.#effects.push({ type: "gone", peers: [event.id] });
      this.#options.adoption?.release(event.id);
      const connection = this.#directory.connectionOf(event.id);
      this.#directory.forget(event.id);
      if (connection === null) continue;
      const isRevoked = this.#options.mesh.state.revoked.has(event.id);
      const why = isRevoked ? "the node was revoked" : "the node has left the mesh";
      const message = `Cannot keep the connection: ${why}`;
      this.#refuse(connection, new MeshError("peer-unknown", message), now);
    }
  }

  #refuse(id: ConnectionId, error: MeshError, now: Millis): void {
    const message = error.message.slice(0, 1024);
    this.#send(id, { type: "refused", code: error.code, message });
    this.#end(id, now);
  }

  #end(id: ConnectionId, now: Millis): void {
    this.#effects.push({ type: "close", connection: id });
    this.#forget(id, now);
  }

  /** A connection is gone; only the one that made its peer online takes it offline. */
  #forget(id: ConnectionId, now: Millis): void {
    const peer = this.#connections.get(id)?.peer;
    this.#connections.delete(id);
    if (peer) this.#log({ type: "disconnected", source: String(id) }, now);
    const presence = peer && this.#directory.presence.get(peer);
    if (!presence || presence.connection !== id) return;
    presence.connection = null;
    presence.lastSeen = this.#wallTime;
    this.#markDirty(peer, now);
  }

  #expire(now: Millis): void {
    this.#expiryAt = NEVER;
    for (const connection of [...this.#connections.values()]) {
      const { id, peer, openedAt, heardAt } = connection;
      const until = peer ? heardAt + SILENCE_MS : openedAt + HELLO_WITHIN_MS;
      if (now >= until) this.#end(id, now);
      else this.#expiryAt = Math.min(this.#expiryAt, until);
    }
  }

  #markDirty(id: PeerId, now: Millis): void {
    this.#directory.mark(id);
    if (this.#flushAt === NEVER) this.#flushAt = Math.max(now, this.#flushedAt + FLUSH_MS);
  }

  /** Tells everybody what changed since the last time. */
  #flush(now: Millis): void {
    this.#flushAt = NEVER;
    this.#flushedAt = now;
    const message = this.#directory.delta();
    if (!message) return;
    for (const { id, peer } of this.#connections.values()) if (peer) this.#send(id, message);
  }

  #send(connection: ConnectionId, message: ServerMessage): void {
    this.#effects.push({ type: "send", connection, message });
  }

  get #state() {
    return this.#options.registry.state;
  }
}
