/**
 * Workers that write the same few flows at once never show each other a mixture of two of them.
 * @module
 */
import assert from "node:assert/strict";
import { flowTableWords, initFlowTable } from "../core/filter/flow_table.ts";
import type { HammerReport, HammerTask } from "./filter_hammer.ts";

const WORKERS = 3;
const ROUNDS = 2_000_000;
/** One set for more flows, so that entries change hands all the time. */
const FLOWS = 8;

function hammer(task: HammerTask): Promise<HammerReport> {
  const worker = new Worker(new URL("./filter_hammer.ts", import.meta.url), { type: "module" });
  return new Promise<HammerReport>((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage(task);
  }).finally(() => worker.terminate());
}

Deno.test("FlowTable shows whole flows to every worker while others write them", async () => {
  const words = new Int32Array(new SharedArrayBuffer(4 * flowTableWords(FLOWS)));
  initFlowTable(words, FLOWS, 11);
  const reports = await Promise.all(
    Array.from(
      { length: WORKERS },
      (_, seed) => hammer({ words, writes: seed === 0, seed, rounds: ROUNDS }),
    ),
  );
  for (const { found, created, torn } of reports) {
    assert.equal(torn, 0);
    assert.ok(found > 1000 && created > 1000, `${found} found, ${created} created`);
  }
  for (let set = 0; set < FLOWS / 8; set++) {
    assert.equal(words[16 + 16 * set], 0, "no lock is left");
  }
});
