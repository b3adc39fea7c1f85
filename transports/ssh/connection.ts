/**
 * How do datagrams travel over one SSH connection, and when is it dead?
 *
 * Frames wait here and not in the socket, where nobody could drop them: a TCP connection inside of
 * the tunnel must lose datagrams when the one outside of it slows down, else both retransmit. What
 * waits is a {@link FairQueue} with one source, so its delay is bounded (RFC 8289) and its size.
 *
 * Every byte but those of acknowledgements is to be acknowledged (`frames.ts`). When that stops,
 * the connection has failed, whatever TCP still hopes for.
 * @module
 */
import type { Duplex } from "node:stream";
import { errorMessage } from "../../core/errors.ts";
import type { PeerId } from "../../core/ids.ts";
import { isTrain, type Train } from "../../core/link.ts";
import { type Millis, NEVER } from "../../core/machine.ts";
import { type Account, FairQueue } from "../relay/fair_queue.ts";
import { encodeAck, encodeKeepAlive, encodeTrain, FrameReader } from "./frames.ts";
import type { Limits } from "./limits.ts";

/** Most that waits in the queue, of short frames and of others. */
export const MAX_QUEUED_BYTES = 256 << 10;

/** An open channel and what it runs over; destroying the socket ends both. */
export interface Carrier {
  readonly socket: Duplex;
  readonly channel: Duplex;
  /** Agrees on new session keys; only a server can begin that with ssh2. */
  readonly rekey: (() => void) | null;
}

export interface ConnectionOptions extends Carrier {
  readonly peer: PeerId;
  /** Whether this node opened it. */
  readonly isOurs: boolean;
  readonly limits: Limits;
  /** Monotonic, suspended time included. */
  readonly clock: () => Millis;
  /** Whether the peer may still be connected. */
  readonly isMember: () => boolean;
  readonly onTrain: (train: Train) => void;
  /** Called once, also after {@link SshConnection.close}. `why` is a sentence part. */
  readonly onClosed: (why: string) => void;
}

/** One SSH connection with a peer, up to its end. */
export class SshConnection {
  readonly peer: PeerId;
  readonly isOurs: boolean;
  readonly openedAt: Millis;
  /** Resolves when the socket is gone. */
  readonly ended: Promise<void>;
  readonly #options: ConnectionOptions;
  readonly #reader: FrameReader;
  readonly #account: Account = { queuedBytes: 0 };
  readonly #queue: FairQueue;
  #isClosed = false;
  /** Bytes of our stream; those up to the last one that asks for an acknowledgement; those had. */
  #written = 0;
  #expected = 0;
  #acknowledged = 0;
  /** When something was acknowledged, or all was before something was sent. */
  #progressAt: Millis;
  /** When something that asks for an acknowledgement was sent. */
  #sentAt: Millis;
  #received = 0;
  #rekeyedAt: Millis;
  #rekeyedBytes = 0;
  #wakeAt: Millis = NEVER;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ackTimer: ReturnType<typeof setTimeout> | undefined;
  #lingerTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.peer = options.peer;
    this.isOurs = options.isOurs;
    this.openedAt =
      this.#progressAt =
      this.#sentAt =
      this.#rekeyedAt =
        options.clock();
    this.#queue = new FairQueue({
      pool: { queuedBytes: 0 },
      onDrop: () => {},
      maxFlowBytes: MAX_QUEUED_BYTES,
    });
    this.#reader = new FrameReader({
      train: (train) => this.#takeTrain(train),
      keepAlive: () => this.#oweAck(),
      acknowledged: (count) => this.#takeAck(count),
    });
    this.ended = this.#attach();
    this.#wakeBy(this.openedAt + options.limits.keepAliveMs);
  }

  #attach(): Promise<void> {
    const { socket, channel } = this.#options;
    const { promise, resolve } = Promise.withResolvers<void>();
    socket.on("error", (error) => this.close(errorMessage(error)));
    socket.on("drain", () => this.#pump());
    socket.once("close", () => {
      this.close("the peer closed the connection");
      resolve();
    });
    channel.on("error", (error) => this.close(errorMessage(error)));
    channel.once("end", () => this.close("the peer closed the channel"));
    channel.on("data", (chunk: Uint8Array) => this.#take(chunk));
    if (socket.destroyed) {
      // Its events are over. The owner gets to know this object before it learns of its end.
      queueMicrotask(() => this.close("the peer closed the connection"));
      resolve();
    }
    return promise;
  }

  /** Takes datagrams; false when they, or some before them, were dropped. */
  send(train: Train): boolean {
    if (this.#isClosed || !isTrain(train)) return false;
    const now = this.#options.clock();
    const hasRoom = this.#queue.push(this.#account, encodeTrain(train), now, train.segment);
    this.#pump();
    return hasRoom;
  }

  /** Ends it in a while: another connection has taken its place. */
  retire(): void {
    const close = () => this.close("another connection has taken its place");
    this.#lingerTimer ??= setTimeout(close, this.#options.limits.lingerMs);
  }

  close(why: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const timer of [this.#timer, this.#ackTimer, this.#lingerTimer]) clearTimeout(timer);
    this.#queue.clear();
    this.#options.socket.destroy();
    this.#options.onClosed(why);
  }

  /** What ssh2 holds for want of window, and what the socket holds. */
  get #buffered(): number {
    return this.#options.channel.writableLength + this.#options.socket.writableLength;
  }

  /** Writes while the socket asks for more; it says "drain" only after it asked for no more. */
  #pump(): void {
    const { socket, clock } = this.#options;
    while (!this.#isClosed && this.#buffered < socket.writableHighWaterMark) {
      const frame = this.#queue.pop(clock());
      if (!frame) return;
      this.#writeCounted(frame);
    }
  }

  /** Writes what is to be acknowledged. */
  #writeCounted(frame: Uint8Array): void {
    const { clock, limits } = this.#options;
    this.#sentAt = clock();
    if (this.#acknowledged >= this.#expected) {
      this.#progressAt = this.#sentAt;
      this.#wakeBy(this.#sentAt + limits.stallMs);
    }
    this.#expected = this.#written + frame.length;
    this.#write(frame);
  }

  #write(frame: Uint8Array): void {
    this.#written += frame.length;
    // After a wait for the SSH window there is no "drain" of the socket.
    this.#options.channel.write(frame, () => this.#pump());
  }

  #take(chunk: Uint8Array): void {
    if (this.#isClosed) return;
    this.#received += chunk.length;
    // Whoever gets a view of a Buffer and calls slice() on it would get no copy.
    const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length);
    if (!this.#reader.push(bytes)) this.close("the peer sent what is no frame");
    else if (this.#reader.isInFrame) this.#oweAck();
  }

  #takeTrain(train: Train): void {
    this.#oweAck();
    if (!this.#isClosed) this.#options.onTrain(train);
  }

  #takeAck(count: number): void {
    const more = (count - this.#acknowledged) >>> 0;
    if (more > this.#written - this.#acknowledged) {
      return this.close("the peer acknowledged what was never sent");
    }
    if (more === 0) return;
    this.#acknowledged += more;
    this.#progressAt = this.#options.clock();
  }

  #oweAck(): void {
    if (this.#isClosed || this.#ackTimer !== undefined) return;
    this.#ackTimer = setTimeout(() => {
      this.#ackTimer = undefined;
      this.#write(encodeAck(this.#received));
    }, this.#options.limits.ackDelayMs);
  }

  /** Looks at everything that depends on time, and says when to look again. */
  #tick(): void {
    const { clock, isMember, limits } = this.#options;
    const now = clock();
    if (!isMember()) return this.close("the peer is not a member");
    if (this.#isWaiting && now - this.#progressAt >= limits.stallMs) {
      const seconds = limits.stallMs / 1000;
      return this.close(`the connection stalled: nothing arrived at the peer for ${seconds} s`);
    }
    this.#rekeyWhenDue(now);
    if (now - this.#sentAt >= limits.keepAliveMs) this.#writeCounted(encodeKeepAlive());
    const stallAt = this.#isWaiting ? this.#progressAt + limits.stallMs : NEVER;
    this.#wakeBy(Math.min(stallAt, this.#sentAt + limits.keepAliveMs));
  }

  get #isWaiting(): boolean {
    return this.#acknowledged < this.#expected;
  }

  #rekeyWhenDue(now: Millis): void {
    const { limits, rekey } = this.#options;
    const bytes = this.#written + this.#received;
    if (!rekey) return;
    if (bytes - this.#rekeyedBytes < limits.rekeyBytes && now - this.#rekeyedAt < limits.rekeyMs) {
      return;
    }
    this.#rekeyedBytes = bytes;
    this.#rekeyedAt = now;
    rekey();
  }

  #wakeBy(at: Millis): void {
    if (at >= this.#wakeAt) return;
    clearTimeout(this.#timer);
    this.#wakeAt = at;
    this.#timer = setTimeout(() => {
      this.#wakeAt = NEVER;
      this.#tick();
    }, Math.ceil(Math.max(0, at - this.#options.clock())));
  }
}
