import assert from "node:assert/strict";
import { SeededRandom } from "../../core/random.ts";
import { Slab } from "./slab.ts";

/** A frame of `length` inside a read buffer of `around`. */
function within(around: number, length: number, fill: number): Uint8Array {
  return new Uint8Array(around).fill(fill).subarray(3, 3 + length);
}

Deno.test("Slab leaves frames alone that fill their buffer", () => {
  const slab = new Slab();
  for (const frame of [within(65_536, 16_384, 1), new Uint8Array(9), new Uint8Array(65_519)]) {
    assert.equal(slab.keep(frame), frame);
  }
});

Deno.test("Slab copies small frames, and keeps little more than them alive", () => {
  const slab = new Slab();
  const random = new SeededRandom(1);
  const buffers = new Set<ArrayBufferLike>();
  const kept: Uint8Array[] = [];
  let total = 0;
  for (let i = 0; i < 1_000; i++) {
    const length = 13 + random.uint32() % 3_000;
    const frame = within(65_536, length, i & 0xff);
    kept.push(slab.keep(frame));
    frame.fill(0xaa);
    total += length;
    buffers.add(kept.at(-1)!.buffer);
  }
  kept.forEach((frame, i) => assert.ok(frame.every((byte) => byte === (i & 0xff))));
  const alive = [...buffers].reduce((sum, { byteLength }) => sum + byteLength, 0);
  assert.ok(alive < 1.2 * total + 65_536, `${alive} for ${total}`);
  assert.equal(slab.keep(within(1 << 20, 100_000, 1)).buffer.byteLength, 100_000);
});
