/**
 * Gives back the code that only starting needed: first the start's own, then that of finding paths.
 * @module
 */
import { trimMemory } from "../platform/linux/trim.ts";

const DELAYS_MS = [5_000, 30_000];

/** Begins; {@link close} it with the node. */
export function trimLater(): { close(): void } {
  const timers = DELAYS_MS.map((delay) => setTimeout(trimMemory, delay));
  return { close: () => timers.forEach(clearTimeout) };
}
