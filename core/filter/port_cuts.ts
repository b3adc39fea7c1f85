/**
 * Which of several overlapping port ranges holds where: sorted intervals without overlaps.
 *
 * Ports are cut wherever any rule begins or ends, once for all rules; what holds in each cut is
 * then decided for as many choices of rules as one likes.
 * @module
 */
import { nextInBoth, type RuleSet } from "./rule_sets.ts";
import type { PortRange } from "./rules.ts";
import type { Words } from "./words.ts";

const PORTS = 65_536;
const ALL_PORTS: readonly PortRange[] = [{ first: 0, last: PORTS - 1 }];

/** See the module's doc. */
export class PortCuts {
  /** First port of each cut, ascending from 0. */
  readonly #starts: readonly number[];
  /** Cuts of each rule: pairs of the first and the one behind the last. */
  readonly #spans: readonly Int32Array[];
  readonly #decided: Int32Array;
  /** Behind each cut the next one that is undecided, as far as is known. */
  readonly #next: Int32Array;

  /** @param ranges Ports of each rule by its number, null for all ports. */
  constructor(ranges: readonly (readonly PortRange[] | null)[]) {
    const edges = new Set([0]);
    for (const { first, last } of ranges.flatMap((each) => each ?? ALL_PORTS)) {
      edges.add(first);
      edges.add(last + 1);
    }
    this.#starts = [...edges].filter((edge) => edge >= 0 && edge < PORTS).sort((a, b) => a - b);
    const cutOf = new Map(this.#starts.map((start, cut) => [start, cut]));
    const end = this.#starts.length;
    this.#spans = ranges.map((each) =>
      Int32Array.from(
        (each ?? ALL_PORTS).flatMap(({ first, last }) =>
          first <= last ? [cutOf.get(Math.max(0, first)) ?? end, cutOf.get(last + 1) ?? end] : []
        ),
      )
    );
    this.#decided = new Int32Array(end);
    this.#next = new Int32Array(end + 1);
  }

  /**
   * Appends the intervals in which the first rule of both sets that has a port decides: how many,
   * the first port of each, and the decisions, 0 where no rule has the port.
   */
  append(words: Words, a: RuleSet, b: RuleSet, decisions: Int32Array): void {
    const starts = this.#starts;
    const decided = this.#decided.fill(0);
    const next = this.#next;
    for (let cut = 0; cut < next.length; cut++) next[cut] = cut;
    for (let rule = nextInBoth(a, b, 0); rule >= 0; rule = nextInBoth(a, b, rule + 1)) {
      this.#decide(this.#spans[rule]!, decisions[rule]!);
    }
    const countAt = words.length;
    words.push(0);
    let count = 0;
    for (let cut = 0; cut < decided.length; cut++) {
      if (cut > 0 && decided[cut] === decided[count - 1]) continue;
      words.push(starts[cut]!);
      // The decisions of the intervals so far take the place of those of their cuts.
      decided[count++] = decided[cut]!;
    }
    words.set(countAt, count);
    for (let i = 0; i < count; i++) words.push(decided[i]!);
  }

  /** Decides what is undecided in the cuts of a rule. */
  #decide(spans: Int32Array, decision: number): void {
    const [decided, next] = [this.#decided, this.#next];
    for (let i = 0; i < spans.length; i += 2) {
      const end = spans[i + 1]!;
      for (let cut = undecided(next, spans[i]!); cut < end; cut = undecided(next, cut + 1)) {
        decided[cut] = decision;
        next[cut] = cut + 1;
      }
    }
  }
}

/** The first undecided cut from `cut` on; shortens the way for those who come after. */
function undecided(next: Int32Array, cut: number): number {
  let root = cut;
  while (next[root] !== root) root = next[root]!;
  while (cut < root) {
    const following = next[cut]!;
    next[cut] = root;
    cut = following;
  }
  return root;
}
