/**
 * Long fuzzing of the packet kernel: `deno task fuzz:kernel [--count N] [--seed N]`.
 *
 * The same runs as in the tests, ten million by default, half datagrams and half packets.
 * @module
 */
import { parseArgs } from "node:util";
import { fuzzDatagrams, fuzzPackets } from "../tests/fuzz/kernel_fuzz.ts";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "10000000" },
    seed: { type: "string", default: "1" },
  },
});
const [count, seed] = [Number(values.count), Number(values.seed)];
/** Runs between two lines of progress. */
const CHUNK = 500_000;

for (const [name, fuzz] of [["datagrams", fuzzDatagrams], ["packets", fuzzPackets]] as const) {
  const started = performance.now();
  let accepted = 0;
  const half = count / 2;
  for (let done = 0; done < half; done += CHUNK) {
    accepted += fuzz(seed + done, Math.min(CHUNK, half - done));
    console.error(`${name}: ${Math.min(half, done + CHUNK)} of ${half}`);
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`${half} ${name} in ${seconds} s: ${accepted} accepted, no failure`);
}
