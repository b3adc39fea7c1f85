/**
 * The control channel's sockets: turns the control client's effects into WebSockets and what happens
 * on them into events. It decides nothing.
 * @module
 */
import type { RequestOptions } from "node:https";
import type { ConnectionOptions } from "node:tls";
// @ts-types="@types/ws"
import { WebSocket } from "ws";
import type { ControlEffect, ControlEvent } from "../control/client.ts";
import { MAX_SERVER_MESSAGE_LENGTH } from "../control/messages.ts";
import { errorMessage } from "../errors.ts";
import { canonicalIp, type Ip } from "../ip.ts";
import { throughProxy } from "../platform/proxy.ts";
import { tlsOptions } from "./tls_pin.ts";

/** What a channel needs. */
export interface ControlChannelOptions {
  /** PEM that coordinators are checked against; null for the system's roots. */
  readonly caCertificate: string | null;
  /** Wall time in milliseconds. */
  readonly wallTime: () => number;
  /** Takes events as they happen. */
  readonly emit: (event: ControlEvent) => void;
}

/** The sockets of one node. */
export class ControlChannel {
  readonly #options: ControlChannelOptions;
  readonly #sockets = new Map<number, WebSocket>();
  /** On their way through a proxy. */
  readonly #dialling = new Map<number, AbortController>();
  #remote: Ip | null = null;
  #isClosed = false;

  constructor(options: ControlChannelOptions) {
    this.#options = options;
  }

  /** The address of the coordinator that was connected to last, or null. */
  get remote(): Ip | null {
    return this.#remote;
  }

  /** Performs an effect on sockets. */
  perform(effect: Extract<ControlEffect, { type: "connect" | "send" | "close" }>): void {
    switch (effect.type) {
      case "connect":
        return void this.#connect(effect.connection, effect.url);
      case "send":
        return this.#sockets.get(effect.connection)?.send(JSON.stringify(effect.message));
      case "close": {
        this.#abort(effect.connection);
        const socket = this.#sockets.get(effect.connection);
        this.#sockets.delete(effect.connection);
        return socket?.terminate();
      }
    }
  }

  /** Ends every socket; no event follows. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const connection of [...this.#dialling.keys()]) this.#abort(connection);
    const ended = [...this.#sockets.values()].map((socket) => {
      if (socket.readyState === WebSocket.CLOSED) return Promise.resolve();
      const { promise, resolve } = Promise.withResolvers<void>();
      socket.once("close", () => resolve());
      socket.terminate();
      return promise;
    });
    this.#sockets.clear();
    await Promise.all(ended);
  }

  async #connect(connection: number, url: string): Promise<void> {
    const tls = tlsOptions(this.#options.caCertificate);
    const aborter = new AbortController();
    this.#dialling.set(connection, aborter);
    try {
      const via = await throughProxy(new URL(url), tls as ConnectionOptions, aborter.signal);
      if (this.#dialling.delete(connection)) {
        this.#open(connection, url, { ...tls, ...via });
      }
    } catch (error) {
      if (!this.#dialling.delete(connection)) return;
      this.#emit({ type: "closed", connection, reason: errorMessage(error) });
    }
  }

  #open(connection: number, url: string, options: RequestOptions): void {
    const socket = new WebSocket(url, {
      ...options,
      perMessageDeflate: false,
      maxPayload: 4 * MAX_SERVER_MESSAGE_LENGTH,
    });
    this.#sockets.set(connection, socket);
    let reason = "the connection was closed";
    const emit = this.#emit.bind(this);
    socket.on("open", () => {
      this.#remote = remoteOf(socket);
      emit({ type: "open", connection });
    });
    socket.on("message", (data, isBinary) => {
      if (isBinary) return socket.terminate();
      const wallTime = this.#options.wallTime();
      emit({ type: "message", connection, text: data.toString(), wallTime });
    });
    socket.on("error", (error) => reason = errorMessage(error));
    socket.on("close", () => {
      this.#sockets.delete(connection);
      emit({ type: "closed", connection, reason });
    });
  }

  #emit(event: ControlEvent): void {
    if (!this.#isClosed) this.#options.emit(event);
  }

  #abort(connection: number): void {
    this.#dialling.get(connection)?.abort();
    this.#dialling.delete(connection);
  }
}

/** Who is at the other end of a WebSocket that is open; IPv4 unmapped. */
function remoteOf(socket: WebSocket): Ip | null {
  const { _socket: tcp } = socket as unknown as { _socket?: { remoteAddress?: string } };
  return canonicalIp((tcp?.remoteAddress ?? "").replace(/^::ffff:(?=\d+\.)/, ""));
}
