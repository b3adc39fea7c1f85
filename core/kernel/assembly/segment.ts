/**
 * The way out: super-packets of the TUN become packets of the path's size.
 * @module
 */
import {
  be16,
  checksumOffset,
  headerLength,
  PIECE,
  protocolOf,
  putBe16,
  sealIpHeader,
  sealTransport,
  TCP,
  transportOffset,
  version,
} from "./headers";
import { fold, partial } from "./checksum";

const FIN_PSH: u8 = 0x09;
const CWR: u8 = 0x80;

/** Headers of the super-packet of `length` bytes at `at`, in bytes, or 0 when it is malformed. */
export function superHeader(at: usize, length: u32): u32 {
  const l4 = transportOffset(at, length);
  return l4 === 0 ? 0 : headerLength(at, length, l4);
}

/**
 * Writes segments `[first, first + count)` of the super-packet at `source`, the first of them at
 * `out` and each `stride` bytes after the one before.
 *
 * `header` is what {@link superHeader} answered. With `isPiece` the checksums are left out.
 */
export function segment(
  source: usize,
  length: u32,
  header: u32,
  size: u32,
  out: usize,
  stride: u32,
  first: u32,
  count: u32,
  isPiece: u32,
): void {
  const l4 = version(source) === 4 ? 20 : 40;
  const protocol = protocolOf(source, l4);
  const total = length - header;
  for (let i = first; i < first + count; i++) {
    const begin = i * size;
    const payload = min<u32>(size, total - begin);
    const end = header + payload;
    memory.copy(out, source, header);
    memory.copy(out + header, source + header + begin, payload);
    patchTransport(out, l4, protocol, begin, payload, begin + payload < total);
    if (l4 === 20) putBe16(out + 4, be16(source + 4) + i);
    if (isPiece) {
      markPiece(out, end, l4, protocol);
    } else {
      sealIpHeader(out, l4, end);
      sealTransport(out, end, l4, protocol);
    }
    out += stride;
  }
}

/** Sequence number and flags of a TCP segment, or the length of a UDP datagram. */
function patchTransport(
  at: usize,
  l4: u32,
  protocol: u32,
  begin: u32,
  payload: u32,
  hasMore: bool,
): void {
  const header = at + l4;
  if (protocol !== TCP) return putBe16(header + 4, 8 + payload);
  store<u32>(header, bswap<u32>(bswap<u32>(load<u32>(header, 4)) + begin), 4);
  let flags = load<u8>(header, 13);
  if (hasMore) flags &= ~FIN_PSH;
  if (begin > 0) flags &= ~CWR;
  store<u8>(header, flags, 13);
}

/** Leaves the checksums out and says so. */
function markPiece(at: usize, length: u32, l4: u32, protocol: u32): void {
  if (l4 === 20) {
    putBe16(at + 2, length);
    store<u16>(at + 10, 0);
  } else {
    putBe16(at + 4, length - 40);
  }
  store<u16>(at + l4 + checksumOffset(protocol), 0);
  store<u8>(at, load<u8>(at) | PIECE);
}

/**
 * Makes a piece of a packet whose checksum the kernel left to us. Returns 0 and changes nothing
 * when it is none that a receiver would take.
 */
export function piece(at: usize, length: u32): u32 {
  if (superHeader(at, length) === 0) return 0;
  const l4: u32 = version(at) === 4 ? 20 : 40;
  markPiece(at, length, l4, protocolOf(at, l4));
  return 1;
}

/**
 * Completes the checksum at `start + offset` of the packet at `at`, which so far holds the sum of
 * its pseudo-header. Returns 0 when that lies outside the packet.
 */
export function finishChecksum(at: usize, length: u32, start: u32, offset: u32): u32 {
  if (start >= length || start + offset + 2 > length) return 0;
  const field = at + start + offset;
  const sum = ~fold(partial(at + start, length - start, 0));
  store<u16>(field, sum === 0 ? 0xffff : sum);
  return 1;
}
