import assert from "node:assert/strict";
import fc from "fast-check";
import { bugReport } from "../core/daemon/bugreport.ts";
import { fakeFacts } from "../core/daemon/bugreport_fake.ts";
import { MeshError } from "../core/errors.ts";
import { AgentPair } from "../core/path/agent_pair.ts";
import { compare, STRETCH_LIMITS } from "../core/path/recorder.ts";
import {
  describeDifference,
  freshAgent,
  main,
  parseReport,
  pathChanges,
  regressionTest,
} from "./replay.ts";

const TEXT = reportText();

function reportText(): string {
  const pair = new AgentPair({ ...STRETCH_LIMITS, entries: 400 });
  pair.separate();
  for (let i = 0; i < 20; i++) pair.step([i, i * 13 % 100]);
  return JSON.stringify(bugReport(pair.recorders[0]!, fakeFacts()));
}

/** A report in which something is another value; snapshots, which are text, included. */
function damaged(value: unknown, at: () => number, other: unknown): unknown {
  if (typeof value === "string" && value.startsWith("{")) {
    return JSON.stringify(damaged(JSON.parse(value), at, other));
  }
  if (value === null || typeof value !== "object") return other;
  const keys = Object.keys(value);
  const key = keys[at() % keys.length];
  if (key === undefined || at() % 8 === 0) return other;
  const copy: Record<string, unknown> = Array.isArray(value) ? [...value] as never : { ...value };
  copy[key] = damaged(copy[key], at, other);
  return copy;
}

Deno.test("parseReport() takes a report, and its recording comes to the same decisions", () => {
  const { recording } = parseReport(TEXT);
  const { same, difference } = compare(recording, freshAgent);
  assert.equal(difference, null);
  assert.ok(same > 100);
  const lines = pathChanges(recording);
  assert.match(lines[0]!, /^peer 0 \([0-9a-f]{16}\)$/);
  assert.ok(lines.some((line) => /relay:relay-\d+\.example:8443/.test(line)), lines.join("\n"));
});

Deno.test("parseReport() refuses any other text, and says why", () => {
  const texts = fc.oneof(fc.string(), fc.json(), fc.nat(TEXT.length).map((n) => TEXT.slice(0, n)));
  fc.assert(
    fc.property(texts, (text) => {
      if (text === TEXT) return;
      assert.throws(() => parseReport(text), (error: unknown) => {
        assert.ok(error instanceof MeshError && error.message.startsWith("Cannot read report: "));
        return true;
      });
    }),
    { numRuns: 300, seed: 1 },
  );
});

Deno.test("parseReport() refuses damaged reports, or they can be replayed", () => {
  const hostile = fc.oneof(
    fc.constantFrom<unknown>(null, -1, 0, 1e300, 2 ** 32, 1.5, "", "x".repeat(5_000), [], {}, true),
    fc.constantFrom<unknown>({ $number: "+" }, { $map: [[1, 2]] }, { $map: [1] }, { $set: [{}] }),
    fc.constantFrom<unknown>("ssh", "1.2.3.4:5", { ["__proto__"]: { peers: 1 } }),
    fc.jsonValue(),
  );
  const report = JSON.parse(TEXT);
  let taken = 0;
  fc.assert(
    fc.property(fc.infiniteStream(fc.nat(10_000)), hostile, (stream, other) => {
      const text = JSON.stringify(damaged(report, () => stream.next().value, other));
      try {
        const { recording } = parseReport(text);
        taken++;
        const { difference } = compare(recording, freshAgent);
        if (difference) describeDifference(difference);
        pathChanges(recording);
      } catch (error) {
        if (!(error instanceof MeshError)) throw error;
      }
    }),
    { numRuns: 300, seed: 1 },
  );
  assert.ok(taken > 10, `${taken} were taken`);
});

Deno.test("parseReport() refuses a state in which the search for ports would not end", () => {
  const text = TEXT.replaceAll(/\\"punch\\":\{(.*?)\\"seed\\":\d+/g, '\\"punch\\":{$1\\"seed\\":0');
  assert.notEqual(text, TEXT);
  assert.throws(() => parseReport(text), /state of this version: punching\.punch\.seed/);
});

Deno.test("regressionTest() writes a module that holds the whole recording", () => {
  const { recording } = parseReport(TEXT);
  const source = regressionTest(recording, "../");
  const literal = /const RECORDING =\n {2}'(.*)';\n/.exec(source)![1]!;
  assert.deepEqual(JSON.parse(literal.replace(/\\(.)/g, "$1")), recording);
  assert.match(source, /from "\.\.\/core\/path\/recorder\.ts"/);
});

Deno.test("main() answers 0 for the same decisions, 1 for others, and writes a test", async () => {
  const folder = await Deno.makeTempDir();
  const { log } = console;
  const lines: string[] = [];
  console.log = (line: string) => lines.push(line);
  try {
    const path = `${folder}/report.json`;
    await Deno.writeTextFile(path, TEXT);
    assert.equal(await main([path, `--test=${folder}/a_test.ts`]), 0, lines.join("\n"));
    assert.match(lines.at(-1)!, /^same decisions: \d+ effects$/);
    assert.match(await Deno.readTextFile(`${folder}/a_test.ts`), /Deno\.test/);
    await Deno.writeTextFile(
      path,
      TEXT.replace('"type":"ping","number":', '"type":"ping","number":9'),
    );
    assert.equal(await main([path]), 1);
    assert.ok(lines.some((line) => line.startsWith("other decisions at ")));
  } finally {
    console.log = log;
    await Deno.remove(folder, { recursive: true });
  }
});
