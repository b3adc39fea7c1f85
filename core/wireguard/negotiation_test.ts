/**
 * Are offers seen exactly where they were made, and never change the order of timestamps?
 * @module
 */
import assert from "node:assert/strict";
import { AssertionError } from "../assert.ts";
import { toHex } from "../bytes.ts";
import { labelOf, offerIn, selectionsOf, withOffer } from "./negotiation.ts";
import { encodeTai64n, isNewer, TimestampSource } from "./tai64n.ts";

const SETS = Array.from({ length: 16 }, (_, features) => features);

Deno.test("offerIn() reads what withOffer() wrote, and the time stays in its step", () => {
  const timestamp = new TimestampSource().next(1_795_000_000_999);
  for (const features of SETS) {
    const offering = withOffer(timestamp, features);
    assert.equal(offerIn(offering), features);
    assert.equal(toHex(offering.subarray(0, 9)), toHex(timestamp.subarray(0, 9)));
    assert.equal(offering.length, timestamp.length);
  }
  assert.equal(toHex(withOffer(timestamp, 5)), "400000006afd86ca3b746d35");
});

Deno.test("withOffer() leaves the timestamp alone when there is nothing to offer", () => {
  const timestamp = encodeTai64n(1_795_000_000_123, 77);
  assert.equal(withOffer(timestamp, 0), timestamp);
  withOffer(timestamp, 3);
  assert.equal(toHex(timestamp), toHex(encodeTai64n(1_795_000_000_123, 77)), "a copy is changed");
});

Deno.test("withOffer() gives nanoseconds below a second in every step of it", () => {
  for (let ms = 0; ms < 1000; ms++) {
    const offering = withOffer(new TimestampSource().next(1_795_000_000_000 + ms), 15);
    assert.ok(new DataView(offering.buffer).getUint32(8) < 1e9, `${ms} ms`);
  }
});

Deno.test("withOffer() asserts that features are four bits", () => {
  for (const features of [16, -1, 0.5, 2 ** 32]) {
    assert.throws(() => withOffer(encodeTai64n(0), features), AssertionError, `${features}`);
  }
});

const WITHOUT_OFFER: [name: string, stepNanos: number][] = [
  ["Linux and wireguard-go, multiples of 2^24 ns", 2 ** 24],
  ["TunnelMesh before it negotiated, multiples of 8 ms", 8e6],
];

for (const [name, stepNanos] of WITHOUT_OFFER) {
  Deno.test(`offerIn() finds none in the timestamps of ${name}`, () => {
    for (let nanos = 0; nanos < 1e9; nanos += stepNanos) {
      const timestamp = encodeTai64n(1_795_000_000_000);
      new DataView(timestamp.buffer).setUint32(8, nanos);
      assert.equal(offerIn(timestamp), 0, `${nanos} ns`);
    }
  });
}

Deno.test("offerIn() mistakes 15 of 2^24 real nanoseconds for an offer", () => {
  const timestamp = encodeTai64n(1_795_000_000_000);
  const view = new DataView(timestamp.buffer);
  let offers = 0;
  // The lower 12 of the 24 bits in full, around the one value of the upper 12 that can match.
  for (const high of [0, 0x745, 0x746, 0x747, 0xfff]) {
    for (let low = 0; low < 2 ** 12; low++) {
      view.setUint32(8, 2 ** 24 + high * 2 ** 12 + low);
      if (offerIn(timestamp) !== 0) offers++;
    }
  }
  assert.equal(offers, 15);
});

Deno.test("offerIn() reads a timestamp that lies within other bytes", () => {
  const message = new Uint8Array(64);
  message.set(withOffer(encodeTai64n(1_795_000_000_000), 6), 17);
  assert.equal(offerIn(message.subarray(17, 29)), 6);
});

Deno.test("timestamps grow whatever each of them offers", () => {
  const source = new TimestampSource();
  let last = encodeTai64n(0);
  for (let i = 0; i < 500; i++) {
    const next = withOffer(source.next(1e12 + i), i % 3 === 0 ? 15 : i % 3 - 1);
    assert.ok(isNewer(next, last), `number ${i}`);
    last = next;
  }
});

Deno.test("selectionsOf() lists every subset of an offer once, none first and all second", () => {
  assert.deepEqual(selectionsOf(0), [0]);
  assert.deepEqual(selectionsOf(4), [0, 4]);
  assert.deepEqual(selectionsOf(5), [0, 5, 4, 1]);
  assert.deepEqual(selectionsOf(15).toSorted((a, b) => a - b), SETS);
  for (const offer of SETS) {
    const subsets = SETS.filter((features) => (features & offer) === features);
    assert.deepEqual(selectionsOf(offer).toSorted((a, b) => a - b), subsets);
  }
});

Deno.test("labelOf() is empty for none and differs for all others", () => {
  assert.equal(labelOf(0).length, 0);
  assert.equal(toHex(labelOf(5)), "74756e6e656c6d657368206665617475726573203105");
  assert.equal(new Set(SETS.map((features) => toHex(labelOf(features)))).size, 16);
});
