/**
 * Chaining key, handshake hash and the cipher between them (Noise specification, section 5.2), with
 * BLAKE2s.
 * @module
 */
import { blake2s } from "@noble/hashes/blake2.js";
import { hmac } from "@noble/hashes/hmac.js";
import { concatBytes, utf8 } from "../bytes.ts";
import { CipherState } from "./cipher_state.ts";

const HASH = 32;
const EMPTY = new Uint8Array(0);

/** What both sides mix every handshake token into. */
export class SymmetricState {
  #chainingKey: Uint8Array;
  #hash: Uint8Array;
  #cipher = new CipherState();

  /** @param protocolName Padded to the hash length, or hashed when it is longer (section 5.2). */
  constructor(protocolName: string) {
    const name = utf8(protocolName);
    this.#hash = name.length <= HASH
      ? concatBytes(name, new Uint8Array(HASH - name.length))
      : blake2s(name);
    this.#chainingKey = this.#hash;
  }

  /** An independent copy. */
  clone(): SymmetricState {
    const copy = new SymmetricState("");
    copy.#chainingKey = this.#chainingKey;
    copy.#hash = this.#hash;
    copy.#cipher = this.#cipher.clone();
    return copy;
  }

  /** Binds the whole transcript; equal on both sides once the handshake is done (section 11.2). */
  get handshakeHash(): Uint8Array {
    return this.#hash;
  }

  /** Mixes a secret into the chaining key and takes the next cipher key from it. */
  mixKey(material: Uint8Array): void {
    const [chainingKey, key] = hkdf(this.#chainingKey, material, 2);
    this.#chainingKey = chainingKey!;
    this.#cipher.initializeKey(key!);
  }

  /** Mixes public data into the transcript. */
  mixHash(data: Uint8Array): void {
    this.#hash = blake2s(concatBytes(this.#hash, data));
  }

  /** For pre-shared keys (section 9). */
  mixKeyAndHash(material: Uint8Array): void {
    const [chainingKey, hash, key] = hkdf(this.#chainingKey, material, 3);
    this.#chainingKey = chainingKey!;
    this.mixHash(hash!);
    this.#cipher.initializeKey(key!);
  }

  /** Encrypts once there is a key, and mixes what goes on the wire into the transcript. */
  encryptAndHash(plaintext: Uint8Array): Uint8Array {
    const ciphertext = this.#cipher.encryptWithAd(this.#hash, plaintext);
    this.mixHash(ciphertext);
    return ciphertext;
  }

  /** Null when the tag is wrong; the state is then unusable. */
  decryptAndHash(ciphertext: Uint8Array): Uint8Array | null {
    const plaintext = this.#cipher.decryptWithAd(this.#hash, ciphertext);
    this.mixHash(ciphertext);
    return plaintext;
  }

  /** Whether what is encrypted gets a tag. */
  get hasKey(): boolean {
    return this.#cipher.hasKey;
  }

  /**
   * The two transport keys: initiator to responder, and back.
   *
   * @param label Keys of different labels have nothing in common; the standard knows the empty one.
   */
  split(label: Uint8Array): [Uint8Array, Uint8Array] {
    const [first, second] = hkdf(this.#chainingKey, label, 2);
    return [first!, second!];
  }
}

/** HKDF with an output per counter (section 4.3; RFC 5869). */
function hkdf(chainingKey: Uint8Array, material: Uint8Array, outputs: number): Uint8Array[] {
  const temporary = hmac(blake2s, chainingKey, material);
  const keys: Uint8Array[] = [];
  for (let i = 1; i <= outputs; i++) {
    const previous = keys.at(-1) ?? EMPTY;
    keys.push(hmac(blake2s, temporary, concatBytes(previous, Uint8Array.of(i))));
  }
  return keys;
}
