/**
 * Which peer does an address belong to: longest-prefix match over flat memory.
 *
 * A trie for each address family, compressed twice (Nilsson and Karlsson, "IP-address lookup using
 * LC-tries", 1999): bits in which all prefixes below a node agree are skipped, and where prefixes
 * are dense a node tests many bits at once, so that hosts of one subnet are an array in it. A node
 * knows what to answer when the address matches its key, and when it does not: the longest prefix
 * above it. Hence the first node that does not match ends the search. A fixed index by the first
 * 16 bits in front of the trie was measured and left out: it spared 6 ns among few prefixes and
 * nothing among many, and helps neither IPv6 nor a mesh within one such range.
 *
 * The table is one `Uint32Array` that may be shared between threads. It is built whole and then
 * only read; whoever owns the memory decides when readers may see it (see `dataplane/layout.ts`).
 * Every node skips or tests a bit more than its parent, so that no set of prefixes makes a look-up
 * visit more than 33 (IPv4) or 129 (IPv6) of them.
 *
 * ```
 * word  0        1        2
 *       root v4  root v6  nodes ..
 * node  bits of the key + width << 8 | value + 1 if it matches | value + 1 if not |
 *       key (1 or 4 words, big-endian) | 2^width nodes, by the bits behind the key; none at width 0
 * ```
 * @module
 */
import type { Prefix } from "../ip.ts";

const ROOT_4 = 0;
const ROOT_6 = 1;
const NODES = 2;

/** Word offsets in a node. */
const HIT = 1;
const MISS = 2;
const KEY = 3;
const KEY_WORDS_4 = 1;
const KEY_WORDS_6 = 4;

/** The first word of a node: how many bits of its key count, and how many behind them it tests. */
const BITS_MASK = 0xff;
const WIDTH_SHIFT = 8;

/** Words of a row of {@link SortedPrefixes} besides the key. */
const ROW_EXTRA = 2;

/** Most bits that a node tests: such a node fills a quarter of a megabyte. */
const MAX_WIDTH = 16;
/**
 * A node has at most this many places for each one that a prefix below it begins in. With 4
 * look-ups took some 20 % less time than with 2, and tables 15 % more memory; 8 was hardly faster.
 */
const SPARSENESS = 4;

/** The answer of a lookup that matched no prefix. */
export const NO_MATCH = -1;

/** One prefix and the number it maps to, an integer in [0, 2^31). */
export interface Route {
  readonly prefix: Prefix;
  readonly value: number;
}

/**
 * Words of memory that a table of `routes` prefixes needs at most.
 *
 * Each node either ends a prefix or has two children, so there are fewer than two for each prefix,
 * and each but the root justifies {@link SPARSENESS} places in its parent.
 */
export function routeTableWords(routes: number): number {
  return NODES + 2 * routes * (KEY + KEY_WORDS_6 + SPARSENESS);
}

/**
 * Writes a table of `routes` into `words`; later duplicates of a prefix replace earlier ones. What
 * stands in a prefix behind its length does not count.
 *
 * @throws {RangeError} when `words` is too small.
 */
export function buildRouteTable(words: Uint32Array, routes: readonly Route[]): void {
  if (words.length < routeTableWords(routes.length)) {
    throw new RangeError(`Cannot build route table: ${routes.length} routes exceed the memory`);
  }
  const next = writeTrie(words, ROOT_4, NODES, sortedPrefixes(routes, KEY_WORDS_4));
  writeTrie(words, ROOT_6, next, sortedPrefixes(routes, KEY_WORDS_6));
}

/** Writes the trie of one family from word `next` on; returns where free memory begins. */
function writeTrie(
  words: Uint32Array,
  root: number,
  next: number,
  prefixes: SortedPrefixes,
): number {
  const writer = new TrieWriter(words, next, prefixes);
  words[root] = prefixes.count === 0 ? 0 : writer.write(0, prefixes.count, 0);
  return writer.end;
}

/**
 * Looks an IPv4 address up, given as one 32-bit integer. With a sign it always is a small integer;
 * without, V8 may put it on the heap for the call.
 */
export function lookup4(words: Uint32Array, address: number): number {
  let found = 0;
  let node = words[ROOT_4]!;
  while (node !== 0) {
    const head = words[node]!;
    const bits = head & BITS_MASK;
    if (differs(address, words[node + KEY]!, bits)) {
      found = words[node + MISS]!;
      break;
    }
    found = words[node + HIT]!;
    const width = head >>> WIDTH_SHIFT;
    if (width === 0) break;
    node = words[node + KEY + KEY_WORDS_4 + ((address << bits) >>> (32 - width))]!;
  }
  return found - 1;
}

/** Looks an IPv6 address up, given as four big-endian words as in {@link lookup4}. */
export function lookup6(
  words: Uint32Array,
  a: number,
  b: number,
  c: number,
  d: number,
): number {
  let found = 0;
  let node = words[ROOT_6]!;
  while (node !== 0) {
    const head = words[node]!;
    const bits = head & BITS_MASK;
    if (
      differs(a, words[node + KEY]!, bits) || differs(b, words[node + KEY + 1]!, bits - 32) ||
      differs(c, words[node + KEY + 2]!, bits - 64) || differs(d, words[node + KEY + 3]!, bits - 96)
    ) {
      found = words[node + MISS]!;
      break;
    }
    found = words[node + HIT]!;
    const width = head >>> WIDTH_SHIFT;
    if (width === 0) break;
    const word = bits < 64 ? (bits < 32 ? a : b) : (bits < 96 ? c : d);
    node = words[node + KEY + KEY_WORDS_6 + ((word << (bits & 31)) >>> (32 - width))]!;
  }
  return found - 1;
}

/** Whether two words differ within their first `bits` bits; none are compared below 1. */
function differs(x: number, y: number, bits: number): boolean {
  if (bits <= 0) return false;
  return ((x ^ y) >>> (bits >= 32 ? 0 : 32 - bits)) !== 0;
}

/**
 * Distinct prefixes of one family by key, and shorter before longer, so that each stands before
 * those within it. A row is the key, its length in bits, and the value.
 */
interface SortedPrefixes {
  readonly count: number;
  readonly keyWords: number;
  readonly rows: Uint32Array;
  /** How many bits of its key each row shares with the next one. */
  readonly shared: Uint8Array;
}

function sortedPrefixes(routes: readonly Route[], keyWords: number): SortedPrefixes {
  const family = routes.filter(({ prefix }) => prefix.bytes.length === 4 * keyWords);
  const size = keyWords + ROW_EXTRA;
  const rows = new Uint32Array(family.length * size);
  for (let i = 0; i < family.length; i++) writeRow(rows, i * size, family[i]!);
  const sorted = radixSorted(rows, size);
  const shared = new Uint8Array(family.length);
  let count = 0;
  for (let at = 0; at < sorted.length; at += size) {
    const last = (count - 1) * size;
    const common = count === 0 ? 0 : sharedBits(sorted, last, at, keyWords);
    const isDuplicate = common === 32 * keyWords &&
      sorted[last + keyWords] === sorted[at + keyWords];
    if (isDuplicate) count--;
    else if (count > 0) shared[count - 1] = common;
    sorted.copyWithin(count * size, at, at + size);
    count++;
  }
  return { count, keyWords, rows: sorted, shared };
}

function writeRow(rows: Uint32Array, at: number, { prefix: { bytes, bits }, value }: Route): void {
  for (let i = 0; 8 * i < bits; i++) {
    const byte = bytes[i]! & (0xff00 >> Math.min(8, bits - 8 * i));
    rows[at + (i >> 2)]! |= byte << (24 - 8 * (i & 3));
  }
  const extra = at + (bytes.length >> 2);
  rows[extra] = bits;
  rows[extra + 1] = value;
}

/**
 * The rows in order of all their words but the last; equal ones stay in the order that they had.
 *
 * One counting sort for each byte, from the least significant: the time does not depend on the
 * prefixes, and no function is called for each comparison.
 */
function radixSorted(rows: Uint32Array, size: number): Uint32Array {
  const count = rows.length / size;
  let order = new Uint32Array(count);
  for (let i = 0; i < count; i++) order[i] = i * size;
  let sorted = new Uint32Array(count);
  for (let word = size - 2; word >= 0; word--) {
    for (let shift = 0; shift < 32; shift += 8) {
      const starts = new Uint32Array(257);
      for (let at = word; at < rows.length; at += size) {
        starts[((rows[at]! >>> shift) & 255) + 1]!++;
      }
      if (starts.includes(count)) continue;
      for (let digit = 0; digit < 256; digit++) starts[digit + 1]! += starts[digit]!;
      for (let i = 0; i < count; i++) {
        const digit = (rows[order[i]! + word]! >>> shift) & 255;
        sorted[starts[digit]!++] = order[i]!;
      }
      [order, sorted] = [sorted, order];
    }
  }
  const out = new Uint32Array(rows.length);
  for (let i = 0; i < count; i++) {
    for (let k = 0; k < size; k++) out[i * size + k] = rows[order[i]! + k]!;
  }
  return out;
}

/** How many of their first bits two keys share. */
function sharedBits(words: Uint32Array, a: number, b: number, keyWords: number): number {
  for (let i = 0; i < keyWords; i++) {
    const difference = words[a + i]! ^ words[b + i]!;
    if (difference !== 0) return 32 * i + Math.clz32(difference);
  }
  return 32 * keyWords;
}

/** Writes the trie of one family. */
class TrieWriter {
  readonly #words: Uint32Array;
  readonly #prefixes: SortedPrefixes;
  /** How many neighbours among the prefixes of a node part at each of the bits behind its key. */
  readonly #partings = new Uint32Array(MAX_WIDTH);
  #next: number;

  constructor(words: Uint32Array, next: number, prefixes: SortedPrefixes) {
    this.#words = words;
    this.#next = next;
    this.#prefixes = prefixes;
  }

  /** Where free memory begins. */
  get end(): number {
    return this.#next;
  }

  /** Writes the node of the prefixes [first, end); `miss` is the value + 1 of the one above. */
  write(first: number, end: number, miss: number): number {
    const { rows, keyWords } = this.#prefixes;
    const ownBits = this.#bits(first);
    const bits = Math.min(
      ownBits,
      sharedBits(rows, this.#row(first), this.#row(end - 1), keyWords),
    );
    const inner = ownBits === bits ? first + 1 : first;
    const hit = ownBits === bits ? this.#value(first) + 1 : miss;
    const width = inner === end ? 0 : this.#width(inner, end, bits);
    const node = this.#append(first, bits | (width << WIDTH_SHIFT), hit, miss);
    if (width > 0) this.#writeChildren(node, inner, end);
    return node;
  }

  /** How many bits a node behind `bits` bits is to test: as many as have few empty places. */
  #width(first: number, end: number, bits: number): number {
    // The tested bits lie in one word of the address.
    const most = Math.min(MAX_WIDTH, 32 - (bits & 31));
    const partings = this.#partings.fill(0);
    for (let i = first; i + 1 < end; i++) {
      const bit = this.#prefixes.shared[i]! - bits;
      if (bit < most) partings[bit]!++;
    }
    let [width, begun] = [1, 1];
    for (let tried = 1; tried <= most; tried++) {
      begun += partings[tried - 1]!;
      if (2 ** tried <= SPARSENESS * begun) width = tried;
    }
    return width;
  }

  /** Writes what is below a node: the prefixes [first, end). */
  #writeChildren(node: number, first: number, end: number): void {
    const words = this.#words;
    const width = words[node]! >>> WIDTH_SHIFT;
    const bits = words[node]! & BITS_MASK;
    const tested = bits + width;
    const places = this.#next;
    this.#next += 2 ** width;
    words.fill(0, places, this.#next);
    for (let i = first; i < end;) {
      const place = places + this.#place(i, bits, width);
      const above = words[place]! || node;
      const miss = words[above + HIT]!;
      const own = this.#bits(i);
      if (own < tested) {
        // It ends within the tested bits: it has several places, those within it take theirs next.
        const leaf = this.#append(i, own, this.#value(i) + 1, miss);
        words.fill(leaf, place, place + 2 ** (tested - own));
        i++;
        continue;
      }
      const begin = i++;
      while (i < end && this.#prefixes.shared[i - 1]! >= tested) i++;
      words[place] = this.write(begin, i, miss);
    }
  }

  #place(prefix: number, bits: number, width: number): number {
    return (this.#prefixes.rows[this.#row(prefix) + (bits >> 5)]! << (bits & 31)) >>> (32 - width);
  }

  #append(prefix: number, head: number, hit: number, miss: number): number {
    const { rows, keyWords } = this.#prefixes;
    const node = this.#next;
    this.#next += KEY + keyWords;
    this.#words[node] = head;
    this.#words[node + HIT] = hit;
    this.#words[node + MISS] = miss;
    const row = this.#row(prefix);
    for (let i = 0; i < keyWords; i++) this.#words[node + KEY + i] = rows[row + i]!;
    return node;
  }

  #row(prefix: number): number {
    return prefix * (this.#prefixes.keyWords + ROW_EXTRA);
  }

  #bits(prefix: number): number {
    return this.#prefixes.rows[this.#row(prefix) + this.#prefixes.keyWords]!;
  }

  #value(prefix: number): number {
    return this.#prefixes.rows[this.#row(prefix) + this.#prefixes.keyWords + 1]!;
  }
}
