/**
 * Flows that packets belong to, in memory that all packet workers read and write.
 *
 * Entries lie in sets of eight; a hash says which set, the set's first cache line which entries may
 * be meant, so that a look-up touches two lines. A flow is seen from this node: its key is the peer,
 * the remote and the local address, the protocol and both ports. Because the peer is part of it, no
 * peer can speak in another one's flow.
 *
 * Who changes a set locks it; who reads does not, and `Atomics` would cost a look-up 8 ns for each
 * word. Instead an entry says by itself whether it is whole (Hyatt and Mann, "A lock-less
 * transposition table", 2002): a check word depends on the key and on all that was decided, so that
 * words of two writes do not fit together, in whatever order a processor shows them. Who reads such
 * a mixture reads again, a bounded number of times; locks too are tried a bounded number of times.
 * Who gives up goes on without the table: that costs time, or a packet of a flow, and lets none
 * through.
 *
 * A full set gives up, in this order: what has expired; the oldest of what is not established, and
 * of that what peers began before what this node began; the oldest established flow that a peer
 * began, which the rules allow again if they still do; the oldest other one, but only for a flow of
 * this node. So a peer that opens flows pushes out the like, not what this node does.
 *
 * ```
 * header   sets | what hashes begin with
 * sets     SET_WORDS each: lock | tag of each way, 0 for none
 * entries  ENTRY_WORDS each, WAYS for each set
 * ```
 * @module
 */
import { KEY } from "./key.ts";
import { IS_FRAGMENT, lifetime, STATE } from "./flow_state.ts";

const WAYS = 8;
const HEADER_WORDS = 16;
/** A cache line each. */
const SET_WORDS = 16;
const ENTRY_WORDS = 16;

const SETS = 0;
const SEED = 1;

/** Word offsets in an entry. */
const ENTRY = {
  subject: 0,
  ports: 1,
  remote: 2,
  local: 6,
  lastSeen: 10,
  state: 11,
  generation: 12,
  decision: 13,
  /** What the four others and the key make; see {@link checkOf}. */
  check: 14,
} as const;

/** Bits of the first word of an entry: protocol, then these, then the peer. */
const IS_IPV6 = 0x100;
const PEER_SHIFT = 10;
/** What lifetimes depend on. */
const KIND_BITS = 0xff | IS_FRAGMENT;

/** A writer takes less long than so many tries, unless the system has put it aside. */
const READ_TRIES = 32;
const LOCK_TRIES = 256;

/** Entries of a table unless said otherwise: 5 MiB. */
export const DEFAULT_FLOWS = 65_536;

/** Words of memory for a table of `flows` entries, a power of two of at least 8. */
export function flowTableWords(flows: number = DEFAULT_FLOWS): number {
  const sets = flows / WAYS;
  if (!Number.isInteger(Math.log2(sets)) || sets < 1) {
    throw new RangeError(
      `Cannot make flow table of ${flows} entries: not a power of two, 8 or more`,
    );
  }
  return HEADER_WORDS + sets * (SET_WORDS + WAYS * ENTRY_WORDS);
}

/**
 * Makes fresh memory a table, before anyone uses it.
 *
 * @param seed A random word, so that nobody can tell which flows share a set.
 */
export function initFlowTable(words: Int32Array, flows: number, seed: number): void {
  if (words.length < flowTableWords(flows)) {
    throw new RangeError(`Cannot make flow table of ${flows} entries: memory is too small`);
  }
  words[SETS] = flows / WAYS;
  words[SEED] = seed;
}

/**
 * One worker's view of the table, with a cursor: {@link FlowTable.aim} says which flow is meant, and
 * must come before the methods that act on one. Times are whole seconds of a clock that all workers share.
 */
export class FlowTable {
  readonly #words: Int32Array;
  readonly #sets: number;
  readonly #entries: number;
  readonly #seed: number;
  #key: Int32Array;
  #remote = 0;
  #local = 0;
  #isV6 = false;
  #subject = 0;
  #ports = 0;
  #tag = 0;
  #set = 0;
  #entry = 0;
  /** Of the flow that {@link find} found. */
  state = 0;
  generation = 0;
  decision = 0;

  /** @param words A table that {@link initFlowTable} made; it may be followed by other things. */
  constructor(words: Int32Array) {
    this.#words = words;
    this.#sets = words[SETS]!;
    this.#entries = HEADER_WORDS + this.#sets * SET_WORDS;
    this.#seed = words[SEED]!;
    this.#key = words;
  }

  /** Means the flow of a packet that came from or goes to `peer`. `key` must stay as it is. */
  aim(peer: number, key: Int32Array, isInbound: boolean): void {
    const ports = key[KEY.ports]!;
    this.#ports = isInbound ? ports : (ports << 16) | (ports >>> 16);
    this.#aim(peer, key, isInbound, key[KEY.protocol]!);
  }

  /** Means the fragments of one packet from `peer`. */
  aimFragments(peer: number, key: Int32Array): void {
    this.#ports = key[KEY.fragmentId]!;
    // Later IPv6 fragments need not name the protocol (RFC 8200 section 4.5).
    this.#aim(peer, key, true, IS_FRAGMENT | (key[KEY.family] === 4 ? key[KEY.protocol]! : 0));
  }

  #aim(peer: number, key: Int32Array, isInbound: boolean, protocol: number): void {
    this.#key = key;
    this.#isV6 = key[KEY.family] === 6;
    this.#remote = isInbound ? KEY.source : KEY.destination;
    this.#local = isInbound ? KEY.destination : KEY.source;
    this.#subject = (peer << PEER_SHIFT) | protocol | (this.#isV6 ? IS_IPV6 : 0);
    let hash = mix(mix(this.#seed, this.#subject), this.#ports);
    const addressWords = this.#isV6 ? 4 : 1;
    for (let i = 0; i < addressWords; i++) {
      hash = mix(mix(hash, key[this.#remote + i]!), key[this.#local + i]!);
    }
    hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
    hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b);
    hash ^= hash >>> 16;
    this.#tag = hash === 0 ? 1 : hash;
    this.#set = hash & (this.#sets - 1);
  }

  /** Whether the flow is known and has not expired; then its fields are read. */
  find(now: number): boolean {
    const words = this.#words;
    for (let i = 0; i < READ_TRIES; i++) {
      const entry = this.#match();
      if (entry === 0) return false;
      const state = words[entry + ENTRY.state]!;
      const generation = words[entry + ENTRY.generation]!;
      const decision = words[entry + ENTRY.decision]!;
      const lastSeen = words[entry + ENTRY.lastSeen]!;
      if (words[entry + ENTRY.check] !== checkOf(this.#tag, state, generation, decision)) continue;
      this.state = state;
      this.generation = generation;
      this.decision = decision;
      this.#entry = entry;
      return ((now - lastSeen) | 0) <= lifetime(this.#subject & KIND_BITS, state);
    }
    return false;
  }

  /**
   * Notes that the flow just found had a packet. Not under the lock: should the entry have become
   * another flow's meanwhile, that one lives a little longer.
   */
  touch(now: number): void {
    const at = this.#entry + ENTRY.lastSeen;
    if (this.#words[at] !== now) this.#words[at] = now;
  }

  /**
   * Notes a new flow. When another worker was faster, its judgement stays and the directions add
   * up. False when there is no room for it, or the set is busy.
   */
  create(now: number, state: number, generation: number, decision: number): boolean {
    if (!this.#lock()) return false;
    const words = this.#words;
    const known = this.#match();
    if (known !== 0 && !this.#hasExpired(known, now)) {
      const both = words[known + ENTRY.state]! | (state & STATE.both);
      const before = words[known + ENTRY.generation]!;
      this.#judge(known, now, both, before, words[known + ENTRY.decision]!);
      this.#unlock();
      return true;
    }
    const entry = known !== 0 ? known : this.#victim(now, state);
    if (entry !== 0) this.#write(entry, now, state, generation, decision);
    this.#unlock();
    return entry !== 0;
  }

  /** Changes the flow that was found, unless it is gone meanwhile. */
  update(now: number, state: number, generation: number, decision: number): void {
    if (!this.#lock()) return;
    const entry = this.#match();
    if (entry !== 0) this.#judge(entry, now, state, generation, decision);
    this.#unlock();
  }

  /** Forgets the flows of a peer, whose slot may then be another one's. */
  forgetPeer(peer: number): void {
    this.#eachEntry((entry, tagAt) => {
      if (this.#words[entry + ENTRY.subject]! >>> PEER_SHIFT === peer) {
        this.#words[tagAt] = 0;
      }
    });
  }

  /** How many flows there are. */
  count(now: number): number {
    let count = 0;
    this.#eachEntry((entry) => {
      if (!this.#hasExpired(entry, now)) count++;
    });
    return count;
  }

  /** The entry of the flow that is meant, 0 for none. */
  #match(): number {
    const words = this.#words;
    const tag = this.#tag;
    const tags = HEADER_WORDS + this.#set * SET_WORDS + 1;
    for (let way = 0; way < WAYS; way++) {
      if (words[tags + way] !== tag) continue;
      const entry = this.#entries + (this.#set * WAYS + way) * ENTRY_WORDS;
      if (this.#isSame(entry)) return entry;
    }
    return 0;
  }

  #isSame(entry: number): boolean {
    const words = this.#words;
    if (
      words[entry + ENTRY.subject] !== this.#subject ||
      words[entry + ENTRY.ports] !== this.#ports
    ) return false;
    const addressWords = this.#isV6 ? 4 : 1;
    for (let i = 0; i < addressWords; i++) {
      if (
        words[entry + ENTRY.remote + i] !== this.#key[this.#remote + i] ||
        words[entry + ENTRY.local + i] !== this.#key[this.#local + i]
      ) return false;
    }
    return true;
  }

  #write(entry: number, now: number, state: number, generation: number, decision: number): void {
    const words = this.#words;
    words[entry + ENTRY.subject] = this.#subject;
    words[entry + ENTRY.ports] = this.#ports;
    for (let i = 0; i < 4; i++) {
      words[entry + ENTRY.remote + i] = this.#key[this.#remote + i]!;
      words[entry + ENTRY.local + i] = this.#key[this.#local + i]!;
    }
    this.#judge(entry, now, state, generation, decision);
    const way = ((entry - this.#entries) / ENTRY_WORDS) & (WAYS - 1);
    words[HEADER_WORDS + this.#set * SET_WORDS + 1 + way] = this.#tag;
  }

  #judge(entry: number, now: number, state: number, generation: number, decision: number): void {
    const words = this.#words;
    words[entry + ENTRY.state] = state;
    words[entry + ENTRY.generation] = generation;
    words[entry + ENTRY.decision] = decision;
    words[entry + ENTRY.lastSeen] = now;
    words[entry + ENTRY.check] = checkOf(this.#tag, state, generation, decision);
  }

  /** The entry to use for a new flow, 0 for none; the set is locked. */
  #victim(now: number, state: number): number {
    const words = this.#words;
    let victim = 0;
    // What a peer begins has no claim on what this node keeps.
    let worst = (state & STATE.own) !== 0 ? RANKS : RANK_OWN_ESTABLISHED;
    let oldest = -1;
    for (let way = 0; way < WAYS; way++) {
      const entry = this.#entries + (this.#set * WAYS + way) * ENTRY_WORDS;
      const tag = words[HEADER_WORDS + this.#set * SET_WORDS + 1 + way]!;
      if (tag === 0 || this.#hasExpired(entry, now)) return entry;
      const rank = rankOf(words[entry + ENTRY.state]!);
      const age = (now - words[entry + ENTRY.lastSeen]!) | 0;
      if (rank > worst || (rank === worst && (victim === 0 || age <= oldest))) continue;
      victim = entry;
      worst = rank;
      oldest = age;
    }
    return victim;
  }

  #hasExpired(entry: number, now: number): boolean {
    const words = this.#words;
    const protocol = words[entry + ENTRY.subject]! & KIND_BITS;
    const age = (now - words[entry + ENTRY.lastSeen]!) | 0;
    return age > lifetime(protocol, words[entry + ENTRY.state]!);
  }

  /** Calls `visit` for each entry in use, one locked set after the other. */
  #eachEntry(visit: (entry: number, tagAt: number) => void): void {
    for (this.#set = 0; this.#set < this.#sets; this.#set++) {
      if (!this.#lock()) continue;
      const tags = HEADER_WORDS + this.#set * SET_WORDS + 1;
      for (let way = 0; way < WAYS; way++) {
        if (this.#words[tags + way]! === 0) continue;
        visit(this.#entries + (this.#set * WAYS + way) * ENTRY_WORDS, tags + way);
      }
      this.#unlock();
    }
  }

  #lock(): boolean {
    const at = HEADER_WORDS + this.#set * SET_WORDS;
    for (let i = 0; i < LOCK_TRIES; i++) {
      if (Atomics.compareExchange(this.#words, at, 0, 1) === 0) return true;
    }
    return false;
  }

  #unlock(): void {
    Atomics.store(this.#words, HEADER_WORDS + this.#set * SET_WORDS, 0);
  }
}

/** Who must go first when a set is full. */
const RANK_OWN_ESTABLISHED = 3;
const RANKS = 4;

function rankOf(state: number): number {
  const isEstablished = (state & STATE.established) !== 0 && (state & STATE.closed) === 0;
  return (isEstablished ? 2 : 0) + ((state & STATE.own) !== 0 ? 1 : 0);
}

function mix(hash: number, word: number): number {
  const product = Math.imul(hash ^ word, 0x9e3779b1 | 0);
  return product ^ (product >>> 15);
}

/** Fits to no other state, generation and decision of the flow, and hardly to those of another. */
function checkOf(tag: number, state: number, generation: number, decision: number): number {
  return mix(mix(mix(tag, state), generation), decision);
}
