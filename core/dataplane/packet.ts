/**
 * What the packet path must know of an IP packet: family, length, source and destination.
 *
 * Hostile bytes: every length is checked, results are numbers, nothing is allocated or thrown.
 * @module
 */
import { lookup4, lookup6 } from "../route/lpm.ts";

/** Header length of the smallest packet of each family. */
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;

/** Byte offsets of the addresses. */
export const IPV4 = { source: 12, destination: 16 } as const;
export const IPV6 = { source: 8, destination: 24 } as const;

/**
 * Length of the IP packet at `bytes[at]` by its own header, or 0 when it is none or longer than
 * `available`. Padding behind the packet is allowed (WireGuard paper, section 5.4.6).
 */
export function packetLength(bytes: Uint8Array, at: number, available: number): number {
  if (available < IPV4_HEADER) return 0;
  const version = bytes[at]! >> 4;
  if (version === 4) {
    const header = (bytes[at]! & 15) * 4;
    const total = (bytes[at + 2]! << 8) | bytes[at + 3]!;
    return header >= IPV4_HEADER && total >= header && total <= available ? total : 0;
  }
  if (version !== 6 || available < IPV6_HEADER) return 0;
  const total = IPV6_HEADER + ((bytes[at + 4]! << 8) | bytes[at + 5]!);
  return total <= available ? total : 0;
}

/** Whether a payload begins as a message about paths (`core/path/messages.ts`), not as a packet. */
export function isPathMessage(firstByte: number): boolean {
  return firstByte > 0 && firstByte < 16;
}

/** Reads a big-endian word, signed: unsigned ones above 2^31 would be boxed on the heap. */
export function word(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

/** The peer that the destination of the packet at `at` is routed to, or -1. */
export function routeDestination(routes: Uint32Array, bytes: Uint8Array, at: number): number {
  return bytes[at]! >> 4 === 4
    ? lookup4(routes, word(bytes, at + IPV4.destination))
    : route6(routes, bytes, at + IPV6.destination);
}

/** The peer that the source of the packet at `at` belongs to, or -1. */
export function routeSource(routes: Uint32Array, bytes: Uint8Array, at: number): number {
  return bytes[at]! >> 4 === 4
    ? lookup4(routes, word(bytes, at + IPV4.source))
    : route6(routes, bytes, at + IPV6.source);
}

function route6(routes: Uint32Array, bytes: Uint8Array, at: number): number {
  return lookup6(
    routes,
    word(bytes, at),
    word(bytes, at + 4),
    word(bytes, at + 8),
    word(bytes, at + 12),
  );
}

/** Whether a router has to drop the packet rather than fragment it: IPv6, or IPv4 with DF. */
export function mayNotFragment(bytes: Uint8Array, at: number): boolean {
  return bytes[at]! >> 4 === 6 || (bytes[at + 6]! & 0x40) !== 0;
}

/** Length of a packet with its padding (WireGuard paper, section 5.4.6). */
export function padded(length: number, mtu: number): number {
  return Math.max(length, Math.min((length + 15) & ~15, mtu));
}
