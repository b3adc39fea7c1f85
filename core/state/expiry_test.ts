/**
 * Tests of expiry by absence.
 * @module
 */
import assert from "node:assert/strict";
import { DAY_MS, type Expiry, expiryOf, timeUntil } from "./expiry.ts";

const T = 1_800_000_000_000;
const NODE = { expiresAfterMs: 100 * DAY_MS, renewedAt: T };

const CASES: readonly (readonly [string, number, number, Expiry["state"], days?: number])[] = [
  ["just admitted", 0, T, "member"],
  ["15 days left", 0, T + 85 * DAY_MS, "member"],
  ["14 days left", 0, T + 86 * DAY_MS, "warned", 14],
  ["8 days left", 0, T + 92 * DAY_MS, "warned", 14],
  ["7 days left", 0, T + 93 * DAY_MS, "warned", 7],
  ["1 day left", 0, T + 99 * DAY_MS, "warned", 1],
  ["the last millisecond", 0, T + 100 * DAY_MS - 1, "warned", 1],
  ["the time has come", 0, T + 100 * DAY_MS, "expired"],
  ["long gone", 0, T + 1000 * DAY_MS, "expired"],
  ["seen in between", T + 50 * DAY_MS, T + 120 * DAY_MS, "member"],
  ["seen in between, long ago", T + 50 * DAY_MS, T + 150 * DAY_MS, "expired"],
  ["used every day for years", T + 2000 * DAY_MS, T + 2001 * DAY_MS, "member"],
  ["seen in the future", T + 10_000 * DAY_MS, T + 120 * DAY_MS, "member"],
  ["a clock before the admission", 0, T - DAY_MS, "member"],
];

for (const [name, lastSeen, now, state, days] of CASES) {
  Deno.test(`expiryOf(): ${name} is ${state}`, () => {
    const expiry = expiryOf(NODE, lastSeen, now);
    assert.equal(expiry.state, state);
    assert.equal(expiry.state === "warned" ? expiry.days : undefined, days);
  });
}

Deno.test("expiryOf() lets a sighting in the future count only as now", () => {
  const { expiresAt } = expiryOf(NODE, T * 2, T + DAY_MS);
  assert.equal(expiresAt, T + 101 * DAY_MS);
});

Deno.test("expiryOf() never expires a node without a policy", () => {
  const expiry = expiryOf({ ...NODE, expiresAfterMs: null }, 0, T * 2);
  assert.deepEqual(expiry, { state: "member", expiresAt: null });
});

Deno.test("expiryOf() warns of a short life only towards its end", () => {
  const node = { expiresAfterMs: 3 * DAY_MS, renewedAt: T };
  assert.equal(expiryOf(node, 0, T).state, "member");
  assert.equal(expiryOf(node, 0, T + 2 * DAY_MS).state, "warned");
  const hours = { expiresAfterMs: DAY_MS / 4, renewedAt: T };
  assert.equal(expiryOf(hours, 0, T + DAY_MS / 8).state, "member");
  assert.equal(expiryOf(hours, 0, T + DAY_MS / 4).state, "expired");
});

Deno.test("timeUntil() rounds down, and never to nothing", () => {
  const cases: [ms: number, text: string][] = [
    [13.9 * DAY_MS, "in 13 days"],
    [2 * DAY_MS, "in 2 days"],
    [1.9 * DAY_MS, "in 45 hours"],
    [3_600_000, "in 1 hour"],
    [3_599_999, "in 59 minutes"],
    [1, "in 1 minute"],
  ];
  for (const [ms, text] of cases) assert.equal(timeUntil(T + ms, T), text);
});
