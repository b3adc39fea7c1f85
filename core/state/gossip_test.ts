/**
 * Are texts about the log joined again as they were cut, whatever is lost, doubled or forged?
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { LogGossip, type LogPart, MAX_PARTS, PART_BYTES } from "./gossip.ts";

const PEER = "0123456789abcdef";

function heard(receiver: LogGossip, parts: readonly LogPart[]): (string | null)[] {
  return parts.map((part) => receiver.join(PEER, part));
}

Deno.test("LogGossip joins what it cut, in any order, with parts twice", () => {
  const texts = fc.string({ maxLength: 6 * PART_BYTES, unit: "grapheme" });
  fc.assert(fc.property(texts, fc.infiniteStream(fc.nat()), (text, order) => {
    fc.pre(text !== "");
    const parts = new LogGossip().cut(text);
    const shuffled = [...parts, ...parts].sort(() => order.next().value! % 3 - 1);
    const receiver = new LogGossip();
    const found = heard(receiver, shuffled).filter((each) => each !== null);
    assert.equal(found[0], text);
    // Parts that come again after the last begin a text that may be whole a second time.
    assert.ok(found.every((each) => each === text));
  }));
});

Deno.test("LogGossip gives nothing while a part is missing, and forgets it for the next text", () => {
  const sender = new LogGossip();
  const receiver = new LogGossip();
  const [first, ...rest] = sender.cut("a".repeat(3 * PART_BYTES));
  assert.deepEqual(heard(receiver, rest), [null, null]);
  const next = sender.cut("b".repeat(PART_BYTES + 1));
  assert.equal(heard(receiver, next).at(-1), "b".repeat(PART_BYTES + 1));
  assert.equal(receiver.join(PEER, first!), null);
  receiver.forget(PEER);
  assert.deepEqual(heard(receiver, rest), [null, null]);
});

Deno.test("LogGossip keeps texts of different peers apart", () => {
  const [a1, a2] = new LogGossip().cut("a".repeat(PART_BYTES + 1));
  const [b1, b2] = new LogGossip().cut("b".repeat(PART_BYTES + 1));
  const receiver = new LogGossip();
  assert.equal(receiver.join("a".repeat(16), a1!), null);
  assert.equal(receiver.join("b".repeat(16), b2!), null);
  assert.equal(receiver.join("a".repeat(16), a2!), "a".repeat(PART_BYTES + 1));
  assert.equal(receiver.join("b".repeat(16), b1!), "b".repeat(PART_BYTES + 1));
});

Deno.test("LogGossip refuses impossible parts and never throws", () => {
  const [part] = new LogGossip().cut("text");
  const wrong: LogPart[] = [
    { ...part!, parts: 0 },
    { ...part!, parts: MAX_PARTS + 1 },
    { ...part!, part: 1 },
    { ...part!, parts: 2 },
    { ...part!, bytes: new Uint8Array(PART_BYTES + 1) },
    { ...part!, bytes: Uint8Array.of(0xff) },
  ];
  for (const each of wrong) assert.equal(new LogGossip().join(PEER, each), null);
  assert.deepEqual(new LogGossip().cut("a".repeat(MAX_PARTS * PART_BYTES + 1)), []);
});
