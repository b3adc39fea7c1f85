/**
 * A key and its nonce (Noise specification, section 5.1), with ChaCha20-Poly1305.
 * @module
 */
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { assert } from "../assert.ts";

/** Encrypts and decrypts messages in order. */
export class CipherState {
  #key: Uint8Array | null = null;
  #nonce = 0;

  /** Sets the 32-byte key, which is kept, and restarts the nonce. */
  initializeKey(key: Uint8Array): void {
    this.#key = key;
    this.#nonce = 0;
  }

  /** An independent copy. */
  clone(): CipherState {
    const copy = new CipherState();
    copy.#key = this.#key;
    copy.#nonce = this.#nonce;
    return copy;
  }

  get hasKey(): boolean {
    return this.#key !== null;
  }

  /** Encrypts, or returns the plaintext while there is no key. */
  encryptWithAd(ad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    if (!this.#key) return plaintext;
    return chacha20poly1305(this.#key, this.#nextNonce(), ad).encrypt(plaintext);
  }

  /** Decrypts; null when the tag is wrong, and then the nonce stays. */
  decryptWithAd(ad: Uint8Array, ciphertext: Uint8Array): Uint8Array | null {
    if (!this.#key) return ciphertext;
    const nonce = this.#nonce;
    try {
      return chacha20poly1305(this.#key, this.#nextNonce(), ad).decrypt(ciphertext);
    } catch {
      this.#nonce = nonce;
      return null;
    }
  }

  /** Four zero bytes, then the counter, little-endian (section 12.3). */
  #nextNonce(): Uint8Array {
    assert(this.#nonce < Number.MAX_SAFE_INTEGER, "a nonce is used once");
    const nonce = new Uint8Array(12);
    const view = new DataView(nonce.buffer);
    view.setUint32(4, this.#nonce >>> 0, true);
    view.setUint32(8, Math.floor(this.#nonce / 2 ** 32), true);
    this.#nonce++;
    return nonce;
  }
}
