import { strict as assert } from "node:assert";
import { MEASURES, type Sample } from "./measure.ts";
import { formatRatios, formatResults, isDisturbed, medians, ratiosOf } from "./report.ts";

function sample(value: number, changes: Partial<Sample> = {}): Sample {
  const all = Object.fromEntries(MEASURES.map((measure) => [measure, value])) as Sample;
  return { ...all, ...changes };
}

Deno.test("medians() takes each measure by itself", () => {
  const rounds = [sample(1, { tcp1: 30 }), sample(2, { tcp1: 10 }), sample(3, { tcp1: 20 })];
  assert.deepEqual(medians(rounds), sample(2, { tcp1: 20 }));
});

Deno.test("ratiosOf() divides ours by each peer's, and compares idle medians and loaded tails", () => {
  const ratios = ratiosOf({
    "tunnelmesh": sample(8, { p50Idle: 3, p50: 100, p99: 6, p99Idle: 100 }),
    "tunnelmesh-plain": sample(2),
    "nebula": sample(4, { p50Idle: 6, p50: 1, p99: 2, p99Idle: 1 }),
  });
  assert.deepEqual(Object.keys(ratios), ["nebula", "nebula (plain)"]);
  assert.deepEqual(ratios["nebula"], {
    tcp1: 2,
    tcp8: 2,
    udp64: 2,
    udp1400: 2,
    cpuPerGB: 2,
    p50: 0.5,
    p99: 3,
  });
  assert.equal(ratios["nebula (plain)"]!.tcp1, 0.5);
});

Deno.test("ratiosOf() leaves out what was not measured", () => {
  assert.deepEqual(ratiosOf({ "tunnelmesh": sample(1) }), {});
  assert.deepEqual(ratiosOf({ "nebula": sample(1) }), {});
});

Deno.test("isDisturbed() adds up what the hypervisor and other programs took", () => {
  assert.equal(isDisturbed(sample(1, { stolen: 2, others: 2 })), false);
  assert.equal(isDisturbed(sample(1, { stolen: 3, others: 3 })), true);
});

Deno.test("the tables have a line for each row below the head", () => {
  const results = { "tunnelmesh": sample(1), "nebula": sample(2) };
  assert.equal(formatResults(results).split("\n").length, 3);
  assert.match(formatRatios(ratiosOf(results)), /^nebula +0\.50/m);
});
