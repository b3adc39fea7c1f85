import assert from "node:assert/strict";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { KernelRig } from "../../tests/kernel_rig.ts";
import wycheproof from "../../tests/vectors/wycheproof_chacha20_poly1305_test.json" with {
  type: "json",
};
import { concatBytes, fromHex, toHex } from "../bytes.ts";
import { TAG } from "../dataplane/aead.ts";
import { SeededRandom } from "../random.ts";
import { type Kernel, ROW_BYTES, SCRATCH_BYTES } from "./kernel.ts";

/** The kernel's functions that only these tests call: any nonce, and associated data. */
interface FullAead {
  aeadSeal(
    at: number,
    length: number,
    key: number,
    nonce: number,
    aad: number,
    aadLength: number,
  ): void;
  aeadOpen(
    at: number,
    length: number,
    key: number,
    nonce: number,
    aad: number,
    aadLength: number,
  ): number;
}

/** A message of a batch. */
interface Message {
  readonly plain: Uint8Array;
  readonly counter: number;
}

/** Bytes around a message that must stay as they are. */
const GUARD = 40;
const random = new SeededRandom(8439);
const rig = new KernelRig(1 << 20);
const { bytes, free: KEY } = rig;
const kernel = rig.kernel as Kernel & FullAead;
const NONCE = KEY + 32, ROWS = KEY + 64, AAD = KEY + 8192, TEXT = KEY + 65_536;
const words = new DataView(bytes.buffer);
const key = random.bytes(32);

function nonceOf(counter: number): Uint8Array {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setBigUint64(4, BigInt(counter), true);
  return nonce;
}

function reference(message: Message): Uint8Array {
  return chacha20poly1305(key, nonceOf(message.counter)).encrypt(message.plain);
}

/** Puts `parts` at odd places between guards and writes their rows. Returns the places. */
function place(parts: readonly Uint8Array[], counters: readonly number[]): number[] {
  bytes.set(key, KEY);
  let next = TEXT;
  return parts.map((part, i) => {
    const at = next + GUARD + i % 16;
    next = at + part.length + TAG + GUARD;
    rig.guard(at - GUARD, next - at + GUARD);
    bytes.set(part, at);
    const row = [at, part.length, counters[i]! >>> 0, Math.floor(counters[i]! / 2 ** 32), 7];
    row.forEach((word, j) => words.setUint32(ROWS + i * ROW_BYTES + 4 * j, word, true));
    return at;
  });
}

function verdict(row: number): number {
  return words.getUint32(ROWS + row * ROW_BYTES + 16, true);
}

/** Checks what is at `at`, `room` being all that belongs to it, and the guards around that. */
function assertText(at: number, expected: Uint8Array, room: number, what: string): void {
  const found = bytes.subarray(at, at + expected.length);
  if (found.some((byte, i) => byte !== expected[i])) {
    assert.equal(toHex(found), toHex(expected), what);
  }
  assert(rig.isIntact(at - GUARD, GUARD), `before ${what}`);
  assert(rig.isIntact(at + room, GUARD), `behind ${what}`);
}

/** Seals a batch, compares it to the reference, and opens it again. */
function checkBatch(messages: readonly Message[]): void {
  const counters = messages.map(({ counter }) => counter);
  const sealed = messages.map(reference);

  const sealedAt = place(messages.map(({ plain }) => plain), counters);
  kernel.sealBatch(ROWS, messages.length, KEY);
  sealedAt.forEach((at, i) => {
    assertText(at, sealed[i]!, sealed[i]!.length, `seal ${messages[i]!.plain.length}`);
  });

  const openedAt = place(sealed, counters);
  assert.equal(kernel.openBatch(ROWS, messages.length, KEY), messages.length);
  openedAt.forEach((at, i) => {
    const { plain } = messages[i]!;
    const tag = sealed[i]!.subarray(plain.length);
    assert.equal(verdict(i), 1);
    // The tag stays.
    assertText(at, concatBytes(plain, tag), sealed[i]!.length, `open ${plain.length}`);
  });
}

/** Runs `aeadSeal` on a text at `TEXT`; `aeadOpen` reads what it left. */
function sealOne(secret: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plain: Uint8Array) {
  bytes.set(secret, KEY);
  bytes.set(nonce, NONCE);
  bytes.set(aad, AAD);
  bytes.set(plain, TEXT);
  kernel.aeadSeal(TEXT, plain.length, KEY, NONCE, AAD, aad.length);
  return bytes.slice(TEXT, TEXT + plain.length + TAG);
}

/** Runs `aeadOpen`; null when it refuses. */
function openOne(secret: Uint8Array, nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array) {
  bytes.set(secret, KEY);
  bytes.set(nonce, NONCE);
  bytes.set(aad, AAD);
  bytes.set(sealed, TEXT);
  const ok = kernel.aeadOpen(TEXT, sealed.length, KEY, NONCE, AAD, aad.length);
  return ok === 1 ? bytes.slice(TEXT, TEXT + sealed.length - TAG) : null;
}

Deno.test("aeadSeal() gives the ciphertext and tag of RFC 8439, section 2.8.2", () => {
  const secret = Uint8Array.from({ length: 32 }, (_, i) => 0x80 + i);
  const nonce = fromHex("070000004041424344454647");
  const aad = fromHex("50515253c0c1c2c3c4c5c6c7");
  const plain = new TextEncoder().encode(
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the " +
      "future, sunscreen would be it.",
  );
  const sealed = sealOne(secret, nonce, aad, plain);
  assert.equal(
    toHex(sealed),
    "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da9" +
      "2728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585" +
      "808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116" +
      "1ae10b594f09e26a7e902ecbd0600691",
  );
  assert.deepEqual(openOne(secret, nonce, aad, sealed), plain);
});

Deno.test("aeadOpen() and aeadSeal() pass all Wycheproof cases with nonces of 12 bytes", () => {
  let count = 0;
  for (const group of wycheproof.testGroups.filter(({ ivSize }) => ivSize === 96)) {
    for (const test of group.tests) {
      const [secret, nonce, aad] = [fromHex(test.key), fromHex(test.iv), fromHex(test.aad)];
      const sealed = fromHex(test.ct + test.tag);
      const opened = openOne(secret, nonce, aad, sealed);
      const name = `case ${test.tcId}: ${test.comment}`;
      assert.equal(opened !== null, test.result === "valid", name);
      if (opened !== null) {
        assert.equal(toHex(opened), test.msg, name);
        assert.equal(toHex(sealOne(secret, nonce, aad, opened)), toHex(sealed), name);
      }
      count++;
    }
  }
  assert(count > 300);
});

Deno.test("sealBatch() and openBatch() agree with the reference at every length", () => {
  const lengths = Array.from({ length: 1101 }, (_, i) => i);
  for (const middle of [1420, 4096, 15_296, 16_384]) {
    for (let length = middle - 3; length <= middle + 3; length++) lengths.push(length);
  }
  lengths.push(65_519);
  for (const length of lengths) {
    checkBatch([{ plain: random.bytes(length), counter: random.uint32() }]);
  }
});

Deno.test("a batch of mixed lengths equals single messages, with counters beyond 2^32", () => {
  for (let round = 0; round < 40; round++) {
    const messages = Array.from({ length: 1 + round }, (): Message => ({
      plain: random.bytes(random.uint32() % (round % 4 === 0 ? 80 : 1500)),
      counter: random.uint32() + (random.uint32() % 2 ** 20) * 2 ** 32,
    }));
    checkBatch(messages);
  }
});

Deno.test("openBatch() refuses a message with any byte changed, and decrypts nothing of it", () => {
  for (const length of [0, 1, 16, 63, 192, 193, 300]) {
    const sealed = reference({ plain: random.bytes(length), counter: 9 });
    for (let i = 0; i < sealed.length; i++) {
      const changed = sealed.with(i, sealed[i]! ^ 1 << i % 8);
      const [at] = place([changed], [9]);
      assert.equal(kernel.openBatch(ROWS, 1, KEY), 0);
      assert.equal(verdict(0), 0);
      assertText(at!, changed, changed.length, `refusal of ${length}`);
    }
  }
});

Deno.test("openBatch() refuses the wrong counter and the wrong key", () => {
  const sealed = reference({ plain: random.bytes(100), counter: 5 });
  for (const counter of [4, 6, 5 + 2 ** 32]) {
    place([sealed], [counter]);
    assert.equal(kernel.openBatch(ROWS, 1, KEY), 0);
  }
  place([sealed], [5]);
  bytes[KEY + 31]! ^= 0x80;
  assert.equal(kernel.openBatch(ROWS, 1, KEY), 0);
});

Deno.test("openBatch() refuses what is shorter than a tag, and opens the rest of the batch", () => {
  const good = reference({ plain: random.bytes(200), counter: 2 });
  const forged = good.with(3, good[3]! ^ 1);
  for (let length = 0; length < TAG; length++) {
    const at = place([good, good.slice(0, length), forged, good], [2, 2, 2, 2]);
    assert.equal(kernel.openBatch(ROWS, 4, KEY), 2);
    assert.deepEqual([0, 1, 2, 3].map(verdict), [1, 0, 0, 1]);
    assertText(at[1]!, good.slice(0, length), length, `short ${length}`);
  }
});

Deno.test("batches that do nothing leave no key behind", () => {
  const scratch = bytes.subarray(0, SCRATCH_BYTES);
  scratch.fill(0);
  place([random.bytes(TAG - 1)], [1]);
  kernel.sealBatch(ROWS, 0, KEY);
  assert.equal(kernel.openBatch(ROWS, 0, KEY), 0);
  assert.equal(kernel.openBatch(ROWS, 1, KEY), 0);
  assert(scratch.every((byte) => byte === 0));
});

Deno.test("no secret stays in the scratch memory, and no more than 16 KiB of it is used", () => {
  const scratch = bytes.subarray(0, SCRATCH_BYTES);
  for (const length of [0, 64, 1420, 16_000, 65_519]) {
    const plain = random.bytes(length);
    const sealed = reference({ plain, counter: 1 });
    for (const isSeal of [true, false]) {
      scratch.fill(0);
      rig.guard(16_384, SCRATCH_BYTES - 16_384);
      place([isSeal ? plain : sealed], [1]);
      if (isSeal) kernel.sealBatch(ROWS, 1, KEY);
      else assert.equal(kernel.openBatch(ROWS, 1, KEY), 1);
      assert(scratch.subarray(0, 16_384).every((byte) => byte === 0), `length ${length}`);
      assert(rig.isIntact(16_384, SCRATCH_BYTES - 16_384), `length ${length}`);
    }
  }
});
