/**
 * Which of several overlapping port ranges holds where: sorted intervals without overlaps.
 * @module
 */
import type { PortRange } from "./rules.ts";

const PORTS = 65_536;

/** A range and what is decided in it. */
export interface Decided extends PortRange {
  readonly decision: number;
}

/** Intervals that cover all ports: each reaches to the next one's first port. */
export interface Intervals {
  readonly firsts: readonly number[];
  readonly decisions: readonly number[];
}

/** The intervals in which the first of `ranges` that has a port decides; 0 where none has. */
export function intervals(ranges: readonly Decided[]): Intervals {
  const edges = new Set([0]);
  for (const { first, last } of ranges) {
    edges.add(first);
    edges.add(last + 1);
  }
  const starts = [...edges].filter((edge) => edge >= 0 && edge < PORTS).sort((a, b) => a - b);
  const decided = new Int32Array(starts.length);
  // Behind each start the next one that is undecided, as far as is known.
  const next = Int32Array.from(starts, (_, i) => i);
  const end = starts.length;
  for (const { first, last, decision } of ranges) {
    let i = undecided(next, indexOf(starts, Math.max(0, first)), end);
    while (i < end && starts[i]! <= last) {
      decided[i] = decision;
      next[i] = i + 1;
      i = undecided(next, i + 1, end);
    }
  }
  const kept = starts.map((_, i) => i).filter((i) => i === 0 || decided[i] !== decided[i - 1]);
  return { firsts: kept.map((i) => starts[i]!), decisions: kept.map((i) => decided[i]!) };
}

/** The first undecided start from `i` on; shortens the way for those who come after. */
function undecided(next: Int32Array, i: number, end: number): number {
  let root = i;
  while (root < end && next[root] !== root) root = next[root]!;
  while (i < root) {
    const following = next[i]!;
    next[i] = root;
    i = following;
  }
  return root;
}

/** Index of the last of `starts` that is not above `port`. */
function indexOf(starts: readonly number[], port: number): number {
  let low = 0;
  let high = starts.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle]! <= port) low = middle;
    else high = middle;
  }
  return low;
}
