/**
 * TCP and UDP packets for tests, and the checksums as RFC 1071 spells them out.
 * @module
 */
import { concatBytes } from "../core/bytes.ts";
import { parseIp } from "../core/ip.ts";

/** What a test says of a packet; the rest has defaults. */
export interface TransportPacket {
  readonly protocol: "tcp" | "udp";
  readonly source?: string;
  readonly destination?: string;
  readonly sourcePort?: number;
  readonly payload: Uint8Array;
  readonly sequence?: number;
  readonly acknowledgement?: number;
  /** TCP flags; ACK when absent. */
  readonly flags?: number;
  /** Bytes of TCP options, a multiple of 4. */
  readonly options?: Uint8Array;
  /** IPv4 identification; with it the packet may be fragmented. */
  readonly id?: number;
}

/** Builds the packet with right checksums. */
export function transportPacket(packet: TransportPacket): Uint8Array {
  const source = parseIp(packet.source ?? "172.30.0.1")!;
  const destination = parseIp(
    packet.destination ?? (source.length === 4 ? "172.30.0.2" : "fd00::2"),
  )!;
  const isTcp = packet.protocol === "tcp";
  const body = concatBytes(isTcp ? tcpHeader(packet) : udpHeader(packet), packet.payload);
  const out = concatBytes(ipHeader(packet, source, destination, body.length, isTcp ? 6 : 17), body);
  fillChecksums(out);
  return out;
}

/** Offset of the TCP or UDP header. */
export function transportAt(packet: Uint8Array): number {
  return packet[0]! >> 4 === 4 ? 20 : 40;
}

/** Offset of the payload. */
export function payloadAt(packet: Uint8Array): number {
  const at = transportAt(packet);
  return isTcp(packet) ? at + (packet[at + 12]! >> 4) * 4 : at + 8;
}

/** TCP's sequence number. */
export function sequenceOf(packet: Uint8Array): number {
  return new DataView(packet.buffer, packet.byteOffset).getUint32(transportAt(packet) + 4);
}

/** Whether every checksum in the packet is right. */
export function hasRightChecksums(packet: Uint8Array): boolean {
  const copy = packet.slice();
  fillChecksums(copy);
  return copy.every((byte, i) => byte === packet[i]);
}

/** Writes the IPv4 header checksum and that of TCP or UDP. */
export function fillChecksums(packet: Uint8Array): void {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const at = transportAt(packet);
  if (at === 20) {
    view.setUint16(10, 0);
    view.setUint16(10, checksum(packet.subarray(0, 20)));
  }
  const field = at + (isTcp(packet) ? 16 : 6);
  view.setUint16(field, 0);
  const addresses = at === 20 ? packet.subarray(12, 20) : packet.subarray(8, 40);
  const length = packet.length - at;
  const pseudo = Uint8Array.of(0, isTcp(packet) ? 6 : 17, length >> 8, length & 0xff);
  const sum = checksum(concatBytes(addresses, pseudo, packet.subarray(at)));
  view.setUint16(field, sum === 0 && !isTcp(packet) ? 0xffff : sum);
}

/** The Internet checksum, two bytes a turn (RFC 1071). */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

function isTcp(packet: Uint8Array): boolean {
  return (packet[0]! >> 4 === 4 ? packet[9] : packet[6]) === 6;
}

function ipHeader(
  { id }: TransportPacket,
  source: Uint8Array,
  destination: Uint8Array,
  length: number,
  protocol: number,
): Uint8Array {
  if (source.length === 16) {
    const start = Uint8Array.of(0x60, 0, 0, 0, length >> 8, length & 0xff, protocol, 64);
    return concatBytes(start, source, destination);
  }
  const total = 20 + length;
  const flags = id === undefined ? 0x40 : 0;
  const [high, low] = [(id ?? 0) >> 8, (id ?? 0) & 0xff];
  const start = [0x45, 0, total >> 8, total & 0xff, high, low, flags, 0, 64, protocol, 0, 0];
  return concatBytes(Uint8Array.from(start), source, destination);
}

function tcpHeader(packet: TransportPacket): Uint8Array {
  const options = packet.options ?? new Uint8Array(12).fill(1);
  const header = new Uint8Array(20 + options.length);
  const view = new DataView(header.buffer);
  view.setUint16(0, packet.sourcePort ?? 40_000);
  view.setUint16(2, 5201);
  view.setUint32(4, packet.sequence ?? 1);
  view.setUint32(8, packet.acknowledgement ?? 7);
  header[12] = (header.length / 4) << 4;
  header[13] = packet.flags ?? 0x10;
  view.setUint16(14, 501);
  header.set(options, 20);
  return header;
}

function udpHeader(packet: TransportPacket): Uint8Array {
  const header = new Uint8Array(8);
  const view = new DataView(header.buffer);
  view.setUint16(0, packet.sourcePort ?? 40_000);
  view.setUint16(2, 5201);
  view.setUint16(4, 8 + packet.payload.length);
  return header;
}
