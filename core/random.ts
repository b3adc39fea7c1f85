/**
 * Entropy as a port: cores receive it, shells provide it.
 * @module
 */

/** Where random numbers come from; the system's generator in a node, a seed in the simulator. */
export interface Random {
  /** Returns `length` fresh random bytes. */
  bytes(length: number): Uint8Array;
  /** Returns an unsigned 32-bit integer. */
  uint32(): number;
}

/** Returns a number in [0, 1). */
export function unit(random: Random): number {
  return random.uint32() / 2 ** 32;
}

/**
 * A repeatable generator for simulations and tests (sfc32 by Chris Doty-Humphrey); it must never
 * make keys of a real node.
 */
export class SeededRandom implements Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** @param seed An unsigned 32-bit integer. */
  constructor(seed: number) {
    this.#a = seed >>> 0;
    this.#b = 0x9e3779b9;
    this.#c = 0x243f6a88;
    for (let i = 0; i < 12; i++) this.uint32();
  }

  uint32(): number {
    const result = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + result | 0;
    return result >>> 0;
  }

  bytes(length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let i = 0; i < length; i++) out[i] = this.uint32() & 0xff;
    return out;
  }
}
