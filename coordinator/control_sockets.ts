/**
 * The sockets behind the control hub: turns WebSockets into its events and its effects into frames.
 * @module
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
// @ts-types="@types/ws"
import { type WebSocket, WebSocketServer } from "ws";
import { PATHS } from "../core/control/envelope.ts";
import type { FeedMessage } from "../core/control/feed.ts";
import {
  MAX_NODE_MESSAGE_LENGTH,
  MAX_PEERS,
  type ServerMessage,
} from "../core/control/messages.ts";
import type { PeerId } from "../core/ids.ts";
import { canonicalIp } from "../core/ip.ts";
import { NEVER } from "../core/machine.ts";
import type { Log } from "./log.ts";
import type { ModelEvent } from "./model/apply.ts";
import type { ControlHub, HubEffect, HubEvent } from "./model/control_hub.ts";
import { RateLimiter, sourceKey } from "./model/rate_limiter.ts";
import type { Moment } from "./model/service.ts";

/** Bytes that may wait for one connection; a slower reader is dropped and connects again. */
const MAX_QUEUED_BYTES = 16 << 20;
/** Connections at once, greeted or not. */
const MAX_CONNECTIONS = 2 * MAX_PEERS;
/** Upgrades of one source: a whole site may come back behind one address at once. */
const UPGRADE_LIMIT = { burst: 500, perSecond: 50, capacity: 8192 };

/** An event without its time, which is added here. */
type BareEvent = HubEvent extends infer E ? E extends HubEvent ? Omit<E, "wallTime"> : never
  : never;

export interface ControlSocketsOptions {
  readonly moment: () => Moment;
  readonly log: Log;
  /** Is told who is no member any more. */
  readonly gone: (peers: readonly PeerId[]) => void;
}

/** All control connections of a coordinator. */
export class ControlSockets {
  readonly #hub: ControlHub;
  readonly #moment: () => Moment;
  readonly #log: Log;
  readonly #gone: (peers: readonly PeerId[]) => void;
  readonly #limiter = new RateLimiter(UPGRADE_LIMIT);
  readonly #sockets = new Map<number, WebSocket>();
  readonly #server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: 4 * MAX_NODE_MESSAGE_LENGTH,
  });
  #next = 1;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  constructor(hub: ControlHub, options: ControlSocketsOptions) {
    this.#hub = hub;
    this.#moment = options.moment;
    this.#log = options.log;
    this.#gone = options.gone;
  }

  /** Takes a request to upgrade; only the control path has WebSockets. */
  accept(request: IncomingMessage, socket: Duplex, head: Uint8Array): void {
    const remote = remoteIp(request);
    if (request.url !== PATHS.control) return decline(socket, "404 Not Found");
    if (!this.#limiter.take(sourceKey(remote), this.#moment().now)) {
      return decline(socket, "429 Too Many Requests");
    }
    if (this.#isClosed || this.#sockets.size >= MAX_CONNECTIONS) {
      return decline(socket, "503 Service Unavailable");
    }
    this.#server.handleUpgrade(request, socket, head as never, (ws) => this.#open(ws, remote));
  }

  /** The model, or the mesh's log, changed by a request. */
  publish(events: readonly ModelEvent[]): void {
    this.#handle({ type: "changed", events });
  }

  /** The node beside this coordinator tells something. */
  feed(message: FeedMessage): void {
    this.#handle({ type: "fed", message });
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

  #open(socket: WebSocket, remote: string): void {
    const connection = this.#next++;
    this.#sockets.set(connection, socket);
    socket.on("message", (data, isBinary) => {
      if (isBinary) return socket.terminate();
      this.#handle({ type: "message", connection, text: data.toString() });
    });
    // A broken socket also emits "close", which is where it ends.
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#sockets.delete(connection);
      this.#handle({ type: "close", connection });
    });
    this.#handle({ type: "connect", connection, remote });
  }

  #handle(event: BareEvent): void {
    if (this.#isClosed) return;
    const { now, wallTime } = this.#moment();
    const texts = new Map<ServerMessage, string>();
    for (const effect of this.#hub.handle({ ...event, wallTime } as HubEvent, now)) {
      this.#perform(effect, texts);
    }
    this.#arm();
  }

  #perform(effect: HubEffect, texts: Map<ServerMessage, string>): void {
    if (effect.type === "gone") return this.#gone(effect.peers);
    if (effect.type === "alert") {
      return this.#log("warn", "The mesh's log: somebody shows another one", { ...effect.alert });
    }
    const socket = this.#sockets.get(effect.connection);
    if (!socket) return;
    if (effect.type === "close") return socket.close();
    let text = texts.get(effect.message);
    if (text === undefined) texts.set(effect.message, text = JSON.stringify(effect.message));
    if (socket.bufferedAmount > MAX_QUEUED_BYTES) {
      this.#log("warn", "Dropped a connection that reads too slowly", {
        connection: effect.connection,
        queuedBytes: socket.bufferedAmount,
      });
      return socket.terminate();
    }
    socket.send(text);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const { deadline } = this.#hub;
    if (deadline === NEVER) return;
    const delay = Math.min(Math.max(0, deadline - this.#moment().now), 2 ** 31 - 1);
    this.#timer = setTimeout(() => this.#handle({ type: "tick" }), Math.ceil(delay));
  }
}

/** Answers a request to upgrade with a status and closes. */
export function decline(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

/** The peer's address, IPv4 unmapped. */
export function remoteIp(request: IncomingMessage): string {
  const text = (request.socket.remoteAddress ?? "").replace(/^::ffff:(?=\d+\.)/, "");
  return canonicalIp(text) ?? "::";
}
