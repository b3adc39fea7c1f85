/**
 * 100 000 datagrams of every bad kind against a device in use: it never throws, never accepts a
 * key, its tables stay as they are, and the session goes on. A failure prints the seed.
 * @module
 */
import assert from "node:assert/strict";
import { blake2s } from "@noble/hashes/blake2.js";
import { type Random, SeededRandom } from "../../core/random.ts";
import { mac1KeyOf } from "../../core/wireguard/cookie.ts";
import { FakeNode, FakeWire } from "../../core/wireguard/fake.ts";
import { COOKIE, INITIATION, RESPONSE, writeIndex } from "../../core/wireguard/messages.ts";

const DATAGRAMS = 100_000;
/** One in so many is given a valid mac1, and then costs Diffie-Hellman. */
const VALID_MAC1 = 250;
const SIZES = [INITIATION.size, RESPONSE.size, COOKIE.size];
const A = "192.0.2.1:51820";
const B = "[2001:db8::2]:51820";

Deno.test(`Device survives ${DATAGRAMS} random, cut and altered datagrams`, () => {
  fuzz(20261120);
});

Deno.test("Device survives altered datagrams, whatever the seed", () => {
  for (let seed = 0; seed < 20; seed++) fuzz(seed, DATAGRAMS / 100);
});

function fuzz(seed: number, datagrams = DATAGRAMS): void {
  const random = new SeededRandom(seed);
  const wire = new FakeWire(seed);
  const [a, b] = [A, B].map((at) => new FakeNode(wire, at, { privateKey: random.bytes(32) }));
  for (const [node, other] of [[a!, b!], [b!, a!]] as const) {
    const options = { publicKey: other.device.publicKey, endpoints: [other.endpoint] };
    node.handle({ type: "add-peer", peer: 9, options });
  }
  // One session, and one handshake under way that waits for its answer.
  a!.send(9, "x");
  wire.run(6_000);
  const sound = wire.log.map(({ bytes }) => bytes);
  wire.options.loss = 1;
  b!.handle({ type: "counter-limit", peer: 9 });
  const before = keysOf(b!);
  const mac1Key = mac1KeyOf(b!.device.publicKey);

  for (let i = 0; i < datagrams; i++) {
    const bytes = mutant(random, sound);
    const at = bytes.length === INITIATION.size ? INITIATION.mac1 : RESPONSE.mac1;
    if (random.uint32() % VALID_MAC1 === 0 && bytes.length >= RESPONSE.size) {
      bytes.set(blake2s(bytes.subarray(0, at), { key: mac1Key, dkLen: 16 }), at);
    }
    const from = random.uint32() % 2 === 0 ? A : `203.0.113.${random.uint32() % 256}:9`;
    const underLoad = random.uint32() % 4 === 0;
    const replay = `seed ${seed}, datagram ${i}: ${bytes.toHex()}`;
    try {
      const effects = b!.device.handle({ type: "datagram", from, bytes, underLoad }, wire.now);
      const types = effects.map(({ type }) => type);
      const isCookieReply = types.join() === "transmit,drop" && underLoad;
      assert.ok(isCookieReply || types.join() === "drop", types.join());
    } catch (cause) {
      throw new Error(`Cannot survive ${replay}`, { cause });
    }
  }
  assert.deepEqual(keysOf(b!), before);

  wire.options.loss = 0;
  b!.send(9, "still here");
  a!.send(9, "here too");
  wire.run(10_000);
  assert.deepEqual([a!.received.at(-1), b!.received.at(-1)], ["still here", "here too"]);
}

/** Random bytes, a sound message cut or altered, or the header of one with random contents. */
function mutant(random: Random, sound: readonly Uint8Array[]): Uint8Array {
  const pick = <T>(values: readonly T[]) => values[random.uint32() % values.length]!;
  switch (random.uint32() % 4) {
    case 0:
      return random.bytes(random.uint32() % 200);
    case 1: {
      const bytes = random.bytes(pick(SIZES));
      bytes.set([SIZES.indexOf(bytes.length) + 1, 0, 0, 0]);
      // An index of the peer that exists, if not one that is in use.
      if (random.uint32() % 2) writeIndex(bytes, random.uint32() % 2 ? 4 : 8, 36 + 2 ** 14);
      return bytes;
    }
    case 2:
      return pick(sound).slice(0, random.uint32() % 150);
    default: {
      const bytes = pick(sound).slice();
      for (let i = 0; i <= random.uint32() % 3; i++) {
        bytes[random.uint32() % bytes.length]! ^= 1 << (random.uint32() % 8);
      }
      return bytes;
    }
  }
}

function keysOf(node: FakeNode): unknown {
  const report = node.device.report(9);
  return { keys: [...node.keypairs.keys()], current: node.current(9)!.localIndex, report };
}
