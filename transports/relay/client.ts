/**
 * A relay as a link: the one WebSocket of a {@link RelaySession}, its timer, and trains to frames.
 * @module
 */
import type { Buffer } from "node:buffer";
import type { ClientRequestArgs } from "node:http";
import type { RequestOptions } from "node:https";
import type net from "node:net";
import type { Duplex } from "node:stream";
import type { ConnectionOptions } from "node:tls";
// @ts-types="@types/ws"
import { type ClientOptions, WebSocket } from "ws";
import { PATHS } from "../../core/control/envelope.ts";
import { errorMessage, MeshError } from "../../core/errors.ts";
import type { Identity } from "../../core/identity/keys.ts";
import type { PeerId } from "../../core/ids.ts";
import { isTrain, type Link, type LinkEvents, type Train } from "../../core/link.ts";
import { type Millis, NEVER } from "../../core/machine.ts";
import type { Random } from "../../core/random.ts";
import { connectThrough, parseProxy, type Proxy, startTls } from "../../core/platform/proxy.ts";
import { type Account, costOf, FairQueue } from "./fair_queue.ts";
import { encodeData, MAX_FRAME_BYTES } from "./frames.ts";
import { RelaySession, type SessionEffect, type SessionEvent, type SocketId } from "./session.ts";

/** Bytes that the socket may hold unwritten; queues are where frames are dropped wisely. */
const WINDOW_BYTES = 256 << 10;
/** More than this waiting in the socket: pings of the relay are not answered. */
const MAX_BUFFERED_BYTES = 1 << 20;

export interface RelayLinkOptions {
  /** The coordinator's origin, e.g. `wss://mesh.example.com:8443`. */
  readonly url: string;
  readonly identity: Identity;
  /** TLS settings: whom to trust. */
  readonly tls: RequestOptions;
  readonly events: LinkEvents;
  readonly random: Random;
  /** An HTTP proxy to go through, `http://[user:password@]host:port`. */
  readonly proxy?: string | null;
  /** Monotonic, suspended time included. */
  readonly clock: () => Millis;
}

/** One socket of the session. */
interface Attempt {
  readonly id: SocketId;
  /** Null while the proxy has not answered. */
  ws: WebSocket | null;
  /** What the WebSocket runs over, once that is known. */
  raw: Duplex | null;
  /** Gives the proxy up. */
  readonly aborter: AbortController;
  /** Cost of the frames that the socket has not written yet. */
  unwritten: number;
}

/** A link through a coordinator to all members that are connected to it too. */
export class RelayLink implements Link {
  readonly kind = "relay";
  readonly name: string;
  readonly #options: RelayLinkOptions;
  readonly #session: RelaySession;
  readonly #url: URL;
  readonly #proxy: Proxy | null;
  /** The newest socket of the session. */
  #attempt: Attempt | null = null;
  /** What waits for the socket, fair among peers. */
  readonly #queue = new FairQueue({ pool: { queuedBytes: 0 }, onDrop: () => {} });
  /** Of peers that frames wait for. */
  readonly #accounts = new Map<PeerId, Account>();
  /** What has to end before the link is closed. */
  readonly #open = new Set<Promise<void>>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** What the timer waits for. */
  #wakeAt: Millis = NEVER;
  #isClosed = false;

  /** @throws {MeshError} "config-invalid" when the proxy's URL is none. */
  constructor(options: RelayLinkOptions) {
    this.#url = new URL(PATHS.relay, options.url);
    this.#proxy = options.proxy == null ? null : parseProxy(options.proxy);
    this.name = `relay:${this.#url.hostname}:${portOf(this.#url)}`;
    this.#options = options;
    this.#session = new RelaySession(options);
    this.#handle({ type: "tick" });
  }

  /** The last round trip to the relay and back, or null. */
  get rttMs(): number | null {
    return this.#session.rttMs;
  }

  /** Why it is not connected, a sentence part, or null. */
  get problem(): string | null {
    return this.#session.problem;
  }

  isUp(peer: PeerId): boolean {
    return !this.#isClosed && this.#session.isUp(peer);
  }

  /** The relay finds its clients by itself. */
  dial(): void {}

  send(peer: PeerId, train: Train): boolean {
    if (!isTrain(train) || this.#session.upSocket !== this.#attempt?.id) return false;
    if (this.#queue.bytes === 0) this.#accounts.clear();
    let account = this.#accounts.get(peer);
    if (!account) this.#accounts.set(peer, account = { queuedBytes: 0 });
    const now = this.#options.clock();
    const hasRoom = this.#queue.push(account, encodeData(peer, train), now, train.segment);
    this.#pump();
    return hasRoom;
  }

  /** Hands the socket as much as its window lets through. */
  #pump(): void {
    const attempt = this.#attempt;
    if (!attempt?.ws) return;
    this.#cork(attempt);
    while (attempt.unwritten < WINDOW_BYTES) {
      const frame = this.#queue.pop(this.#options.clock());
      if (!frame) return;
      const cost = costOf(frame);
      attempt.unwritten += cost;
      attempt.ws.send(frame, () => {
        attempt.unwritten -= cost;
        if (attempt === this.#attempt) this.#pump();
      });
    }
  }

  /** Many frames of one turn go out in one write. */
  #cork({ raw }: Attempt): void {
    if (!raw || raw.writableCorked > 0) return;
    raw.cork();
    queueMicrotask(() => raw.uncork());
  }

  reconnect(): void {
    this.#handle({ type: "reconnect" });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#drop();
    await Promise.all(this.#open);
  }

  #handle(event: SessionEvent): void {
    if (this.#isClosed) return;
    for (const effect of this.#session.handle(event, this.#options.clock())) this.#perform(effect);
    if (this.#session.deadline < this.#wakeAt) this.#arm();
  }

  #perform(effect: SessionEffect): void {
    const { events } = this.#options;
    // An owner may close the link from within an event.
    if (this.#isClosed) return;
    switch (effect.type) {
      case "received":
        return events.received(effect.peer, effect.train);
      case "changed":
        return events.changed(effect.peer, effect.isUp, effect.why);
      case "connect":
        return this.#connect(effect.socket);
    }
    if (this.#attempt?.id !== effect.socket) return;
    const { ws } = this.#attempt;
    switch (effect.type) {
      case "hello":
        return ws?.send(JSON.stringify(effect.hello));
      case "frame":
        // A relay that pings without reading must not fill our memory with pongs.
        if (ws && ws.bufferedAmount <= MAX_BUFFERED_BYTES) ws.send(effect.frame);
        return;
      case "close":
        return this.#drop();
    }
  }

  /** Ends the newest socket at once. */
  #drop(): void {
    const attempt = this.#attempt;
    this.#attempt = null;
    this.#queue.clear();
    attempt?.aborter.abort();
    attempt?.ws?.terminate();
  }

  #connect(id: SocketId): void {
    const attempt: Attempt = {
      id,
      ws: null,
      raw: null,
      aborter: new AbortController(),
      unwritten: 0,
    };
    this.#attempt = attempt;
    this.#queue.clear();
    const ended = this.#proxy ? this.#tunnel(attempt, this.#proxy) : this.#converse(attempt, null);
    this.#open.add(ended);
    ended.then(() => this.#open.delete(ended));
  }

  /** Like {@link #converse}, through the proxy. */
  async #tunnel(attempt: Attempt, proxy: Proxy): Promise<void> {
    const target = { hostname: this.#url.hostname, port: portOf(this.#url) };
    try {
      const socket = await connectThrough(proxy, target, attempt.aborter.signal);
      if (attempt === this.#attempt) return await this.#converse(attempt, socket);
      socket.destroy();
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      this.#handle({ type: "closed", socket: attempt.id, why: error.message });
    }
  }

  /** Opens the WebSocket, on `socket` if there is one; resolves when it has closed. */
  #converse(attempt: Attempt, socket: net.Socket | null): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { id } = attempt;
    const ws = attempt.ws = new WebSocket(this.#url, this.#socketOptions(socket));
    let why = "the connection was closed";
    ws.on("upgrade", ({ socket }) => attempt.raw = socket);
    ws.on("open", () => this.#handle({ type: "open", socket: id }));
    ws.on("message", (data, isBinary) => {
      if (isBinary) this.#handle({ type: "frame", socket: id, frame: plainBytes(data as Buffer) });
      else this.#handle({ type: "text", socket: id, text: data.toString() });
    });
    ws.on("error", (error) => why = errorMessage(error));
    ws.on("close", () => {
      this.#handle({ type: "closed", socket: id, why });
      resolve();
    });
    return promise;
  }

  #socketOptions(socket: net.Socket | null): ClientOptions | ClientRequestArgs {
    return {
      ...this.#options.tls,
      ...(socket
        ? {
          createConnection: () =>
            startTls(socket, this.#url, this.#options.tls as ConnectionOptions),
        }
        : {}),
      perMessageDeflate: false,
      maxPayload: MAX_FRAME_BYTES,
      maxFragments: 1,
      // Masks guard caches on the way from scripts in browsers that choose the bytes (RFC 6455
      // section 10.3). Here the bytes are ciphertext inside TLS, and masking would cost a third
      // of the throughput; a key of zeros is valid on the wire and leaves them as they are.
      generateMask: (mask) => mask.fill(0),
    };
  }

  #arm(): void {
    clearTimeout(this.#timer);
    this.#wakeAt = this.#session.deadline;
    if (this.#wakeAt === NEVER) return;
    const delay = Math.ceil(Math.max(0, this.#wakeAt - this.#options.clock()));
    this.#timer = setTimeout(() => {
      // The deadline may have moved on; it is armed again then.
      this.#wakeAt = NEVER;
      this.#handle({ type: "tick" });
    }, delay);
  }
}

/** The port of a wss URL, which may leave it out. */
function portOf(url: URL): number {
  return Number(url.port) || 443;
}

/** The same bytes without node's methods: `slice` of a Buffer does not copy. */
function plainBytes({ buffer, byteOffset, length }: Buffer): Uint8Array {
  return new Uint8Array(buffer, byteOffset, length);
}
