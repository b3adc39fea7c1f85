/**
 * What do the rules say of a packet: look-ups in a table that {@link compileFilter} made.
 *
 * A view on memory that threads share; nothing is allocated or thrown.
 * @module
 */
import { lookup4, lookup6 } from "../route/lpm.ts";
import { BLOCK, HEADER } from "./compile.ts";
import { IPPROTO, KEY } from "./key.ts";

/** Rules as the packet path reads them. */
export class RuleTable {
  readonly #words: Int32Array;
  readonly #networks: Uint32Array;
  /** Which compilation this is; decisions of others mean nothing here. */
  readonly generation: number;
  /** How many rules there are. */
  readonly rules: number;

  /** @param words What {@link compileFilter} made, or a copy; it may be followed by other things. */
  constructor(words: Int32Array) {
    this.#words = words;
    const networksAt = words.byteOffset + 4 * words[HEADER.networksAt]!;
    this.#networks = new Uint32Array(words.buffer, networksAt);
    this.generation = words[HEADER.generation]!;
    this.rules = words[HEADER.rules]!;
  }

  /**
   * The decision about a packet of `key` from `peer`: 0 none, `i + 1` rule `i` allows, `-(i + 1)`
   * it denies. `to` is where in `key` the address on this node's side begins, and `port` the port
   * there.
   */
  decide(peer: number, key: Int32Array, to: number, port: number): number {
    const words = this.#words;
    const block = this.#block(peer, key, to);
    if (block < 0) return 0;
    const protocol = key[KEY.protocol]!;
    if (protocol === IPPROTO.tcp) return atPort(words, words[block + BLOCK.tcp]!, port);
    if (protocol === IPPROTO.udp) return atPort(words, words[block + BLOCK.udp]!, port);
    const icmp = key[KEY.family] === 4 ? IPPROTO.icmp : IPPROTO.icmpv6;
    if (protocol !== icmp) return words[block + BLOCK.other]!;
    return words[block + (isOfEcho(key, to) ? BLOCK.echo : BLOCK.icmp)]!;
  }

  /** Like {@link decide} for what answers this node: 0 unless a rule cuts the peer off. */
  decideAnswer(peer: number, key: Int32Array, to: number): number {
    const block = this.#block(peer, key, to);
    return block < 0 ? 0 : this.#words[block + BLOCK.answers]!;
  }

  #block(peer: number, key: Int32Array, to: number): number {
    const words = this.#words;
    const destination = key[KEY.family] === 4 ? lookup4(this.#networks, key[to]!) : lookup6(
      this.#networks,
      key[to]!,
      key[to + 1]!,
      key[to + 2]!,
      key[to + 3]!,
    );
    if (destination < 0 || peer < 0 || peer >= words[HEADER.slots]!) return -1;
    const peerClass = words[words[HEADER.classesAt]! + peer]!;
    return words[words[HEADER.pairsAt]! + destination * words[HEADER.peerClasses]! + peerClass]!;
  }
}

/** Whether ICMP is an echo request that comes in, or this node's answer to one. */
function isOfEcho(key: Int32Array, to: number): boolean {
  const type = key[KEY.icmpType]!;
  if (to === KEY.destination) return type === (key[KEY.family] === 4 ? 8 : 128);
  return type === (key[KEY.family] === 4 ? 0 : 129);
}

/** What holds at `port` in the list of intervals at `at`. */
function atPort(words: Int32Array, at: number, port: number): number {
  const count = words[at]!;
  let low = 0;
  let high = count;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (words[at + 1 + middle]! <= port) low = middle;
    else high = middle;
  }
  return words[at + 1 + count + low]!;
}
