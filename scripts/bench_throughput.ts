/**
 * How fast is TunnelMesh beside other tunnels in user space? Visits them in turn, one at a time,
 * between two network namespaces, and compares the medians. docs/performance.md tells what the
 * numbers mean.
 *
 * Usage: deno task bench:throughput [--quick] [--json] [--only NAME,...]   (as root; see --help)
 * @module
 */
import { removeOwn } from "../tests/e2e/lab/netns.ts";
import { prefetch } from "../tests/e2e/lab/node.ts";
import { missingPackages, whySkip } from "../tests/skip.ts";
import { installPackages, mayInstall } from "./system_packages.ts";
import { findContenders, type Found } from "./throughput/contenders.ts";
import { measure, type Sample } from "./throughput/measure.ts";
import { HELP, type Options, parseOptions } from "./throughput/options.ts";
import { OWN_NAMES } from "./throughput/own.ts";
import {
  describeDisturbance,
  formatRatios,
  formatResults,
  isDisturbed,
  medians,
  ratiosOf,
  type Results,
} from "./throughput/report.ts";

/** What came of all visits. */
interface Outcome {
  readonly results: Results;
  /** The last error of each contender that had one. */
  readonly failures: Readonly<Record<string, string>>;
}

/** Visits every contender once per round, so that what disturbs the machine disturbs all alike. */
async function visitAll({ contenders }: Found, options: Options): Promise<Outcome> {
  const samples = new Map<string, Sample[]>();
  const failures: Record<string, string> = {};
  for (let round = 1; round <= options.rounds; round++) {
    for (const contender of rotate(contenders, round - 1)) {
      const title = `[${round}/${options.rounds}] ${contender.name}`;
      try {
        const say = (step: string) => console.error(`${title}: ${step}`);
        const sample = await measure(contender, options.durations, say);
        samples.set(contender.name, [...samples.get(contender.name) ?? [], sample]);
        if (isDisturbed(sample)) console.error(`${title}: ${describeDisturbance(sample)}`);
      } catch (error) {
        if (ending !== null) await ending;
        failures[contender.name] = error instanceof Error ? error.message : String(error);
        console.error(`${title}: ${failures[contender.name]}`);
      }
    }
  }
  const measured = contenders.filter(({ name }) => samples.has(name));
  const results = measured.map(({ name }) => [name, medians(samples.get(name)!)]);
  return { results: Object.fromEntries(results), failures };
}

/** Each round begins with another one: none is always measured by a machine that has just rested. */
function rotate<T>(list: readonly T[], by: number): T[] {
  const at = by % Math.max(1, list.length);
  return [...list.slice(at), ...list.slice(0, at)];
}

function print({ contenders, missing }: Found, { results, failures }: Outcome): void {
  const ratios = ratiosOf(results);
  if (Object.keys(results).length > 0) console.log(`${formatResults(results)}\n`);
  if (Object.keys(ratios).length > 0) console.log(`${formatRatios(ratios)}\n`);
  for (const { name, about } of contenders) console.log(`${name}: ${about}`);
  for (const [name, how] of Object.entries(missing)) console.log(`${name}: not found: ${how}`);
  for (const [name, sample] of Object.entries(results)) {
    if (isDisturbed(sample)) console.log(`${name}: ${describeDisturbance(sample)}`);
  }
  for (const [name, why] of Object.entries(failures)) {
    console.log(`${name}: failed: ${why.split("\n")[0]}`);
  }
}

/** Installs what Debian has; returns why nothing can be measured, or null. */
async function prepare(options: Options): Promise<string | null> {
  const tools = ["iperf3", "wg"];
  const wanted = options.names.includes("wireguard-go") ? [...tools, "wireguard-go"] : tools;
  const packages = missingPackages({ tools: wanted });
  if (packages.length > 0 && options.mayInstall && mayInstall()) {
    console.error(`Installing what the benchmark needs: ${packages.join(" ")}`);
    await installPackages(packages);
  }
  const missing = whySkip({ tools });
  if (missing === null && options.names.some((name) => OWN_NAMES.includes(name))) await prefetch();
  return missing;
}

let ending: Promise<void> | null = null;

async function main(): Promise<number> {
  let options: Options;
  try {
    options = parseOptions(Deno.args);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return 2;
  }
  if (options.isHelp) {
    console.log(HELP);
    return 0;
  }
  const missing = await prepare(options);
  if (missing !== null) {
    console.error(`Cannot measure: ${missing}`);
    return 1;
  }
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.addSignalListener(signal, () => ending ??= removeOwn().finally(() => Deno.exit(130)));
  }
  const found = await findContenders(options.names, options.paths);
  const outcome = await visitAll(found, options);
  if (options.isJson) {
    const { results, failures } = outcome;
    const { missing } = found;
    console.log(JSON.stringify({ results, ratios: ratiosOf(results), missing, failures }));
  } else {
    print(found, outcome);
  }
  return Object.keys(outcome.failures).length === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
