/**
 * How does a node stay connected to a relay? The life of its one WebSocket, as a machine.
 *
 * ```
 * waiting --pause over--> connecting --open--> (challenge, hello) --welcome--> up
 *    ^                        |                                                |
 *    +---- 0.5 s .. 15 s <----+------ closed, silence, refused, nonsense <-----+
 * ```
 *
 * Each socket has a number that the machine chose; events of any other socket are ignored. The
 * connection is dead when a ping's pong is {@link PONG_TIMEOUT_MS} late and nothing else came
 * either: behind a full queue the pong is late while data flows.
 * @module
 */
import { unreachable } from "../../core/assert.ts";
import { toBase64Url } from "../../core/bytes.ts";
import { relayBytes } from "../../core/control/envelope.ts";
import { MAX_PEERS } from "../../core/control/messages.ts";
import { errorMessage, MeshError } from "../../core/errors.ts";
import { type Identity, sign } from "../../core/identity/keys.ts";
import type { PeerId } from "../../core/ids.ts";
import type { Train } from "../../core/link.ts";
import { type Machine, type Millis, NEVER } from "../../core/machine.ts";
import { type Random, unit } from "../../core/random.ts";
import { ECHO_BYTES, encodeEcho, type Hello, parseFrame, parseServerText } from "./frames.ts";

/** From the first packet to the welcome; enough for TLS over a satellite link. */
export const CONNECT_TIMEOUT_MS = 10_000;
/** A ping goes out this often. */
export const PING_INTERVAL_MS = 10_000;
/** Without a sign of life for so long after a ping, the connection is dead. */
export const PONG_TIMEOUT_MS = 5_000;
/** A peer that the relay does not know is not tried for so long. */
export const GONE_MS = 5_000;
/** Pause before the first retry; doubles up to {@link MAX_DELAY_MS}. */
export const FIRST_DELAY_MS = 100;
export const MAX_DELAY_MS = 15_000;
/** A connection that was up for so long was good: the next pause starts small again. */
const GOOD_AFTER_MS = 5_000;
/** A pause is at least this share of its nominal length. */
const LEAST_PAUSE = 0.75;

/** What users read. */
export const WHY_ABSENT = "the peer is not connected to this relay";
const WHY_MAYBE = "the peer may have connected to this relay";
const WHY_UP = "connected to the relay";

/** Number of one socket, chosen by the machine, never used twice. */
export type SocketId = number;

export type SessionEvent =
  | { readonly type: "tick" }
  | { readonly type: "open"; readonly socket: SocketId }
  | { readonly type: "text"; readonly socket: SocketId; readonly text: string }
  | { readonly type: "frame"; readonly socket: SocketId; readonly frame: Uint8Array }
  | { readonly type: "closed"; readonly socket: SocketId; readonly why: string }
  /** The machine woke up or changed networks: connect anew at once. */
  | { readonly type: "reconnect" };

export type SessionEffect =
  /** Open a WebSocket under this number. */
  | { readonly type: "connect"; readonly socket: SocketId }
  | { readonly type: "hello"; readonly socket: SocketId; readonly hello: Hello }
  | { readonly type: "frame"; readonly socket: SocketId; readonly frame: Uint8Array }
  /** End it at once; its events are ignored from here on. */
  | { readonly type: "close"; readonly socket: SocketId }
  | { readonly type: "received"; readonly peer: PeerId; readonly train: Train }
  | {
    readonly type: "changed";
    readonly peer: PeerId | null;
    readonly isUp: boolean;
    readonly why: string;
  };

export interface SessionOptions {
  readonly identity: Identity;
  readonly random: Random;
}

interface Socket {
  readonly id: SocketId;
  readonly startedAt: Millis;
  isGreeted: boolean;
  /** When it was welcomed; null before. */
  upAt: Millis | null;
  heardAt: Millis;
  /** The ping that waits for its pong. */
  ping: { readonly echo: string; readonly sentAt: Millis } | null;
  pingAt: Millis;
}

/** The client side of one relay; see the module's doc. */
export class RelaySession implements Machine<SessionEvent, SessionEffect> {
  readonly #options: SessionOptions;
  #socket: Socket | null = null;
  #next = 1;
  #connectAt: Millis = 0;
  #failures = 0;
  /** Until when absent peers count as absent; oldest first. */
  readonly #gone = new Map<PeerId, Millis>();
  #rttMs: number | null = null;
  #problem: string | null = null;
  #effects: SessionEffect[] = [];

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  /** The socket to send frames to, or null while the relay has not welcomed us. */
  get upSocket(): SocketId | null {
    return this.#socket?.upAt == null ? null : this.#socket.id;
  }

  /** The last round trip to the relay and back. */
  get rttMs(): number | null {
    return this.#rttMs;
  }

  /** Why it is not connected, a sentence part, or null. */
  get problem(): string | null {
    return this.upSocket === null ? this.#problem : null;
  }

  isUp(peer: PeerId): boolean {
    return this.upSocket !== null && !this.#gone.has(peer);
  }

  get deadline(): Millis {
    const socket = this.#socket;
    if (!socket) return this.#connectAt;
    if (socket.upAt === null) return socket.startedAt + CONNECT_TIMEOUT_MS;
    const [returnAt = NEVER] = this.#gone.values();
    return Math.min(returnAt, socket.ping ? deadAt(socket) : socket.pingAt);
  }

  handle(event: SessionEvent, now: Millis): SessionEffect[] {
    this.#effects = [];
    if (event.type === "reconnect") this.#reconnect(now);
    else if (event.type !== "tick") this.#hear(event, now);
    this.#expire(now);
    return this.#effects;
  }

  #hear(event: Extract<SessionEvent, { socket: SocketId }>, now: Millis): void {
    const socket = this.#socket;
    if (!socket || event.socket !== socket.id) return;
    socket.heardAt = now;
    switch (event.type) {
      case "open":
        return;
      case "text":
        return this.#receiveText(socket, event.text, now);
      case "frame":
        return this.#receiveFrame(socket, event.frame, now);
      case "closed":
        return this.#lost(event.why, now);
      default:
        unreachable(event);
    }
  }

  #receiveText(socket: Socket, text: string, now: Millis): void {
    try {
      const message = parseServerText(text);
      if (message.type === "refused") return this.#refused(message.message, now);
      const isInOrder = message.type === "challenge"
        ? !socket.isGreeted
        : socket.isGreeted && socket.upAt === null;
      if (!isInOrder) {
        const what = `an unexpected "${message.type}"`;
        throw new MeshError("protocol-invalid", `Cannot read message of a relay: ${what}`);
      }
      if (message.type === "challenge") this.#greet(socket, message.nonce);
      else this.#welcomed(socket, now);
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      this.#refused(errorMessage(error), now);
    }
  }

  #greet(socket: Socket, nonce: string): void {
    const { identity } = this.#options;
    socket.isGreeted = true;
    const hello: Hello = {
      type: "hello",
      identity: toBase64Url(identity.publicKey),
      signature: toBase64Url(sign(identity, relayBytes(nonce))),
    };
    this.#effects.push({ type: "hello", socket: socket.id, hello });
  }

  #welcomed(socket: Socket, now: Millis): void {
    socket.upAt = now;
    socket.pingAt = now;
    this.#gone.clear();
    this.#change(null, true, WHY_UP);
  }

  #receiveFrame(socket: Socket, bytes: Uint8Array, now: Millis): void {
    const frame = socket.upAt === null ? null : parseFrame(bytes);
    switch (frame?.type) {
      case "data": {
        const { peer, train } = frame;
        if (this.#gone.delete(peer)) this.#change(peer, true, WHY_UP);
        this.#effects.push({ type: "received", peer, train });
        return;
      }
      case "gone":
        return this.#setGone(frame.peer, now);
      case "ping": {
        const pong = encodeEcho("pong", frame.echo);
        this.#effects.push({ type: "frame", socket: socket.id, frame: pong });
        return;
      }
      case "pong":
        if (!socket.ping || toBase64Url(frame.echo) !== socket.ping.echo) return;
        this.#rttMs = now - socket.ping.sentAt;
        socket.ping = null;
        return;
      default:
        return this.#refused("the relay sent a malformed frame", now);
    }
  }

  #setGone(peer: PeerId, now: Millis): void {
    const isKnown = this.#gone.delete(peer);
    if (this.#gone.size >= MAX_PEERS) return;
    this.#gone.set(peer, now + GONE_MS);
    if (!isKnown) this.#change(peer, false, WHY_ABSENT);
  }

  /** Does what time asks for. */
  #expire(now: Millis): void {
    const socket = this.#socket;
    if (!socket) return now >= this.#connectAt ? this.#connect(now) : undefined;
    if (socket.upAt === null) {
      if (now >= socket.startedAt + CONNECT_TIMEOUT_MS) this.#drop("the relay did not answer", now);
      return;
    }
    if (socket.ping && now >= deadAt(socket)) return this.#drop("the relay went silent", now);
    if (!socket.ping && now >= socket.pingAt) this.#sendPing(socket, now);
    for (const [peer, until] of this.#gone) {
      if (now < until) break;
      this.#gone.delete(peer);
      this.#change(peer, true, WHY_MAYBE);
    }
  }

  #connect(now: Millis): void {
    const id = this.#next++;
    const socket = { id, startedAt: now, isGreeted: false, upAt: null, heardAt: now };
    this.#socket = { ...socket, ping: null, pingAt: NEVER };
    this.#effects.push({ type: "connect", socket: id });
  }

  #sendPing(socket: Socket, now: Millis): void {
    const echo = this.#options.random.bytes(ECHO_BYTES);
    socket.ping = { echo: toBase64Url(echo), sentAt: now };
    socket.pingAt = now + PING_INTERVAL_MS;
    const frame = encodeEcho("ping", echo);
    this.#effects.push({ type: "frame", socket: socket.id, frame });
  }

  #reconnect(now: Millis): void {
    if (this.#socket) this.#drop("connecting anew", now);
    this.#failures = 0;
    this.#connectAt = now;
  }

  /** Gives the socket up from this side. */
  #drop(why: string, now: Millis): void {
    this.#effects.push({ type: "close", socket: this.#socket!.id });
    this.#lost(why, now);
  }

  /** What the relay objects to, or breaks, rarely changes by itself: the longest pause. */
  #refused(why: string, now: Millis): void {
    this.#drop(why, now);
    this.#connectAt = now + this.#jitter(MAX_DELAY_MS);
  }

  /** The socket is gone. */
  #lost(why: string, now: Millis): void {
    const { upAt } = this.#socket!;
    this.#socket = null;
    this.#problem = why;
    this.#rttMs = null;
    this.#gone.clear();
    if (upAt !== null && now - upAt >= GOOD_AFTER_MS) this.#failures = 0;
    const pause = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(this.#failures, 10));
    this.#failures++;
    this.#connectAt = now + this.#jitter(pause);
    if (upAt !== null) this.#change(null, false, why);
  }

  #jitter(pause: Millis): Millis {
    return pause * (LEAST_PAUSE + (1 - LEAST_PAUSE) * unit(this.#options.random));
  }

  #change(peer: PeerId | null, isUp: boolean, why: string): void {
    this.#effects.push({ type: "changed", peer, isUp, why });
  }
}

/** When a connection with an unanswered ping counts as dead. */
function deadAt({ ping, heardAt }: Socket): Millis {
  return Math.max(ping?.sentAt ?? NEVER, heardAt) + PONG_TIMEOUT_MS;
}
