/**
 * The Internet checksum (RFC 1071) over any range, 32 bytes a turn.
 * @module
 */

/**
 * Sums the 16-bit words at `[at, at + length)` as they lie in memory (little-endian) onto `sum`.
 *
 * One's complement addition does not care for byte order (RFC 1071 section 2B), so only the folded
 * result must be swapped, see {@link fold}. A trailing odd byte counts as the low byte of a word.
 */
export function partial(at: usize, length: u32, sum: u64): u64 {
  const end = at + length;
  if (length >= 32) {
    let low = i32x4.splat(0);
    let high = i32x4.splat(0);
    let block = at;
    const last = end - 32;
    // Each lane grows by at most 2 * 0xffff a turn: 65,535 bytes cannot overflow 32 bits.
    while (block <= last) {
      low = i32x4.add(low, i32x4.extadd_pairwise_i16x8_u(v128.load(block)));
      high = i32x4.add(high, i32x4.extadd_pairwise_i16x8_u(v128.load(block, 16)));
      block += 32;
    }
    sum += lanes(low) + lanes(high);
    at = block;
  }
  while (at + 2 <= end) {
    sum += <u64> load<u16>(at);
    at += 2;
  }
  if (at < end) sum += <u64> load<u8>(at);
  return sum;
}

/** Folds a sum of words to 16 bits, still in memory order. */
export function fold(sum: u64): u16 {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return <u16> sum;
}

/** The checksum of `[at, at + length)` as the number that a header shows, big-endian. */
export function internetChecksum(at: usize, length: u32): u32 {
  return <u32> bswap<u16>(~fold(partial(at, length, 0)));
}

// @ts-ignore: decorator
@inline
function lanes(v: v128): u64 {
  return <u64> <u32> i32x4.extract_lane(v, 0) + <u64> <u32> i32x4.extract_lane(v, 1) +
    <u64> <u32> i32x4.extract_lane(v, 2) + <u64> <u32> i32x4.extract_lane(v, 3);
}
