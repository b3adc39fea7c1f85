/**
 * What a router says of a packet that is too long for the next link: ICMP "fragmentation needed"
 * (RFC 1191 section 4) and ICMPv6 "packet too big" (RFC 4443 section 3.2).
 *
 * The tunnel is that router. Its answers carry the packet's destination as their source, since a
 * tunnel has no address of its own between the two, and systems believe them from there.
 * @module
 */
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
const ICMP_HEADER = 8;
/** Of the packet in an answer over IPv4: its header and 8 bytes at least; more is allowed. */
const QUOTE4 = 548;
/** An ICMPv6 error fits into the least IPv6 MTU. */
const QUOTE6 = 1280 - IPV6_HEADER - ICMP_HEADER;

/** The answer to the packet at `bytes[at, at + length)`, of which only `mtu` bytes pass. */
export function tooBigReply(
  bytes: Uint8Array,
  at: number,
  length: number,
  mtu: number,
): Uint8Array<ArrayBuffer> {
  const packet = bytes.subarray(at, at + length);
  return packet[0]! >> 4 === 6 ? reply6(packet, mtu) : reply4(packet, mtu);
}

function reply4(packet: Uint8Array, mtu: number): Uint8Array<ArrayBuffer> {
  const quote = packet.subarray(0, QUOTE4);
  const reply = new Uint8Array(IPV4_HEADER + ICMP_HEADER + quote.length);
  const view = new DataView(reply.buffer);
  reply[0] = 0x45;
  view.setUint16(2, reply.length);
  reply[8] = 64;
  reply[9] = 1;
  reply.set(packet.subarray(16, 20), 12);
  reply.set(packet.subarray(12, 16), 16);
  view.setUint16(10, checksum(reply.subarray(0, IPV4_HEADER), 0));
  reply[20] = 3;
  reply[21] = 4;
  view.setUint16(26, mtu);
  reply.set(quote, IPV4_HEADER + ICMP_HEADER);
  view.setUint16(22, checksum(reply.subarray(IPV4_HEADER), 0));
  return reply;
}

function reply6(packet: Uint8Array, mtu: number): Uint8Array<ArrayBuffer> {
  const quote = packet.subarray(0, QUOTE6);
  const reply = new Uint8Array(IPV6_HEADER + ICMP_HEADER + quote.length);
  const view = new DataView(reply.buffer);
  const size = ICMP_HEADER + quote.length;
  reply[0] = 0x60;
  view.setUint16(4, size);
  reply[6] = 58;
  reply[7] = 64;
  reply.set(packet.subarray(24, 40), 8);
  reply.set(packet.subarray(8, 24), 24);
  reply[40] = 2;
  view.setUint32(44, mtu);
  reply.set(quote, IPV6_HEADER + ICMP_HEADER);
  // The pseudo-header: addresses, length, next header (RFC 8200 section 8.1).
  const pseudo = sum(reply.subarray(8, 40), 0) + size + 58;
  view.setUint16(42, checksum(reply.subarray(IPV6_HEADER), pseudo));
  return reply;
}

function checksum(bytes: Uint8Array, start: number): number {
  let total = sum(bytes, start);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return ~total & 0xffff;
}

function sum(bytes: Uint8Array, start: number): number {
  let total = start;
  for (let i = 0; i < bytes.length; i += 2) total += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  return total;
}
