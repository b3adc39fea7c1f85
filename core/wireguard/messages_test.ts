/**
 * Do the layouts and codecs of messages agree with the WireGuard paper?
 * @module
 */
import assert from "node:assert/strict";
import {
  COOKIE,
  DATA,
  handshakeType,
  INITIATION,
  isData,
  newMessage,
  readDataCounter,
  readIndex,
  RESPONSE,
  writeDataHeader,
  writeIndex,
} from "./messages.ts";

Deno.test("message layouts have the sizes of the WireGuard paper, section 5.4", () => {
  assert.deepEqual([INITIATION.size, RESPONSE.size, COOKIE.size, DATA.size], [148, 92, 64, 32]);
  assert.deepEqual([INITIATION.mac2 + 16, RESPONSE.mac2 + 16], [148, 92]);
  // Ephemeral; static and tag; timestamp and tag. Ephemeral; tag. Cookie and tag.
  assert.equal(INITIATION.mac1 - INITIATION.noise, 32 + 32 + 16 + 12 + 16);
  assert.equal(RESPONSE.mac1 - RESPONSE.noise, 32 + 16);
  assert.equal(COOKIE.size - COOKIE.cookie, 16 + 16);
});

Deno.test("handshakeType() and isData() tell messages apart", () => {
  assert.deepEqual([INITIATION, RESPONSE, COOKIE].map(newMessage).map(handshakeType), [1, 2, 3]);
  assert.equal(handshakeType(newMessage(DATA)), 0);
  assert.equal(handshakeType(newMessage(INITIATION).subarray(1)), 0);
  assert.ok(isData(newMessage(DATA)));
  assert.ok(!isData(newMessage(DATA).subarray(0, 31)));
});

Deno.test("indices are little-endian and unsigned, at any offset of any view", () => {
  const bytes = new Uint8Array(20).subarray(3);
  writeIndex(bytes, 5, 0xfedcba98);
  assert.deepEqual([...bytes.subarray(5, 9)], [0x98, 0xba, 0xdc, 0xfe]);
  assert.equal(readIndex(bytes, 5), 0xfedcba98);
});

Deno.test("a transport header carries counters up to 2^53", () => {
  for (const counter of [0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1]) {
    const bytes = new Uint8Array(DATA.size);
    writeDataHeader(bytes, 0xffffffff, counter);
    assert.ok(isData(bytes));
    assert.deepEqual([readIndex(bytes, DATA.receiver), readDataCounter(bytes)], [
      0xffffffff,
      counter,
    ]);
  }
});
