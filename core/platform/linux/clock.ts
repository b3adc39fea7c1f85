/**
 * The monotonic clock that goes on while the machine sleeps (clock_gettime(2), CLOCK_BOOTTIME), so
 * that keys and sessions age through a suspend.
 * @module
 */
import type { Millis } from "../../machine.ts";

const CLOCK_BOOTTIME = 7;

/** Returns a function that reads the clock. */
export function openClock(): () => Millis {
  const library = Deno.dlopen("libc.so.6", {
    clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
  });
  const time = new BigInt64Array(2);
  return () => {
    library.symbols.clock_gettime(CLOCK_BOOTTIME, time);
    return Number(time[0]) * 1000 + Number(time[1]) / 1e6;
  };
}
