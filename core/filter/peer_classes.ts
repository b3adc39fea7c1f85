/**
 * Which peers are alike to a set of rules: classes of those that the same rules name.
 *
 * One class of all members is split by each rule's sources in turn (partition refinement), so the
 * work grows with the length of the rules, not with peers times rules.
 * @module
 */
import type { PeerId } from "../ids.ts";
import type { FilterRule } from "./rules.ts";

/** The class of slots without a member; no rule is about it. */
const STRANGERS = 0;

/** Peer slots and the classes they are in. */
export interface PeerClasses {
  /** How many there are, that of strangers included. */
  readonly count: number;
  /** The class of each slot up to the highest that has a member. */
  readonly ofSlot: Int32Array;
  /** The classes whose peers a rule, given by its index, is about; null for all members. */
  classesOf(rule: number): ReadonlySet<number> | null;
}

/** Classes of `peers` by the sources of `rules`. */
export function peerClasses(
  rules: readonly FilterRule[],
  peers: ReadonlyMap<number, PeerId>,
): PeerClasses {
  const slotsOf = new Map<PeerId, number[]>();
  for (const [slot, id] of peers) {
    const slots = slotsOf.get(id);
    if (slots) slots.push(slot);
    else slotsOf.set(id, [slot]);
  }
  const ofSlot = new Int32Array(1 + [...peers.keys()].reduce((a, b) => Math.max(a, b), -1));
  for (const slot of peers.keys()) ofSlot[slot] = STRANGERS + 1;
  const sizes = [0, peers.size];
  const named = new Map<ReadonlySet<PeerId>, number[]>();
  for (const { sources } of rules) {
    if (!sources || named.has(sources)) continue;
    const slots = [...sources].flatMap((id) => slotsOf.get(id) ?? []);
    named.set(sources, slots);
    split(ofSlot, sizes, slots);
  }
  const members = new Map(
    [...named].map(([sources, slots]) =>
      [sources, new Set(slots.map((slot) => ofSlot[slot]!))] as const
    ),
  );
  return {
    count: sizes.length,
    ofSlot,
    classesOf: (rule) => {
      const { sources } = rules[rule]!;
      return sources && members.get(sources)!;
    },
  };
}

/** Makes a new class of those in `slots` whose class has others too. */
function split(ofSlot: Int32Array, sizes: number[], slots: readonly number[]): void {
  const inside = new Map<number, number[]>();
  for (const slot of slots) {
    const peerClass = ofSlot[slot]!;
    const together = inside.get(peerClass);
    if (together) together.push(slot);
    else inside.set(peerClass, [slot]);
  }
  for (const [peerClass, together] of inside) {
    if (together.length === sizes[peerClass]) continue;
    sizes[peerClass]! -= together.length;
    for (const slot of together) ofSlot[slot] = sizes.length;
    sizes.push(together.length);
  }
}
