/**
 * Sealing and opening of one transport message: the interface that the packet path calls, and its
 * portable implementation over the audited library.
 *
 * Nonce and construction are those of WireGuard: four zero bytes, then the counter, little-endian;
 * ChaCha20-Poly1305 without associated data (WireGuard paper, section 5.4.6; RFC 8439). Own nodes
 * may agree on AES-256-GCM, used in the same way (docs/protocol.md).
 * @module
 */
import { gcm } from "@noble/ciphers/aes.js";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";

/** Bytes of the Poly1305 tag. */
export const TAG = 16;

/** What seals the messages of a session. */
export type CipherName = "chacha20-poly1305" | "aes-256-gcm";

/** A cipher with its key. */
export interface AeadKey {
  /** Encrypts `bytes[at, at + length)` in place and writes the tag behind it. */
  seal(bytes: Uint8Array, at: number, length: number, counter: number): void;
  /**
   * Decrypts `bytes[at, at + length)` in place, its last 16 bytes being the tag.
   * Returns false when the tag is wrong; the content is then unspecified and must not be used.
   */
  open(bytes: Uint8Array, at: number, length: number, counter: number): boolean;
  /** Erases the key and frees what it holds; no call may follow. */
  free(): void;
}

/** An implementation of the ciphers. */
export interface Aead {
  /** Shown in `status`. */
  readonly name: string;
  /** Whether AES-256-GCM is worth agreeing on: there, and faster than ChaCha20-Poly1305. */
  readonly prefersAes: boolean;
  /** Makes a context of 32 key bytes, which are copied; ChaCha20-Poly1305 unless said otherwise. */
  key(key: Uint8Array, cipher?: CipherName): AeadKey;
}

/** Writes the nonce of `counter`, an integer in [0, 2^53), into 12 zeroed bytes. */
export function writeNonce(nonce: DataView, counter: number): void {
  nonce.setUint32(4, counter >>> 0, true);
  nonce.setUint32(8, Math.floor(counter / 2 ** 32), true);
}

/** The reference: slow, portable, and what every faster implementation must equal. */
export const nobleAead: Aead = {
  name: "noble",
  prefersAes: false,
  key(key, cipher = "chacha20-poly1305"): AeadKey {
    const make = cipher === "aes-256-gcm" ? gcm : chacha20poly1305;
    const copy = key.slice();
    const nonce = new Uint8Array(12);
    const nonceView = new DataView(nonce.buffer);
    return {
      seal(bytes, at, length, counter) {
        writeNonce(nonceView, counter);
        bytes.set(make(copy, nonce).encrypt(bytes.slice(at, at + length)), at);
      },
      open(bytes, at, length, counter) {
        writeNonce(nonceView, counter);
        try {
          bytes.set(make(copy, nonce).decrypt(bytes.slice(at, at + length)), at);
          return true;
        } catch {
          return false;
        }
      },
      free() {
        copy.fill(0);
      },
    };
  },
};
