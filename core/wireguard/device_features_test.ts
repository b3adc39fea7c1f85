/**
 * Do devices use the features that both of them have, in every session, whoever begins it?
 * @module
 */
import assert from "node:assert/strict";
import { blake2s } from "@noble/hashes/blake2.js";
import { toHex } from "../bytes.ts";
import { mac1KeyOf } from "./cookie.ts";
import { FakeNode, FakeWire, type WireOptions } from "./fake.ts";
import { INITIATION, RESPONSE } from "./messages.ts";
import { TimestampSource } from "./tai64n.ts";

const A = "192.0.2.1:51820";
const B = "192.0.2.2:51820";
const PEER = 7;

/** Two nodes with features of their own. */
function pair(features: readonly [number, number], options: WireOptions = {}) {
  const wire = new FakeWire(1, options);
  const keys = [wire.random.bytes(32), wire.random.bytes(32)] as const;
  const a = new FakeNode(wire, A, { privateKey: keys[0], features: features[0] });
  const b = new FakeNode(wire, B, { privateKey: keys[1], features: features[1] });
  introduce(a, b);
  introduce(b, a);
  return { wire, a, b, keys };
}

function introduce(node: FakeNode, other: FakeNode): void {
  const options = { publicKey: other.device.publicKey, endpoints: [other.endpoint] };
  node.handle({ type: "add-peer", peer: PEER, options });
}

/** The features of every keypair that a node installed, in order. */
function installed(node: FakeNode): number[] {
  return node.effectsOf("install-keypair").map(({ keypair }) => keypair.features);
}

const CASES: [name: string, features: [number, number], expected: number][] = [
  ["what both offer", [7, 7], 7],
  ["the common part of two sets", [3, 6], 2],
  ["nothing when the sets have nothing in common", [1, 2], 0],
  ["nothing when the responder offers none", [7, 0], 0],
  ["nothing when the initiator offers none", [0, 7], 0],
  ["nothing when nobody offers any", [0, 0], 0],
];

for (const [name, features, expected] of CASES) {
  Deno.test(`Device agrees on ${name}`, () => {
    const { wire, a, b } = pair(features);
    a.send(PEER, "hello");
    wire.run(100);
    b.send(PEER, "and back");
    wire.run(100);
    assert.deepEqual([b.received, a.received], [["hello"], ["and back"]]);
    assert.deepEqual([installed(a), installed(b)], [[expected], [expected]]);
    const [mine, theirs] = [a.current(PEER)!, b.current(PEER)!];
    assert.equal(toHex(mine.sendKey), toHex(theirs.receiveKey));
    assert.equal(toHex(mine.receiveKey), toHex(theirs.sendKey));
  });
}

Deno.test("Device sends messages of the same sizes with and without features", () => {
  const sizes = ([0, 7] as const).map((features) => {
    const { wire, a } = pair([features, features]);
    a.send(PEER, "hello");
    wire.run(100);
    return wire.log.map(({ bytes }) => bytes.length);
  });
  assert.deepEqual(sizes[0], sizes[1]);
  assert.deepEqual(sizes[1]!.slice(0, 2), [INITIATION.size, RESPONSE.size]);
});

Deno.test("Device keeps the features at every rekey, on a wire that loses and reorders", () => {
  const { wire, a, b } = pair([5, 7], { loss: 0.2, duplication: 0.1, minDelay: 1, maxDelay: 400 });
  for (let i = 0; i < 2_000; i++) {
    a.send(PEER, `${i}`);
    b.send(PEER, `${i}`);
    wire.run(500);
  }
  assert.ok(a.effectsOf("session-up").length >= 7);
  for (const node of [a, b]) {
    const features = installed(node);
    assert.ok(features.length >= 7);
    assert.deepEqual(new Set(features), new Set([5]));
  }
});

Deno.test("Device agrees on the same features when both ends begin at once", () => {
  const { wire, a, b } = pair([3, 6], { minDelay: 50 });
  a.send(PEER, "from a");
  b.send(PEER, "from b");
  wire.run(1_000);
  assert.deepEqual([a.received, b.received], [["from b"], ["from a"]]);
  assert.deepEqual([installed(a), installed(b)], [[2, 2], [2, 2]]);
});

Deno.test("Device agrees anew with a peer that comes back with other features", () => {
  const { wire, a, b, keys } = pair([7, 7]);
  a.send(PEER, "x");
  wire.run(10_000);
  for (const features of [3, 0, 7]) {
    const timestamps = new TimestampSource(b.timestamps.watermark);
    const reborn = new FakeNode(wire, B, { privateKey: keys[1], features, timestamps });
    introduce(reborn, a);
    reborn.send(PEER, `now ${features}`);
    wire.run(10_000);
    assert.equal(a.received.at(-1), `now ${features}`);
    assert.equal(installed(a).at(-1), features);
    assert.deepEqual(installed(reborn), [features]);
  }
});

Deno.test("Device refuses a response that someone re-tagged, and the real one still counts", () => {
  const { wire, a, b } = pair([7, 7], { loss: 1 });
  a.send(PEER, "x");
  const initiation = wire.log[0]!.bytes;
  b.handle({ type: "datagram", from: A, bytes: initiation, underLoad: false });
  const response = wire.log[1]!.bytes;
  const forged = response.slice();
  forged[RESPONSE.mac1 - 1]! ^= 1;
  const key = mac1KeyOf(a.device.publicKey);
  forged.set(blake2s(forged.subarray(0, RESPONSE.mac1), { key, dkLen: 16 }), RESPONSE.mac1);
  const event = { type: "datagram", from: B, underLoad: false } as const;
  a.handle({ ...event, bytes: forged });
  assert.equal(a.effectsOf("drop").at(-1)!.reason, "bad-tag");
  assert.deepEqual(installed(a), []);
  a.handle({ ...event, bytes: response });
  assert.deepEqual(installed(a), [7]);
});
