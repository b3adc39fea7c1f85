/**
 * Equality of the system's OpenSSL with the reference: same bytes at every length, no forgery
 * accepted. Needs the permission to load a library; without the library there is nothing to compare.
 * @module
 */
import assert from "node:assert/strict";
import { type Aead, nobleAead, TAG } from "../../dataplane/aead.ts";
import { SeededRandom } from "../../random.ts";
import { openLibcrypto } from "./libcrypto.ts";

/** Loaded once: a library stays for the life of the process, which a test would call a leak. */
const chosen = openLibcrypto();

/** Registers a test of OpenSSL's cipher, or of nothing when there is none. */
function cipherTest(name: string, run: (aead: Aead) => void): void {
  Deno.test(name, () => {
    if (chosen) return run(chosen);
    const mayLoad = Deno.permissions.querySync({ name: "ffi" }).state === "granted";
    const reason = mayLoad ? "this system has no libcrypto 1.1 or 3" : "needs --allow-ffi";
    console.log(`SKIP: ${name}: ${reason}`);
  });
}

/** Seals one message of `length` bytes with both and compares everything that was written. */
function compare(aead: Aead, random: SeededRandom, length: number, counter: number): void {
  const secret = random.bytes(32);
  const [ours, reference] = [aead.key(secret), nobleAead.key(secret)];
  const at = random.uint32() % 40;
  const plain = random.bytes(at + length + TAG + 8);
  const [a, b] = [plain.slice(), plain.slice()];
  const where = `length ${length}, at ${at}, counter ${counter}`;
  ours.seal(a, at, length, counter);
  reference.seal(b, at, length, counter);
  assert.deepEqual(a, b, where);
  assert.ok(reference.open(a, at, length + TAG, counter), where);
  assert.ok(ours.open(b, at, length + TAG, counter), where);
  assert.deepEqual(b.subarray(at, at + length), plain.subarray(at, at + length), where);
  assert.deepEqual(b.subarray(0, at), plain.subarray(0, at), "bytes before stay");
  assert.deepEqual(b.subarray(at + length + TAG), plain.subarray(at + length + TAG));
  ours.free();
  reference.free();
}

cipherTest("libcrypto equals the reference at every length from 0 to 300", (aead) => {
  const random = new SeededRandom(1);
  for (let length = 0; length <= 300; length++) compare(aead, random, length, length);
});

cipherTest("libcrypto equals the reference at random lengths and counters", (aead) => {
  const random = new SeededRandom(2);
  const edges = [0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1];
  for (let i = 0; i < 60; i++) {
    const counter = edges[i] ?? random.uint32() * 2 ** 20 + random.uint32() % 2 ** 20;
    compare(aead, random, random.uint32() % 9000, counter);
  }
  compare(aead, random, 65_507 - 32, 3);
});

cipherTest("libcrypto refuses a changed tag, text, counter, key and length", (aead) => {
  const random = new SeededRandom(3);
  for (const length of [0, 1, 15, 16, 17, 64, 255, 1420]) {
    const secret = random.bytes(32);
    const [key, other] = [aead.key(secret), aead.key(random.bytes(32))];
    const sealed = random.bytes(length + TAG);
    key.seal(sealed, 0, length, 7);
    for (let i = 0; i < sealed.length; i += i < TAG || i >= length ? 1 : 37) {
      const forged = sealed.slice();
      forged[i]! ^= 1 << (i % 8);
      assert.equal(key.open(forged, 0, forged.length, 7), false, `byte ${i} of ${length}`);
    }
    assert.equal(key.open(sealed.slice(), 0, sealed.length, 8), false, "counter");
    assert.equal(other.open(sealed.slice(), 0, sealed.length, 7), false, "key");
    assert.equal(key.open(sealed.slice(), 0, sealed.length - 1, 7), false, "truncated");
    for (let short = 0; short < TAG; short++) {
      assert.equal(key.open(sealed.slice(), 0, short, 7), false, `${short} bytes`);
    }
    assert.ok(key.open(sealed, 0, sealed.length, 7), "a refusal leaves the context usable");
    key.free();
    other.free();
  }
});

cipherTest("one libcrypto context seals and opens in any order", (aead) => {
  const random = new SeededRandom(4);
  const secret = random.bytes(32);
  const [ours, reference] = [aead.key(secret), nobleAead.key(secret)];
  secret.fill(0);
  for (let counter = 0; counter < 200; counter++) {
    const length = random.uint32() % 200;
    const plain = random.bytes(length + TAG);
    const [sender, receiver] = counter % 3 === 0 ? [reference, ours] : [ours, reference];
    const bytes = plain.slice();
    sender.seal(bytes, 0, length, counter);
    assert.ok(receiver.open(bytes, 0, length + TAG, counter));
    assert.deepEqual(bytes.subarray(0, length), plain.subarray(0, length));
    if (counter % 5 === 0) assert.equal(ours.open(plain, 0, plain.length, counter), false);
  }
  ours.free();
  reference.free();
});
