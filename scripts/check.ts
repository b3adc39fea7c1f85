/**
 * The gate: `deno task check` passes before anything is merged. Quick steps first.
 * @module
 */
import { readSources } from "./arch.ts";
import { formatSeconds, runDeno } from "./process.ts";
import { testRuns } from "./test_layers.ts";

/** One step: a `deno` command that must exit with 0. */
export interface CheckStep {
  readonly name: string;
  readonly args: readonly string[];
}

/** What holds for the source without running it. */
export const STATIC_STEPS: readonly CheckStep[] = [
  { name: "format", args: ["fmt", "--check"] },
  { name: "lint", args: ["lint"] },
  { name: "architecture", args: ["run", "--allow-read", "scripts/arch.ts"] },
  { name: "types", args: ["check", "."] },
  { name: "reference pages", args: ["run", "--allow-all", "scripts/gen_docs.ts", "--check"] },
  { name: "permissions", args: ["run", "--allow-all", "scripts/gen_permissions.ts", "--check"] },
];

/** Runs one step; its output is shown only when it fails. */
export async function runStep(step: CheckStep): Promise<boolean> {
  const { code, output, ms } = await runDeno(step.args, { isQuiet: true, limitMs: 300_000 });
  const isOk = code === 0;
  console.log(`${isOk ? "ok    " : "FAILED"} ${step.name} (${formatSeconds(ms)})`);
  if (!isOk) console.log(`  deno ${step.args.join(" ")}\n${output.trimEnd()}\n`);
  return isOk;
}

if (import.meta.main) {
  const tests = readSources(new URL("..", import.meta.url)).map((file) => file.path)
    .filter((path) => path.endsWith("_test.ts"));
  const runs = testRuns("unit", tests).map((run, i) => ({
    name: `unit tests, part ${i + 1}`,
    args: [...run.args, ...run.files],
  }));
  let failures = 0;
  for (const step of [...STATIC_STEPS, ...runs]) {
    if (!await runStep(step)) failures++;
  }
  console.log(failures === 0 ? "All checks pass" : `${failures} of the checks failed`);
  Deno.exit(failures === 0 ? 0 : 1);
}
