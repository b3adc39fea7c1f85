import assert from "node:assert/strict";
import { isPathMessage } from "../dataplane/packet.ts";
import { SeededRandom } from "../random.ts";
import { decodePathMessage, encodePathMessage, type PathMessage } from "./messages.ts";
import { UNKNOWN_NAT } from "./nat.ts";

const MESSAGES: PathMessage[] = [
  { type: "ping", number: 0 },
  { type: "ping", number: 2 ** 32 - 1 },
  { type: "pong", number: 7, observed: null },
  { type: "pong", number: 7, observed: "192.0.2.1:51820" },
  { type: "pong", number: 7, observed: "[2001:db8::1]:1" },
  { type: "punch", port: 40_000, delta: -3 },
  { type: "offer", offer: { endpoints: ["192.0.2.1:1", "[2001:db8::1]:2"], nat: UNKNOWN_NAT } },
  { type: "offer", offer: { endpoints: [], nat: null } },
];

for (const message of MESSAGES) {
  Deno.test(`a ${message.type} comes out as it went in: ${JSON.stringify(message)}`, () => {
    const bytes = encodePathMessage(message);
    assert.ok(isPathMessage(bytes[0]!));
    assert.deepEqual(decodePathMessage(bytes), message);
    // Sealing may pad.
    const padded = new Uint8Array((bytes.length + 15) & ~15);
    padded.set(bytes);
    assert.deepEqual(decodePathMessage(padded), message);
    for (let length = 0; length < Math.min(8, bytes.length); length++) {
      assert.equal(decodePathMessage(bytes.subarray(0, length)), null);
    }
  });
}

Deno.test("a ping is as long as it is to be", () => {
  assert.equal(encodePathMessage({ type: "ping", number: 1 }, 1400).length, 1400);
});

Deno.test("decodePathMessage() refuses offers of what is no endpoint, too many, or too long", () => {
  const offers = [
    { endpoints: ["example.org:1"], nat: null },
    { endpoints: Array(17).fill("192.0.2.1:1"), nat: null },
    { endpoints: [], nat: null, more: 1 },
    { endpoints: [], nat: { ...UNKNOWN_NAT, mapping: "nice" } },
    { endpoints: [], nat: null, padding: "x".repeat(2_000) },
  ];
  for (const offer of offers) {
    const text = new TextEncoder().encode("\x03" + JSON.stringify(offer));
    assert.equal(decodePathMessage(text), null);
  }
});

Deno.test("decodePathMessage() outlives any bytes", () => {
  const random = new SeededRandom(9);
  const genuine = MESSAGES.map((message) => encodePathMessage(message));
  for (let run = 0; run < 50_000; run++) {
    const bytes = run % 2 === 0
      ? random.bytes(random.uint32() % 64)
      : genuine[random.uint32() % genuine.length]!.slice();
    if (bytes.length === 0) continue;
    bytes[random.uint32() % bytes.length] = random.uint32() & 0xff;
    decodePathMessage(bytes);
  }
});
