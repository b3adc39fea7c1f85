/**
 * Tests of reading `deno test`'s output, on lines that Deno 2.9.6 printed.
 * @module
 */
import assert from "node:assert/strict";
import { addSummaries, formatSummary, parseSummary } from "./test_summary.ts";

Deno.test("parseSummary() reads counts with and without steps, ignored tests and colours", () => {
  const cases: [line: string, passed: number, failed: number, skipped: number][] = [
    ["ok | 2 passed | 0 failed (6ms)", 2, 0, 0],
    ["ok | 2 passed (2 steps) | 0 failed | 1 ignored (6ms)", 2, 0, 1],
    ["FAILED | 4 passed (1 step) | 1 failed (1 step) (12ms)", 4, 1, 0],
    ["FAILED | 0 passed | 3 failed | 2 ignored (1 step) | 4 filtered out (1s)", 0, 3, 2],
    ["\x1b[0m\x1b[32mok\x1b[0m | 7 passed | 0 failed \x1b[0m\x1b[38;5;245m(11ms)\x1b[0m", 7, 0, 0],
  ];
  for (const [line, passed, failed, skipped] of cases) {
    const summary = parseSummary(`running 3 tests\n\n${line}\n\n`, failed > 0 ? 1 : 0);
    assert.equal(summary.passed, passed, line);
    assert.equal(summary.failed, failed, line);
    assert.equal(summary.skips.length, skipped, line);
  }
});

Deno.test("parseSummary() lists skips with reasons and failures with places", () => {
  const output = `running 3 tests from ./tests/e2e/join_test.ts
two nodes join [skipped: needs root] ... ignored (0ms)
something else ... ignored (0ms)
third ... FAILED (4ms)

 ERRORS 

third => ./tests/e2e/join_test.ts:9:6
error: Error: boom

 FAILURES 

third => ./tests/e2e/join_test.ts:9:6

FAILED | 0 passed | 1 failed | 2 ignored (5ms)

error: Test failed
`;
  assert.deepEqual(parseSummary(output, 1), {
    passed: 0,
    failed: 1,
    skips: [
      { name: "two nodes join", reason: "needs root" },
      { name: "something else", reason: "ignored without a reason" },
    ],
    failures: ["third => ./tests/e2e/join_test.ts:9:6"],
  });
});

Deno.test("parseSummary() counts a run that ended badly as a failure", () => {
  assert.equal(parseSummary("error: Type checking failed.\n", 1).failed, 1);
  assert.equal(parseSummary("", 137).failed, 1);
  const uncaught = parseSummary("ok | 2 passed | 0 failed (6ms)\n", 1);
  assert.deepEqual([uncaught.passed, uncaught.failed], [2, 1]);
});

Deno.test("parseSummary() takes the last summary when a test prints one of its own", () => {
  const output = "ok | 9 passed | 9 failed (1ms)\nok | 2 passed | 0 failed (6ms)\n";
  assert.equal(parseSummary(output, 0).passed, 2);
});

Deno.test("formatSummary() mentions skips only when there are some", () => {
  const one = { passed: 1, failed: 0, skips: [], failures: [] };
  const two = { passed: 2, failed: 1, skips: [{ name: "a", reason: "b" }], failures: ["x"] };
  assert.equal(formatSummary(one), "1 passed, 0 failed");
  assert.equal(formatSummary(addSummaries([one, two])), "3 passed, 1 failed, 1 skipped");
});
