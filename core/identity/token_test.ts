/**
 * Tests of join tokens: the round trip, and what a careless paste gets told.
 * @module
 */
import assert from "node:assert/strict";
import { SeededRandom } from "../random.ts";
import {
  decodeToken,
  encodeToken,
  formatCredential,
  hashTokenSecret,
  type JoinToken,
  parseCredential,
  pinsCa,
} from "./token.ts";

const TOKEN: JoinToken = {
  caPin: new SeededRandom(1).bytes(32),
  id: new SeededRandom(2).bytes(8),
  secret: new SeededRandom(3).bytes(16),
};
const TEXT = encodeToken(TOKEN);

Deno.test("decodeToken() returns what encodeToken() was given", () => {
  assert.match(TEXT, /^tm1_[A-Za-z0-9_-]{75}$/);
  assert.deepEqual(decodeToken(TEXT), TOKEN);
});

Deno.test("decodeToken() ignores white space and quotes around the token", () => {
  for (const text of [`  ${TEXT}\n`, `"${TEXT}"`, `'${TEXT}'`, ` "${TEXT}"\r\n`]) {
    assert.deepEqual(decodeToken(text), TOKEN);
  }
});

Deno.test("decodeToken() says what is wrong with a pasted text", () => {
  const cases: [string, RegExp][] = [
    ["", /it is empty/],
    [TEXT.slice(0, -1), /cut short, 1 of 79 characters missing/],
    [TEXT.slice(0, 40), /cut short, 39 of 79 characters missing/],
    ["tm1_", /cut short/],
    [TEXT + "A", /1 characters too many/],
    [TEXT.slice(0, 20) + " " + TEXT.slice(21), /character 21 does not belong/],
    [TEXT.slice(0, 20) + "+" + TEXT.slice(21), /character 21 does not belong/],
    [TEXT.slice(1), /does not start with tm1_/],
    [TEXT.replace("tm1_", "tm2_"), /another version/],
    ["ghp_abcdef", /does not start with tm1_/],
    // 56 bytes leave two unused bits in the last character; they must be zero.
    [TEXT.slice(0, -1) + "_", /it is damaged/],
  ];
  for (const [text, message] of cases) {
    assert.throws(() => decodeToken(text), (error: Error & { code?: string; hint?: string }) => {
      assert.equal(error.code, "token-invalid");
      assert.match(error.message, message);
      assert.match(error.hint!, /79 characters/);
      assert.ok(text.length < 10 || !error.message.includes(text.slice(4)), "leaks no secret");
      return true;
    });
  }
});

Deno.test("encodeToken() refuses parts of the wrong length", () => {
  assert.throws(() => encodeToken({ ...TOKEN, secret: new Uint8Array(15) }), RangeError);
});

Deno.test("pinsCa() is false only for the all-zero pin", () => {
  assert.equal(pinsCa(TOKEN), true);
  assert.equal(pinsCa({ caPin: new Uint8Array(32) }), false);
});

Deno.test("parseCredential() returns what formatCredential() was given", () => {
  const text = formatCredential(TOKEN);
  assert.deepEqual(parseCredential(text), { id: TOKEN.id, secret: TOKEN.secret });
  for (const bad of ["", ".", text + ".x", text.slice(1), text.slice(0, -1), text + "="]) {
    assert.throws(() => parseCredential(bad), { code: "token-invalid" }, bad);
  }
});

Deno.test("hashTokenSecret() is SHA-256", () => {
  assert.equal(
    hashTokenSecret(new TextEncoder().encode("abc")).toHex(),
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
});
