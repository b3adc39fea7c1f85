/**
 * The clocks of Windows 10 and newer (`realtimeapiset.h`): the interrupt time goes on while the
 * machine sleeps or hibernates, the unbiased one does not.
 *
 * Of each the precise form, since the other one moves with the timer's ticks alone, up to 15.6 ms
 * apart. Programs link them by mincore.lib, which leads to an API set, not to a library of a fixed
 * name; LoadLibrary takes the set's name in place of a library's.
 * @module
 */
import { errorMessage, MeshError } from "../../errors.ts";
import type { Millis } from "../../machine.ts";
import type { SystemClocks } from "../types_clocks.ts";

const SYMBOLS = {
  QueryInterruptTimePrecise: { parameters: ["buffer"], result: "void" },
  QueryUnbiasedInterruptTimePrecise: { parameters: ["buffer"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/** What is needed of the system libraries. */
export type WindowsClockLibrary = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

const API_SET = "api-ms-win-core-realtime-l1-1-1.dll";
/** The unit is 100 nanoseconds. */
const UNITS_PER_MS = 10_000;

/** @throws {MeshError} `unsupported` before Windows 10. */
export function openWindowsClocks(library: WindowsClockLibrary = openLibrary()): SystemClocks {
  return {
    boottime: clockOf((time) => library.QueryInterruptTimePrecise(time)),
    monotonic: clockOf((time) => library.QueryUnbiasedInterruptTimePrecise(time)),
  };
}

function openLibrary(): WindowsClockLibrary {
  try {
    return Deno.dlopen(API_SET, SYMBOLS).symbols;
  } catch (error) {
    throw new MeshError("unsupported", `Cannot open the system libraries: ${errorMessage(error)}`);
  }
}

function clockOf(query: (time: BigUint64Array<ArrayBuffer>) => void): () => Millis {
  const time = new BigUint64Array(1);
  return () => {
    query(time);
    return Number(time[0]) / UNITS_PER_MS;
  };
}
