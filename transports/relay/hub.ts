/**
 * Who is connected to the relay, and where does each frame go?
 *
 * The server side of `/api/v1/relay` as a machine; sockets have numbers that the shell chose.
 *
 * ```
 * connect --> (challenge sent) --hello--> live --close, 45 s of silence, refused--> gone
 * ```
 *
 * Invariants: an identity has at most one live connection, the newest. Of what the hub told the
 * shell to send to a connection, at most {@link WINDOW_BYTES} and one frame are unwritten; the rest
 * waits in that connection's {@link FairQueue}, which is bounded, or is dropped. What a connection
 * that does not read makes the hub keep is bounded too: one pong, and no notice of absent peers
 * beyond the window.
 * @module
 */
import { unreachable } from "../../core/assert.ts";
import { fromBase64Url, fromHex, toBase64Url } from "../../core/bytes.ts";
import { relayBytes } from "../../core/control/envelope.ts";
import { MeshError } from "../../core/errors.ts";
import { peerIdOf, verify } from "../../core/identity/keys.ts";
import type { PeerId } from "../../core/ids.ts";
import { type Machine, type Millis, NEVER } from "../../core/machine.ts";
import type { Random } from "../../core/random.ts";
import { type Account, costOf, FairQueue, type QueueDrop } from "./fair_queue.ts";
import {
  encodeEcho,
  encodeGone,
  type Frame,
  overwritePeer,
  parseFrame,
  parseHello,
  type ServerText,
} from "./frames.ts";
import { Slab } from "./slab.ts";

/** A client silent for so long is gone; four of its pings. */
export const SILENCE_MS = 45_000;
/** From connect to a valid hello. */
export const HELLO_WITHIN_MS = 10_000;
/** A source is told so often that a peer is absent. */
export const GONE_INTERVAL_MS = 1_000;
/** Bytes that one socket may hold unwritten; queues are where frames are dropped wisely. */
export const WINDOW_BYTES = 256 << 10;
/** Connections that have not said who they are; the oldest is dropped for another one. */
export const MAX_WAITING = 256;
/** Absent peers remembered per connection; it is told of no more at a time. */
const MAX_GONE = 1024;

/** Number of one socket, never used twice. */
export type ConnectionId = number;

export type RelayEvent =
  | { readonly type: "connect"; readonly connection: ConnectionId }
  | { readonly type: "text"; readonly connection: ConnectionId; readonly text: string }
  /** A binary message; the hub keeps and changes its bytes. */
  | { readonly type: "frame"; readonly connection: ConnectionId; readonly frame: Uint8Array }
  /** The socket took over a frame that the hub told to send. */
  | { readonly type: "written"; readonly connection: ConnectionId; readonly frame: Uint8Array }
  | { readonly type: "close"; readonly connection: ConnectionId }
  /** A node is no member of the mesh any more. */
  | { readonly type: "left"; readonly peer: PeerId }
  | { readonly type: "tick" };

export type RelayEffect =
  | { readonly type: "text"; readonly connection: ConnectionId; readonly text: ServerText }
  /** Send it and say so with "written". */
  | { readonly type: "frame"; readonly connection: ConnectionId; readonly frame: Uint8Array }
  /** Close it once what was sent is out; its events are ignored from here on. */
  | { readonly type: "close"; readonly connection: ConnectionId };

/** Why a data frame went no further. */
export const RELAY_DROPS = [
  "peer-absent",
  "peer-left",
  "sojourn",
  "source-full",
  "destination-full",
  "relay-full",
] as const;
export type RelayDrop = typeof RELAY_DROPS[number];

/** What the relay did since it started. */
export interface RelayCounts {
  forwardedFrames: number;
  /** Bytes of the forwarded frames, headers included. */
  forwardedBytes: number;
  /** Data frames, not datagrams. */
  readonly drops: Record<RelayDrop, number>;
}

export interface RelayHubOptions {
  /**
   * The identity key (base64url) of a member of the mesh, or null.
   * @throws {MeshError} why it is none; whoever says hello is told.
   */
  readonly identityOf: (peer: PeerId) => string | null;
  readonly random: Random;
}

interface Connection extends Account {
  readonly id: ConnectionId;
  readonly nonce: string;
  readonly openedAt: Millis;
  heardAt: Millis;
  /** Null until its hello was accepted. */
  peer: PeerId | null;
  /** The peer id in binary. */
  source: Uint8Array;
  /** Cost of what the socket has not written yet. */
  unwritten: number;
  /** Of frames that go straight to the socket; null while nothing is unwritten. */
  slab: Slab | null;
  /** What waits for it; null while nothing does. */
  queue: FairQueue | null;
  /** The answer to its last ping, while the window is full. */
  pong: Uint8Array | null;
  /** When it was told that a peer is absent; oldest first. */
  gone: Map<PeerId, Millis> | null;
}

const NOBODY = new Uint8Array();

/** The server side of all relay connections; see the module's doc. */
export class RelayHub implements Machine<RelayEvent, RelayEffect> {
  readonly counts: RelayCounts = {
    forwardedFrames: 0,
    forwardedBytes: 0,
    drops: Object.fromEntries(RELAY_DROPS.map((drop) => [drop, 0])) as Record<RelayDrop, number>,
  };
  readonly #options: RelayHubOptions;
  readonly #connections = new Map<ConnectionId, Connection>();
  /** Those that have not said who they are, oldest first. */
  readonly #waiting = new Set<ConnectionId>();
  readonly #live = new Map<PeerId, Connection>();
  readonly #pool: Account = { queuedBytes: 0 };
  /** No connection expires before this; it may be early. */
  #expiryAt: Millis = NEVER;
  #effects: RelayEffect[] = [];

  constructor(options: RelayHubOptions) {
    this.#options = options;
  }

  get deadline(): Millis {
    return this.#expiryAt;
  }

  /** Peers that are connected, and connections that have not said who they are. */
  get connected(): { readonly live: number; readonly waiting: number } {
    return { live: this.#live.size, waiting: this.#waiting.size };
  }

  /** Cost of all frames that wait. */
  get queuedBytes(): number {
    return this.#pool.queuedBytes;
  }

  handle(event: RelayEvent, now: Millis): RelayEffect[] {
    this.#effects = [];
    switch (event.type) {
      case "connect":
        this.#connect(event.connection, now);
        break;
      case "text":
        this.#receiveText(event.connection, event.text, now);
        break;
      case "frame":
        this.#receiveFrame(event.connection, event.frame, now);
        break;
      case "written":
        this.#written(event.connection, event.frame, now);
        break;
      case "close":
        this.#forget(event.connection);
        break;
      case "left":
        this.#cutOff(event.peer);
        break;
      case "tick":
        break;
      default:
        unreachable(event);
    }
    if (now >= this.#expiryAt) this.#expire(now);
    return this.#effects;
  }

  #connect(id: ConnectionId, now: Millis): void {
    if (this.#waiting.size >= MAX_WAITING) this.#end(this.#waiting.values().next().value!);
    const nonce = toBase64Url(this.#options.random.bytes(32));
    this.#connections.set(id, {
      id,
      nonce,
      openedAt: now,
      heardAt: now,
      peer: null,
      source: NOBODY,
      unwritten: 0,
      slab: null,
      queuedBytes: 0,
      queue: null,
      pong: null,
      gone: null,
    });
    this.#waiting.add(id);
    this.#expiryAt = Math.min(this.#expiryAt, now + HELLO_WITHIN_MS);
    this.#effects.push({ type: "text", connection: id, text: { type: "challenge", nonce } });
  }

  #receiveText(id: ConnectionId, text: string, now: Millis): void {
    const connection = this.#connections.get(id);
    if (!connection) return;
    connection.heardAt = now;
    try {
      this.#greet(connection, text);
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      this.#refuse(id, error);
    }
  }

  #greet(connection: Connection, text: string): void {
    if (connection.peer !== null) {
      throw new MeshError("protocol-invalid", "Cannot read message: text after the greeting");
    }
    const hello = parseHello(text);
    const key = fromBase64Url(hello.identity);
    const peer = peerIdOf(key);
    const identity = this.#options.identityOf(peer);
    if (identity === null) {
      const message = `Cannot find node ${peer}: it is not in this mesh`;
      throw new MeshError("peer-unknown", message);
    }
    const isProven = identity === hello.identity &&
      verify(key, relayBytes(connection.nonce), fromBase64Url(hello.signature));
    if (!isProven) {
      throw new MeshError("identity-mismatch", "Cannot accept hello: the signature is not its own");
    }
    const older = this.#live.get(peer);
    if (older) {
      const message = "Cannot keep the connection: the same identity connected again";
      this.#refuse(older.id, new MeshError("already-running", message));
    }
    this.#waiting.delete(connection.id);
    connection.peer = peer;
    connection.source = fromHex(peer);
    this.#live.set(peer, connection);
    this.#effects.push({ type: "text", connection: connection.id, text: { type: "welcome" } });
  }

  #receiveFrame(id: ConnectionId, bytes: Uint8Array, now: Millis): void {
    const connection = this.#connections.get(id);
    if (!connection) return;
    connection.heardAt = now;
    const frame = connection.peer === null ? null : parseFrame(bytes);
    if (frame?.type === "data") return this.#forward(connection, frame, bytes, now);
    if (frame?.type === "ping") return this.#answer(connection, frame);
    if (frame?.type === "pong") return;
    const state = connection.peer === null ? "a frame before the greeting" : "a malformed frame";
    this.#refuse(id, new MeshError("protocol-invalid", `Cannot read message: ${state}`));
  }

  #forward(
    source: Connection,
    { peer, train }: Extract<Frame, { type: "data" }>,
    bytes: Uint8Array,
    now: Millis,
  ): void {
    const destination = this.#live.get(peer);
    if (!destination || destination === source) {
      this.counts.drops["peer-absent"]++;
      return this.#tellGone(source, peer, now);
    }
    overwritePeer(bytes, source.source);
    if (!destination.queue && destination.unwritten < WINDOW_BYTES) {
      destination.slab ??= new Slab();
      return this.#send(destination, destination.slab.keep(bytes));
    }
    destination.queue ??= new FairQueue({ pool: this.#pool, onDrop: this.#countDrop });
    destination.queue.push(source, bytes, now, train.segment);
  }

  #written(id: ConnectionId, frame: Uint8Array, now: Millis): void {
    const connection = this.#connections.get(id);
    if (!connection) return;
    connection.unwritten -= costOf(frame);
    if (connection.unwritten === 0) connection.slab = null;
    if (connection.pong && connection.unwritten < WINDOW_BYTES) {
      this.#emit(connection, connection.pong);
      connection.pong = null;
    }
    const { queue } = connection;
    if (!queue) return;
    while (connection.unwritten < WINDOW_BYTES) {
      const next = queue.pop(now);
      if (!next) break;
      this.#send(connection, next);
    }
    if (queue.bytes === 0) connection.queue = null;
  }

  #answer(connection: Connection, ping: Extract<Frame, { echo: Uint8Array }>): void {
    const pong = encodeEcho("pong", ping.echo);
    if (connection.unwritten < WINDOW_BYTES) this.#emit(connection, pong);
    else connection.pong = pong;
  }

  #tellGone(connection: Connection, peer: PeerId, now: Millis): void {
    const gone = connection.gone ??= new Map();
    for (const [other, at] of gone) {
      if (now - at < GONE_INTERVAL_MS) break;
      gone.delete(other);
    }
    const isQuiet = gone.has(peer) || gone.size >= MAX_GONE;
    if (isQuiet || connection.unwritten >= WINDOW_BYTES) return;
    gone.set(peer, now);
    this.#emit(connection, encodeGone(peer));
  }

  #cutOff(peer: PeerId): void {
    const connection = this.#live.get(peer);
    if (!connection) return;
    const message = "Cannot keep the connection: the node has left the mesh";
    this.#refuse(connection.id, new MeshError("peer-unknown", message));
  }

  #refuse(id: ConnectionId, error: MeshError): void {
    const message = error.message.slice(0, 1024);
    const text = { type: "refused", code: error.code, message } as const;
    this.#effects.push({ type: "text", connection: id, text });
    this.#end(id);
  }

  #end(id: ConnectionId): void {
    this.#effects.push({ type: "close", connection: id });
    this.#forget(id);
  }

  #forget(id: ConnectionId): void {
    const connection = this.#connections.get(id);
    if (!connection) return;
    this.#connections.delete(id);
    this.#waiting.delete(id);
    const { peer, queue } = connection;
    if (peer !== null) this.#live.delete(peer);
    if (queue) this.counts.drops["peer-left"] += queue.clear();
  }

  #expire(now: Millis): void {
    this.#expiryAt = NEVER;
    for (const { id, peer, openedAt, heardAt } of [...this.#connections.values()]) {
      const until = peer === null ? openedAt + HELLO_WITHIN_MS : heardAt + SILENCE_MS;
      if (now >= until) this.#end(id);
      else this.#expiryAt = Math.min(this.#expiryAt, until);
    }
  }

  #send(connection: Connection, frame: Uint8Array): void {
    this.counts.forwardedFrames++;
    this.counts.forwardedBytes += frame.length;
    this.#emit(connection, frame);
  }

  #emit(connection: Connection, frame: Uint8Array): void {
    connection.unwritten += costOf(frame);
    this.#effects.push({ type: "frame", connection: connection.id, frame });
  }

  readonly #countDrop = (reason: QueueDrop): void => {
    this.counts.drops[reason]++;
  };
}
