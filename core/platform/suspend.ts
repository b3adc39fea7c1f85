/**
 * Has the machine slept? Of the two clocks that count from its start, one goes on meanwhile and the
 * other does not (`clocks.ts`).
 * @module
 */
import type { Millis } from "../machine.ts";

/** Both clocks, read together. */
export interface Clocks {
  readonly monotonicMs: Millis;
  readonly boottimeMs: Millis;
}

/** More than what passes between the two readings on a machine that is busy. */
const MIN_SLEEP_MS = 1_000;

/** Compares the clocks with those of the look before. */
export class SuspendDetector {
  #asleepMs: number | null = null;

  /** How long the machine slept since the last look, in milliseconds; 0 when it did not. */
  look({ monotonicMs, boottimeMs }: Clocks): number {
    const asleepMs = boottimeMs - monotonicMs;
    const sleptMs = asleepMs - (this.#asleepMs ?? asleepMs);
    // Short differences add up until they count: the sum of all sleep is what is compared.
    if (this.#asleepMs !== null && sleptMs <= MIN_SLEEP_MS) return 0;
    this.#asleepMs = asleepMs;
    return sleptMs;
  }
}
