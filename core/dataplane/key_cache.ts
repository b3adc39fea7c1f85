/**
 * Cipher contexts of one worker: made once for each installed keypair, dropped when it changes.
 * @module
 */
import type { Aead, AeadKey } from "./aead.ts";
import { FEATURE } from "./features.ts";
import { KEYPAIR, keypairAt, type SharedState } from "./layout.ts";

interface Cached {
  readonly generation: number;
  readonly key: AeadKey;
}

/** Finds the cipher of a keypair slot, reading the key from shared memory only when it changed. */
export class KeyCache {
  readonly #shared: SharedState;
  readonly #aead: Aead;
  readonly #keyOffset: number;
  readonly #cached = new Map<number, Cached>();

  /** @param keyOffset `KEYPAIR.sendKey` or `KEYPAIR.receiveKey`. */
  constructor(shared: SharedState, aead: Aead, keyOffset: number) {
    this.#shared = shared;
    this.#aead = aead;
    this.#keyOffset = keyOffset;
  }

  /** The cipher of `slot`, or null when no keypair is installed there. */
  get(slot: number): AeadKey | null {
    const at = keypairAt(slot);
    const { atomics, bytes, words } = this.#shared;
    const generation = Atomics.load(atomics, (at + KEYPAIR.generation) >> 2);
    const cached = this.#cached.get(slot);
    if (Atomics.load(atomics, (at + KEYPAIR.state) >> 2) === 0) {
      if (cached) this.#forget(slot, cached);
      return null;
    }
    if (cached?.generation === generation) return cached.key;
    if (cached) this.#forget(slot, cached);

    const hasAes = (words[(at + KEYPAIR.features) >> 2]! & FEATURE.aes256gcm) !== 0;
    const material = bytes.slice(at + this.#keyOffset, at + this.#keyOffset + 32);
    // The control thread may have replaced the keypair while it was copied.
    const unchanged = Atomics.load(atomics, (at + KEYPAIR.state) >> 2) !== 0 &&
      Atomics.load(atomics, (at + KEYPAIR.generation) >> 2) === generation;
    const key = unchanged
      ? this.#aead.key(material, hasAes ? "aes-256-gcm" : "chacha20-poly1305")
      : null;
    material.fill(0);
    if (key) this.#cached.set(slot, { generation, key });
    return key;
  }

  /** Frees contexts whose keypair is gone; called now and then, not per packet. */
  sweep(): void {
    for (const slot of [...this.#cached.keys()]) this.get(slot);
  }

  /** Frees everything. */
  clear(): void {
    for (const [slot, cached] of [...this.#cached]) this.#forget(slot, cached);
  }

  #forget(slot: number, cached: Cached): void {
    cached.key.free();
    this.#cached.delete(slot);
  }
}
