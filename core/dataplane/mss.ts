/**
 * Lowers the MSS that a TCP connection opens with to what fits on the path (RFC 9293 section 3.7.1,
 * RFC 6691), so that neither end has to learn it by losing packets.
 *
 * Hostile bytes: every length is checked, nothing is allocated or thrown.
 * @module
 */
const TCP = 6;
const SYN = 0x02;
const TCP_HEADER = 20;
const IPV6_HEADER = 40;
const OPTION = { end: 0, nop: 1, mss: 2 } as const;

/**
 * Changes the packet at `bytes[at, at + length)` if it is a TCP SYN whose MSS option asks for
 * segments that do not fit into packets of `mtu` bytes.
 *
 * @param isComplete Whether the TCP checksum covers the packet, and must follow the change; one
 *   that is finished later covers the addresses only.
 */
export function clampMss(
  bytes: Uint8Array,
  at: number,
  length: number,
  mtu: number,
  isComplete: boolean,
): void {
  const isV6 = bytes[at]! >> 4 === 6;
  const header = isV6 ? IPV6_HEADER : (bytes[at]! & 15) * 4;
  if (bytes[at + (isV6 ? 6 : 9)] !== TCP || length < header + TCP_HEADER) return;
  // Only a first fragment holds the header.
  if (!isV6 && ((bytes[at + 6]! & 0x1f) !== 0 || bytes[at + 7] !== 0)) return;
  const tcp = at + header;
  if ((bytes[tcp + 13]! & SYN) === 0) return;
  const end = tcp + (bytes[tcp + 12]! >> 4) * 4;
  if (end > at + length) return;
  const most = mtu - header - TCP_HEADER;
  for (let option = tcp + TCP_HEADER; option < end;) {
    const kind = bytes[option]!;
    if (kind === OPTION.end) return;
    if (kind === OPTION.nop) {
      option++;
      continue;
    }
    const size = bytes[option + 1]!;
    if (option + 1 >= end || size < 2 || option + size > end) return;
    if (kind === OPTION.mss && size === 4) {
      const before = (bytes[option + 2]! << 8) | bytes[option + 3]!;
      if (before <= most) return;
      bytes[option + 2] = most >> 8;
      bytes[option + 3] = most & 0xff;
      // An option may begin at an odd byte: then its two bytes belong to two words.
      const isOdd = ((option - tcp) & 1) !== 0;
      if (isComplete) {
        update(bytes, tcp + 16, isOdd ? swap(before) : before, isOdd ? swap(most) : most);
      }
      return;
    }
    option += size;
  }
}

function swap(word: number): number {
  return ((word & 0xff) << 8) | (word >> 8);
}

/** Follows the change of one word in the checksum at `at` (RFC 1624, equation 3). */
function update(bytes: Uint8Array, at: number, before: number, after: number): void {
  const checksum = (bytes[at]! << 8) | bytes[at + 1]!;
  let sum = (~checksum & 0xffff) + (~before & 0xffff) + after;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  bytes[at] = (~sum >> 8) & 0xff;
  bytes[at + 1] = ~sum & 0xff;
}
