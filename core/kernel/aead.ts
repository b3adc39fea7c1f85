/**
 * ChaCha20-Poly1305 of the packet kernel: as fast as WebAssembly can, on any machine.
 * @module
 */
import { type Aead, type AeadKey, TAG } from "../dataplane/aead.ts";
import { type Kernel, ROW_BYTES } from "./kernel.ts";

/** Memory that the implementation may use: a row, and a message from elsewhere. */
export const AEAD_BYTES = 65_536 + 64;
const KEY_BYTES = 32;

/**
 * The kernel's cipher over its own memory.
 *
 * @param bytes The kernel's whole memory. Messages that lie in it are worked on in place, others
 * are copied.
 * @param at Where `AEAD_BYTES` of it are free, a multiple of 4.
 */
export function kernelAead(kernel: Kernel, bytes: Uint8Array, at: number): Aead {
  const words = new Uint32Array(bytes.buffer, at, ROW_BYTES / 4);
  const keyAt = at + ROW_BYTES;
  const copyAt = at + 64;
  /** The key that the kernel's memory holds: most often the next message's too. */
  let loaded: Uint8Array | null = null;

  function run(key: Uint8Array, where: number, length: number, counter: number, opens: boolean) {
    words[0] = where;
    words[1] = length;
    words[2] = counter >>> 0;
    words[3] = Math.floor(counter / 2 ** 32);
    if (key !== loaded) {
      bytes.set(key, keyAt);
      loaded = key;
    }
    if (opens) kernel.openBatch(at, 1, keyAt);
    else kernel.sealBatch(at, 1, keyAt);
  }

  function forget(key: Uint8Array): void {
    key.fill(0);
    if (key !== loaded) return;
    bytes.fill(0, keyAt, keyAt + KEY_BYTES);
    loaded = null;
  }

  return {
    name: "wasm",
    prefersAes: false,
    key(material, cipher = "chacha20-poly1305"): AeadKey {
      if (cipher !== "chacha20-poly1305") throw new Error(`Cannot seal with ${cipher}`);
      const key = material.slice();
      return {
        seal(message, start, length, counter) {
          if (message.buffer === bytes.buffer) {
            return run(key, message.byteOffset + start, length, counter, false);
          }
          bytes.set(message.subarray(start, start + length), copyAt);
          run(key, copyAt, length, counter, false);
          message.set(bytes.subarray(copyAt, copyAt + length + TAG), start);
        },
        open(message, start, length, counter) {
          if (length < TAG) return false;
          if (message.buffer === bytes.buffer) {
            run(key, message.byteOffset + start, length, counter, true);
            return words[4] === 1;
          }
          bytes.set(message.subarray(start, start + length), copyAt);
          run(key, copyAt, length, counter, true);
          message.set(bytes.subarray(copyAt, copyAt + length), start);
          return words[4] === 1;
        },
        free() {
          forget(key);
        },
      };
    },
  };
}
