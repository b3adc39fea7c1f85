/**
 * The operating system's random numbers as the port that cores take.
 * @module
 */
import type { Random } from "../random.ts";

const scratch = new Uint32Array(1);

/** Cryptographically secure. */
export const systemRandom: Random = {
  bytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
  uint32: () => crypto.getRandomValues(scratch)[0]!,
};
