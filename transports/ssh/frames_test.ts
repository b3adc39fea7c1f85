import assert from "node:assert/strict";
import fc from "fast-check";
import { concatBytes } from "../../core/bytes.ts";
import { MAX_TRAIN_BYTES } from "../../core/link.ts";
import { encodeAck, encodeKeepAlive, encodeTrain, FrameReader } from "./frames.ts";

/** What came out of a {@link FrameReader}, in order. */
type Seen = { segment: number; bytes: Uint8Array } | "keepalive" | number;

function reader(): { seen: Seen[]; frames: FrameReader } {
  const seen: Seen[] = [];
  const frames = new FrameReader({
    train: ({ segment, bytes }) => seen.push({ segment, bytes: bytes.slice() }),
    keepAlive: () => seen.push("keepalive"),
    acknowledged: (count) => seen.push(count),
  });
  return { seen, frames };
}

function header(segment: number, length: number): Uint8Array {
  return Uint8Array.of(segment >> 8, segment, length >> 8, length);
}

const anyTrain = fc.integer({ min: 1, max: 2000 }).chain((segment) =>
  fc.record({
    segment: fc.constant(segment),
    bytes: fc.uint8Array({ minLength: 1, maxLength: Math.min(segment * 64, 5000) }),
  })
);

const anyFrame: fc.Arbitrary<{ seen: Seen; bytes: Uint8Array }> = fc.oneof(
  anyTrain.map((train) => ({ seen: { ...train }, bytes: encodeTrain(train) })),
  fc.constant({ seen: "keepalive" as const, bytes: encodeKeepAlive() }),
  fc.integer({ min: 0, max: 2 ** 32 - 1 }).map((count) => ({
    seen: count,
    bytes: encodeAck(count),
  })),
);

Deno.test("FrameReader gets back what was encoded, however the stream is cut", () => {
  const cuts = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1 });
  fc.assert(fc.property(fc.array(anyFrame), cuts, (sent, sizes) => {
    const stream = concatBytes(...sent.map(({ bytes }) => bytes));
    const { seen, frames } = reader();
    for (let at = 0, i = 0; at < stream.length; i++) {
      const end = at + sizes[i % sizes.length]!;
      assert.equal(frames.push(stream.slice(at, end)), true);
      at = end;
    }
    assert.deepEqual(seen, sent.map((each) => each.seen));
    assert.equal(frames.isInFrame, false);
  }));
});

Deno.test("FrameReader takes the longest train", () => {
  const { seen, frames } = reader();
  const train = { segment: 1452, bytes: new Uint8Array(MAX_TRAIN_BYTES).fill(7) };
  assert.equal(frames.push(encodeTrain(train)), true);
  assert.deepEqual(seen, [train]);
});

const VIOLATIONS: [what: string, bytes: Uint8Array][] = [
  ["an empty train", header(100, 0)],
  ["65 datagrams", header(1, 65)],
  ["a train that no UDP send takes", header(2000, MAX_TRAIN_BYTES + 1)],
  ["a control frame of an unknown length", header(0, 3)],
  ["a control frame of a great length", header(0, 0xffff)],
  ["a datagram that no UDP send takes", header(0xffff, 0xffff)],
];

for (const [what, bytes] of VIOLATIONS) {
  Deno.test(`FrameReader gives up for good at ${what}`, () => {
    for (const size of [1, 3, 4]) {
      const { seen, frames } = reader();
      let isFine = frames.push(encodeKeepAlive());
      for (let at = 0; at < bytes.length; at += size) {
        isFine = frames.push(bytes.subarray(at, at + size));
      }
      assert.equal(isFine, false);
      assert.equal(frames.push(encodeKeepAlive()), false);
      assert.deepEqual(seen, ["keepalive"]);
    }
  });
}

Deno.test("FrameReader survives any bytes, and holds no more than a frame", () => {
  fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 200 })), (chunks) => {
    const { seen, frames } = reader();
    for (const chunk of chunks) frames.push(chunk);
    for (const each of seen) {
      if (typeof each !== "object") continue;
      assert.ok(each.bytes.length >= 1 && each.bytes.length <= each.segment * 64);
    }
  }));
});
