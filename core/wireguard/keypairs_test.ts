/**
 * Is each keypair in the right role and slot for as long as it should be?
 * @module
 */
import assert from "node:assert/strict";
import { SeededRandom } from "../random.ts";
import type { DeviceEffect } from "./events.ts";
import { Keypairs, slotOf } from "./keypairs.ts";

const PEER = 5;

/** Keypairs with short names for what a test does to them. */
function subject(isPreferred: boolean) {
  const keypairs = new Keypairs(PEER, isPreferred);
  const random = new SeededRandom(1);
  const effects: DeviceEffect[] = [];
  const adopt = (now: number) => {
    const localIndex = keypairs.newIndex(random, effects);
    keypairs.adopt({ localIndex, isInitiator: true, createdAt: now });
    return localIndex;
  };
  const offer = (now: number) => {
    keypairs.forgetNext(effects);
    const localIndex = keypairs.newIndex(random, effects);
    keypairs.offer({ localIndex, isInitiator: false, createdAt: now });
    return localIndex;
  };
  const forgotten = () =>
    effects.flatMap((effect) => effect.type === "forget-keypair" ? [effect.slot] : []);
  return { keypairs, random, effects, adopt, offer, forgotten };
}

Deno.test("Keypairs gives indices in the peer's four slots, with 18 random bits", () => {
  const { keypairs, random, effects } = subject(true);
  const index = keypairs.newIndex(random, effects);
  assert.equal(slotOf(index), PEER * 4);
  assert.ok(index >= 2 ** 14 && index < 2 ** 32);
});

Deno.test("Keypairs keeps replaced ones until their slot is needed, oldest first", () => {
  const { keypairs, adopt, forgotten } = subject(true);
  const indices = [0, 1, 2, 3].map((i) => adopt(i * 1_000));
  assert.deepEqual(forgotten(), []);
  assert.equal(keypairs.current!.localIndex, indices[3]);
  adopt(4_000);
  assert.deepEqual(forgotten(), [slotOf(indices[0]!)]);
});

Deno.test("Keypairs never takes a slot that an initiation under way holds", () => {
  const { keypairs, random, effects, adopt, offer, forgotten } = subject(true);
  const old = adopt(0);
  adopt(1);
  const pending = keypairs.newIndex(random, effects);
  keypairs.reserve(pending);
  offer(2);
  offer(3);
  assert.ok(!forgotten().includes(slotOf(pending)));
  assert.ok(!forgotten().includes(slotOf(old)), "an unused next one went before");
  keypairs.use(offer(4), effects);
  offer(5);
  assert.ok(forgotten().includes(slotOf(old)));
  assert.ok(!forgotten().includes(slotOf(pending)));
});

Deno.test("Keypairs promotes next when it is used, once", () => {
  const { keypairs, effects, adopt, offer } = subject(false);
  const first = adopt(0);
  const next = offer(1);
  assert.equal(keypairs.current!.localIndex, first);
  assert.equal(keypairs.use(next, effects), "confirmed");
  assert.equal(keypairs.current!.localIndex, next);
  assert.equal(keypairs.use(next, effects), null);
  assert.equal(keypairs.use(first, effects), null);
  assert.equal(keypairs.use(12345, effects), null);
  assert.deepEqual(effects, [{ type: "promote-keypair", peer: PEER, slot: slotOf(next) }]);
});

const CROSSINGS: [name: string, isPreferred: boolean, apartMs: number, switches: boolean][] = [
  ["yields to a preferred initiator", false, 100, true],
  ["stays with its own when that is preferred", true, 100, false],
  ["does not take a long gone one for a crossing", false, 60_000, false],
];

for (const [name, isPreferred, apartMs, switches] of CROSSINGS) {
  Deno.test(`Keypairs ${name}`, () => {
    const { keypairs, effects, adopt, offer } = subject(isPreferred);
    const theirs = offer(0);
    const mine = adopt(apartMs);
    assert.equal(keypairs.current!.localIndex, mine);
    assert.equal(keypairs.use(theirs, effects), switches ? "switched" : null);
    assert.equal(keypairs.current!.localIndex, switches ? theirs : mine);
    assert.equal(keypairs.use(theirs, effects), null, "once");
  });
}

Deno.test("Keypairs expire 180 s after they were made", () => {
  const { keypairs, effects, adopt, offer, forgotten } = subject(true);
  const old = adopt(0);
  const current = adopt(10_000);
  const next = offer(20_000);
  assert.equal(keypairs.deadline, 180_000);
  assert.equal(keypairs.expire(179_999, effects), false);
  assert.equal(keypairs.expire(180_000, effects), false);
  assert.deepEqual(forgotten(), [slotOf(old)]);
  assert.equal(keypairs.expire(190_000, effects), true);
  assert.equal(keypairs.current, null);
  assert.equal(keypairs.expire(200_000, effects), false);
  assert.deepEqual(forgotten(), [old, current, next].map(slotOf));
  assert.equal(keypairs.deadline, Infinity);
});
