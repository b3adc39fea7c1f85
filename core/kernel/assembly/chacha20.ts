/**
 * ChaCha20 (RFC 8439, section 2.3), four blocks at a time: each vector holds one word of the state
 * of four successive blocks.
 *
 * Poly1305 runs between the rounds, see `poly1305.ts`.
 * @module
 */
import { scratch } from "./scratch";
import { absorbQueued } from "./poly1305";

/** Bytes that one call of {@link keystream} writes. */
export const TURN: u32 = 256;
/** Bytes of the state at the start of the scratch memory: 16 vectors. */
export const STATE_BYTES: u32 = 256;

/** Writes the constants and the key of 32 bytes at `key` into the state. */
export function setKey(key: usize): void {
  v128.store(scratch, i32x4.splat(0x61707865));
  v128.store(scratch, i32x4.splat(0x3320646e), 16);
  v128.store(scratch, i32x4.splat(0x79622d32), 32);
  v128.store(scratch, i32x4.splat(0x6b206574), 48);
  for (let i: u32 = 0; i < 8; i++) {
    v128.store(scratch + 64 + 16 * i, v128.load_splat<u32>(key + 4 * i));
  }
}

/** Sets the three words of the nonce; the next keystream begins with block 0. */
export function setNonce(first: u32, second: u32, third: u32): void {
  v128.store(scratch, i32x4(0, 1, 2, 3), 192);
  v128.store(scratch, i32x4.splat(first), 208);
  v128.store(scratch, i32x4.splat(second), 224);
  v128.store(scratch, i32x4.splat(third), 240);
}

/** Writes the next four blocks at `out`, and absorbs up to 20 queued blocks meanwhile. */
export function keystream(out: usize): void {
  let a0 = word(0), a1 = word(1), a2 = word(2), a3 = word(3);
  let b0 = word(4), b1 = word(5), b2 = word(6), b3 = word(7);
  let c0 = word(8), c1 = word(9), c2 = word(10), c3 = word(11);
  let d0 = word(12), d1 = word(13), d2 = word(14), d3 = word(15);
  for (let i = 0; i < 10; i++) {
    // Columns, then diagonals.
    a0 = i32x4.add(a0, b0), d0 = mix(d0, a0, 16);
    c0 = i32x4.add(c0, d0), b0 = mix(b0, c0, 12);
    a0 = i32x4.add(a0, b0), d0 = mix(d0, a0, 8);
    c0 = i32x4.add(c0, d0), b0 = mix(b0, c0, 7);
    a1 = i32x4.add(a1, b1), d1 = mix(d1, a1, 16);
    c1 = i32x4.add(c1, d1), b1 = mix(b1, c1, 12);
    a1 = i32x4.add(a1, b1), d1 = mix(d1, a1, 8);
    c1 = i32x4.add(c1, d1), b1 = mix(b1, c1, 7);
    a2 = i32x4.add(a2, b2), d2 = mix(d2, a2, 16);
    c2 = i32x4.add(c2, d2), b2 = mix(b2, c2, 12);
    a2 = i32x4.add(a2, b2), d2 = mix(d2, a2, 8);
    c2 = i32x4.add(c2, d2), b2 = mix(b2, c2, 7);
    a3 = i32x4.add(a3, b3), d3 = mix(d3, a3, 16);
    c3 = i32x4.add(c3, d3), b3 = mix(b3, c3, 12);
    a3 = i32x4.add(a3, b3), d3 = mix(d3, a3, 8);
    c3 = i32x4.add(c3, d3), b3 = mix(b3, c3, 7);
    absorbQueued();
    a0 = i32x4.add(a0, b1), d3 = mix(d3, a0, 16);
    c2 = i32x4.add(c2, d3), b1 = mix(b1, c2, 12);
    a0 = i32x4.add(a0, b1), d3 = mix(d3, a0, 8);
    c2 = i32x4.add(c2, d3), b1 = mix(b1, c2, 7);
    a1 = i32x4.add(a1, b2), d0 = mix(d0, a1, 16);
    c3 = i32x4.add(c3, d0), b2 = mix(b2, c3, 12);
    a1 = i32x4.add(a1, b2), d0 = mix(d0, a1, 8);
    c3 = i32x4.add(c3, d0), b2 = mix(b2, c3, 7);
    a2 = i32x4.add(a2, b3), d1 = mix(d1, a2, 16);
    c0 = i32x4.add(c0, d1), b3 = mix(b3, c0, 12);
    a2 = i32x4.add(a2, b3), d1 = mix(d1, a2, 8);
    c0 = i32x4.add(c0, d1), b3 = mix(b3, c0, 7);
    a3 = i32x4.add(a3, b0), d2 = mix(d2, a3, 16);
    c1 = i32x4.add(c1, d2), b0 = mix(b0, c1, 12);
    a3 = i32x4.add(a3, b0), d2 = mix(d2, a3, 8);
    c1 = i32x4.add(c1, d2), b0 = mix(b0, c1, 7);
    absorbQueued();
  }
  finishWords(out, 0, a0, a1, a2, a3);
  finishWords(out, 4, b0, b1, b2, b3);
  finishWords(out, 8, c0, c1, c2, c3);
  finishWords(out, 12, d0, d1, d2, d3);
  v128.store(scratch, i32x4.add(word(12), i32x4.splat(4)), 192);
}

/** Word `i` of the state of all four blocks. */
// @ts-ignore: decorator
@inline
function word(i: u32): v128 {
  return v128.load(scratch + 16 * i);
}

// @ts-ignore: decorator
@inline
function mix(x: v128, y: v128, bits: i32): v128 {
  const z = v128.xor(x, y);
  return v128.or(i32x4.shl(z, bits), i32x4.shr_u(z, 32 - bits));
}

/** Adds the state to words `[i, i + 4)`, and writes them to where they belong in each block. */
// @ts-ignore: decorator
@inline
function finishWords(out: usize, i: u32, x: v128, y: v128, z: v128, w: v128): void {
  x = i32x4.add(x, word(i));
  y = i32x4.add(y, word(i + 1));
  z = i32x4.add(z, word(i + 2));
  w = i32x4.add(w, word(i + 3));
  const xyLow = v128.shuffle<u32>(x, y, 0, 4, 1, 5);
  const zwLow = v128.shuffle<u32>(z, w, 0, 4, 1, 5);
  const xyHigh = v128.shuffle<u32>(x, y, 2, 6, 3, 7);
  const zwHigh = v128.shuffle<u32>(z, w, 2, 6, 3, 7);
  const at = out + 4 * i;
  v128.store(at, v128.shuffle<u64>(xyLow, zwLow, 0, 2));
  v128.store(at, v128.shuffle<u64>(xyLow, zwLow, 1, 3), 64);
  v128.store(at, v128.shuffle<u64>(xyHigh, zwHigh, 0, 2), 128);
  v128.store(at, v128.shuffle<u64>(xyHigh, zwHigh, 1, 3), 192);
}

/** Xors `length` bytes of keystream at `stream` into those at `at`. */
export function xorStream(at: usize, stream: usize, length: u32): void {
  const end = at + length;
  while (at + 16 <= end) {
    v128.store(at, v128.xor(v128.load(at), v128.load(stream)));
    at += 16;
    stream += 16;
  }
  while (at + 4 <= end) {
    store<u32>(at, load<u32>(at) ^ load<u32>(stream));
    at += 4;
    stream += 4;
  }
  while (at < end) {
    store<u8>(at, load<u8>(at) ^ load<u8>(stream));
    at++;
    stream++;
  }
}
