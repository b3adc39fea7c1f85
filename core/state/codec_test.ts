/**
 * Tests of the log's file: what a crash costs, and what any bytes at all do to the reader.
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { concatBytes } from "../bytes.ts";
import { MeshError } from "../errors.ts";
import { decodeImage, encodeFrame, encodeImage, MAGIC, openImage } from "./codec.ts";
import { actor, FakeMesh } from "./fake_mesh.ts";

function mesh(): FakeMesh {
  const made = new FakeMesh();
  made.addAdmin(actor(2), "ben");
  made.addUser(actor(3), "carl");
  return made;
}

Deno.test("decodeImage() reads what was appended frame by frame", () => {
  const { entries, log } = mesh();
  const bytes = entries.reduce(
    (file, entry, index) => concatBytes(file, encodeFrame(index, entry)),
    MAGIC,
  );
  assert.deepEqual(bytes, encodeImage(entries));
  const image = decodeImage(bytes);
  assert.deepEqual(image, {
    bundle: null,
    entries,
    validBytes: bytes.length,
    frames: entries.length,
    tail: "none",
  });
  assert.deepEqual(openImage(image, log.meshId)?.head, log.head);
});

Deno.test("decodeImage() loses the last entry at most, wherever the write was cut", () => {
  const { entries } = mesh();
  const kept = encodeImage(entries.slice(0, -1));
  const whole = encodeImage(entries);
  for (let length = kept.length; length < whole.length; length++) {
    const image = decodeImage(whole.subarray(0, length));
    assert.equal(image.entries.length, entries.length - 1);
    assert.equal(image.validBytes, kept.length);
    assert.equal(image.tail, length === kept.length ? "none" : "damaged");
    // A crash may also leave zeros where the bytes should be.
    const zeros = new Uint8Array(whole.length);
    zeros.set(whole.subarray(0, length));
    if (length < whole.length - 1) assert.equal(decodeImage(zeros).validBytes, kept.length);
  }
});

Deno.test("a file goes on behind its whole frames after a crash", () => {
  const { entries, log } = mesh();
  const torn = encodeImage(entries).subarray(0, -3);
  const { validBytes, frames } = decodeImage(torn);
  const mended = concatBytes(torn.subarray(0, validBytes), encodeFrame(frames, entries.at(-1)!));
  assert.deepEqual(openImage(decodeImage(mended), log.meshId)?.head, log.head);
});

Deno.test("decodeImage() takes a file that was cut in its first bytes for an empty one", () => {
  for (let length = 0; length < MAGIC.length; length++) {
    const image = decodeImage(MAGIC.subarray(0, length));
    assert.deepEqual([image.validBytes, image.entries], [0, []]);
    assert.equal(openImage(image, "0".repeat(32)), null);
  }
  assert.equal(decodeImage(MAGIC).validBytes, MAGIC.length);
});

Deno.test("decodeImage() ends where frames repeat or change places", () => {
  const { entries } = mesh();
  const frames = entries.map((entry, index) => encodeFrame(index, entry));
  const repeated = concatBytes(MAGIC, frames[0]!, frames[1]!, frames[1]!);
  assert.equal(decodeImage(repeated).frames, 2);
  const swapped = concatBytes(MAGIC, frames[1]!, frames[0]!);
  assert.equal(decodeImage(swapped).frames, 0);
});

Deno.test("openImage() refuses a whole file of another mesh", () => {
  const image = decodeImage(encodeImage(mesh().entries));
  assert.throws(() => openImage(image, "0".repeat(32)), { code: "entry-foreign" });
});

Deno.test("decodeImage() survives any bytes", () => {
  const file = encodeImage(mesh().entries);
  const anything = fc.uint8Array({ maxLength: 200 });
  const behindMagic = anything.map((bytes) => concatBytes(MAGIC, bytes));
  const spliced = fc.tuple(anything, fc.nat(file.length), fc.nat(file.length)).map((
    [bytes, from, to],
  ) => concatBytes(file.subarray(0, from), bytes, file.subarray(to)));
  fc.assert(
    fc.property(fc.oneof(anything, behindMagic, spliced), (bytes) => {
      try {
        const { validBytes, tail } = decodeImage(bytes);
        assert.ok(validBytes <= bytes.length);
        assert.equal(tail === "none", validBytes === bytes.length);
      } catch (error) {
        assert.ok(error instanceof MeshError && error.code === "state-invalid", String(error));
      }
    }),
    { numRuns: 2000 },
  );
});
