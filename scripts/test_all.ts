/**
 * Runs every test: `deno task test`, or some layers with `--only unit,sim`.
 *
 * Installs the system packages that are missing where it may, runs the layers in order, and ends
 * with a plain `N passed, N failed` line. With CI=true a test that could run here but was skipped
 * counts as failed.
 * @module
 */
import { parseArgs } from "node:util";
import { readSources } from "./arch.ts";
import { runStep, STATIC_STEPS } from "./check.ts";
import { formatSeconds, runDeno } from "./process.ts";
import { installPackages, mayInstall, missingPackages } from "./system_packages.ts";
import { TEST_LAYERS, type TestLayer, type TestRun, testRuns } from "./test_layers.ts";
import {
  addSummaries,
  formatSummary,
  parseSummary,
  type Skip,
  type Summary,
} from "./test_summary.ts";

const NAMES = ["check", ...TEST_LAYERS.map((layer) => layer.name)];

const HELP = `deno task test [--only LAYER,LAYER] [--no-install]

Layers: check (format, lint, architecture, types, generated pages), ${
  TEST_LAYERS.map((layer) => `\n  ${layer.name}: ${layer.about}${layer.needsRoot ? " (root)" : ""}`)
    .join("")
}
`;

async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      only: { type: "string" },
      "no-install": { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const only = values.only?.split(",").map((name) => name.trim()) ?? NAMES;
  const unknown = only.find((name) => !NAMES.includes(name));
  if (unknown !== undefined) {
    console.error(`Cannot run layer "${unknown}": the layers are ${NAMES.join(", ")}`);
    return 2;
  }
  const mayChange = !values["no-install"] && Deno.env.get("TUNNELMESH_TEST_INSTALL") !== "0";
  if (needsSystem(only)) await prepareSystem(mayChange);
  const started = performance.now();
  const summaries: Summary[] = [];
  if (only.includes("check")) summaries.push(await runChecks());
  const files = testFiles();
  for (const layer of TEST_LAYERS) {
    if (only.includes(layer.name)) summaries.push(await runLayer(layer, files));
  }
  return report(addSummaries(summaries), performance.now() - started);
}

/** Only tests on real kernels use system programs, and ssh-keygen and openssl those of `unit`. */
function needsSystem(only: readonly string[]): boolean {
  return TEST_LAYERS.some((layer) => only.includes(layer.name) && layer.name !== "sim");
}

async function prepareSystem(mayChange: boolean): Promise<void> {
  if (Deno.build.os !== "linux") return;
  const missing = missingPackages();
  if (missing.length === 0) return;
  if (mayChange && mayInstall()) {
    console.log(`Installing what the tests need: ${missing.join(" ")}`);
    if (await installPackages(missing)) return;
    console.error("Going on without; the tests that need them are skipped or fail");
    return;
  }
  console.log(
    `Some tests need packages that are missing here. As root, on Debian or Ubuntu:\n` +
      `  apt-get install --no-install-recommends ${missing.join(" ")}`,
  );
}

async function runChecks(): Promise<Summary> {
  heading("check");
  const failures: string[] = [];
  for (const step of STATIC_STEPS) {
    if (!await runStep(step)) failures.push(`check: ${step.name}`);
  }
  const passed = STATIC_STEPS.length - failures.length;
  return { passed, failed: failures.length, skips: [], failures };
}

async function runLayer(layer: TestLayer, files: readonly string[]): Promise<Summary> {
  heading(`${layer.name}: ${layer.about}`);
  const isRoot = Deno.build.os === "linux" && Deno.uid() === 0;
  if (layer.needsRoot && !isRoot) {
    console.log("These need root and Linux; run `sudo deno task test` for them");
  }
  const parts: Summary[] = [];
  const beside: Promise<Summary>[] = [];
  for (const run of testRuns(layer.name, files)) {
    if (!run.isBeside) parts.push(...await Promise.all(beside.splice(0)));
    beside.push(runTests(run, layer.limitMs));
  }
  parts.push(...await Promise.all(beside));
  const { passed, failed, skips, failures } = addSummaries(parts);
  if (parts.length === 0) console.log("No tests in this layer");
  return {
    passed,
    failed,
    skips: skips.map((skip) => ({ ...skip, name: `${layer.name}: ${skip.name}` })),
    failures: failures.map((failure) => `${layer.name}: ${failure}`),
  };
}

/** What runs beside another shows its output when it has ended. */
async function runTests(run: TestRun, limitMs: number): Promise<Summary> {
  const isQuiet = run.isBeside;
  const { code, output, isTimedOut } = await runDeno([...run.args, ...run.files], {
    limitMs,
    isQuiet,
  });
  if (isQuiet) console.log(output);
  if (isTimedOut) console.error(`Ended: it took longer than ${formatSeconds(limitMs)}`);
  return parseSummary(output, code);
}

/** Prints the end of the run; returns the exit status. */
function report(summary: Summary, ms: number): number {
  const isCi = ["true", "1"].includes(Deno.env.get("CI") ?? "");
  const unexcused = isCi ? summary.skips.filter(couldRunHere) : [];
  const final: Summary = {
    passed: summary.passed,
    failed: summary.failed + unexcused.length,
    skips: summary.skips.filter((skip) => !unexcused.includes(skip)),
    failures: [
      ...summary.failures,
      ...unexcused.map((skip) => `${skip.name}: skipped in CI: ${skip.reason}`),
    ],
  };
  heading(`done in ${formatSeconds(ms)}`);
  if (final.skips.length > 0) {
    console.log("Skipped:");
    for (const { name, reason } of final.skips) console.log(`  ${name}: ${reason}`);
  }
  if (final.failures.length > 0) {
    console.log("Failed:");
    for (const failure of final.failures) console.log(`  ${failure}`);
  }
  console.log(formatSummary(final));
  return final.failed === 0 && final.passed > 0 ? 0 : 1;
}

/** A missing package could have been installed; missing rights and devices cannot be helped. */
function couldRunHere(skip: Skip): boolean {
  return !/needs root|needs Linux|\/dev\/net\/tun/.test(skip.reason);
}

function testFiles(): string[] {
  return readSources(new URL("..", import.meta.url)).map((file) => file.path)
    .filter((path) => /_test\.tsx?$/.test(path));
}

function heading(text: string): void {
  console.log(`\n== ${text}`);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
