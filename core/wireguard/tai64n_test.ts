/**
 * Are timestamps encoded as TAI64N, and do they only grow?
 * @module
 */
import assert from "node:assert/strict";
import { toHex } from "../bytes.ts";
import { encodeTai64n, isNewer, TimestampSource } from "./tai64n.ts";

const CASES: [name: string, wallMs: number, nanos: number, hex: string][] = [
  ["the epoch", 0, 0, "400000000000000a00000000"],
  ["a second and a half", 1_500, 7, "400000000000000b1dcd6507"],
  ["a time of today", 1_795_000_000_123, 0, "400000006afd86ca0754d4c0"],
  ["past 2^32 seconds", (2 ** 32 - 10) * 1000, 999_999, "4000000100000000000f423f"],
];

for (const [name, wallMs, nanos, hex] of CASES) {
  Deno.test(`encodeTai64n() encodes ${name}`, () => {
    assert.equal(toHex(encodeTai64n(wallMs, nanos)), hex);
  });
}

Deno.test("isNewer() compares whole timestamps", () => {
  assert.ok(isNewer(encodeTai64n(2), encodeTai64n(1)));
  assert.ok(!isNewer(encodeTai64n(1), encodeTai64n(1)));
  assert.ok(!isNewer(encodeTai64n(1), encodeTai64n(1, 1)));
  assert.ok(isNewer(encodeTai64n(2 ** 42), encodeTai64n(2 ** 41)));
});

Deno.test("TimestampSource only grows, whatever the clock does", () => {
  const source = new TimestampSource();
  const walls = [1e12, 1e12, 1e12 + 1, 1e12 - 3_600_000, 5, 1e12 + 2, 1e12 + 90_000];
  let last = encodeTai64n(0);
  for (const wall of walls) {
    const next = source.next(wall);
    assert.ok(isNewer(next, last), `at ${wall}`);
    last = next;
  }
  assert.ok(source.watermark >= 1e12 + 89_984 && source.watermark <= 1e12 + 90_000);
});

Deno.test("TimestampSource goes on from a watermark after a restart with the clock back", () => {
  const before = new TimestampSource();
  const last = before.next(1.7e12);
  const after = new TimestampSource(before.watermark);
  assert.ok(isNewer(after.next(1.7e12 - 3_600_000), last));
});

Deno.test("TimestampSource leaves the low 24 bits free and never gives two for the same rest", () => {
  const walls = [0, 1, 16.9, 999.5, 1_000];
  for (const wall of [...walls, 1e12 + 983, 1e12 + 999, 1e12 + 1_000]) {
    const source = new TimestampSource();
    let last = -1;
    for (let i = 0; i < 200; i++) {
      const bytes = source.next(wall);
      const view = new DataView(bytes.buffer);
      const nanos = view.getUint32(8);
      assert.ok(nanos < 1e9 && nanos % 2 ** 24 === 0, `${nanos} ns`);
      const steps = view.getUint32(4) * 60 + nanos / 2 ** 24;
      assert.ok(steps > last, `timestamp ${i} from ${wall}`);
      last = steps;
    }
  }
});

Deno.test("TimestampSource goes on above what an earlier version gave out for its watermark", () => {
  // That version kept steps of 16 ms, and all nanoseconds of them.
  for (let watermark = 0; watermark < 4_000; watermark += 16) {
    const next = new TimestampSource(watermark).next(0);
    assert.ok(isNewer(next, encodeTai64n(watermark)), `${watermark} ms`);
  }
});

Deno.test("TimestampSource does not tell the time to the millisecond", () => {
  assert.equal(new TimestampSource().next(1_000_007).toHex(), encodeTai64n(1_000_000).toHex());
});
