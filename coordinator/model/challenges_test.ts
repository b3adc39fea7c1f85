import assert from "node:assert/strict";
import { MeshError } from "../../core/errors.ts";
import { SeededRandom } from "../../core/random.ts";
import { CHALLENGE_LIFE_MS, Challenges } from "./challenges.ts";
import { RateLimiter, sourceKey } from "./rate_limiter.ts";

const [ME, OTHER] = ["A".repeat(43), "B".repeat(42) + "A"] as [string, string];

function refuses(run: () => void, why: RegExp): void {
  assert.throws(run, (error) => {
    assert.ok(error instanceof MeshError && error.code === "challenge-invalid");
    return why.test(error.message);
  });
}

Deno.test("Challenges serve the identity they were issued to, once, for a minute", () => {
  const challenges = new Challenges(new SeededRandom(1));
  const challenge = challenges.issue(ME, 0);
  assert.notEqual(challenge, challenges.issue(ME, 0));
  challenges.check(challenge, ME, CHALLENGE_LIFE_MS - 1);
  refuses(() => challenges.check(challenge, OTHER, 0), /identity/);
  refuses(() => challenges.check(challenge, ME, CHALLENGE_LIFE_MS), /expired/);
  challenges.spend(challenge, 0);
  refuses(() => challenges.check(challenge, ME, 1), /used/);
});

Deno.test("Challenges of another process and damaged ones are refused", () => {
  const challenge = new Challenges(new SeededRandom(1)).issue(ME, 0);
  const challenges = new Challenges(new SeededRandom(2));
  refuses(() => challenges.check(challenge, ME, 0), /process/);
  const own = challenges.issue(ME, 0);
  for (let i = 0; i < own.length; i++) {
    const other = own.slice(0, i) + (own[i] === "A" ? "B" : "A") + own.slice(i + 1);
    refuses(() => challenges.check(other, ME, 0), /process|malformed/);
  }
  for (const text of ["", "!", own + "A", own.slice(0, -1)]) {
    refuses(() => challenges.check(text, ME, 0), /malformed/);
  }
});

Deno.test("RateLimiter lets a burst through, then its rate", () => {
  const limiter = new RateLimiter({ burst: 3, perSecond: 2, capacity: 10 });
  const take = (now: number) => limiter.take("a", now);
  assert.deepEqual([0, 0, 0, 0, 499, 500, 500, 1000].map(take), [
    true,
    true,
    true,
    false,
    false,
    true,
    false,
    true,
  ]);
  assert.equal(limiter.take("b", 1000), true, "another source has its own bucket");
});

Deno.test("RateLimiter forgets the source longest unheard when its table is full", () => {
  const limiter = new RateLimiter({ burst: 1, perSecond: 0.001, capacity: 100 });
  for (let i = 0; i < 10_000; i++) limiter.take(String(i), i);
  assert.equal(limiter.size, 100);
  assert.equal(limiter.take("9999", 10_000), false, "the newest is remembered");
});

Deno.test("sourceKey() takes an IPv6 /64 as one source", () => {
  assert.equal(sourceKey("192.0.2.1"), "192.0.2.1");
  assert.equal(sourceKey("::ffff:192.0.2.1"), "192.0.2.1");
  assert.equal(sourceKey("2001:db8::1"), sourceKey("2001:db8::ffff:1"));
  assert.notEqual(sourceKey("2001:db8::1"), sourceKey("2001:db8:0:1::1"));
});
