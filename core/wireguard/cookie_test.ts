/**
 * Are macs and cookies accepted from the right address for the right time, and only then?
 * @module
 */
import assert from "node:assert/strict";
import { SeededRandom } from "../random.ts";
import { CookieChecker, CookieJar, hasValidMac1, mac1KeyOf } from "./cookie.ts";
import { COOKIE, INITIATION, newMessage } from "./messages.ts";

const KEY = new Uint8Array(32).fill(7);
const FROM = "192.0.2.1:1";

function fresh(): { checker: CookieChecker; jar: CookieJar; message: Uint8Array } {
  const checker = new CookieChecker(KEY, new SeededRandom(1));
  return { checker, jar: new CookieJar(KEY), message: newMessage(INITIATION) };
}

Deno.test("CookieChecker accepts mac1, and mac2 under load, until the secret changes", () => {
  const { checker, jar, message } = fresh();
  const check = (underLoad: boolean, now: number, from = FROM) =>
    checker.check(message, INITIATION.mac1, from, underLoad, now);
  jar.addMacs(message, INITIATION.mac1, 0);
  assert.equal(check(false, 0), "valid");
  assert.equal(check(true, 0), "cookie-required");

  const reply = checker.reply(message, INITIATION.mac1, FROM, 0);
  assert.equal(reply.length, COOKIE.size);
  assert.ok(jar.consumeReply(reply, 0));
  assert.ok(!jar.consumeReply(reply, 0), "one reply for each message");
  jar.addMacs(message, INITIATION.mac1, 1);
  assert.equal(check(true, 1), "valid");
  assert.equal(check(true, 1, "192.0.2.1:2"), "cookie-required", "the port is part of it");
  assert.equal(check(true, 119_999), "valid");
  assert.equal(check(true, 120_000), "cookie-required");
});

Deno.test("CookieJar lets a cookie go before its secret does", () => {
  const { checker, jar, message } = fresh();
  jar.addMacs(message, INITIATION.mac1, 0);
  jar.consumeReply(checker.reply(message, INITIATION.mac1, FROM, 0), 0);
  jar.addMacs(message, INITIATION.mac1, 114_999);
  assert.notDeepEqual(message.subarray(INITIATION.mac2), new Uint8Array(16));
  const later = newMessage(INITIATION);
  jar.addMacs(later, INITIATION.mac1, 115_000);
  assert.deepEqual(later.subarray(INITIATION.mac2), new Uint8Array(16));
});

Deno.test("CookieJar refuses an altered reply and one for another message", () => {
  const { checker, jar, message } = fresh();
  assert.ok(!jar.consumeReply(newMessage(COOKIE), 0), "nothing was sent");
  jar.addMacs(message, INITIATION.mac1, 0);
  const reply = checker.reply(message, INITIATION.mac1, FROM, 0);
  for (const at of [COOKIE.nonce, COOKIE.cookie, COOKIE.size - 1]) {
    const altered = reply.slice();
    altered[at]! ^= 1;
    assert.ok(!jar.consumeReply(altered, 0));
  }
  const other = newMessage(INITIATION);
  other[20] = 1;
  jar.addMacs(other, INITIATION.mac1, 0);
  assert.ok(!jar.consumeReply(reply, 0));
});

Deno.test("hasValidMac1() is for a worker that drops early", () => {
  const { jar, message } = fresh();
  const key = mac1KeyOf(KEY);
  assert.ok(!hasValidMac1(key, message));
  jar.addMacs(message, INITIATION.mac1, 0);
  assert.ok(hasValidMac1(key, message));
  assert.ok(!hasValidMac1(mac1KeyOf(new Uint8Array(32)), message));
  message[50]! ^= 1;
  assert.ok(!hasValidMac1(key, message));
  assert.ok(hasValidMac1(key, newMessage(COOKIE)), "a cookie reply has none");
  assert.ok(!hasValidMac1(key, new Uint8Array(148)));
});
