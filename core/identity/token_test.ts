/**
 * Tests of join tokens: the round trip, and what a careless paste gets told.
 * @module
 */
import assert from "node:assert/strict";
import { SeededRandom } from "../random.ts";
import { decodeToken, encodeToken, type JoinToken, pinsCa, tokenIdOf } from "./token.ts";

const TOKEN: JoinToken = {
  caPin: new SeededRandom(1).bytes(32),
  meshId: new SeededRandom(2).bytes(16).toHex(),
  secret: new SeededRandom(3).bytes(16),
};
const TEXT = encodeToken(TOKEN);

Deno.test("decodeToken() returns what encodeToken() was given", () => {
  assert.match(TEXT, /^tm2_[A-Za-z0-9_-]{86}$/);
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
    [TEXT.slice(0, -1), /cut short, 1 of 90 characters missing/],
    [TEXT.slice(0, 40), /cut short, 50 of 90 characters missing/],
    ["tm2_", /cut short/],
    [TEXT + "A", /1 characters too many/],
    [TEXT.slice(0, 20) + " " + TEXT.slice(21), /character 21 does not belong/],
    [TEXT.slice(0, 20) + "+" + TEXT.slice(21), /character 21 does not belong/],
    [TEXT.slice(1), /does not start with tm2_/],
    [TEXT.replace("tm2_", "tm1_"), /another version/],
    ["ghp_abcdef", /does not start with tm2_/],
    // 64 bytes leave four unused bits in the last character; they must be zero.
    [TEXT.slice(0, -1) + "_", /it is damaged/],
  ];
  for (const [text, message] of cases) {
    assert.throws(() => decodeToken(text), (error: Error & { code?: string; hint?: string }) => {
      assert.equal(error.code, "token-invalid");
      assert.match(error.message, message);
      assert.match(error.hint!, /90 characters/);
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

Deno.test("encodeToken() refuses a mesh id that is none", () => {
  assert.throws(() => encodeToken({ ...TOKEN, meshId: "00" }), RangeError);
});

Deno.test("tokenIdOf() names a token by its secret and tells nothing of it", () => {
  const id = tokenIdOf(TOKEN.secret);
  assert.match(id, /^[A-Za-z0-9_-]{11}$/);
  assert.equal(tokenIdOf(TOKEN.secret.slice()), id);
  const other = TOKEN.secret.slice();
  other[0]! ^= 1;
  assert.notEqual(tokenIdOf(other), id);
  assert.ok(!TEXT.includes(id));
});
