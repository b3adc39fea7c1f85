/**
 * Does the window refuse every repeat and nothing else?
 * @module
 */
import assert from "node:assert/strict";
import { SeededRandom } from "../random.ts";
import {
  newestCounter,
  REPLAY_WORDS,
  replayAccept,
  replayCheck,
  ReplayWindow,
  WINDOW_SIZE,
} from "./replay_window.ts";

/** Accepts in order; `null` stands for a refusal. */
const CASES: [name: string, counters: number[], accepted: boolean[]][] = [
  ["the first counter may be zero", [0, 0, 1], [true, false, true]],
  ["the first counter may be large", [2 ** 40, 2 ** 40], [true, false]],
  ["late ones are fresh once", [10, 5, 5, 10, 7], [true, true, false, false, true]],
  [
    "the oldest of the window is fresh, the one before is not",
    [WINDOW_SIZE, 1, 0],
    [true, true, false],
  ],
  ["a jump of a whole window forgets all", [0, WINDOW_SIZE * 3, 1, WINDOW_SIZE * 3 - 5], [
    true,
    true,
    false,
    true,
  ]],
  ["counters past 2^32 keep their order", [2 ** 32 - 1, 2 ** 32, 2 ** 32 - 1, 2 ** 32 + 1, 0], [
    true,
    true,
    false,
    true,
    false,
  ]],
  ["the greatest counter works", [2 ** 53 - 3, 2 ** 53 - 2, 2 ** 53 - 3, 2 ** 53 - 2], [
    true,
    true,
    false,
    false,
  ]],
];

for (const [name, counters, accepted] of CASES) {
  Deno.test(`ReplayWindow: ${name}`, () => {
    const window = new ReplayWindow();
    counters.forEach((counter, i) => {
      assert.equal(window.check(counter), accepted[i], `check ${counter}`);
      assert.equal(window.accept(counter), accepted[i], `accept ${counter}`);
    });
    assert.equal(window.newest, Math.max(...counters));
  });
}

Deno.test("ReplayWindow holds at least 8192 counters", () => assert.ok(WINDOW_SIZE >= 8192));

Deno.test("replayAccept() agrees with a set of all counters, and stays in its words", () => {
  for (let seed = 0; seed < 40; seed++) {
    const random = new SeededRandom(seed);
    const at = 3;
    const words = new Uint32Array(at + REPLAY_WORDS + 2);
    words[at - 1] = words[at + REPLAY_WORDS] = 0xdecade;
    const seen = new Set<number>();
    let newest = -1;
    let base = seed % 4 === 0 ? 2 ** 32 - 5_000 : seed % 4 === 1 ? 2 ** 47 : 0;
    for (let i = 0; i < 3_000; i++) {
      if (random.uint32() % 50 === 0) base += random.uint32() % (3 * WINDOW_SIZE);
      const counter = base + random.uint32() % (seed % 2 === 0 ? WINDOW_SIZE + 4_000 : 64);
      const expected = !seen.has(counter) && counter > newest - WINDOW_SIZE;
      assert.equal(replayCheck(words, at, counter), expected, `seed ${seed}, step ${i}`);
      assert.equal(replayAccept(words, at, counter), expected, `seed ${seed}, step ${i}`);
      if (expected) seen.add(counter);
      if (expected) newest = Math.max(newest, counter);
      assert.equal(newestCounter(words, at), newest);
    }
    assert.deepEqual([words[at - 1], words[at + REPLAY_WORDS]], [0xdecade, 0xdecade]);
  }
});
