/**
 * Tests of identities: derivation against RFC 8032, RFC 7748 and Wycheproof, strict verification.
 * @module
 */
import assert from "node:assert/strict";
import { x25519 } from "@noble/curves/ed25519.js";
import vectors from "../../tests/vectors/wycheproof_ed25519_test.json" with { type: "json" };
import { fromHex, toHex, utf8 } from "../bytes.ts";
import { SeededRandom } from "../random.ts";
import { identityFromSeed, isIdentityKey, peerIdOf, sign, verify, wireguardKeyOf } from "./keys.ts";

/** RFC 8032 section 7.1, test 3. */
const SEED = fromHex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7");
const PUBLIC = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";

Deno.test("identityFromSeed() derives the key pair of RFC 8032", () => {
  const identity = identityFromSeed(SEED);
  assert.equal(toHex(identity.publicKey), PUBLIC);
  assert.equal(
    toHex(sign(identity, fromHex("af82"))),
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac" +
      "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
  );
  assert.match(identity.peerId, /^[0-9a-f]{16}$/);
  assert.equal(identity.peerId, peerIdOf(identity.publicKey));
});

Deno.test("identityFromSeed() copies the seed", () => {
  const seed = SEED.slice();
  const identity = identityFromSeed(seed);
  seed.fill(0);
  assert.deepEqual(identity.seed, SEED);
});

Deno.test("identityFromSeed() refuses a seed of another length", () => {
  assert.throws(() => identityFromSeed(new Uint8Array(31)), RangeError);
});

Deno.test("the WireGuard key pair is consistent and derivable from the public key alone", () => {
  const random = new SeededRandom(1);
  for (let i = 0; i < 8; i++) {
    const { publicKey, wireguard } = identityFromSeed(random.bytes(32));
    assert.deepEqual(wireguardKeyOf(publicKey), wireguard.publicKey);
    assert.deepEqual(x25519.getPublicKey(wireguard.privateKey), wireguard.publicKey);
    assert.equal(wireguard.privateKey[0]! & 7, 0, "clamped below");
    assert.equal(wireguard.privateKey[31]! & 0xc0, 0x40, "clamped above");
  }
});

Deno.test("verify() agrees with every Wycheproof ed25519 vector", () => {
  let count = 0;
  for (const group of vectors.testGroups) {
    const key = fromHex(group.publicKey.pk);
    for (const test of group.tests) {
      const actual = verify(key, fromHex(test.msg), fromHex(test.sig));
      assert.equal(actual, test.result === "valid", `tcId ${test.tcId} ${test.comment}`);
      count++;
    }
  }
  assert.equal(count, vectors.numberOfTests);
});

Deno.test("verify() is false when message, signature or key differ in one bit", () => {
  const identity = identityFromSeed(SEED);
  const message = utf8("hello");
  const signature = sign(identity, message);
  assert.ok(verify(identity.publicKey, message, signature));
  for (
    const [key, text, sig] of [
      [flipped(identity.publicKey), message, signature],
      [identity.publicKey, flipped(message), signature],
      [identity.publicKey, message, flipped(signature)],
      [identity.publicKey, message, signature.subarray(0, 63)],
      [identity.publicKey.subarray(0, 31), message, signature],
      [new Uint8Array(0), message, new Uint8Array(0)],
    ] as const
  ) {
    assert.equal(verify(key, text, sig), false);
  }
});

/** The points of small order and non-canonical encodings that ed25519 implementations disagree on. */
const BAD_KEYS = {
  "order 1": "0100000000000000000000000000000000000000000000000000000000000000",
  "order 1, odd sign": "0100000000000000000000000000000000000000000000000000000000000080",
  "order 2": "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "order 4": "0000000000000000000000000000000000000000000000000000000000000000",
  "order 4, negated": "0000000000000000000000000000000000000000000000000000000000000080",
  "order 8 a": "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "order 8 b": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "y = p": "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "y = p + 1": "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "y = 2^255 - 1": "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "not on the curve": "0200000000000000000000000000000000000000000000000000000000000000",
};

Deno.test("verify() and wireguardKeyOf() refuse small-order and non-canonical keys", () => {
  // R = identity, S = 0 satisfies the cofactored equation for any small-order key.
  const forged = new Uint8Array(64);
  forged[0] = 1;
  for (const [name, hex] of Object.entries(BAD_KEYS)) {
    const key = fromHex(hex);
    assert.equal(isIdentityKey(key), false, name);
    assert.equal(verify(key, utf8("anything"), forged), false, name);
    assert.throws(() => wireguardKeyOf(key), { code: "key-invalid" }, name);
  }
});

function flipped(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  copy[0]! ^= 1;
  return copy;
}
