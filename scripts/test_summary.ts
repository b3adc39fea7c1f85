/**
 * What did `deno test` say? Counts, failures and skips out of its output.
 * @module
 */

/** A test that did not run, and why. */
export interface Skip {
  readonly name: string;
  readonly reason: string;
}

/** The outcome of one or several runs. */
export interface Summary {
  readonly passed: number;
  readonly failed: number;
  readonly skips: readonly Skip[];
  /** Names of failed tests, as far as they are known. */
  readonly failures: readonly string[];
}

// "ok | 3 passed (2 steps) | 0 failed | 1 ignored (6ms)"; steps appear only where there are some.
const COUNTS =
  /^(?:ok|FAILED) \| (\d+) passed(?: \([^)]*\))? \| (\d+) failed(?: \([^)]*\))?(?: \| (\d+) ignored)?/;

/**
 * Reads the output of one `deno test`.
 * @param code Its exit status: a run that ended badly without a failed test has one failure.
 */
export function parseSummary(output: string, code: number): Summary {
  // deno-lint-ignore no-control-regex -- colours
  const lines = output.replace(/\x1b\[[0-9;]*m/g, "").split(/\r?\n/);
  const counts = lines.map((line) => COUNTS.exec(line)).findLast((match) => match !== null);
  const skips = skipsIn(lines);
  const passed = Number(counts?.[1] ?? 0);
  const failed = Number(counts?.[2] ?? 0);
  const failures = failuresIn(lines);
  // An ignored test whose line was torn apart by other output still counts.
  for (let i = skips.length; i < Number(counts?.[3] ?? 0); i++) {
    skips.push({ name: "a test", reason: "ignored without a reason" });
  }
  if (code !== 0 && failed === 0) {
    const what = counts ? "an error outside the tests" : "the run ended before its summary";
    return { passed, failed: 1, skips, failures: [...failures, what] };
  }
  return { passed, failed, skips, failures };
}

/** Adds summaries up. */
export function addSummaries(summaries: readonly Summary[]): Summary {
  return {
    passed: summaries.reduce((sum, each) => sum + each.passed, 0),
    failed: summaries.reduce((sum, each) => sum + each.failed, 0),
    skips: summaries.flatMap((each) => each.skips),
    failures: summaries.flatMap((each) => each.failures),
  };
}

/** The last line of a test run. */
export function formatSummary(summary: Summary): string {
  const line = `${summary.passed} passed, ${summary.failed} failed`;
  return summary.skips.length === 0 ? line : `${line}, ${summary.skips.length} skipped`;
}

function skipsIn(lines: readonly string[]): Skip[] {
  const skips: Skip[] = [];
  for (const line of lines) {
    const ignored = /^(.*?)(?: \[skipped: (.*)\])? \.\.\. ignored\b/.exec(line);
    if (ignored) {
      skips.push({ name: ignored[1]!, reason: ignored[2] ?? "ignored without a reason" });
    }
  }
  return skips;
}

/** The list between " FAILURES " and the summary: `name => file:line:column`. */
function failuresIn(lines: readonly string[]): string[] {
  const start = lines.findIndex((line) => line.trim() === "FAILURES");
  if (start < 0) return [];
  return lines.slice(start + 1).filter((line) => / => \S+:\d+:\d+$/.test(line))
    .map((line) => line.trim());
}
