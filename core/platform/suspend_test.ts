import assert from "node:assert/strict";
import { SuspendDetector } from "./suspend.ts";

/** What each look says, by pairs of monotonic and boot time. */
function looks(...pairs: readonly (readonly [monotonicMs: number, boottimeMs: number])[]) {
  const detector = new SuspendDetector();
  return pairs.map(([monotonicMs, boottimeMs]) => detector.look({ monotonicMs, boottimeMs }));
}

type Pair = readonly [number, number];
const CASES: [name: string, pairs: Pair[], slept: number[]][] = [
  ["a machine that is awake", [[100, 100], [5_100, 5_100]], [0, 0]],
  ["sleep from before the first look", [[100, 90_100], [200, 90_200]], [0, 0]],
  ["a sleep, once", [[100, 100], [200, 60_200], [300, 60_300]], [0, 60_000, 0]],
  ["two sleeps", [[0, 0], [1, 5_001], [2, 10_002]], [0, 5_000, 5_000]],
  ["a second between the clocks", [[100, 100], [200, 1_200], [300, 1_300]], [0, 0, 0]],
  ["short sleeps that add up", [[0, 0], [1, 801], [2, 1_602], [3, 1_603]], [0, 0, 1_600, 0]],
  ["clocks that are read late", [[0, 3], [10, 10], [20, 28]], [0, 0, 0]],
];

for (const [name, pairs, slept] of CASES) {
  Deno.test(`SuspendDetector judges ${name}`, () => assert.deepEqual(looks(...pairs), slept));
}
