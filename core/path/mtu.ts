/**
 * How long may a datagram be on a path? Packetization layer path MTU discovery (RFC 8899) with
 * pings as probes: they are padded, may not be fragmented, and an answer confirms their size.
 *
 * The largest size that would be used is tried first, since most paths carry it. When it does not
 * pass, sizes between are tried by halves over the list of sizes that networks have. A confirmed
 * size is tried again now and then; when it fails and small pings do not, the path has become
 * narrower (a black hole) and the search begins anew.
 *
 * Sizes are of IP packets, headers included.
 * @module
 */
import { type Millis, NEVER } from "../machine.ts";

/** What every path is taken to carry: IPv6's least (RFC 8200 section 5). */
export const BASE_SIZE = 1280;
/** Sizes that networks have: tunnels in tunnels, mobile, PPPoE, Ethernet, jumbo frames. */
const SIZES = [
  1280,
  1320,
  1360,
  1380,
  1400,
  1412,
  1420,
  1440,
  1452,
  1460,
  1464,
  1472,
  1480,
  1488,
  1492,
  1500,
  1600,
  2000,
  4000,
  8000,
  9000,
];
/** Probes of one size before it counts as too large (RFC 8899: MAX_PROBES). */
const MAX_PROBES = 3;
/** A confirmed size is tried again this often while there is traffic. */
export const CONFIRM_INTERVAL_MS = 1_000;
/** A search that ended below the wanted size is repeated (RFC 8899: PMTU_RAISE_TIMER). */
const RAISE_INTERVAL_MS = 600_000;

/** The search on one path; plain data. */
export interface MtuSearch {
  /** The most that would be used. */
  readonly wanted: number;
  /** The largest size that an answer came for; null before any. */
  confirmed: number | null;
  /** Sizes that may still be the answer: indices into {@link sizesUpTo}. */
  low: number;
  high: number;
  /** The size being tried and how often it was. */
  trying: number;
  tries: number;
  /** When the next probe may go out. */
  nextAt: Millis;
  /** When a search that ended below the wanted size begins anew. */
  raiseAt: Millis;
  isDone: boolean;
}

/** Begins a search for at most `wanted` bytes. */
export function newMtuSearch(wanted: number, now: Millis): MtuSearch {
  const high = sizesUpTo(wanted).length - 1;
  return {
    wanted,
    confirmed: null,
    low: 0,
    high,
    trying: wanted,
    tries: 0,
    nextAt: now,
    raiseAt: NEVER,
    isDone: false,
  };
}

function sizesUpTo(wanted: number): number[] {
  return [...SIZES.filter((size) => size < wanted), wanted];
}

/** What to assume of the path now: hopeful until the search says otherwise. */
export function mtuOf(search: MtuSearch): number {
  if (search.confirmed !== null && search.isDone) return search.confirmed;
  if (search.confirmed === null && search.tries < 2 && search.trying === search.wanted) {
    return search.wanted;
  }
  return search.confirmed ?? BASE_SIZE;
}

/** The size to probe now, or null when none is due. */
export function probeDue(search: MtuSearch, now: Millis): number | null {
  if (now < search.nextAt) return null;
  if (search.isDone) {
    if (now >= search.raiseAt && search.tries === 0) {
      const { confirmed } = search;
      Object.assign(search, newMtuSearch(search.wanted, now), { confirmed });
    } else search.trying = search.confirmed ?? BASE_SIZE;
  }
  return search.trying;
}

/** A probe went out; `timeoutMs` is how long its answer may take. */
export function probeSent(search: MtuSearch, timeoutMs: Millis, now: Millis): void {
  search.tries++;
  search.nextAt = now + timeoutMs;
}

/** The peer got a packet of `size`. Returns whether the path's MTU changed. */
export function probeAnswered(search: MtuSearch, size: number, now: Millis): boolean {
  if (size < search.trying) return false;
  const before = mtuOf(search);
  search.confirmed = Math.max(search.confirmed ?? 0, search.trying);
  if (search.isDone) {
    search.tries = 0;
    search.nextAt = now + CONFIRM_INTERVAL_MS;
    return false;
  }
  const sizes = sizesUpTo(search.wanted);
  search.low = sizes.indexOf(search.trying);
  narrow(search, sizes, now);
  return mtuOf(search) !== before;
}

/**
 * The present probe was not answered in time, although small pings are.
 * Returns whether the path's MTU changed.
 */
export function probeLost(search: MtuSearch, now: Millis): boolean {
  const before = mtuOf(search);
  if (search.tries < MAX_PROBES) {
    search.nextAt = now;
    return mtuOf(search) !== before;
  }
  const failed = search.trying;
  // What passed before does not any more.
  if (search.isDone) Object.assign(search, newMtuSearch(search.wanted, now));
  const sizes = sizesUpTo(search.wanted);
  search.high = Math.max(0, sizes.indexOf(failed) - 1);
  if (search.confirmed !== null && search.confirmed > sizes[search.high]!) search.confirmed = null;
  narrow(search, sizes, now);
  return mtuOf(search) !== before;
}

function narrow(search: MtuSearch, sizes: readonly number[], now: Millis): void {
  search.tries = 0;
  if (search.low >= search.high) {
    search.isDone = true;
    search.confirmed ??= sizes[search.low]!;
    search.nextAt = now + CONFIRM_INTERVAL_MS;
    search.raiseAt = search.confirmed < search.wanted ? now + RAISE_INTERVAL_MS : NEVER;
    return;
  }
  search.trying = sizes[Math.ceil((search.low + search.high) / 2)]!;
  search.nextAt = now;
}
