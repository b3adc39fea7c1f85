import { strict as assert } from "node:assert";
import { parseMachineCpu, parseOwnCpu, parseProcessCpu } from "./usage.ts";

/** /proc/PID/stat with 2.5 s user, 1.5 s system, and 3 s and 4 s of children that have ended. */
const STAT = "42 (a (b) c) S 1 42 42 0 -1 4194560 9 9 9 9 250 150 300 400 20 0 5 0 1234 0 0";

Deno.test("parseProcessCpu() adds user and system time, whatever the program is called", () => {
  assert.equal(parseProcessCpu(STAT), 4);
});

Deno.test("parseOwnCpu() adds the time of children that have ended", () => {
  assert.equal(parseOwnCpu(STAT), 11);
});

Deno.test("parseMachineCpu() counts all but idling and waiting, stolen time too", () => {
  const stat = "cpu  100 200 300 9999 9999 400 500 600 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
  assert.deepEqual(parseMachineCpu(stat), { busy: 21, stolen: 6 });
});

Deno.test("parseMachineCpu() reads the short line of an old kernel", () => {
  assert.deepEqual(parseMachineCpu("cpu  100 0 100 9999\n"), { busy: 2, stolen: 0 });
});
