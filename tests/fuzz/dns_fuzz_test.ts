/**
 * Whatever bytes reach the resolver: nothing is thrown, nothing loops, and an answer always has the
 * asker's id and fits what the asker can take.
 * @module
 */
import { strict as assert } from "node:assert";
import { decodeQuery } from "../../core/dns/message.ts";
import { decodeReply, encodeQuery, isReplyTo } from "../../core/dns/reply.ts";
import { Zone } from "../../core/dns/zone.ts";
import { parsePrefix } from "../../core/ip.ts";
import { SeededRandom } from "../../core/random.ts";

const RUNS = 100_000;
const NAMES = ["a.tm", "www.shop.mesh", "this.tunnelmesh", "5.0.30.172.in-addr.arpa", "x.org", ""];

const zone = new Zone();
zone.setRanges([parsePrefix("172.30.0.0/16")!]);
zone.setNodes([{ name: "a", aliases: ["www.shop"], addresses: ["172.30.0.5", "fd00::5"] }], ["a"]);

/**
 * Half random bytes, half a valid query with up to eight bytes changed, then perhaps cut or grown.
 */
function message(random: SeededRandom): Uint8Array {
  if (random.uint32() % 2 === 0) {
    const bytes = random.bytes(random.uint32() % 80);
    // Most random messages would be turned away at the header.
    if (bytes.length >= 12 && random.uint32() % 4 > 0) bytes.set([0, 0, 0, 1, 0, 0, 0, 0, 0, 0], 2);
    return bytes;
  }
  const name = NAMES[random.uint32() % NAMES.length]!;
  const bytes = encodeQuery(random.uint32() & 0xffff, name, random.uint32() % 260);
  for (let n = random.uint32() % 9; n > 0; n--) {
    bytes[random.uint32() % bytes.length] = random.uint32() & 0xff;
  }
  if (random.uint32() % 4 === 0) return bytes.subarray(0, random.uint32() % (bytes.length + 1));
  return random.uint32() % 4 === 0
    ? new Uint8Array([...bytes, ...random.bytes(random.uint32() % 40)])
    : bytes;
}

Deno.test("Zone.answer() survives 100 000 hostile messages", () => {
  const random = new SeededRandom(0xd5);
  const kinds = { answer: 0, forward: 0, drop: 0 };
  for (let run = 0; run < RUNS; run++) {
    const bytes = message(random);
    const before = bytes.toHex();
    const carrier = run % 2 === 0 ? "udp" : "tcp";
    const reply = zone.answer(bytes, carrier);
    kinds[reply.kind]++;
    assert.equal(bytes.toHex(), before, "the message is not written to");
    if (reply.kind !== "answer") continue;
    const { response } = reply;
    assert.ok(response.length >= 12 && response.length <= (carrier === "udp" ? 1232 : 65_535));
    assert.deepEqual([response[0], response[1]], [bytes[0], bytes[1]]);
    assert.ok(response[2]! & 0x80, "an answer is a response");
    assert.equal(zone.answer(response, "udp").kind, "drop", "an answer is never answered");
    assert.notEqual(decodeReply(response), null, before);
    const decoded = decodeQuery(bytes);
    if (decoded.kind === "query") {
      assert.ok(isReplyTo(bytes, decoded.query.questionEnd, response), before);
    }
  }
  // The generator has to reach each outcome, or it proves nothing.
  for (const [kind, count] of Object.entries(kinds)) assert.ok(count > 1_000, `${kind}: ${count}`);
});

Deno.test("decodeReply() and isReplyTo() survive 100 000 hostile messages", () => {
  const random = new SeededRandom(0xd6);
  const question = encodeQuery(1, "a.tm", 1);
  const answer = zone.answer(question, "udp");
  assert.ok(answer.kind === "answer");
  let read = 0;
  for (let run = 0; run < RUNS; run++) {
    const bytes = run % 3 === 0
      ? random.bytes(random.uint32() % 120)
      : new Uint8Array(answer.response);
    for (let n = random.uint32() % 6; n > 0 && bytes.length > 0; n--) {
      bytes[random.uint32() % bytes.length] = random.uint32() & 0xff;
    }
    isReplyTo(question, question.length - 11, bytes);
    if (decodeReply(bytes.subarray(0, random.uint32() % 200)) !== null) read++;
  }
  assert.ok(read > 1_000);
});
