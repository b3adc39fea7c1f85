import assert from "node:assert/strict";
import { fromHex, toHex } from "../../core/bytes.ts";
import { MeshError } from "../../core/errors.ts";
import { MAX_TRAIN_BYTES } from "../../core/link.ts";
import { SeededRandom } from "../../core/random.ts";
import {
  encodeData,
  encodeEcho,
  encodeGone,
  MAX_FRAME_BYTES,
  overwritePeer,
  parseFrame,
  parseHello,
  parseServerText,
} from "./frames.ts";

const PEER = "00112233445566ff";
const SIGNATURE = "A".repeat(86);
const IDENTITY = "A".repeat(43);

Deno.test("frames are on the wire as the protocol says", () => {
  const train = { bytes: Uint8Array.of(1, 2, 3), segment: 2 };
  assert.equal(toHex(encodeData(PEER, train)), `01000002${PEER}010203`);
  assert.equal(toHex(encodeGone(PEER)), `02${PEER}`);
  assert.equal(toHex(encodeEcho("ping", fromHex(PEER))), `03${PEER}`);
  assert.equal(toHex(encodeEcho("pong", fromHex(PEER))), `04${PEER}`);
});

Deno.test("parseFrame() reads what was encoded", () => {
  for (const [length, segment] of [[1, 1], [64, 1], [65_000, 1452], [MAX_TRAIN_BYTES, 65_507]]) {
    const train = { bytes: new Uint8Array(length!).fill(7), segment: segment! };
    const frame = encodeData(PEER, train);
    assert.ok(frame.length <= MAX_FRAME_BYTES);
    assert.deepEqual(parseFrame(frame), { type: "data", peer: PEER, train });
    overwritePeer(frame, fromHex("ffeeddccbbaa9988"));
    assert.deepEqual(parseFrame(frame), { type: "data", peer: "ffeeddccbbaa9988", train });
  }
  assert.deepEqual(parseFrame(encodeGone(PEER)), { type: "gone", peer: PEER });
  for (const type of ["ping", "pong"] as const) {
    assert.deepEqual(parseFrame(encodeEcho(type, fromHex(PEER))), { type, echo: fromHex(PEER) });
  }
});

const BAD_FRAMES: [name: string, hex: string][] = [
  ["nothing", ""],
  ["an unknown type", `05${PEER}`],
  ["type 0", `00${PEER}`],
  ["a data frame without a train", `01000001${PEER}`],
  ["a cut data header", "01000001"],
  ["a reserved byte that is set", `01010001${PEER}00`],
  ["a segment of 0", `01000000${PEER}00`],
  ["65 segments", `01000001${PEER}${"00".repeat(65)}`],
  ["a segment longer than any train", `0100ffff${PEER}00`],
  ["a train that is too long", `01004000${PEER}${"00".repeat(MAX_TRAIN_BYTES + 1)}`],
  ["a short gone", `02${PEER.slice(2)}`],
  ["a long gone", `02${PEER}00`],
  ["a short ping", "0300"],
  ["a long pong", `04${PEER}00`],
];

for (const [name, hex] of BAD_FRAMES) {
  Deno.test(`parseFrame() refuses ${name}`, () => assert.equal(parseFrame(fromHex(hex)), null));
}

Deno.test("parseFrame() takes any bytes, and what it accepts encodes to the same bytes", () => {
  const random = new SeededRandom(1);
  let accepted = 0;
  for (let i = 0; i < 20_000; i++) {
    const bytes = random.bytes(random.uint32() % (i % 3 === 0 ? 200 : 14));
    if (i % 2 === 0 && bytes.length > 3) bytes.set([1 + random.uint32() % 4, 0, 0]);
    const frame = parseFrame(bytes);
    if (!frame) continue;
    accepted++;
    const again = frame.type === "data"
      ? encodeData(frame.peer, frame.train)
      : frame.type === "gone"
      ? encodeGone(frame.peer)
      : encodeEcho(frame.type, frame.echo);
    assert.deepEqual(again, bytes);
  }
  assert.ok(accepted > 500, `${accepted}`);
});

Deno.test("texts of either side are strict and bounded", () => {
  const hello = { type: "hello", identity: IDENTITY, signature: SIGNATURE };
  assert.deepEqual(parseHello(JSON.stringify(hello)), hello);
  const challenge = { type: "challenge", nonce: "abc_-1" };
  assert.deepEqual(parseServerText(JSON.stringify(challenge)), challenge);
  assert.deepEqual(parseServerText('{"type":"welcome"}'), { type: "welcome" });
  const bad = [
    "",
    "null",
    "[]",
    "{",
    '{"type":"welcome","more":1}',
    '{"type":"challenge"}',
    `{"type":"challenge","nonce":"${"a".repeat(257)}"}`,
    '{"type":"refused","code":"no-such-code","message":""}',
    `{"type":"refused","code":"internal","message":"${"a".repeat(1025)}"}`,
    JSON.stringify({ ...hello, identity: "short" }),
    JSON.stringify({ ...hello, extra: 1 }),
    " ".repeat(5000) + JSON.stringify(hello),
  ];
  for (const text of bad) {
    for (const parse of [parseHello, parseServerText]) assert.throws(() => parse(text), MeshError);
  }
});
