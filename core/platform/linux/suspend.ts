/**
 * Has the machine slept? Of the two clocks that count from its start, one goes on meanwhile
 * (clock_gettime(2): CLOCK_BOOTTIME), the other does not (CLOCK_MONOTONIC).
 * @module
 */
import type { Millis } from "../../machine.ts";

/** Both clocks, read together. */
export interface Clocks {
  readonly monotonicMs: Millis;
  readonly boottimeMs: Millis;
}

const CLOCK_MONOTONIC = 1, CLOCK_BOOTTIME = 7;
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

let read: ((clock: number) => Millis) | undefined;

/** Reads both clocks now. */
export function readClocks(): Clocks {
  read ??= openClocks();
  return { monotonicMs: read(CLOCK_MONOTONIC), boottimeMs: read(CLOCK_BOOTTIME) };
}

function openClocks(): (clock: number) => Millis {
  const library = Deno.dlopen("libc.so.6", {
    clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
  });
  const time = new BigInt64Array(2);
  return (clock) => {
    library.symbols.clock_gettime(clock, time);
    return Number(time[0]) * 1000 + Number(time[1]) / 1e6;
  };
}
