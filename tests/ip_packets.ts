/**
 * IP packets for tests of the packet path: valid headers around a payload that can be recognised.
 * @module
 */
import { concatBytes } from "../core/bytes.ts";
import { parseIp } from "../core/ip.ts";

/** A packet from one address to another of the same family; UDP's protocol number, no checksums. */
export function ipPacket(source: string, destination: string, payload: Uint8Array): Uint8Array {
  const [from, to] = [parseIp(source)!, parseIp(destination)!];
  if (from.length === 16) {
    const header = Uint8Array.of(0x60, 0, 0, 0, payload.length >> 8, payload.length & 0xff, 17, 64);
    return concatBytes(header, from, to, payload);
  }
  const total = 20 + payload.length;
  const header = Uint8Array.of(0x45, 0, total >> 8, total & 0xff, 0, 0, 0x40, 0, 64, 17, 0, 0);
  return concatBytes(header, from, to, payload);
}

/** The payload of a packet that {@link ipPacket} made. */
export function payloadOf(packet: Uint8Array): Uint8Array {
  return packet.subarray(packet[0]! >> 4 === 4 ? 20 : 40);
}
