/**
 * Tests of running child processes: output, time limit, pipes that outlive the child.
 * @module
 */
import assert from "node:assert/strict";
import { formatSeconds, run } from "./process.ts";

function shell(script: string, limitMs?: number) {
  const limit = limitMs === undefined ? {} : { limitMs };
  return run({ command: "sh", args: ["-c", script], isQuiet: true, ...limit });
}

Deno.test("run() returns status and both outputs", async () => {
  const { code, output, isTimedOut } = await shell("echo out; echo err >&2; exit 3");
  assert.equal(code, 3);
  assert.deepEqual(output.trim().split("\n").sort(), ["err", "out"]);
  assert.equal(isTimedOut, false);
});

Deno.test("run() ends a child that takes too long", async () => {
  const { code, output, ms, isTimedOut } = await shell("echo begun; exec sleep 60", 300);
  assert.equal(isTimedOut, true);
  assert.notEqual(code, 0);
  assert.equal(output, "begun\n");
  assert.ok(ms < 5_000);
});

Deno.test("run() does not wait for a grandchild that holds the pipes", async () => {
  const { code, output, ms } = await shell("sleep 20 & echo done");
  assert.equal(code, 0);
  assert.equal(output, "done\n");
  assert.ok(ms < 10_000);
});

Deno.test("formatSeconds() rounds to tenths", () => {
  assert.equal(formatSeconds(1234), "1.2 s");
});
