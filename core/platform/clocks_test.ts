import assert from "node:assert/strict";
import { openSystemClocks, readClocks } from "./clocks.ts";
import { openLinuxClocks } from "./linux/clocks.ts";
import { openMacClocks } from "./macos/clocks.ts";
import type { SystemClocks } from "./types_clocks.ts";
import { openWindowsClocks } from "./windows/clocks.ts";

/** Two clocks 90 s apart, as machines tell them that slept that long. */
const AWAKE_MS = 1_234.5, ASLEEP_MS = 90_000;

/** Answers by the system's number of a clock. */
function timeOf(clock: number, boottime: number, monotonic: number): number {
  if (clock === boottime) return AWAKE_MS + ASLEEP_MS;
  if (clock === monotonic) return AWAKE_MS;
  return assert.fail(`clock ${clock} is not asked for`);
}

const FAKES: Record<string, SystemClocks> = {
  linux: openLinuxClocks({
    clock_gettime: (clock, time) => {
      const ms = timeOf(clock, 7, 1);
      const nanoseconds = BigInt(Math.round(ms % 1000 * 1e6));
      (time as BigInt64Array).set([BigInt(Math.floor(ms / 1000)), nanoseconds]);
      return 0;
    },
  }),
  darwin: openMacClocks({
    clock_gettime_nsec_np: (clock) => BigInt(timeOf(clock, 4, 8) * 1e6),
  }),
  windows: openWindowsClocks({
    QueryInterruptTimePrecise: (time) => {
      (time as BigUint64Array)[0] = BigInt((AWAKE_MS + ASLEEP_MS) * 1e4);
    },
    QueryUnbiasedInterruptTimePrecise: (time) => {
      (time as BigUint64Array)[0] = BigInt(AWAKE_MS * 1e4);
    },
  }),
};

for (const [os, clocks] of Object.entries(FAKES)) {
  Deno.test(`the clocks of ${os} are read in milliseconds, with sleep and without`, () => {
    assert.equal(clocks.boottime(), AWAKE_MS + ASLEEP_MS);
    assert.equal(clocks.monotonic(), AWAKE_MS);
  });
}

Deno.test("clocks that a system does not know are refused when they are opened", () => {
  const expected = { name: "MeshError", code: "unsupported", message: /^Cannot read the system's/ };
  assert.throws(() => openLinuxClocks({ clock_gettime: () => -1 }), expected);
  assert.throws(() => openMacClocks({ clock_gettime_nsec_np: () => 0n }), expected);
});

for (const os of ["darwin", "windows"] as const) {
  Deno.test(`openSystemClocks() says what it cannot do where it only claims to be ${os}`, () => {
    if (Deno.build.os === os) return console.log(`SKIP: clocks elsewhere: this is ${os}`);
    assert.throws(() => openSystemClocks(os), {
      name: "MeshError",
      code: "unsupported",
      message: /^Cannot open the system librar/,
    });
  });
}

const mayLoad = Deno.permissions.querySync({ name: "ffi" }).state === "granted";
// Loaded once: a library stays for the life of the process, which a test would call a leak.
if (mayLoad) readClocks();

Deno.test("readClocks() reads clocks that do not go back", () => {
  if (!mayLoad) return console.log("SKIP: readClocks(): needs --allow-ffi");
  const [first, second] = [readClocks(), readClocks()];
  assert.ok(first.monotonicMs > 0 && first.boottimeMs >= first.monotonicMs - 1);
  assert.ok(second.monotonicMs >= first.monotonicMs && second.boottimeMs >= first.boottimeMs);
});
