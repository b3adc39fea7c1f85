import assert from "node:assert/strict";
import { SeededRandom } from "../random.ts";
import {
  decodeMessage,
  encodeRequest,
  encodeSuccess,
  encodeUnknown,
  isStun,
  TRANSACTION_ID,
} from "./message.ts";

/** RFC 5769 section 2.2: a response over IPv4, with MESSAGE-INTEGRITY and FINGERPRINT. */
const RFC5769_IPV4 = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220" +
  "002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";
/** Section 2.3: the same over IPv6. */
const RFC5769_IPV6 = "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220" +
  "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed41" +
  "80280004c8fb0b4c";

Deno.test("decodeMessage() reads the responses of RFC 5769", () => {
  const ipv4 = decodeMessage(Uint8Array.fromHex(RFC5769_IPV4));
  assert.equal(ipv4?.class, "success");
  assert.equal(ipv4?.mapped, "192.0.2.1:32853");
  const ipv6 = decodeMessage(Uint8Array.fromHex(RFC5769_IPV6));
  assert.equal(ipv6?.mapped, "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
});

Deno.test("decodeMessage() refuses a wrong fingerprint", () => {
  const bytes = Uint8Array.fromHex(RFC5769_IPV4);
  bytes[30] = bytes[30]! ^ 1;
  assert.equal(decodeMessage(bytes), null);
});

Deno.test("requests and answers come out as they went in", () => {
  const random = new SeededRandom(1);
  for (const endpoint of ["192.0.2.9:1", "[2001:db8::7]:65535"]) {
    for (const changePort of [false, true]) {
      const transactionId = random.bytes(TRANSACTION_ID);
      const request = decodeMessage(encodeRequest({ transactionId, changePort }));
      assert.equal(request?.class, "request");
      assert.equal(request.changePort, changePort);
      assert.deepEqual(request.transactionId, transactionId);
      const answer = decodeMessage(
        encodeSuccess({ transactionId, mapped: endpoint, origin: endpoint, other: endpoint }),
      );
      assert.deepEqual(
        [answer?.class, answer?.mapped, answer?.origin, answer?.other],
        ["success", endpoint, endpoint, endpoint],
      );
      assert.equal(decodeMessage(encodeUnknown(transactionId, [3, 7]))?.class, "error");
    }
  }
});

Deno.test("isStun() takes no WireGuard message for one", () => {
  const random = new SeededRandom(2);
  for (const [type, length] of [[1, 148], [2, 92], [3, 64], [4, 32], [4, 1452]] as const) {
    const bytes = random.bytes(length);
    bytes.set([type, 0, 0, 0]);
    assert.equal(isStun(bytes), false);
  }
});

Deno.test("decodeMessage() outlives any bytes, genuine ones with changes above all", () => {
  const random = new SeededRandom(3);
  const genuine = Uint8Array.fromHex(RFC5769_IPV6);
  for (let run = 0; run < 20_000; run++) {
    const bytes = run % 4 === 0 ? random.bytes(random.uint32() % 80) : genuine.slice(
      0,
      run % 3 === 0 ? genuine.length : random.uint32() % genuine.length,
    );
    for (let i = 0; i < 3 && bytes.length > 0; i++) {
      bytes[random.uint32() % bytes.length] = random.uint32() & 0xff;
    }
    if (bytes.length >= 8) bytes.set([0x21, 0x12, 0xa4, 0x42], 4);
    if (bytes.length >= 20) new DataView(bytes.buffer).setUint16(2, (bytes.length - 20) & ~3);
    decodeMessage(bytes);
  }
});
