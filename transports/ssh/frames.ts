/**
 * What goes over the channel of an SSH connection? Frames, to a stream of bytes and back.
 *
 * ```
 * u16 BE segment, u16 BE length, then length bytes
 *   segment >= 1             a train of datagrams, as core/link.ts says
 *   segment 0, length 0      keepalive
 *   segment 0, length 4      acknowledgement: u32 BE, how many bytes of the stream came, mod 2^32
 * ```
 *
 * Acknowledgements show the sender that its bytes still arrive. Neither TCP's nor SSH's own can: the
 * former are invisible to a program, and an SSH window moves only after a mebibyte.
 * @module
 */
import { fitsTrain, MAX_TRAIN_BYTES, type Train } from "../../core/link.ts";

/** Bytes before what a frame carries. */
export const HEADER_BYTES = 4;
/** Bytes of the number in an acknowledgement. */
const ACK_BYTES = 4;

/** Who gets the frames of a {@link FrameReader}. */
export interface FrameSink {
  /** The train is only valid during the call. */
  train(train: Train): void;
  keepAlive(): void;
  /** @param count Bytes of our stream that the other side has, modulo 2^32. */
  acknowledged(count: number): void;
}

/** A new frame with a copy of `train`, which {@link isTrain} allows. */
export function encodeTrain(train: Train): Uint8Array {
  const frame = encodeHeader(train.segment, train.bytes.length);
  frame.set(train.bytes, HEADER_BYTES);
  return frame;
}

export function encodeKeepAlive(): Uint8Array {
  return encodeHeader(0, 0);
}

/** @param count Bytes that came so far, modulo 2^32. */
export function encodeAck(count: number): Uint8Array {
  const frame = encodeHeader(0, ACK_BYTES);
  new DataView(frame.buffer).setUint32(HEADER_BYTES, count);
  return frame;
}

function encodeHeader(segment: number, length: number): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES + length);
  frame[0] = segment >> 8;
  frame[1] = segment;
  frame[2] = length >> 8;
  frame[3] = length;
  return frame;
}

/** Cuts a stream into frames. Holds at most one of them. */
export class FrameReader {
  readonly #sink: FrameSink;
  /** The beginning of a frame whose rest has not come. */
  #partial: Uint8Array | null = null;
  #held = 0;
  #isBroken = false;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Whether the beginning of a frame waits for its rest. */
  get isInFrame(): boolean {
    return this.#held > 0;
  }

  /** Takes what came next; false when that cannot be, for good: where frames begin is lost. */
  push(chunk: Uint8Array): boolean {
    let at = 0;
    while (!this.#isBroken && at < chunk.length) {
      if (this.#held > 0) {
        at += this.#fill(chunk.subarray(at));
        continue;
      }
      const rest = chunk.subarray(at);
      const size = frameSize(rest);
      if (size === null) {
        this.#isBroken = true;
      } else if (size > rest.length) {
        at += this.#fill(rest);
      } else {
        this.#emit(rest.subarray(0, size));
        at += size;
      }
    }
    return !this.#isBroken;
  }

  /** Adds to the frame in hand, first up to the end of its header; returns how many bytes. */
  #fill(bytes: Uint8Array): number {
    const partial = this.#partial ??= new Uint8Array(HEADER_BYTES + MAX_TRAIN_BYTES);
    const end = this.#held < HEADER_BYTES ? HEADER_BYTES : frameSize(partial)!;
    const taken = Math.min(end - this.#held, bytes.length);
    partial.set(bytes.subarray(0, taken), this.#held);
    this.#held += taken;
    if (this.#held < HEADER_BYTES) return taken;
    const size = frameSize(partial);
    if (size === null) {
      this.#isBroken = true;
    } else if (this.#held === size) {
      this.#held = 0;
      this.#emit(partial.subarray(0, size));
    }
    return taken;
  }

  #emit(frame: Uint8Array): void {
    const segment = frame[0]! << 8 | frame[1]!;
    const rest = frame.subarray(HEADER_BYTES);
    if (segment > 0) return this.#sink.train({ bytes: rest, segment });
    if (rest.length === 0) return this.#sink.keepAlive();
    this.#sink.acknowledged(new DataView(rest.buffer, rest.byteOffset).getUint32(0));
  }
}

/**
 * How long the frame is that begins here, header included; null when there is no such frame. While
 * the header is not whole, all that is known is that it must become so.
 */
function frameSize(bytes: Uint8Array): number | null {
  if (bytes.length < HEADER_BYTES) return HEADER_BYTES;
  const segment = bytes[0]! << 8 | bytes[1]!;
  const length = bytes[2]! << 8 | bytes[3]!;
  const isValid = segment === 0 ? length === 0 || length === ACK_BYTES : fitsTrain(segment, length);
  return isValid ? HEADER_BYTES + length : null;
}
