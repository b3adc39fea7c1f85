/**
 * How does a small frame not keep alive the large buffer that it was read with? It is copied behind
 * the one before it.
 *
 * Frames of one slab leave in the order in which they came, so what is kept alive is what waits and
 * at most two slabs. An allocation per frame would cost more than the copy.
 * @module
 */

const SLAB_BYTES = 32_768;
/** A frame that is less than this share of its buffer is copied. */
const LEAST_SHARE = 1 / 4;

/** Copies for one first-in first-out queue. */
export class Slab {
  #free = new Uint8Array();

  /** Returns `frame`, or a copy when it is a small part of its buffer. */
  keep(frame: Uint8Array): Uint8Array {
    const { length } = frame;
    if (length >= frame.buffer.byteLength * LEAST_SHARE) return frame;
    if (length > SLAB_BYTES) return new Uint8Array(frame);
    if (length > this.#free.length) this.#free = new Uint8Array(SLAB_BYTES);
    const copy = this.#free.subarray(0, length);
    copy.set(frame);
    this.#free = this.#free.subarray(length);
    return copy;
  }
}
