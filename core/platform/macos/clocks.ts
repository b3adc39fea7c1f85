/**
 * A Mac's clocks (clock_gettime_nsec_np(3), macOS 10.12): CLOCK_MONOTONIC_RAW goes on while the
 * machine sleeps, CLOCK_UPTIME_RAW does not.
 *
 * They are mach_continuous_time() and mach_absolute_time() in nanoseconds. Apple's documentation of
 * those two names these calls to be preferred: ticks would have to be multiplied by a fraction that
 * mach_timebase_info() tells, which is 1/1 on Intel and 125/3 on Apple's processors, and both use the
 * same kernel counters. CLOCK_MONOTONIC would not do, since adjustments of the date's rate reach it,
 * and so the difference to a clock that they do not reach.
 * @module
 */
import { errorMessage, MeshError } from "../../errors.ts";
import type { Millis } from "../../machine.ts";
import type { SystemClocks } from "../types_clocks.ts";

const SYMBOLS = {
  clock_gettime_nsec_np: { parameters: ["u32"], result: "u64" },
} as const satisfies Deno.ForeignLibraryInterface;

/** What is needed of the system library. */
export type MacClockLibrary = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

const PATH = "/usr/lib/libSystem.B.dylib";
/** `enum clockid_t` of <time.h>. */
const CLOCK_MONOTONIC_RAW = 4, CLOCK_UPTIME_RAW = 8;
const NANOSECONDS_PER_MS = 1e6;

/** @throws {MeshError} `unsupported` where the library or one of the clocks is missing. */
export function openMacClocks(library: MacClockLibrary = openLibrary()): SystemClocks {
  return {
    boottime: clockOf(library, CLOCK_MONOTONIC_RAW),
    monotonic: clockOf(library, CLOCK_UPTIME_RAW),
  };
}

function openLibrary(): MacClockLibrary {
  try {
    return Deno.dlopen(PATH, SYMBOLS).symbols;
  } catch (error) {
    throw new MeshError("unsupported", `Cannot open the system library: ${errorMessage(error)}`);
  }
}

function clockOf(library: MacClockLibrary, clock: number): () => Millis {
  // The manual: zero is returned where the clock is not known.
  if (library.clock_gettime_nsec_np(clock) === 0n) {
    throw new MeshError("unsupported", `Cannot read the system's clock ${clock}`);
  }
  return () => Number(library.clock_gettime_nsec_np(clock)) / NANOSECONDS_PER_MS;
}
