/**
 * The asking side's codec against hand-made replies.
 * @module
 */
import { strict as assert } from "node:assert";
import { decodeQuery, RCODE, TYPE } from "./message.ts";
import { decodeReply, encodeFailure, encodeQuery, isReplyTo, truncate, withId } from "./reply.ts";
import { Zone } from "./zone.ts";

const question = encodeQuery(0x1234, "Name.Example", TYPE.a);
const questionEnd = question.length - 11;

function reply(changes: Record<number, number> = {}): Uint8Array {
  const bytes = new Uint8Array(question.subarray(0, questionEnd));
  bytes[2] = 0x81;
  bytes[11] = 0;
  for (const [at, value] of Object.entries(changes)) bytes[Number(at)] = value;
  return bytes;
}

Deno.test("isReplyTo() takes the answer to the question and nothing else", () => {
  const cases: readonly (readonly [what: string, bytes: Uint8Array, expected: boolean])[] = [
    ["the answer", reply(), true],
    ["letters in another case", reply({ 13: "n".charCodeAt(0) }), true],
    ["another id", reply({ 1: 0 }), false],
    ["a query", reply({ 2: 0x01 }), false],
    ["another opcode", reply({ 2: 0xa1 }), false],
    ["another name", reply({ 13: "x".charCodeAt(0) }), false],
    ["another type", reply({ [questionEnd - 3]: 28 }), false],
    ["cut short", reply().subarray(0, questionEnd - 1), false],
    ["no question", reply({ 5: 0 }), false],
    ["no question, but a failure", reply({ 3: RCODE.refused, 5: 0 }).subarray(0, 12), true],
    ["two questions", reply({ 5: 2 }), false],
    ["empty", new Uint8Array(0), false],
  ];
  for (const [what, bytes, expected] of cases) {
    assert.equal(isReplyTo(question, questionEnd, bytes), expected, what);
  }
});

Deno.test("encodeFailure() and truncate() keep the question and the id", () => {
  const decoded = decodeQuery(question);
  assert.ok(decoded.kind === "query");
  const failure = encodeFailure(decoded.query, RCODE.servFail);
  assert.ok(isReplyTo(question, questionEnd, failure));
  assert.equal(decodeReply(failure)?.rcode, RCODE.servFail);
  const cut = truncate(decoded.query, withId(reply(), 1));
  assert.ok(isReplyTo(question, questionEnd, cut));
  assert.deepEqual([decodeReply(cut)?.isTruncated, decodeReply(cut)?.rcode], [true, 0]);
});

Deno.test("decodeReply() reads what a zone wrote", () => {
  const zone = new Zone();
  zone.setNodes([{ name: "a", aliases: [], addresses: ["172.30.0.5", "fd00::5"] }], ["a"]);
  const records = (name: string, type: number) => {
    const answer = zone.answer(encodeQuery(1, name, type), "udp");
    return answer.kind === "answer" ? decodeReply(answer.response) : null;
  };
  assert.deepEqual(records("a.tm", TYPE.a)?.answers, [
    { name: "a.tm", type: TYPE.a, ttl: 5, text: "172.30.0.5" },
  ]);
  assert.equal(records("a.tm", TYPE.aaaa)?.answers[0]?.text, "fd00::5");
  assert.equal(records("tm", TYPE.ns)?.answers[0]?.text, "this.tm");
  assert.equal(records("b.tm", TYPE.a)?.authority[0]?.text, "this.tm");
});

Deno.test("decodeReply() refuses pointers that do not lead backwards", () => {
  const loop = new Uint8Array([0, 1, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1]);
  assert.equal(decodeReply(new Uint8Array([...loop, 0, 0, 0, 0, 0, 0])), null);
});

Deno.test("encodeQuery() refuses what is no domain name", () => {
  for (const name of ["a..b", "x".repeat(64), "ü.tm", `${"x.".repeat(130)}tm`]) {
    assert.throws(() => encodeQuery(1, name, TYPE.a), RangeError);
  }
});
