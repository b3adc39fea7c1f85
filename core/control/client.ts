/**
 * How does a node keep its connection to a coordinator? The life of that one WebSocket, as a
 * machine.
 *
 * ```
 * disconnected --connect--> connecting --open--> (challenge, hello) --netmap--> connected
 *       ^                       |                                                  |
 *       +---- wait, then the next URL <---- failure, silence, protocol error ------+
 * refused: a coordinator said no; tried again, but slowly
 * ```
 *
 * Which URL is tried when is the {@link Dialer}'s part. Each socket has a number that the machine chose; events of any other socket are ignored, so a
 * late "closed" of an old socket cannot harm the one after it.
 *
 * What a coordinator sends is verified by {@link NetmapView} before it leaves here.
 * @module
 */
import { toBase64Url } from "../bytes.ts";
import { type ErrorCode, errorMessage, MeshError } from "../errors.ts";
import { sign } from "../identity/keys.ts";
import type { SignedRecord } from "../identity/record.ts";
import type { Endpoint } from "../ip.ts";
import { type Machine, type Millis, NEVER } from "../machine.ts";
import { type ConnectionId, Dialer } from "./dialer.ts";
import type {
  ControlClientOptions,
  ControlEffect,
  ControlEvent,
  ControlReport,
  ControlState,
} from "./client_types.ts";
import { controlBytes } from "./envelope.ts";
import {
  MAX_ENDPOINTS,
  MAX_NODE_LOG_LENGTH,
  type Netmap,
  type NodeLinks,
  type NodeMessage,
  parseServerMessage,
  type ServerMessage,
} from "./messages.ts";
import { type NetmapChanges, NetmapView } from "./netmap.ts";
import { isSameRecord, Roster } from "./roster.ts";

export type {
  ControlClientOptions,
  ControlEffect,
  ControlEvent,
  ControlReport,
  ControlState,
} from "./client_types.ts";

/** A ping goes out this often; a third of the coordinator's patience of 45 s. */
export const PING_INTERVAL_MS = 15_000;
/** Without the pong for so long the connection counts as dead. */
export const PONG_TIMEOUT_MS = 10_000;
/** From open to the first netmap. */
export const HELLO_TIMEOUT_MS = 10_000;
/** Pause after a coordinator refused us: what it objects to rarely changes by itself. */
export const REFUSED_DELAY_MS = 15_000;
/** A connection that lived so long was good: the next pause starts small again. */
const GOOD_AFTER_MS = 5_000;

/** The one socket that opened. */
interface Live {
  readonly connection: ConnectionId;
  readonly openedAt: Millis;
  isGreeted: boolean;
  isReady: boolean;
}

/** Keeps one coordinator connection; see the module's doc. */
export class ControlClient implements Machine<ControlEvent, ControlEffect> {
  readonly view: NetmapView;
  readonly #options: ControlClientOptions;
  readonly #dialer: Dialer;
  #record: SignedRecord;
  #endpoints: readonly Endpoint[];
  #udpPort: number;
  #links: NodeLinks;
  /** What the hello or later messages of the open connection said. */
  #told: { readonly record: SignedRecord; readonly reach: string };
  #live: Live | null = null;
  #pingAt: Millis = NEVER;
  #ping: { readonly id: number; readonly sentAt: Millis } | null = null;
  #nextPing = 1;
  #state: ControlState = "connecting";
  #since: Millis | null = null;
  #lastError: string | null = null;
  #rtt: ControlReport["rtt"] = null;
  #clockOffsetMs: number | null = null;

  constructor(options: ControlClientOptions) {
    this.#options = options;
    this.#dialer = new Dialer(options.urls, options.random);
    this.#record = options.record;
    this.#endpoints = options.endpoints?.slice(0, MAX_ENDPOINTS) ?? [];
    this.#udpPort = options.udpPort ?? 0;
    this.#links = options.links ?? { relays: false, sshPort: 0 };
    this.#told = this.#news();
    const { facts, isMember, pins, verifier } = options;
    const own = options.identity.peerId;
    const roster = new Roster({
      ...facts,
      // What a disk kept of this node itself tells of an absence that there was not.
      isMember: (id, lastSeen) => isMember(id, id === own ? Infinity : lastSeen),
      ...(pins ? { pins } : {}),
      ...(verifier ? { verifier } : {}),
    });
    roster.accept(options.record, Infinity);
    this.view = new NetmapView(facts, roster);
    // What a disk kept says nothing about who is online.
    const kept = options.netmap?.peers.map((peer) => ({ ...peer, online: false })) ?? [];
    if (options.netmap) this.view.replace({ ...options.netmap, peers: kept });
  }

  get report(): ControlReport {
    return {
      url: this.#dialer.lastUrl,
      state: this.#state,
      since: this.#since ?? 0,
      rtt: this.#rtt,
      clockOffsetMs: this.#clockOffsetMs,
      lastError: this.#lastError,
    };
  }

  get deadline(): Millis {
    const live = this.#live;
    if (!live) return this.#dialer.deadline;
    if (!live.isReady) return live.openedAt + HELLO_TIMEOUT_MS;
    const at = this.#ping ? this.#ping.sentAt + PONG_TIMEOUT_MS : this.#pingAt;
    return this.view.isFollowers ? Math.min(at, this.#dialer.improveAt) : at;
  }

  handle(event: ControlEvent, now: Millis): ControlEffect[] {
    const effects: ControlEffect[] = [];
    this.#since ??= now;
    this.#take(event, now, effects);
    this.#expire(now, effects);
    return effects;
  }

  #take(event: ControlEvent, now: Millis, effects: ControlEffect[]): void {
    switch (event.type) {
      case "tick":
        return;
      case "open":
        return this.#opened(event.connection, now, effects);
      case "message":
        if (event.connection !== this.#live?.connection) return;
        return this.#receive(event.text, event.wallTime, now, effects);
      case "closed":
        return this.#closed(event.connection, event.reason, now, effects);
      case "set-endpoints":
        return this.#setEndpoints(event, effects);
      case "set-record":
        this.#record = event.record;
        return this.#tellNews(effects);
      case "set-urls":
        return this.#dialer.setUrls(event.urls);
      case "call":
        if (this.#live?.isReady) this.#send({ type: "call", peer: event.peer }, effects);
        return;
      case "send-log":
        // Escaped once more it may be twice as long; a longer message would end the connection.
        if (this.#live?.isReady && event.text.length <= MAX_NODE_LOG_LENGTH) {
          this.#send({ type: "log", text: event.text }, effects);
        }
        return;
      case "review":
        return this.#report(this.view.review(), false, effects);
      case "reconnect":
        return this.#restart(now, effects);
    }
  }

  /** Does what time asks for. */
  #expire(now: Millis, effects: ControlEffect[]): void {
    const live = this.#live;
    if (live && !live.isReady && now >= live.openedAt + HELLO_TIMEOUT_MS) {
      this.#lose("the coordinator did not answer the greeting", now, effects);
    } else if (live && this.#ping && now >= this.#ping.sentAt + PONG_TIMEOUT_MS) {
      this.#lose("the coordinator went silent", now, effects);
    } else if (live?.isReady && !this.#ping && now >= this.#pingAt) {
      this.#sendPing(now, effects);
    }
    if (this.#live?.isReady && this.view.isFollowers) this.#dialer.improve(now, effects);
    if (this.#live) return;
    if (this.#dialer.tick(now, effects)) this.#enter("disconnected", "no answer", now, effects);
  }

  #opened(connection: ConnectionId, now: Millis, effects: ControlEffect[]): void {
    const before = this.#live;
    if (!this.#dialer.opened(connection, now, effects)) return;
    // A follower was all there was until now.
    if (before) {
      effects.push({ type: "close", connection: before.connection });
      this.#ping = null;
      this.#enter("connecting", null, now, effects);
    }
    this.#live = { connection, openedAt: now, isGreeted: false, isReady: false };
  }

  #closed(connection: ConnectionId, reason: string, now: Millis, effects: ControlEffect[]): void {
    if (connection === this.#live?.connection) return this.#lost(reason, now, effects);
    if (this.#dialer.failed(connection, now) && !this.#live) {
      this.#enter("disconnected", reason, now, effects);
    }
  }

  #receive(text: string, wallTime: number, now: Millis, effects: ControlEffect[]): void {
    try {
      this.#act(parseServerMessage(text), wallTime, now, effects);
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      this.#lose(errorMessage(error), now, effects, true);
    }
  }

  #act(message: ServerMessage, wallTime: number, now: Millis, effects: ControlEffect[]): void {
    const live = this.#live!;
    switch (message.type) {
      case "challenge":
        if (live.isGreeted) {
          throw new MeshError("protocol-invalid", "Cannot answer: two challenges");
        }
        live.isGreeted = true;
        return this.#sendHello(message.nonce, effects);
      case "netmap":
        return this.#ready(message.netmap, now, effects);
      case "delta": {
        if (!live.isReady) throw new MeshError("protocol-invalid", "Cannot apply delta: no netmap");
        return this.#report(this.view.apply(message), false, effects);
      }
      case "pong": {
        if (message.id !== this.#ping?.id) return;
        const rtt = now - this.#ping.sentAt;
        this.#rtt = { value: rtt, at: now };
        this.#clockOffsetMs = Math.round(wallTime - message.time - rtt / 2);
        this.#ping = null;
        return;
      }
      case "refused":
        return this.#refused(message.code, message.message, now, effects);
      case "call":
        if (!live.isReady || !this.view.peers.has(message.peer)) return;
        effects.push({ type: "called", peer: message.peer, endpoints: message.endpoints });
        return;
      case "log":
        if (live.isReady) effects.push({ type: "log-message", text: message.text });
        return;
    }
  }

  #sendHello(nonce: string, effects: ControlEffect[]): void {
    const { identity, bootId, version } = this.#options;
    this.#told = this.#news();
    this.#send({
      type: "hello",
      identity: toBase64Url(identity.publicKey),
      signature: toBase64Url(sign(identity, controlBytes(nonce))),
      record: this.#record,
      endpoints: [...this.#endpoints],
      links: this.#links,
      udpPort: this.#udpPort,
      bootId,
      version,
    }, effects);
  }

  #ready(netmap: Netmap, now: Millis, effects: ControlEffect[]): void {
    const live = this.#live!;
    if (!live.isGreeted) throw new MeshError("protocol-invalid", "Cannot use netmap: no challenge");
    const changes = this.view.replace(netmap);
    if (!this.view.isFollowers) this.#dialer.settle(effects);
    const isFirst = !live.isReady;
    live.isReady = true;
    if (isFirst) {
      this.#sendPing(now, effects);
      this.#enter("connected", null, now, effects);
      if (netmap.logKey) effects.push({ type: "log-open", key: netmap.logKey });
    }
    this.#report(changes, true, effects);
    this.#tellNews(effects);
  }

  #report(changes: NetmapChanges, full: boolean, effects: ControlEffect[]): void {
    for (const refusal of changes.refused) effects.push({ type: "record-refused", refusal });
    effects.push({ type: "netmap-changed", changes, full });
  }

  #refused(code: ErrorCode, message: string, now: Millis, effects: ControlEffect[]): void {
    effects.push({ type: "close", connection: this.#live!.connection });
    this.#live = null;
    this.#ping = null;
    effects.push({ type: "refused", code, message });
    this.#enter("refused", message, now, effects);
    this.#dialer.holdOff(REFUSED_DELAY_MS, now);
  }

  #setEndpoints(event: ControlEvent & { type: "set-endpoints" }, effects: ControlEffect[]): void {
    this.#udpPort = event.udpPort ?? this.#udpPort;
    this.#endpoints = event.endpoints.slice(0, MAX_ENDPOINTS);
    this.#links = event.links ?? this.#links;
    this.#tellNews(effects);
  }

  /** Sends what differs from what this connection was told; what is set meanwhile waits for it. */
  #tellNews(effects: ControlEffect[]): void {
    if (!this.#live?.isReady) return;
    if (!isSameRecord(this.#record, this.#told.record)) {
      this.#send({ type: "record", record: this.#record }, effects);
    }
    const news = this.#news();
    if (news.reach !== this.#told.reach) {
      const links = this.#links;
      this.#send({ type: "endpoints", endpoints: [...this.#endpoints], links }, effects);
    }
    this.#told = news;
  }

  #news(): { record: SignedRecord; reach: string } {
    return { record: this.#record, reach: JSON.stringify([this.#endpoints, this.#links]) };
  }

  #sendPing(now: Millis, effects: ControlEffect[]): void {
    this.#ping = { id: this.#nextPing++, sentAt: now };
    this.#pingAt = now + PING_INTERVAL_MS;
    this.#send({ type: "ping", id: this.#ping.id }, effects);
  }

  #send(message: NodeMessage, effects: ControlEffect[]): void {
    effects.push({ type: "send", connection: this.#live!.connection, message });
  }

  /** Gives the open connection up from this side. */
  #lose(reason: string, now: Millis, effects: ControlEffect[], isTheirFault = false): void {
    effects.push({ type: "close", connection: this.#live!.connection });
    this.#lost(reason, now, effects, isTheirFault);
  }

  /** The open connection is gone. One that broke the protocol from the start gets a long pause. */
  #lost(reason: string, now: Millis, effects: ControlEffect[], isTheirFault = false): void {
    const live = this.#live!;
    this.#live = null;
    this.#ping = null;
    const wasGood = live.isReady && now - live.openedAt >= GOOD_AFTER_MS;
    if (isTheirFault && !wasGood) this.#dialer.holdOff(REFUSED_DELAY_MS, now);
    else this.#dialer.lost(wasGood, now);
    this.#enter(live.isReady ? "connecting" : "disconnected", reason, now, effects);
  }

  #restart(now: Millis, effects: ControlEffect[]): void {
    if (this.#live) effects.push({ type: "close", connection: this.#live.connection });
    this.#live = null;
    this.#ping = null;
    this.#dialer.restart(now, effects);
    this.#enter("connecting", this.#lastError, now, effects);
  }

  #enter(state: ControlState, error: string | null, now: Millis, effects: ControlEffect[]): void {
    this.#lastError = error;
    if (state === this.#state) return;
    if (this.#state === "connected") effects.push({ type: "log-closed" });
    this.#state = state;
    this.#since = now;
    effects.push({ type: "state", state, error });
  }
}
