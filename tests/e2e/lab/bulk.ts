/**
 * Repeatable bulk data: both ends of a download can make it and hash it, so no file is needed.
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { SeededRandom } from "../../../core/random.ts";

/** The data comes in blocks of this many bytes. */
export const BLOCK_BYTES = 1 << 20;

const base = new SeededRandom(0x7e57).bytes(BLOCK_BYTES);

/** Yields `bytes` bytes; the array is reused, so each block is valid until the next is asked for. */
export function* bulkBlocks(bytes: number): Generator<Uint8Array<ArrayBuffer>> {
  const block = new Uint8Array(base);
  const view = new DataView(block.buffer);
  for (let at = 0; at < bytes; at += BLOCK_BYTES) {
    view.setUint32(0, at / BLOCK_BYTES);
    yield bytes - at >= BLOCK_BYTES ? block : block.subarray(0, bytes - at);
  }
}

/** The hash that a complete and unharmed download has. */
export function bulkSha256(bytes: number): string {
  const hash = newBulkHash();
  for (const block of bulkBlocks(bytes)) hash.update(block);
  return hash.digest("hex");
}

/** The hash both sides use. */
export function newBulkHash(): Hash {
  return createHash("sha256");
}
