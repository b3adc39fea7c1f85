/**
 * Does the limiter let through its rate, and remember no more than it may?
 * @module
 */
import assert from "node:assert/strict";
import { MAX_ADDRESSES, RateLimiter } from "./rate_limiter.ts";

Deno.test("RateLimiter lets a burst of 5 through, then 20 a second", () => {
  const limiter = new RateLimiter();
  const allowed = (now: number) => limiter.allow("192.0.2.1:1", now);
  assert.deepEqual([0, 0, 0, 0, 0, 0].map(allowed), [true, true, true, true, true, false]);
  assert.equal(allowed(49), false);
  assert.equal(allowed(50), true);
  assert.equal(allowed(51), false);
  let count = 0;
  for (let now = 60; now < 1_060; now++) if (allowed(now)) count++;
  assert.equal(count, 20);
});

const SAME: [a: string, b: string, isSame: boolean][] = [
  ["192.0.2.1:1", "192.0.2.1:2", true],
  ["192.0.2.1:1", "192.0.2.2:1", false],
  ["[2001:db8::1]:1", "[2001:db8::ffff:2]:9", true],
  ["[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1", false],
];

for (const [a, b, isSame] of SAME) {
  Deno.test(`RateLimiter counts ${a} and ${b} ${isSame ? "together" : "apart"}`, () => {
    const limiter = new RateLimiter();
    for (let i = 0; i < 5; i++) limiter.allow(a, 0);
    assert.equal(limiter.allow(b, 0), !isSame);
  });
}

Deno.test("RateLimiter remembers a bounded number of addresses and recovers", () => {
  const limiter = new RateLimiter();
  let allowed = 0;
  for (let i = 0; i < 3 * MAX_ADDRESSES; i++) {
    if (limiter.allow(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}:1`, 0)) allowed++;
    assert.ok(limiter.size <= MAX_ADDRESSES);
  }
  assert.equal(allowed, MAX_ADDRESSES);
  assert.equal(limiter.allow("192.0.2.1:1", 1_000), true, "buckets that are full are forgotten");
  for (let i = 0; i < MAX_ADDRESSES; i++) limiter.allow("192.0.2.1:1", 2_000 + i);
  assert.ok(limiter.size < 10, "and go by themselves");
});
