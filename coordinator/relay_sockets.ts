/**
 * The sockets behind the relay hub: turns WebSockets into its events and its effects into frames.
 * It decides nothing about them.
 * @module
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
// @ts-types="@types/ws"
import { type WebSocket, WebSocketServer } from "ws";
import { type Millis, NEVER } from "../core/machine.ts";
import type { Random } from "../core/random.ts";
import { MAX_FRAME_BYTES } from "../transports/relay/frames.ts";
import {
  type ConnectionId,
  type RelayCounts,
  type RelayEffect,
  type RelayEvent,
  RelayHub,
} from "../transports/relay/hub.ts";
import { decline, remoteIp } from "./control_sockets.ts";
import type { PeerId } from "../core/ids.ts";
import { expectPresent } from "./model/absence.ts";
import type { Mesh } from "./model/mesh.ts";
import { type RateLimit, RateLimiter, sourceKey } from "./model/rate_limiter.ts";
import type { Registry } from "./model/registry.ts";
import type { Moment } from "./model/service.ts";

/** Connections at once, greeted or not. */
const MAX_CONNECTIONS = 16_384;
/** Upgrades of one source: a whole site may come back behind one address at once. */
const UPGRADE_LIMIT = { burst: 500, perSecond: 50, capacity: 8192 };
/** A client that is being closed has so long to agree. */
const CLOSE_WITHIN_MS = 2_000;

/** A frame comes in one piece: pieces of a few bytes would each keep a whole read buffer. */
const SERVER_OPTIONS = {
  noServer: true,
  perMessageDeflate: false,
  maxPayload: MAX_FRAME_BYTES,
  maxFragments: 1,
  maxBufferedChunks: 256,
  closeTimeout: CLOSE_WITHIN_MS,
} as const;

export interface RelaySocketsOptions {
  /** Monotonic. */
  readonly clock: () => Millis;
  /** Upgrades of one source, for benchmarks that have only one. */
  readonly upgrades?: RateLimit;
}

/** All relay connections of a coordinator. */
export class RelaySockets {
  readonly #hub: RelayHub;
  readonly #clock: () => Millis;
  readonly #limiter: RateLimiter;
  readonly #sockets = new Map<ConnectionId, WebSocket>();
  readonly #raw = new Map<ConnectionId, Duplex>();
  /** Sockets that hold back what they are given until this turn is over. */
  readonly #corked = new Set<Duplex>();
  readonly #server = new WebSocketServer(SERVER_OPTIONS);
  #next = 1;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** What the timer waits for. */
  #wakeAt: Millis = NEVER;
  #isClosed = false;

  constructor(hub: RelayHub, options: RelaySocketsOptions) {
    this.#hub = hub;
    this.#clock = options.clock;
    this.#limiter = new RateLimiter(options.upgrades ?? UPGRADE_LIMIT);
  }

  /** The relay of a mesh: for whom its log admits, whether or not names were given to them yet. */
  static of(
    presence: { readonly mesh: Mesh; readonly registry: Registry },
    { random, moment }: { readonly random: Random; readonly moment: () => Moment },
  ): RelaySockets {
    const identityOf = (peer: PeerId) => expectPresent(presence, peer, moment().wallTime).identity;
    return new RelaySockets(new RelayHub({ identityOf, random }), { clock: () => moment().now });
  }

  get counts(): RelayCounts {
    return this.#hub.counts;
  }

  /** What all sockets together hold, handed over but not written. */
  get unwrittenBytes(): number {
    return [...this.#sockets.values()].reduce((sum, socket) => sum + socket.bufferedAmount, 0);
  }

  /** Takes a request to upgrade at the relay's path. */
  accept(request: IncomingMessage, socket: Duplex, head: Uint8Array): void {
    if (!this.#limiter.take(sourceKey(remoteIp(request)), this.#clock())) {
      return decline(socket, "429 Too Many Requests");
    }
    if (this.#isClosed || this.#sockets.size >= MAX_CONNECTIONS) {
      return decline(socket, "503 Service Unavailable");
    }
    this.#server.handleUpgrade(request, socket, head as never, (ws) => this.#open(ws, socket));
  }

  /** The model changed: who left the mesh is cut off. */
  end(peers: readonly PeerId[]): void {
    for (const peer of peers) this.#handle({ type: "left", peer });
  }

  /** Ends every connection. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    const ended = [...this.#sockets.values()].map((socket) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      socket.once("close", () => resolve());
      socket.terminate();
      return promise;
    });
    await Promise.all(ended);
    this.#server.close();
  }

  #open(socket: WebSocket, raw: Duplex): void {
    const connection = this.#next++;
    this.#sockets.set(connection, socket);
    this.#raw.set(connection, raw);
    socket.on("message", (data, isBinary) => {
      if (isBinary) this.#handle({ type: "frame", connection, frame: data as Uint8Array });
      else this.#handle({ type: "text", connection, text: data.toString() });
    });
    // A broken socket also emits "close", which is where it ends.
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#sockets.delete(connection);
      this.#raw.delete(connection);
      this.#handle({ type: "close", connection });
    });
    this.#handle({ type: "connect", connection });
  }

  #handle(event: RelayEvent): void {
    if (this.#isClosed) return;
    for (const effect of this.#hub.handle(event, this.#clock())) this.#perform(effect);
    if (this.#hub.deadline < this.#wakeAt) this.#arm();
  }

  #perform(effect: RelayEffect): void {
    const { connection } = effect;
    const socket = this.#sockets.get(connection);
    if (!socket) return;
    switch (effect.type) {
      case "text":
        return socket.send(JSON.stringify(effect.text));
      case "frame": {
        const { frame } = effect;
        this.#cork(this.#raw.get(connection)!);
        return socket.send(frame, () => this.#handle({ type: "written", connection, frame }));
      }
      case "close":
        return socket.close();
    }
  }

  /** Many frames of one turn go out in one write. */
  #cork(raw: Duplex): void {
    if (this.#corked.has(raw)) return;
    if (this.#corked.size === 0) queueMicrotask(this.#uncork);
    this.#corked.add(raw);
    raw.cork();
  }

  readonly #uncork = (): void => {
    for (const raw of this.#corked) raw.uncork();
    this.#corked.clear();
  };

  #arm(): void {
    clearTimeout(this.#timer);
    this.#wakeAt = this.#hub.deadline;
    if (this.#wakeAt === NEVER) return;
    const delay = Math.ceil(Math.max(0, this.#wakeAt - this.#clock()));
    this.#timer = setTimeout(() => {
      // The deadline may have moved on; it is armed again then.
      this.#wakeAt = NEVER;
      this.#handle({ type: "tick" });
    }, delay);
  }
}
