import assert from "node:assert/strict";
import { fitsTrain, isTrain, MAX_TRAIN_BYTES, MAX_TRAIN_SEGMENTS, splitShort } from "./link.ts";

Deno.test("fitsTrain() refuses numbers that are none", () => {
  for (const segment of [0, -1, NaN, Infinity, MAX_TRAIN_BYTES + 1, 1.5]) {
    assert.equal(fitsTrain(segment, 100), false, `${segment}`);
  }
});

Deno.test("isTrain() holds a train to its limits", () => {
  const train = (length: number, segment: number) => ({ bytes: new Uint8Array(length), segment });
  assert.ok(isTrain(train(MAX_TRAIN_BYTES, MAX_TRAIN_BYTES)));
  assert.ok(isTrain(train(MAX_TRAIN_SEGMENTS, 1)));
  assert.equal(isTrain(train(MAX_TRAIN_SEGMENTS + 1, 1)), false);
  assert.equal(isTrain(train(MAX_TRAIN_BYTES + 1, 2_000)), false);
  assert.equal(isTrain(train(0, 1)), false);
});

Deno.test("splitShort() takes a short datagram from behind long ones, and nothing else", () => {
  const cases: [bytes: number, segment: number, lengths: number[]][] = [
    [3 * 1_452, 1_452, [3 * 1_452]],
    [3 * 1_452 + 260, 1_452, [3 * 1_452, 260]],
    [3 * 1_452 + 1_300, 1_452, [3 * 1_452 + 1_300]],
    [5 * 260, 260, [5 * 260]],
    [5 * 260 + 100, 260, [5 * 260 + 100]],
    [1_452, 1_452, [1_452]],
    [100, 1_452, [100]],
  ];
  for (const [length, segment, lengths] of cases) {
    const bytes = Uint8Array.from({ length }, (_, i) => i);
    const parts = splitShort({ bytes, segment });
    assert.deepEqual(parts.map((part) => part.bytes.length), lengths);
    assert.deepEqual(Uint8Array.from(parts.flatMap((part) => [...part.bytes])), bytes);
    assert.ok(parts.every(isTrain));
  }
});
