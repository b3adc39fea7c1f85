/**
 * Which peer does an address belong to: longest-prefix match over flat memory.
 *
 * A path-compressed binary trie for each address family, in one `Uint32Array` that may be shared
 * between threads. It is built whole and then only read; whoever owns the memory decides when
 * readers may see it (see `dataplane/layout.ts`).
 *
 * ```
 * word  0        1          2          3 .. 4096..
 *       root v4  root v6    node count nodes, 8 words each:
 *       bits | child 0 | child 1 | value + 1 | key words 0..3 (big-endian, IPv4 uses word 0)
 * ```
 * @module
 */
import type { Prefix } from "../ip.ts";

const HEADER = 4;
const NODE = 8;
const CHILD = 1;
const VALUE = 3;
const KEY = 4;

/** The answer of a lookup that matched no prefix. */
export const NO_MATCH = -1;

/** One prefix and the number it maps to, an integer in [0, 2^31). */
export interface Route {
  readonly prefix: Prefix;
  readonly value: number;
}

/** Words of memory that a table of `routes` prefixes needs at most. */
export function routeTableWords(routes: number): number {
  return HEADER + NODE * (2 * routes + 2);
}

/**
 * Writes a table of `routes` into `words`; later duplicates of a prefix replace earlier ones.
 *
 * @throws {RangeError} when `words` is too small.
 */
export function buildRouteTable(words: Uint32Array, routes: readonly Route[]): void {
  if (words.length < routeTableWords(routes.length)) {
    throw new RangeError(`Cannot build route table: ${routes.length} routes exceed the memory`);
  }
  words.fill(0, 0, HEADER);
  const builder = new Builder(words);
  for (const { prefix, value } of routes) builder.insert(prefix, value);
}

/** Looks an IPv4 address up, given as one unsigned 32-bit integer. */
export function lookup4(words: Uint32Array, address: number): number {
  let best = NO_MATCH;
  let node = words[0]!;
  while (node !== 0) {
    const bits = words[node]!;
    const mask = bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0;
    if (((address & mask) >>> 0) !== words[node + KEY]!) break;
    const value = words[node + VALUE]!;
    if (value !== 0) best = value - 1;
    if (bits === 32) break;
    node = words[node + CHILD + ((address >>> (31 - bits)) & 1)]!;
  }
  return best;
}

/** Looks an IPv6 address up, given as four big-endian 32-bit words. */
export function lookup6(
  words: Uint32Array,
  a: number,
  b: number,
  c: number,
  d: number,
): number {
  let best = NO_MATCH;
  let node = words[1]!;
  while (node !== 0) {
    const bits = words[node]!;
    if (
      differs(a, words[node + KEY]!, bits) || differs(b, words[node + KEY + 1]!, bits - 32) ||
      differs(c, words[node + KEY + 2]!, bits - 64) || differs(d, words[node + KEY + 3]!, bits - 96)
    ) break;
    const value = words[node + VALUE]!;
    if (value !== 0) best = value - 1;
    if (bits === 128) break;
    const word = bits < 32 ? a : bits < 64 ? b : bits < 96 ? c : d;
    node = words[node + CHILD + ((word >>> (31 - (bits & 31))) & 1)]!;
  }
  return best;
}

/** Whether two words differ within their first `bits` bits; none are compared below 1. */
function differs(x: number, y: number, bits: number): boolean {
  if (bits <= 0) return false;
  return bits >= 32 ? (x ^ y) !== 0 : ((x ^ y) >>> (32 - bits)) !== 0;
}

/** Inserts prefixes one after another; nodes are appended and never freed. */
class Builder {
  readonly #words: Uint32Array;
  #next = HEADER;

  constructor(words: Uint32Array) {
    this.#words = words;
  }

  insert(prefix: Prefix, value: number): void {
    const key = keyOf(prefix);
    let link = prefix.bytes.length === 4 ? 0 : 1;
    for (;;) {
      const node = this.#words[link]!;
      if (node === 0) {
        this.#words[link] = this.#append(key, prefix.bits, value + 1);
        return;
      }
      const bits = this.#words[node]!;
      const common = Math.min(this.#commonBits(node, key), bits, prefix.bits);
      if (common === bits && common === prefix.bits) {
        this.#words[node + VALUE] = value + 1;
        return;
      }
      if (common === bits) {
        link = node + CHILD + bitAt(key, bits);
        continue;
      }
      this.#split({ link, node, common }, key, prefix.bits, value);
      return;
    }
  }

  /** Puts a node for the shared `common` bits between `link` and the node that it points to. */
  #split(
    at: { link: number; node: number; common: number },
    key: readonly number[],
    bits: number,
    value: number,
  ): void {
    const fork = this.#append(masked(key, at.common), at.common, 0);
    const old = [0, 1, 2, 3].map((i) => this.#words[at.node + KEY + i]!);
    this.#words[fork + CHILD + bitAt(old, at.common)] = at.node;
    if (bits === at.common) this.#words[fork + VALUE] = value + 1;
    else this.#words[fork + CHILD + bitAt(key, at.common)] = this.#append(key, bits, value + 1);
    this.#words[at.link] = fork;
  }

  #append(key: readonly number[], bits: number, value: number): number {
    const node = this.#next;
    this.#next += NODE;
    this.#words.set([bits, 0, 0, value, ...key], node);
    this.#words[2] = this.#words[2]! + 1;
    return node;
  }

  #commonBits(node: number, key: readonly number[]): number {
    for (let i = 0; i < 4; i++) {
      const difference = (this.#words[node + KEY + i]! ^ key[i]!) >>> 0;
      if (difference !== 0) return 32 * i + Math.clz32(difference);
    }
    return 128;
  }
}

function keyOf(prefix: Prefix): number[] {
  const key = [0, 0, 0, 0];
  prefix.bytes.forEach((byte, i) => key[i >> 2] = ((key[i >> 2]! << 8) | byte) >>> 0);
  return key;
}

function masked(key: readonly number[], bits: number): number[] {
  return key.map((word, i) => {
    const keep = Math.min(32, Math.max(0, bits - 32 * i));
    return keep === 0 ? 0 : (word & (0xffffffff << (32 - keep))) >>> 0;
  });
}

function bitAt(key: readonly number[], bit: number): number {
  return (key[bit >> 5]! >>> (31 - (bit & 31))) & 1;
}
