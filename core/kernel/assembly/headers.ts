/**
 * Reading and writing of IP, TCP and UDP headers (RFC 791, 8200, 9293, 768), and the header that
 * the kernel puts before each packet of a TUN (virtio specification, section 5.1.6).
 *
 * Everything read here may come from an attacker: callers get 0 for what is malformed.
 * @module
 */
import { fold, partial } from "./checksum";

export const TCP: u32 = 6;
export const UDP: u32 = 17;

/** Set in the version nibble of a packet whose checksums are left out (docs/protocol.md). */
export const PIECE: u8 = 0x80;

const IPV4_BYTES: u32 = 20;
const IPV6_BYTES: u32 = 40;
const TCP_MIN: u32 = 20;
const UDP_BYTES: u32 = 8;

/** A big-endian 16-bit number. */
// @ts-ignore: decorator
@inline
export function be16(at: usize): u32 {
  return <u32> bswap<u16>(load<u16>(at));
}

/** Stores a big-endian 16-bit number. */
// @ts-ignore: decorator
@inline
export function putBe16(at: usize, value: u32): void {
  store<u16>(at, bswap<u16>(<u16> value));
}

/** IP version of the packet at `at`. */
// @ts-ignore: decorator
@inline
export function version(at: usize): u32 {
  return <u32> load<u8>(at) >> 4;
}

/**
 * Where TCP or UDP begins in the packet of `length` bytes at `at`, or 0 when it carries neither, is
 * a fragment, or has IPv4 options or IPv6 extension headers.
 */
export function transportOffset(at: usize, length: u32): u32 {
  if (version(at) === 4) {
    if (length < IPV4_BYTES || load<u8>(at) !== 0x45) return 0;
    // More fragments, or an offset.
    if ((be16(at + 6) & 0x3fff) !== 0) return 0;
    const protocol = <u32> load<u8>(at + 9);
    return protocol === TCP || protocol === UDP ? IPV4_BYTES : 0;
  }
  if (version(at) !== 6 || length < IPV6_BYTES) return 0;
  const protocol = <u32> load<u8>(at + 6);
  return protocol === TCP || protocol === UDP ? IPV6_BYTES : 0;
}

/** TCP or UDP, of a packet that {@link transportOffset} has accepted. */
// @ts-ignore: decorator
@inline
export function protocolOf(at: usize, l4: u32): u32 {
  return l4 === IPV4_BYTES ? <u32> load<u8>(at + 9) : <u32> load<u8>(at + 6);
}

/**
 * Bytes of all headers of the packet at `at`, whose TCP or UDP begins at `l4`; 0 when they do not
 * fit into `length`. Never what the vnet header says: it may count a whole first segment.
 */
export function headerLength(at: usize, length: u32, l4: u32): u32 {
  if (protocolOf(at, l4) === UDP) return length >= l4 + UDP_BYTES ? l4 + UDP_BYTES : 0;
  if (length < l4 + TCP_MIN) return 0;
  const tcp = (<u32> load<u8>(at + l4 + 12) >> 4) * 4;
  return tcp >= TCP_MIN && l4 + tcp <= length ? l4 + tcp : 0;
}

/** Offset of the checksum in a TCP or UDP header. */
// @ts-ignore: decorator
@inline
export function checksumOffset(protocol: u32): u32 {
  return protocol === TCP ? 16 : 6;
}

/** Sum of the pseudo-header for `length` bytes of TCP or UDP (RFC 9293 3.1, RFC 8200 8.1). */
export function pseudoSum(at: usize, l4: u32, protocol: u32, length: u32): u64 {
  const addresses = l4 === IPV4_BYTES ? partial(at + 12, 8, 0) : partial(at + 8, 32, 0);
  return addresses + <u64> (protocol << 8) + <u64> bswap<u16>(<u16> length);
}

/** Writes the length of a packet into its IP header, and the IPv4 header's checksum. */
export function sealIpHeader(at: usize, l4: u32, length: u32): void {
  if (l4 !== IPV4_BYTES) {
    putBe16(at + 4, length - IPV6_BYTES);
    return;
  }
  putBe16(at + 2, length);
  store<u16>(at + 10, 0);
  store<u16>(at + 10, ~fold(partial(at, IPV4_BYTES, 0)));
}

/** Computes and writes the TCP or UDP checksum of the packet of `length` bytes at `at`. */
export function sealTransport(at: usize, length: u32, l4: u32, protocol: u32): void {
  const field = at + l4 + checksumOffset(protocol);
  store<u16>(field, 0);
  const size = length - l4;
  let sum = ~fold(partial(at + l4, size, pseudoSum(at, l4, protocol, size)));
  // Zero means that there is none (RFC 768).
  if (sum === 0 && protocol === UDP) sum = 0xffff;
  store<u16>(field, sum);
}

/** Whether the TCP or UDP checksum of the packet is right; UDP without one is not. */
export function isTransportIntact(at: usize, length: u32, l4: u32, protocol: u32): bool {
  if (protocol === UDP && load<u16>(at + l4 + 6) === 0) return false;
  const size = length - l4;
  return fold(partial(at + l4, size, pseudoSum(at, l4, protocol, size))) === 0xffff;
}

/** Kinds of a super-packet in the vnet header. */
export const GSO_NONE: u8 = 0;
export const GSO_TCPV4: u8 = 1;
export const GSO_TCPV6: u8 = 4;
export const GSO_UDP_L4: u8 = 5;
/** Bytes of the vnet header. */
export const VNET: u32 = 10;

/** Writes a vnet header that says nothing: the packet is complete. */
export function clearVnet(at: usize): void {
  store<u64>(at, 0);
  store<u16>(at, 0, 8);
}

/** Writes a vnet header that leaves the TCP or UDP checksum to the kernel. */
export function writeVnet(at: usize, kind: u8, header: u32, gso: u32, l4: u32, field: u32): void {
  store<u8>(at, 1);
  store<u8>(at, kind, 1);
  store<u16>(at, <u16> header, 2);
  store<u16>(at, <u16> gso, 4);
  store<u16>(at, <u16> l4, 6);
  store<u16>(at, <u16> field, 8);
}
