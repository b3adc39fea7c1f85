/**
 * Packets for tests of the filter: what a test says of one, and its bytes.
 * @module
 */
import { concatBytes } from "../bytes.ts";

/** A packet as a test thinks of it. Ports are TCP's and UDP's; ICMP has `icmp`. */
export interface TestPacket {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** Protocol number; of ICMP that of the family. */
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** TCP's. */
  readonly flags: number;
  /** Of ICMP: type and, of queries and replies, identifier. */
  readonly icmp: { readonly type: number; readonly id: number } | null;
  /** Bytes that an ICMP error quotes. */
  readonly quote: Uint8Array | null;
  readonly fragment: TestFragment | null;
  /** IPv6 extension headers in front of any fragment header, or words of IPv4 options. */
  readonly headers: readonly ExtensionHeader[];
}

/** Which part of a packet's payload a fragment is. */
export interface TestFragment {
  readonly id: number;
  readonly from: number;
  readonly length: number;
  readonly isMore: boolean;
}

/** An extension header by its type, and its body behind the two bytes that all begin with. */
export interface ExtensionHeader {
  readonly type: number;
  readonly body: Uint8Array;
}

/** A hop-by-hop or destination options header of `8 * units` bytes with padding alone. */
export function optionsHeader(type: number, units: number): ExtensionHeader {
  const body = new Uint8Array(8 * units - 2);
  for (let at = 0; at < body.length;) {
    const length = Math.min(body.length - at, 257);
    // PadN, or Pad1 for a single byte (RFC 8200 section 4.2).
    if (length > 1) body.set([1, length - 2], at);
    at += length;
  }
  return { type, body };
}

/** The bytes of a packet. */
export function packetBytes(packet: TestPacket): Uint8Array {
  const payload = fragmentOf(packet, transportBytes(packet));
  return packet.source.length === 4 ? ipv4(packet, payload) : ipv6(packet, payload);
}

/** TCP, UDP or ICMP header with 16 bytes behind it. */
function transportBytes(packet: TestPacket): Uint8Array {
  const { protocol, icmp, quote } = packet;
  if (icmp) {
    const header = Uint8Array.of(icmp.type, 0, 0, 0, icmp.id >> 8, icmp.id & 0xff, 0, 1);
    return concatBytes(header, quote ?? new Uint8Array(16));
  }
  const out = new Uint8Array(40);
  if (protocol !== 6 && protocol !== 17) return out.fill(0xee);
  const view = new DataView(out.buffer);
  view.setUint16(0, packet.sourcePort);
  view.setUint16(2, packet.destinationPort);
  if (protocol === 6) {
    out[12] = 0x50;
    out[13] = packet.flags;
  } else view.setUint16(4, out.length);
  return out;
}

function fragmentOf({ fragment }: TestPacket, payload: Uint8Array): Uint8Array {
  if (!fragment) return payload;
  const out = new Uint8Array(fragment.length);
  if (fragment.from === 0) out.set(payload.subarray(0, fragment.length));
  return out;
}

function ipv4(packet: TestPacket, payload: Uint8Array): Uint8Array {
  const header = 20 + 4 * packet.headers.length;
  const out = new Uint8Array(header + payload.length);
  const view = new DataView(out.buffer);
  out[0] = 0x40 | (header / 4);
  view.setUint16(2, out.length);
  const { fragment } = packet;
  if (fragment) {
    view.setUint16(4, fragment.id);
    view.setUint16(6, (fragment.isMore ? 0x2000 : 0) | (fragment.from / 8));
  }
  out[8] = 64;
  out[9] = packet.protocol;
  out.set(packet.source, 12);
  out.set(packet.destination, 16);
  // Options that mean nothing (RFC 791 section 3.1).
  out.fill(1, 20, header);
  out.set(payload, header);
  return out;
}

function ipv6(packet: TestPacket, payload: Uint8Array): Uint8Array {
  const { fragment } = packet;
  const headers = [...packet.headers];
  if (fragment) {
    const body = new Uint8Array(6);
    const view = new DataView(body.buffer);
    view.setUint16(0, fragment.from | (fragment.isMore ? 1 : 0));
    view.setUint32(2, fragment.id);
    headers.push({ type: 44, body });
  }
  const parts = headers.map(({ type, body }, i) => {
    const next = headers[i + 1]?.type ?? packet.protocol;
    return concatBytes(Uint8Array.of(next, extensionLength(type, body.length + 2)), body);
  });
  const behind = concatBytes(...parts, payload);
  const start = new Uint8Array(40);
  start[0] = 0x60;
  new DataView(start.buffer).setUint16(4, behind.length);
  start[6] = headers[0]?.type ?? packet.protocol;
  start[7] = 64;
  start.set(packet.source, 8);
  start.set(packet.destination, 24);
  return concatBytes(start, behind);
}

function extensionLength(type: number, bytes: number): number {
  if (type === 44) return 0;
  return type === 51 ? bytes / 4 - 2 : bytes / 8 - 1;
}
