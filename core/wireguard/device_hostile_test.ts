/**
 * What strangers can do to a device: replays, floods, forged answers. Its work and its memory stay
 * bounded, and sessions go on.
 * @module
 */
import assert from "node:assert/strict";
import { blake2s } from "@noble/hashes/blake2.js";
import { nobleX25519 } from "../noise/x25519.ts";
import { SeededRandom } from "../random.ts";
import { hasValidMac1, mac1KeyOf } from "./cookie.ts";
import { Device, type DeviceEffect } from "./device.ts";
import { FakeNode, FakeWire } from "./fake.ts";
import { INITIATION, RESPONSE } from "./messages.ts";
import { TimestampSource } from "./tai64n.ts";

const A = "192.0.2.1:51820";
const B = "192.0.2.2:51820";
const STRANGER = "203.0.113.66:666";

function pair(seed = 1): { wire: FakeWire; a: FakeNode; b: FakeNode } {
  const wire = new FakeWire(seed);
  const a = new FakeNode(wire, A, { privateKey: wire.random.bytes(32) });
  const b = new FakeNode(wire, B, { privateKey: wire.random.bytes(32) });
  const [keyA, keyB] = [a.device.publicKey, b.device.publicKey];
  a.handle({ type: "add-peer", peer: 0, options: { publicKey: keyB, endpoints: [B] } });
  b.handle({ type: "add-peer", peer: 0, options: { publicKey: keyA, endpoints: [A] } });
  return { wire, a, b };
}

function drops(effects: readonly DeviceEffect[]): string[] {
  return effects.flatMap((effect) => effect.type === "drop" ? [effect.reason] : []);
}

/** A message with the mac1 that anyone can make who knows the receiver's public key. */
function withMac1(bytes: Uint8Array, publicKey: Uint8Array): Uint8Array {
  const mac1 = bytes[0] === 1 ? INITIATION.mac1 : RESPONSE.mac1;
  const key = mac1KeyOf(publicKey);
  bytes.set(blake2s(bytes.subarray(0, mac1), { key, dkLen: 16 }), mac1);
  return bytes;
}

/** A device that counts what its Diffie-Hellman costs, with one peer. */
function countingDevice(): { device: Device; calls: () => number; peer: Device } {
  const random = new SeededRandom(3);
  let calls = 0;
  const device = new Device({
    privateKey: random.bytes(32),
    random,
    timestamp: () => new Uint8Array(12),
    x25519: (scalar, u) => (calls++, nobleX25519(scalar, u)),
  });
  const timestamps = new TimestampSource();
  const peer = new Device({
    privateKey: random.bytes(32),
    random,
    timestamp: () => timestamps.next(0),
  });
  const ends = [[device, peer], [peer, device]] as const;
  for (const [end, other] of ends) {
    const options = { publicKey: other.publicKey, endpoints: [B] };
    end.handle({ type: "add-peer", peer: 0, options }, 0);
  }
  calls = 0;
  return { device, calls: () => calls, peer };
}

/** Messages that a device would like to transmit, from one event. */
function transmitted(effects: readonly DeviceEffect[]): Uint8Array[] {
  return effects.flatMap((effect) => effect.type === "transmit" ? [effect.bytes] : []);
}

Deno.test("Device refuses a replayed initiation, from whomever, and nothing changes", () => {
  const { wire, a, b } = pair();
  a.send(0, "x");
  wire.run(6_000);
  a.handle({ type: "counter-limit", peer: 0 });
  wire.run(6_000);
  const initiations = wire.log.filter(({ bytes }) => bytes[0] === 1);
  assert.equal(initiations.length, 2);
  const keypairs = [...b.keypairs.keys()];
  for (const { bytes } of [...initiations, ...initiations]) {
    const effects = b.device.handle(
      { type: "datagram", from: STRANGER, bytes, underLoad: false },
      wire.now,
    );
    assert.deepEqual(effects, [{ type: "drop", reason: "replay", from: STRANGER }]);
  }
  assert.equal(b.device.report(0)!.endpoint, A);
  assert.deepEqual([...b.keypairs.keys()], keypairs);
  b.send(0, "still here");
  wire.run(100);
  assert.equal(a.received.at(-1), "still here");
});

Deno.test("Device refuses a replayed response and one from another handshake", () => {
  const { wire, a, b } = pair();
  a.send(0, "x");
  wire.run(100);
  const response = wire.log.find(({ bytes }) => bytes[0] === 2)!;
  const event = { type: "datagram", from: B, bytes: response.bytes, underLoad: false } as const;
  assert.deepEqual(drops(a.device.handle(event, wire.now)), ["unknown-peer"]);
  wire.run(6_000);
  a.handle({ type: "counter-limit", peer: 0 });
  assert.deepEqual(drops(a.device.handle(event, wire.now)), ["unknown-peer"]);
  const pending = wire.log.at(-1)!.bytes;
  const forged = response.bytes.slice();
  forged.set(pending.subarray(INITIATION.sender, INITIATION.sender + 4), RESPONSE.receiver);
  withMac1(forged, a.device.publicKey);
  assert.deepEqual(drops(a.device.handle({ ...event, bytes: forged }, wire.now)), ["bad-tag"]);
  wire.run(100);
  assert.equal(b.effectsOf("session-up").length, 2, "a forgery does not spoil the handshake");
});

Deno.test("Device ignores an initiation of a key that it does not know", () => {
  const { wire, b } = pair();
  const stranger = new FakeNode(wire, STRANGER, { privateKey: wire.random.bytes(32) });
  const options = { publicKey: b.device.publicKey, endpoints: [B] };
  stranger.handle({ type: "add-peer", peer: 0, options });
  stranger.send(0, "let me in");
  wire.run(100);
  assert.deepEqual(drops(b.effects), ["unknown-peer"]);
  assert.equal(wire.log.filter(({ from }) => from === B).length, 0, "and does not answer");
});

Deno.test("Device under load asks for a cookie, and takes the initiation that carries it", () => {
  const { wire, a, b } = pair();
  b.isUnderLoad = true;
  a.send(0, "x");
  wire.run(1_000);
  assert.deepEqual(wire.log.map(({ bytes }) => bytes[0]), [1, 3]);
  assert.deepEqual(drops(b.effects), ["cookie-required"]);
  assert.deepEqual(drops(a.effects), []);
  assert.deepEqual(wire.log[0]!.bytes.subarray(INITIATION.mac2), new Uint8Array(16));
  wire.run(5_000);
  assert.deepEqual(b.received, ["x"]);
  const second = wire.log.filter(({ bytes }) => bytes[0] === 1)[1]!;
  assert.notDeepEqual(second.bytes.subarray(INITIATION.mac2), new Uint8Array(16));

  // The cookie proves one address only.
  const event = { type: "datagram", bytes: second.bytes, underLoad: true } as const;
  const elsewhere = b.device.handle({ ...event, from: STRANGER }, wire.now);
  assert.deepEqual(drops(elsewhere), ["cookie-required"]);
  assert.equal(transmitted(elsewhere)[0]!.length, 64, "its answer is shorter than the question");
  // A replayed cookie reply is for a message that is not the last one.
  const reply = wire.log.find(({ bytes }) => bytes[0] === 3)!.bytes;
  const replayed = a.device.handle(
    { type: "datagram", from: B, bytes: reply, underLoad: false },
    wire.now,
  );
  assert.equal(drops(replayed).length, 1);
});

Deno.test("Device under load asks for a cookie on responses too", () => {
  const { wire, a, b } = pair();
  a.isUnderLoad = true;
  a.send(0, "x");
  wire.run(1_000);
  assert.deepEqual(wire.log.map(({ bytes }) => bytes[0]), [1, 2, 3]);
  wire.run(6_000);
  assert.deepEqual(b.received, ["x"], "the second response carries the cookie");
});

Deno.test("Device: 10 000 forged initiations under load cost no Diffie-Hellman", () => {
  const { device, calls } = countingDevice();
  const random = new SeededRandom(1);
  for (let i = 0; i < 10_000; i++) {
    const bytes = random.bytes(INITIATION.size);
    bytes.set([1, 0, 0, 0]);
    withMac1(bytes, device.publicKey);
    assert.ok(i % 100 !== 0 || hasValidMac1(mac1KeyOf(device.publicKey), bytes));
    const event = { type: "datagram", from: STRANGER, bytes, underLoad: true } as const;
    const effects = device.handle(event, i / 10);
    assert.deepEqual(drops(effects), ["cookie-required"]);
    assert.equal(effects.length, 2);
  }
  assert.equal(calls(), 0);
});

Deno.test("Device under load handles 20 handshakes a second of one address, cookie or not", () => {
  const { device, calls, peer } = countingDevice();
  // One genuine initiation with a cookie, then as many copies as the sender likes.
  const first = transmitted(peer.handle({ type: "session-wanted", peer: 0 }, 0))[0]!;
  const event = { type: "datagram", from: B, underLoad: true } as const;
  const [reply] = transmitted(device.handle({ ...event, bytes: first }, 0));
  peer.handle({ type: "datagram", from: A, bytes: reply!, underLoad: false }, 0);
  const [second] = transmitted(peer.handle({ type: "tick" }, peer.deadline));
  let allowed = 0;
  for (let i = 0; i < 10_000; i++) {
    const effects = device.handle({ ...event, bytes: second! }, 6_000 + i / 10);
    if (!drops(effects).includes("rate-limited")) allowed++;
  }
  assert.ok(allowed >= 20 && allowed <= 25, `${allowed} in a second`);
  assert.ok(calls() <= 25 * 6, `${calls()} X25519 calls`);
});

Deno.test("Device answers one peer at most once in 20 ms, and its tables do not grow", () => {
  const { device, peer } = countingDevice();
  const slots = new Set<number>();
  let answered = 0;
  for (let i = 0; i < 100; i++) {
    // Timestamps grow, so each initiation is genuine; the receiver gets all within half a second.
    const effectsOfPeer = peer.handle({ type: "peer-restarted", peer: 0 }, i * 5_000);
    const bytes = transmitted(effectsOfPeer)[0]!;
    const event = { type: "datagram", from: B, bytes, underLoad: false } as const;
    const effects = device.handle(event, i * 5);
    for (const effect of effects) {
      if (effect.type === "install-keypair") slots.add(effect.keypair.slot);
      if (effect.type === "forget-keypair") slots.delete(effect.slot);
      if (effect.type === "transmit") answered++;
    }
    assert.ok(slots.size <= 1, "an unused next keypair gives way");
  }
  assert.ok(answered >= 20 && answered <= 26, `${answered} answers in 500 ms`);
});

Deno.test("Device: bytes of the wrong size, type or reserved bits are malformed", () => {
  const { a } = pair();
  const sizes: [type: number, size: number][] = [[1, 148], [2, 92], [3, 64], [4, 32], [0, 148]];
  for (const [type, size] of sizes) {
    for (const length of [0, 1, 3, 4, size - 1, size + 1]) {
      const bytes = new Uint8Array(length);
      bytes[0] = type;
      const event = { type: "datagram", from: STRANGER, bytes, underLoad: false } as const;
      assert.deepEqual(drops(a.device.handle(event, 0)), ["malformed"]);
    }
    const reserved = new Uint8Array(size).fill(type, 0, 1);
    reserved[2] = 1;
    const event = { type: "datagram", from: STRANGER, bytes: reserved, underLoad: false } as const;
    assert.deepEqual(drops(a.device.handle(event, 0)), ["malformed"]);
  }
});

Deno.test("Device with a degenerate peer key says so and does not disturb others", () => {
  const { a, wire } = pair();
  const options = { publicKey: new Uint8Array(32), endpoints: [B] };
  a.handle({ type: "add-peer", peer: 1, options });
  a.send(1, "x");
  assert.deepEqual(drops(a.effects), ["bad-tag"]);
  assert.equal(wire.log.length, 0);
  a.send(0, "y");
  wire.run(100);
  assert.equal(a.device.report(0)!.state, "up");
});
