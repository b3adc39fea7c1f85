import assert from "node:assert/strict";
import { fitsTrain, isTrain, MAX_TRAIN_BYTES, MAX_TRAIN_SEGMENTS } from "./link.ts";

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
