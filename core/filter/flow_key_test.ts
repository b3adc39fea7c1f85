import assert from "node:assert/strict";
import { concatBytes } from "../bytes.ts";
import { parseIp } from "../ip.ts";
import { SeededRandom } from "../random.ts";
import { type ExtensionHeader, optionsHeader, packetBytes, type TestPacket } from "./_packets.ts";
import { readFlowKey, readQuotedKey } from "./flow_key.ts";
import { FRAGMENT, KEY, KEY_WORDS, KIND, REFUSALS } from "./key.ts";

const FUZZ_RUNS = 200_000;
const V6: TestPacket = {
  source: parseIp("fd00::1")!,
  destination: parseIp("fd00::2")!,
  protocol: 6,
  sourcePort: 40_000,
  destinationPort: 22,
  flags: 2,
  icmp: null,
  quote: null,
  fragment: null,
  headers: [],
};
const V4: TestPacket = { ...V6, source: parseIp("10.0.0.1")!, destination: parseIp("10.0.0.2")! };

function routing(segmentsLeft: number): ExtensionHeader {
  return { type: 43, body: Uint8Array.of(0, segmentsLeft, 0, 0, 0, 0) };
}

function read(bytes: Uint8Array): { refusal: string; key: Int32Array } {
  const key = new Int32Array(KEY_WORDS);
  return { refusal: REFUSALS[readFlowKey(key, viewOf(bytes), 0, bytes.length)]!, key };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function refusalOf(bytes: Uint8Array): string {
  return read(bytes).refusal;
}

function withHeaders(...headers: ExtensionHeader[]): Uint8Array {
  return packetBytes({ ...V6, headers });
}

/** A copy in which bytes are others. */
function patched(bytes: Uint8Array, changes: Record<number, number>): Uint8Array {
  const copy = bytes.slice();
  for (const [at, value] of Object.entries(changes)) copy[Number(at)] = value;
  return copy;
}

const TCP_PORTS = (40_000 << 16) | 22;
const authentication: ExtensionHeader = { type: 51, body: new Uint8Array(22) };

Deno.test("readFlowKey() reads addresses, ports and flags of both families", () => {
  const { refusal, key } = read(packetBytes(V4));
  assert.equal(refusal, "none");
  assert.equal(key[KEY.family], 4);
  assert.equal(key[KEY.source], 0x0a000001);
  assert.equal(key[KEY.destination], 0x0a000002);
  assert.equal(key[KEY.protocol], 6);
  assert.equal(key[KEY.ports], TCP_PORTS);
  assert.equal(key[KEY.tcpFlags], 2);
  const six = read(packetBytes({ ...V6, protocol: 17 })).key;
  assert.deepEqual([...six.subarray(KEY.source, KEY.kind)], [
    ...[0xfd000000 | 0, 0, 0, 1],
    ...[0xfd000000 | 0, 0, 0, 2],
  ]);
  assert.equal(six[KEY.ports], TCP_PORTS);
});

Deno.test("readFlowKey() walks each kind of extension header to the ports behind", () => {
  const chains = [
    [optionsHeader(0, 1)],
    [optionsHeader(0, 1), optionsHeader(60, 2), routing(0), authentication, optionsHeader(60, 1)],
    [{ type: 44, body: new Uint8Array(6) }],
  ];
  for (const headers of chains) {
    const { refusal, key } = read(withHeaders(...headers));
    assert.equal(refusal, "none");
    assert.equal(key[KEY.protocol], 6);
    assert.equal(key[KEY.ports], TCP_PORTS);
    assert.equal(key[KEY.fragment], FRAGMENT.none);
  }
});

// Nebula #1789: the length in bytes was computed in 8 bits, so 256 was 0, and ports were read from
// within the header.
Deno.test("readFlowKey() reads ports behind headers of 256 bytes and more, not within", () => {
  for (const units of [31, 32, 33, 63]) {
    const header = optionsHeader(60, units);
    // What a parser sees that goes 0 or 8 bytes forward: UDP to port 53.
    const decoy = Uint8Array.of(0, 53, 0, 53, 0, 8, 0, 0);
    header.body.set(decoy, 6);
    const { refusal, key } = read(withHeaders(header));
    assert.equal(refusal, "none");
    assert.equal(key[KEY.ports], TCP_PORTS);
  }
  assert.equal(refusalOf(withHeaders(optionsHeader(60, 256))), "too-many-headers");
  // A length that leads behind the packet, with another packet's bytes there.
  const bytes = patched(withHeaders(optionsHeader(60, 1)), { 41: 255 });
  const key = new Int32Array(KEY_WORDS);
  const around = concatBytes(bytes, new Uint8Array(4096).fill(6));
  assert.equal(
    REFUSALS[readFlowKey(key, viewOf(around), 0, bytes.length)],
    "headers-beyond-packet",
  );
});

// Nebula #1784: a length of 0 bytes, and a walk that never ends.
Deno.test("readFlowKey() ends on chains of headers that lead to their like", () => {
  for (const type of [0, 43, 44, 51, 60]) {
    for (const length of [0, 1, 31, 255]) {
      const bytes = new Uint8Array(40 + 65_000);
      bytes.set(packetBytes(V6).subarray(0, 40));
      bytes.set([0, 0, 65_000 >> 8, 65_000 & 0xff, type], 2);
      for (let at = 40; at < bytes.length; at += 4) bytes.set([type, length, 0, 0], at);
      assert.notEqual(refusalOf(bytes), "none", `header ${type}, length ${length}`);
    }
  }
});

// Nebula #1883: a walk that ran out of its budget was taken for one that had arrived.
Deno.test("readFlowKey() refuses chains that are longer than any host sends", () => {
  const most = [optionsHeader(0, 1), optionsHeader(60, 1), routing(0), authentication];
  assert.equal(refusalOf(withHeaders(...most, optionsHeader(60, 1))), "none");
  const options = Array.from({ length: 9 }, () => optionsHeader(60, 1));
  assert.equal(refusalOf(withHeaders(...options)), "repeated-header");
  assert.equal(
    refusalOf(withHeaders(optionsHeader(0, 33), optionsHeader(60, 33))),
    "too-many-headers",
  );
});

// Nebula #1840: every protocol that it did not know was walked as if it were an extension header.
Deno.test("readFlowKey() reads no ports behind protocols that it does not know", () => {
  for (const protocol of [4, 41, 47, 50, 59, 132, 135, 139, 140, 253, 255]) {
    const bytes = packetBytes({ ...V6, protocol });
    // As if a header of 8 bytes with TCP behind stood there.
    bytes.set([6, 0, 0, 0, 0, 0, 0, 0, 0x9c, 0x40, 0, 22], 40);
    const { refusal, key } = read(bytes);
    assert.equal(refusal, "none");
    assert.equal(key[KEY.protocol], protocol);
    assert.equal(key[KEY.ports], 0);
  }
});

Deno.test("readFlowKey() refuses what receivers could read differently", () => {
  const four = packetBytes(V4);
  const six = packetBytes(V6);
  const fragment = { type: 44, body: new Uint8Array(6) };
  const cases: [string, Uint8Array, string][] = [
    ["nothing", new Uint8Array(0), "headers-beyond-packet"],
    ["version 5", patched(four, { 0: 0x55 }), "not-ip"],
    ["a header of 16 bytes", patched(four, { 0: 0x44 }), "bad-length"],
    ["a header longer than the packet", patched(four, { 0: 0x4f, 3: 40 }), "bad-length"],
    ["a length beyond the bytes", patched(four, { 3: 61 }), "headers-beyond-packet"],
    ["IPv6 beyond the bytes", patched(six, { 5: 41 }), "headers-beyond-packet"],
    ["half a TCP header", patched(four, { 3: 39 }), "headers-beyond-packet"],
    ["half a TCP header over IPv6", patched(six, { 5: 19 }), "headers-beyond-packet"],
    ["TCP options beyond the packet", patched(four, { 32: 0xb0 }), "headers-beyond-packet"],
    ["a TCP header of 16 bytes", patched(four, { 32: 0x40 }), "bad-length"],
    ["SYN with FIN", patched(four, { 33: 3 }), "bad-tcp-flags"],
    ["SYN with RST", patched(four, { 33: 6 }), "bad-tcp-flags"],
    ["no TCP flags", patched(four, { 33: 0 }), "bad-tcp-flags"],
    ["segments left", withHeaders(routing(1)), "source-route"],
    [
      "hop-by-hop options later",
      withHeaders(optionsHeader(60, 1), optionsHeader(0, 1)),
      "misplaced-header",
    ],
    ["two routing headers", withHeaders(routing(0), routing(0)), "repeated-header"],
    ["two fragment headers", withHeaders(fragment, fragment), "repeated-header"],
    ["two authentication headers", withHeaders(authentication, authentication), "repeated-header"],
    [
      "an authentication header of 8 bytes",
      withHeaders({ type: 51, body: new Uint8Array(6) }),
      "bad-length",
    ],
  ];
  for (const [what, bytes, refusal] of cases) assert.equal(refusalOf(bytes), refusal, what);
});

Deno.test("readFlowKey() walks IPv4 options and refuses source routes", () => {
  const options = (...bytes: number[]): Uint8Array => {
    const words = Math.ceil(bytes.length / 4);
    const none = { type: 0, body: new Uint8Array(0) };
    const packet = packetBytes({ ...V4, headers: Array(words).fill(none) });
    packet.set(bytes, 20);
    return packet;
  };
  assert.equal(read(options(1, 1, 1, 0)).key[KEY.ports], TCP_PORTS);
  assert.equal(refusalOf(options(148, 4, 0, 0)), "none");
  assert.equal(refusalOf(options(131, 7, 4, 10, 0, 0, 9, 0)), "source-route");
  assert.equal(refusalOf(options(1, 137, 3, 4)), "source-route");
  assert.equal(refusalOf(options(7, 0, 0, 0)), "bad-option");
  assert.equal(refusalOf(options(7, 5, 0, 0)), "bad-option");
  assert.equal(refusalOf(options(1, 1, 1, 7)), "bad-option");
});

Deno.test("readFlowKey() reads fragments and refuses tiny and overlapping ones", () => {
  const part = (base: TestPacket, from: number, length: number, isMore: boolean) =>
    packetBytes({ ...base, fragment: { id: 7, from, length, isMore } });
  for (const base of [V4, V6]) {
    const first = read(part(base, 0, 24, true));
    assert.equal(first.refusal, "none");
    assert.equal(first.key[KEY.fragment], FRAGMENT.first);
    assert.equal(first.key[KEY.fragmentUntil], 24);
    assert.equal(first.key[KEY.ports], TCP_PORTS);
    const later = read(part(base, 24, 11, false));
    assert.equal(later.refusal, "none");
    assert.equal(later.key[KEY.fragment], FRAGMENT.later);
    assert.deepEqual([later.key[KEY.fragmentId], later.key[KEY.fragmentFrom]], [7, 24]);
    assert.equal(later.key[KEY.ports], 0);
    assert.equal(refusalOf(part(base, 0, 16, true)), "tiny-fragment");
    assert.equal(refusalOf(part(base, 0, 8, true)), "tiny-fragment");
    // RFC 1858 section 4 and RFC 3128: would lie over the flags.
    assert.equal(refusalOf(part(base, 8, 16, false)), "tiny-fragment");
    assert.equal(refusalOf(part(base, 16, 16, false)), "tiny-fragment");
    assert.equal(refusalOf(part(base, 0, 25, true)), "bad-fragment");
    assert.equal(refusalOf(part(base, 24, 0, false)), "bad-fragment");
    assert.equal(refusalOf(part(base, 65_528, 16, false)), "bad-fragment");
    assert.equal(refusalOf(part({ ...base, protocol: 17 }, 8, 16, false)), "none");
  }
  // The headers that lead to the ports must be in the first fragment (RFC 7112).
  const hidden = packetBytes({
    ...V6,
    protocol: 60,
    fragment: { id: 7, from: 0, length: 8, isMore: true },
  });
  hidden.set([6, 0], 48);
  assert.equal(refusalOf(hidden), "tiny-fragment");
  // An atomic fragment is a whole packet (RFC 6946).
  const atomic = read(part(V6, 0, 40, false));
  assert.equal(atomic.key[KEY.fragment], FRAGMENT.none);
  assert.equal(atomic.key[KEY.ports], TCP_PORTS);
});

Deno.test("readFlowKey() makes a query of ICMP and its reply two directions of one flow", () => {
  const icmp = (base: TestPacket, type: number) =>
    read(packetBytes({ ...base, protocol: base === V4 ? 1 : 58, icmp: { type, id: 515 } }));
  for (const [base, query, reply] of [[V4, 8, 0], [V4, 13, 14], [V6, 128, 129]] as const) {
    const [there, back] = [icmp(base, query).key, icmp(base, reply).key];
    assert.equal(there[KEY.ports], (515 << 16) | query);
    assert.equal(back[KEY.ports], (query << 16) | 515);
    assert.deepEqual([there[KEY.kind], back[KEY.kind]], [KIND.any, KIND.reply]);
  }
  for (const type of [3, 11, 12]) assert.equal(icmp(V4, type).key[KEY.kind], KIND.error);
  for (const type of [1, 2, 3, 4]) assert.equal(icmp(V6, type).key[KEY.kind], KIND.error);
  for (const type of [5, 9, 10]) assert.equal(icmp(V4, type).refusal, "link-local-icmp");
  for (const type of [133, 134, 135, 136, 137]) {
    assert.equal(icmp(V6, type).refusal, "link-local-icmp");
  }
  assert.equal(icmp(V4, 4).key[KEY.kind], KIND.alone);
});

Deno.test("readQuotedKey() is content with the first 8 bytes of what was sent", () => {
  const key = new Int32Array(KEY_WORDS);
  for (const packet of [V4, V6]) {
    const headers = packet === V4 ? 20 : 40;
    const bytes = packetBytes(packet);
    assert.equal(readQuotedKey(key, viewOf(bytes), 0, headers + 8), 0);
    assert.equal(key[KEY.ports], TCP_PORTS);
    assert.notEqual(readQuotedKey(key, viewOf(bytes), 0, headers + 7), 0);
    const later = packetBytes({
      ...packet,
      fragment: { id: 7, from: 24, length: 16, isMore: false },
    });
    assert.notEqual(readQuotedKey(key, viewOf(later), 0, later.length), 0);
  }
});

Deno.test("readFlowKey() reads nothing outside the packet, whatever its bytes are", () => {
  const random = new SeededRandom(5);
  const genuine = [
    packetBytes(V4),
    packetBytes({ ...V4, protocol: 1, icmp: { type: 8, id: 1 } }),
    packetBytes({ ...V4, fragment: { id: 7, from: 0, length: 24, isMore: true } }),
    packetBytes({ ...V4, headers: Array(3).fill({ type: 0, body: new Uint8Array(0) }) }),
    packetBytes(V6),
    withHeaders(optionsHeader(0, 1), optionsHeader(60, 2), routing(0), authentication),
    withHeaders(optionsHeader(0, 2), { type: 44, body: new Uint8Array(6) }),
    packetBytes({ ...V6, fragment: { id: 7, from: 24, length: 16, isMore: true } }),
  ];
  const [a, b] = [new Int32Array(KEY_WORDS), new Int32Array(KEY_WORDS)];
  let accepted = 0;
  for (let run = 0; run < FUZZ_RUNS; run++) {
    const packet = random.uint32() % 8 === 0
      ? random.bytes(random.uint32() % 120)
      : genuine[random.uint32() % genuine.length]!.slice();
    for (let n = random.uint32() % 5; n > 0 && packet.length > 0; n--) {
      const near = random.uint32() % 2 === 0 ? packet.length : Math.min(packet.length, 64);
      packet[random.uint32() % near] = random.uint32() & 0xff;
    }
    const length = random.uint32() % 4 === 0
      ? random.uint32() % (packet.length + 1)
      : packet.length;
    const other = concatBytes(random.bytes(8), packet.subarray(0, length), random.bytes(40));
    const reader = random.uint32() % 4 === 0 ? readQuotedKey : readFlowKey;
    const result = reader(a, viewOf(packet.subarray(0, length)), 0, length);
    assert.equal(reader(b, viewOf(other), 8, length), result, `run ${run}: ${packet.toHex()}`);
    if (result !== 0) continue;
    accepted++;
    // Where things are differs by the 8 bytes in front.
    b[KEY.transport]! -= 8;
    b[KEY.end]! -= 8;
    assert.deepEqual(fields(a), fields(b), `run ${run}: ${packet.toHex()}`);
    assert.ok(a[KEY.transport]! <= a[KEY.end]! && a[KEY.end]! <= length);
  }
  assert.ok(accepted > FUZZ_RUNS / 10);
});

/** The fields that mean something in every key. */
function fields(key: Int32Array): number[] {
  const addressWords = key[KEY.family] === 4 ? 1 : 4;
  return [
    ...key.subarray(0, KEY.source + addressWords),
    ...key.subarray(KEY.destination, KEY.destination + addressWords),
    key[KEY.kind]!,
    key[KEY.tcpFlags]!,
    key[KEY.fragment]!,
    key[KEY.transport]!,
    key[KEY.end]!,
  ];
}
