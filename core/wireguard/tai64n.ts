/**
 * TAI64N timestamps: they order the initiations of one peer, so that an old one cannot be replayed.
 *
 * A receiver refuses any that is not newer than the last. A sender must therefore never go back,
 * even when its clock does or it restarts: {@link TimestampSource} keeps a watermark to persist.
 * @see https://cr.yp.to/libtai/tai64.html
 * @module
 */
import { assert } from "../assert.ts";

/** Bytes of a timestamp: seconds as 64 bits, nanoseconds as 32, big-endian. */
export const TIMESTAMP_BYTES = 12;

/** TAI64 label of 1970-01-01 TAI, and the 10 s by which TAI was then ahead, as others count it. */
const EPOCH_HIGH = 0x40000000;
const EPOCH_LOW = 10;

/**
 * Low bits of the nanoseconds that a {@link TimestampSource} leaves zero, as others do, so that a
 * timestamp does not reveal a precise clock. An offer of features goes there (`negotiation.ts`).
 */
export const OFFER_BITS = 24;

/** Timestamps are this far apart, more than 2^24 ns: they differ above {@link OFFER_BITS}. */
const STEP_MS = 17;

/**
 * Encodes a time.
 *
 * @param wallMs Wall time in whole milliseconds since 1970, not negative.
 * @param extraNanos Added to it, in [0, 1_000_000).
 */
export function encodeTai64n(wallMs: number, extraNanos = 0): Uint8Array {
  const bytes = new Uint8Array(TIMESTAMP_BYTES);
  const view = new DataView(bytes.buffer);
  const seconds = Math.floor(wallMs / 1000) + EPOCH_LOW;
  view.setUint32(0, EPOCH_HIGH + Math.floor(seconds / 2 ** 32));
  view.setUint32(4, seconds >>> 0);
  view.setUint32(8, (wallMs - Math.floor(wallMs / 1000) * 1000) * 1e6 + extraNanos);
  return bytes;
}

/** Whether timestamp `a` is later than `b`; both {@link TIMESTAMP_BYTES} long. */
export function isNewer(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < TIMESTAMP_BYTES; i++) {
    if (a[i] !== b[i]) return a[i]! > b[i]!;
  }
  return false;
}

/** Gives timestamps that only grow. */
export class TimestampSource {
  #last: number;

  /**
   * @param watermark What {@link watermark} was at some time after the last use, or 0. One that was
   * saved too early does harm only if the clock is also behind.
   */
  constructor(watermark = 0) {
    assert(watermark >= 0 && Number.isSafeInteger(watermark), "a watermark is a time in ms");
    this.#last = watermark;
  }

  /**
   * The next timestamp, at least one step after the last whatever the clock says. It stays newer
   * than all before whatever an offer puts into its low bits.
   */
  next(wallMs: number): Uint8Array {
    this.#last = Math.max(Math.floor(wallMs), this.#last + STEP_MS);
    return encodeTai64n(this.#last).fill(0, TIMESTAMP_BYTES - OFFER_BITS / 8);
  }

  /** Wall milliseconds of the newest timestamp given out. */
  get watermark(): number {
    return this.#last;
  }
}
