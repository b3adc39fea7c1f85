/**
 * Linux's clocks (clock_gettime(2)): CLOCK_BOOTTIME goes on while the machine sleeps,
 * CLOCK_MONOTONIC does not.
 * @module
 */
import { MeshError } from "../../errors.ts";
import type { Millis } from "../../machine.ts";
import type { SystemClocks } from "../types_clocks.ts";

const SYMBOLS = {
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** What is needed of the C library. */
export type LinuxClockLibrary = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

const CLOCK_MONOTONIC = 1, CLOCK_BOOTTIME = 7;

/** @throws {MeshError} `unsupported` where the kernel lacks one of them. */
export function openLinuxClocks(
  library: LinuxClockLibrary = Deno.dlopen("libc.so.6", SYMBOLS).symbols,
): SystemClocks {
  return {
    boottime: clockOf(library, CLOCK_BOOTTIME),
    monotonic: clockOf(library, CLOCK_MONOTONIC),
  };
}

function clockOf(library: LinuxClockLibrary, clock: number): () => Millis {
  // struct timespec: seconds, nanoseconds.
  const time = new BigInt64Array(2);
  if (library.clock_gettime(clock, time) !== 0) {
    throw new MeshError("unsupported", `Cannot read the system's clock ${clock}`);
  }
  return () => {
    library.clock_gettime(clock, time);
    return Number(time[0]) * 1000 + Number(time[1]) / 1e6;
  };
}
