/**
 * Poly1305 (RFC 8439, section 2.5) on the scalar units, one block at a time.
 *
 * ChaCha20 keeps the vector units busy and waits for its own results most of the time, so blocks
 * put in a queue are absorbed in between its rounds and cost next to nothing. That makes the
 * simplest way the fastest: limbs of 32 bits in 64-bit integers, no powers of r. One message at a
 * time is authenticated; all its state is in these globals.
 * @module
 */

/** Bytes of a block and of a tag. */
export const BLOCK: u32 = 16;

const LOW: u64 = 0xffffffff;

/** The accumulator in limbs of 32 bits; between blocks the lower four hold up to 2.5 * 2^32. */
let h0: u64 = 0;
let h1: u64 = 0;
let h2: u64 = 0;
let h3: u64 = 0;
let h4: u64 = 0;
/** The clamped key r. */
let r0: u64 = 0;
let r1: u64 = 0;
let r2: u64 = 0;
let r3: u64 = 0;
/** 5/4 of r: a product beyond 2^130 comes back multiplied by 5. Clamping makes it whole. */
let s1: u64 = 0;
let s2: u64 = 0;
let s3: u64 = 0;
/** What is added at the end. */
let padLow: u64 = 0;
let padHigh: u64 = 0;
/** Whole blocks that wait to be absorbed: `[queued, queuedEnd)`. */
let queued: usize = 0;
let queuedEnd: usize = 0;

/** Starts a message with the one-time key of 32 bytes at `key`; the queue must be empty. */
export function startMac(key: usize): void {
  h0 = h1 = h2 = h3 = h4 = 0;
  r0 = <u64> load<u32>(key) & 0x0fffffff;
  r1 = <u64> load<u32>(key, 4) & 0x0ffffffc;
  r2 = <u64> load<u32>(key, 8) & 0x0ffffffc;
  r3 = <u64> load<u32>(key, 12) & 0x0ffffffc;
  s1 = r1 + (r1 >> 2);
  s2 = r2 + (r2 >> 2);
  s3 = r3 + (r3 >> 2);
  padLow = load<u64>(key, 16);
  padHigh = load<u64>(key, 24);
}

/** Puts the whole blocks of `[at, at + length)` in the queue, which must be empty. */
// @ts-ignore: decorator
@inline
export function queueBlocks(at: usize, length: u32): void {
  queued = at;
  queuedEnd = at + (length & ~(BLOCK - 1));
}

/** Absorbs a block of the queue, if there is one. */
// @ts-ignore: decorator
@inline
export function absorbQueued(): void {
  if (queued < queuedEnd) {
    absorb(load<u64>(queued), load<u64>(queued, 8));
    queued += BLOCK;
  }
}

/** Absorbs what is left in the queue. */
export function drainQueue(): void {
  while (queued < queuedEnd) absorbQueued();
}

/** Absorbs what follows the whole blocks of `[at, at + length)`, filled up with zeros. */
export function absorbRest(at: usize, length: u32): void {
  const count = length & (BLOCK - 1);
  if (count === 0) return;
  at += length - count;
  if (count < 8) absorb(loadPart(at, count), 0);
  else absorb(load<u64>(at), loadPart(at + 8, count - 8));
}

/** A little-endian number of less than 8 bytes. */
function loadPart(at: usize, count: u32): u64 {
  let value: u64 = 0;
  let bits: u64 = 0;
  if (count & 4) {
    value = load<u32>(at);
    at += 4;
    bits = 32;
  }
  if (count & 2) {
    value |= <u64> load<u16>(at) << bits;
    at += 2;
    bits += 16;
  }
  if (count & 1) value |= <u64> load<u8>(at) << bits;
  return value;
}

/** Absorbs the lengths that end a message (RFC 8439, section 2.8). */
export function absorbLengths(aadLength: u32, length: u32): void {
  absorb(<u64> aadLength, <u64> length);
}

/**
 * Adds a block and multiplies by r modulo 2^130 - 5.
 *
 * All carries move up one limb at once, none waits for another. Why nothing overflows, in units of
 * 2^32 for a and of 2^60 for d: with d below 15, a0 is below 2 + 5/4 * (1/4 + 15/16) < 3.5 and each
 * other a below 2 + 15/16 < 3. As r is below 2^28 and s below 5/4 of that, d is in turn below
 * 3.5 + 3 * 3 * 5/4 < 15; a4, at most 4, does not count.
 */
// @ts-ignore: decorator
@inline
function absorb(low: u64, high: u64): void {
  const a0 = h0 + (low & LOW);
  const a1 = h1 + (low >> 32);
  const a2 = h2 + (high & LOW);
  const a3 = h3 + (high >> 32);
  const a4 = h4 + 1;
  const d0 = a0 * r0 + a1 * s3 + a2 * s2 + a3 * s1;
  const d1 = a0 * r1 + a1 * r0 + a2 * s3 + a3 * s2 + a4 * s1;
  const d2 = a0 * r2 + a1 * r1 + a2 * r0 + a3 * s3 + a4 * s2;
  const d3 = a0 * r3 + a1 * r2 + a2 * r1 + a3 * r0 + a4 * s3;
  const d4 = a4 * r0 + (d3 >> 32);
  h0 = (d0 & LOW) + (d4 >> 2) * 5;
  h1 = (d1 & LOW) + (d0 >> 32);
  h2 = (d2 & LOW) + (d1 >> 32);
  h3 = (d3 & LOW) + (d2 >> 32);
  h4 = d4 & 3;
}

/** Writes the tag of the message at `at`. */
export function writeTag(at: usize): void {
  reduce();
  store<u64>(at, tagLow());
  store<u64>(at, tagHigh(), 8);
}

/** Whether the tag at `at` is the message's, in constant time. */
export function isTag(at: usize): bool {
  reduce();
  return ((load<u64>(at) ^ tagLow()) | (load<u64>(at, 8) ^ tagHigh())) === 0;
}

/** Forgets keys and accumulator. */
export function clearMac(): void {
  h0 = h1 = h2 = h3 = h4 = 0;
  r0 = r1 = r2 = r3 = s1 = s2 = s3 = 0;
  padLow = padHigh = 0;
  queued = queuedEnd = 0;
}

/** Brings the accumulator into [0, 2^130 - 5), limbs of 32 bits. */
function reduce(): void {
  carry();
  carry();
  // h >= p exactly when h + 5 reaches 2^130; then the answer is h + 5 without that bit.
  let g = h0 + 5;
  const g0 = g & LOW;
  g = h1 + (g >> 32);
  const g1 = g & LOW;
  g = h2 + (g >> 32);
  const g2 = g & LOW;
  g = h3 + (g >> 32);
  const g3 = g & LOW;
  const mask = 0 - ((h4 + (g >> 32)) >> 2);
  h0 = (h0 & ~mask) | (g0 & mask);
  h1 = (h1 & ~mask) | (g1 & mask);
  h2 = (h2 & ~mask) | (g2 & mask);
  h3 = (h3 & ~mask) | (g3 & mask);
}

/** Carries once around; twice leaves every limb with 32 bits, the last with 2. */
function carry(): void {
  h1 += h0 >> 32;
  h2 += h1 >> 32;
  h3 += h2 >> 32;
  h4 += h3 >> 32;
  h0 = (h0 & LOW) + (h4 >> 2) * 5;
  h1 &= LOW;
  h2 &= LOW;
  h3 &= LOW;
  h4 &= 3;
}

function tagLow(): u64 {
  return (h0 | (h1 << 32)) + padLow;
}

function tagHigh(): u64 {
  const low = h0 | (h1 << 32);
  return (h2 | (h3 << 32)) + padHigh + <u64> (low + padLow < low);
}
