import assert from "node:assert/strict";
import fc from "fast-check";
import {
  answered,
  answeredLate,
  LEAST_TIMEOUT_MS,
  lossOf,
  lost,
  newQuality,
  type Quality,
  timeoutOf,
} from "./quality.ts";

/** Outcomes that the loss is taken over. */
const WINDOW = 32;
const RTT = fc.double({ min: 0, max: 60_000, noNaN: true });
/** An answer after so long, or none. */
const OUTCOMES = fc.array(fc.option(RTT), { maxLength: 100 });

function qualityAfter(outcomes: readonly (number | null)[]): Quality {
  const quality = newQuality();
  for (const rttMs of outcomes) {
    if (rttMs === null) lost(quality);
    else answered(quality, rttMs);
  }
  return quality;
}

/** Round trips, and what RFC 6298 section 2 (R, R/2; 1/8, 1/4) makes of them, by hand. */
const SMOOTHED: [rtts: number[], rttMs: number | null, jitterMs: number][] = [
  [[], null, 0],
  [[80], 80, 40],
  [[80, 80], 80, 30],
  [[80, 160], 90, 50],
  [[80, 0], 70, 50],
  [[80, 160, 90], 90, 37.5],
];
for (const [rtts, rttMs, jitterMs] of SMOOTHED) {
  Deno.test(`answered() smooths ${JSON.stringify(rtts)} as RFC 6298 does`, () => {
    const quality = qualityAfter(rtts);
    assert.deepEqual([quality.rttMs, quality.jitterMs], [rttMs, jitterMs]);
  });
}

Deno.test("answered() keeps the round trip between the shortest and the longest sample", () => {
  fc.assert(fc.property(fc.array(RTT, { minLength: 1, maxLength: 100 }), (rtts) => {
    const { rttMs, jitterMs } = qualityAfter(rtts);
    const [least, most] = [Math.min(...rtts), Math.max(...rtts)];
    const rounding = most * 1e-9;
    assert.ok(rttMs! >= least - rounding && rttMs! <= most + rounding, `${rttMs}`);
    assert.ok(jitterMs >= 0 && jitterMs <= most + rounding, `${jitterMs}`);
  }));
});

Deno.test("a change of the round trip is followed: 16 samples take seven eighths of it", () => {
  const quality = qualityAfter([...Array(50).fill(20), ...Array(16).fill(100)]);
  assert.ok(quality.rttMs! > 90 && quality.rttMs! < 100, `${quality.rttMs}`);
  const calm = qualityAfter([...Array(50).fill(20), ...Array(50).fill(100)]);
  assert.ok(calm.jitterMs < 1, `${calm.jitterMs}`);
});

Deno.test("lost() changes neither round trip nor jitter", () => {
  const { rttMs, jitterMs } = qualityAfter([80, 160, null, null, null]);
  assert.deepEqual([rttMs, jitterMs], [90, 50]);
});

Deno.test("lossOf() is the share of the last 32 pings, of fewer while there were fewer", () => {
  fc.assert(fc.property(OUTCOMES, (outcomes) => {
    const last = outcomes.slice(-WINDOW);
    const losses = last.filter((rttMs) => rttMs === null).length;
    const expected = last.length === 0 ? 0 : losses / last.length;
    assert.equal(lossOf(qualityAfter(outcomes)), expected);
  }));
});

const LOSSES: [name: string, outcomes: (number | null)[], loss: number][] = [
  ["is 0 before any ping", [], 0],
  ["is 1 when nothing was answered", [null], 1],
  ["is 1 with a window full of losses", Array(40).fill(null), 1],
  ["forgets a loss that 32 answers followed", [null, ...Array(32).fill(20)], 0],
  ["remembers a loss that 31 answers followed", [null, ...Array(31).fill(20)], 1 / 32],
];
for (const [name, outcomes, loss] of LOSSES) {
  Deno.test(`lossOf() ${name}`, () => assert.equal(lossOf(qualityAfter(outcomes)), loss));
}

Deno.test("answeredLate() takes back one loss, and counts as a sample but as no other ping", () => {
  fc.assert(fc.property(OUTCOMES, RTT, (outcomes, rttMs) => {
    const quality = qualityAfter(outcomes);
    const before = structuredClone(quality);
    answeredLate(quality, rttMs);
    const losses = Math.round(lossOf(before) * before.outcomes);
    assert.equal(quality.outcomes, before.outcomes);
    const expected = before.outcomes === 0 ? 0 : Math.max(0, losses - 1) / before.outcomes;
    assert.equal(lossOf(quality), expected);
    const sampled = structuredClone(before);
    answered(sampled, rttMs);
    assert.deepEqual([quality.rttMs, quality.jitterMs], [sampled.rttMs, sampled.jitterMs]);
  }));
});

Deno.test("answeredLate() takes back the newest loss: the older one leaves the window first", () => {
  const quality = qualityAfter([null, ...Array(15).fill(20), null]);
  answeredLate(quality, 900);
  assert.equal(lossOf(quality), 1 / 17);
  for (let i = 0; i < 15; i++) answered(quality, 20);
  assert.equal(lossOf(quality), 1 / 32);
  answered(quality, 20);
  assert.equal(lossOf(quality), 0);
});

Deno.test("losses of a path whose every answer is late vanish, however many there are", () => {
  const quality = newQuality();
  for (let i = 0; i < 100; i++) {
    lost(quality);
    answeredLate(quality, 2_000);
  }
  assert.equal(lossOf(quality), 0);
});

const TIMEOUTS: [name: string, outcomes: (number | null)[], timeoutMs: number][] = [
  ["a second before the first answer", [], 1_000],
  ["a second still when pings were lost", [null, null], 1_000],
  ["300 ms at least", [1], LEAST_TIMEOUT_MS],
  ["300 ms up to a round trip of 100 ms", [100], LEAST_TIMEOUT_MS],
  ["three round trips beyond", [101], 303],
  ["three smoothed round trips", [200, 280], 630],
  ["three seconds at most", [1_001], 3_000],
];
for (const [name, outcomes, timeoutMs] of TIMEOUTS) {
  Deno.test(`timeoutOf() is ${name}`, () => {
    assert.equal(timeoutOf(qualityAfter(outcomes)), timeoutMs);
  });
}
