/**
 * Runs simulated histories: one seed to look at, or many to search for a bad one.
 *
 * Usage: deno task sim [--seed=N] [--count=N] [--trace]
 * @module
 */
import { parseArgs } from "node:util";
import { runScenario } from "../tests/sim/scenario.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    count: { type: "string", default: "1" },
    trace: { type: "boolean", default: false },
  },
});
const first = Number(values.seed);
const count = Number(values.count);
if (!Number.isSafeInteger(first) || !Number.isSafeInteger(count) || first < 0 || count < 1) {
  console.error("Cannot run: --seed and --count must be whole numbers");
  Deno.exit(2);
}
let failed = 0;
for (let seed = first; seed < first + count; seed++) {
  try {
    const trace = runScenario(seed);
    if (values.trace) console.log(trace.join("\n"));
  } catch (error) {
    failed++;
    console.error(error instanceof Error ? error.message : error);
  }
}
console.log(`${count - failed} of ${count} histories ended well`);
Deno.exit(failed > 0 ? 1 : 0);
