/**
 * Which clocks does this operating system have that nobody sets?
 * @module
 */
import type { Millis } from "../machine.ts";
import { openLinuxClocks } from "./linux/clocks.ts";
import { openMacClocks } from "./macos/clocks.ts";
import type { Clocks } from "./suspend.ts";
import type { SystemClocks } from "./types_clocks.ts";
import { openWindowsClocks } from "./windows/clocks.ts";

/**
 * Opens the system's clocks; their library stays open until the thread ends.
 * @throws {MeshError} `unsupported`.
 */
export function openSystemClocks(os: typeof Deno.build.os = Deno.build.os): SystemClocks {
  switch (os) {
    case "darwin":
      return openMacClocks();
    case "windows":
      return openWindowsClocks();
    default:
      return openLinuxClocks();
  }
}

/** Returns a function that reads the clock that goes on while the machine sleeps. */
export function openClock(): () => Millis {
  return openSystemClocks().boottime;
}

let opened: SystemClocks | undefined;

/** Reads both clocks now. */
export function readClocks(): Clocks {
  opened ??= openSystemClocks();
  return { monotonicMs: opened.monotonic(), boottimeMs: opened.boottime() };
}
