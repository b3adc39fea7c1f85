/**
 * Seals what the control thread sends inside a session: messages about paths.
 *
 * It takes counters from the same word as the workers, so no nonce is used twice.
 * @module
 */
import { type Aead, TAG } from "./aead.ts";
import { KeyCache } from "./key_cache.ts";
import { KEYPAIR, keypairAt, PEER, peerAt, type SharedState } from "./layout.ts";
import { DATA_HEADER, REJECT_AFTER_MESSAGES, writeHeader } from "./tx_path.ts";

/** Longest payload: a probe of the largest interface MTU. */
const MAX_PAYLOAD = 9_100;

/** Seals single messages; see the module's doc. */
export class Sealer {
  readonly #shared: SharedState;
  readonly #keys: KeyCache;

  constructor(shared: SharedState, aead: Aead) {
    this.#shared = shared;
    this.#keys = new KeyCache(shared, aead, KEYPAIR.sendKey);
  }

  /** The datagram that carries `payload` to a peer, or null without a session. */
  seal(peer: number, payload: Uint8Array): Uint8Array<ArrayBuffer> | null {
    const { atomics } = this.#shared;
    const slot = Atomics.load(atomics, (peerAt(peer) + PEER.current) >> 2) - 1;
    const key = slot < 0 ? null : this.#keys.get(slot);
    if (key === null || payload.length > MAX_PAYLOAD) return null;
    const keypair = keypairAt(slot);
    const counterWord = (keypair + KEYPAIR.sendCounter) >> 2;
    if (Atomics.load(atomics, counterWord) >>> 0 >= REJECT_AFTER_MESSAGES) return null;
    const counter = Atomics.add(atomics, counterWord, 1) >>> 0;
    const bytes = new Uint8Array(DATA_HEADER + payload.length + TAG);
    writeHeader(bytes, 0, atomics[(keypair + KEYPAIR.remoteIndex) >> 2]!, counter);
    bytes.set(payload, DATA_HEADER);
    key.seal(bytes, DATA_HEADER, payload.length, counter);
    return bytes;
  }

  /** Frees ciphers whose keypair is gone. */
  sweep(): void {
    this.#keys.sweep();
  }

  /** Frees every cipher. */
  close(): void {
    this.#keys.clear();
  }
}
