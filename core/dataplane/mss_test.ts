import assert from "node:assert/strict";
import { SeededRandom } from "../random.ts";
import { clampMss } from "./mss.ts";
import { tooBigReply } from "./too_big.ts";

/** A TCP packet with these options, its checksum right. */
function tcpPacket(family: 4 | 6, flags: number, options: readonly number[]): Uint8Array {
  const header = family === 4 ? 20 : 40;
  const tcp = 20 + options.length;
  assert.equal(tcp % 4, 0);
  const packet = new Uint8Array(header + tcp);
  const view = new DataView(packet.buffer);
  if (family === 4) {
    packet[0] = 0x45;
    view.setUint16(2, packet.length);
    packet[9] = 6;
    packet.set([10, 0, 0, 1, 10, 0, 0, 2], 12);
  } else {
    packet[0] = 0x60;
    view.setUint16(4, tcp);
    packet[6] = 6;
    packet.fill(7, 8, 40);
  }
  packet[header + 12] = (tcp / 4) << 4;
  packet[header + 13] = flags;
  packet.set(options, header + 20);
  view.setUint16(header + 16, ~sumOf(packet, family) & 0xffff);
  return packet;
}

/** Folded sum over pseudo-header and segment; 0xffff when the checksum is right. */
function sumOf(packet: Uint8Array, family: 4 | 6): number {
  const header = family === 4 ? 20 : 40;
  const addresses = family === 4 ? packet.subarray(12, 20) : packet.subarray(8, 40);
  let sum = 6 + packet.length - header;
  for (const part of [addresses, packet.subarray(header)]) {
    for (let i = 0; i < part.length; i += 2) sum += (part[i]! << 8) | (part[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

const SYN = 2, SYN_ACK = 0x12, ACK = 0x10;
const MSS_1460 = [2, 4, 0x05, 0xb4];

for (const family of [4, 6] as const) {
  const header = family === 4 ? 20 : 40;
  const most = 1300 - header - 20;

  for (
    const [name, flags, options, at] of [
      ["first", SYN, MSS_1460, 2],
      ["behind others, at an even byte", SYN_ACK, [1, 1, ...MSS_1460, 1, 1], 4],
      ["at an odd byte", SYN, [1, ...MSS_1460, 1, 1, 1], 3],
      ["behind a window scale", SYN, [3, 3, 7, ...MSS_1460, 1], 5],
    ] as [string, number, number[], number][]
  ) {
    Deno.test(`clampMss() lowers an MSS ${name}, IPv${family}, and the checksum follows`, () => {
      const packet = tcpPacket(family, flags, options);
      clampMss(packet, 0, packet.length, 1300, true);
      assert.equal(new DataView(packet.buffer).getUint16(header + 20 + at), most);
      assert.equal(sumOf(packet, family), 0xffff);
    });
  }

  Deno.test(`clampMss() leaves alone what fits or opens nothing, IPv${family}`, () => {
    for (const [flags, mtu] of [[SYN, 9000], [ACK, 1300]] as const) {
      const packet = tcpPacket(family, flags, MSS_1460);
      const before = packet.slice();
      clampMss(packet, 0, packet.length, mtu, true);
      assert.deepEqual(packet, before);
    }
  });
}

Deno.test("clampMss() outlives any bytes and writes nothing outside the packet", () => {
  const random = new SeededRandom(4);
  for (let run = 0; run < 50_000; run++) {
    const memory = random.bytes(120);
    const length = random.uint32() % 80;
    memory.set([run % 2 === 0 ? 0x45 : 0x60], 20);
    memory[20 + (run % 2 === 0 ? 9 : 6)] = 6;
    const before = memory.slice();
    clampMss(memory, 20, length, 1000, true);
    assert.deepEqual(memory.subarray(0, 20), before.subarray(0, 20));
    assert.deepEqual(memory.subarray(20 + length), before.subarray(20 + length));
  }
});

Deno.test("tooBigReply() answers as a router would, with right checksums", () => {
  const ipv4 = tcpPacket(4, ACK, MSS_1460);
  const reply4 = tooBigReply(ipv4, 0, ipv4.length, 1340);
  assert.deepEqual([...reply4.subarray(12, 20)], [10, 0, 0, 2, 10, 0, 0, 1]);
  assert.deepEqual([reply4[9], reply4[20], reply4[21]], [1, 3, 4]);
  assert.equal(new DataView(reply4.buffer).getUint16(26), 1340);
  assert.deepEqual(reply4.slice(28), ipv4);
  assert.equal(plainSum(reply4.subarray(0, 20)), 0xffff);
  assert.equal(plainSum(reply4.subarray(20)), 0xffff);

  const ipv6 = tcpPacket(6, ACK, MSS_1460);
  const reply6 = tooBigReply(ipv6, 0, ipv6.length, 1340);
  assert.deepEqual([reply6[6], reply6[40]], [58, 2]);
  assert.equal(new DataView(reply6.buffer).getUint32(44), 1340);
  assert.deepEqual(reply6.slice(48), ipv6);
  const pseudo = plainSum(reply6.subarray(8, 40)) + reply6.length - 40 + 58;
  let sum = pseudo + plainSum(reply6.subarray(40));
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  assert.equal(sum, 0xffff);
});

function plainSum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}
