/**
 * Who gains or loses which packets to whom between two states of policy and mesh? Exact: computed
 * for each pair of classes and each interval of protocol and port, never for samples.
 * @module
 */
import type { PeerId } from "../ids.ts";
import type { Prefix } from "../ip.ts";
import { accessTo } from "./access.ts";
import { isOwnPair, type NodeClass, nodeClasses, nodesOn, type Pair } from "./plan_classes.ts";
import { pairOf, type Side, type Sides } from "./plan_classes.ts";
import { type Scope, sentences } from "./plan_sentences.ts";
import type { Pairs } from "./rectangles.ts";
import type { MeshNode, MeshSubjects } from "./subjects.ts";
import {
  ALL_TRAFFIC,
  formatTraffic,
  hasPoint,
  intersect,
  NO_TRAFFIC,
  subtract,
  type Traffic,
  union,
} from "./traffic.ts";
import { holds, mayUseExit, routeAccessApart } from "./ways.ts";

/** Packets to a node itself, to the Internet through it, or to a network behind it. */
export type Target =
  | { readonly type: "node" }
  | { readonly type: "exit" }
  /** Without the longer prefixes `apart`, which have changes of their own. */
  | { readonly type: "route"; readonly prefix: Prefix; readonly apart: readonly Prefix[] };

export type Verb = "gains" | "loses";

/** Each of `sources` gains or loses `traffic` to each of `destinations` but itself. */
export interface AccessChange {
  readonly verb: Verb;
  readonly traffic: Traffic;
  readonly target: Target;
  readonly sources: readonly PeerId[];
  readonly destinations: readonly PeerId[];
  /** Whether only pairs of one user are meant, or only pairs that are not. */
  readonly scope: Scope;
}

/** What each pair of classes gains, or loses, by the places of the two in their list. */
interface Deltas {
  readonly verb: Verb;
  readonly target: Target;
  readonly rows: Map<number, Map<number, Traffic>>;
}

/** Pairs of classes that change alike. */
interface Group {
  readonly traffic: Traffic;
  readonly pairs: Map<number, Set<number>>;
}

/**
 * Every change and nothing else. `prefixes` are those that routes of either side name.
 *
 * Changes may overlap: who gains everything on some nodes may also be among those who gain a port
 * on all.
 */
export function accessChanges(sides: Sides, prefixes: readonly Prefix[]): AccessChange[] {
  const classes = nodeClasses(sides);
  const targets: Target[] = [
    { type: "node" },
    ...(hasExits(sides) ? [{ type: "exit" } as const] : []),
    ...prefixes.map((prefix): Target => ({
      type: "route",
      prefix,
      apart: prefixes.filter((other) => isBelow(other, prefix)),
    })),
  ];
  return targets.flatMap((target) => deltasOf(sides, classes, target)).flatMap((deltas) => {
    const said = (groups: readonly Group[]) =>
      groups.flatMap((group) => changesOf(sides, classes, deltas, group));
    const byDelta = said(groupsByDelta(deltas));
    const byPart = said(groupsByPart(deltas));
    return lengthOf(byPart) < lengthOf(byDelta) ? byPart : byDelta;
  });
}

/** How much there is to read: a sentence with an exception counts as one and a half. */
function lengthOf(changes: readonly AccessChange[]): number {
  return changes.reduce((sum, { scope }) => sum + (scope === "others" ? 1.5 : 1), 0);
}

function hasExits({ before, after }: Sides): boolean {
  return before.policy.exits.length + after.policy.exits.length > 0;
}

function isBelow(inner: Prefix, outer: Prefix): boolean {
  return inner.bits > outer.bits && holds(outer, inner);
}

function deltasOf(sides: Sides, classes: readonly NodeClass[], target: Target): Deltas[] {
  const known = new Map<number, Record<Verb, Traffic>>();
  const both: Deltas[] = [
    { verb: "gains", target, rows: new Map() },
    { verb: "loses", target, rows: new Map() },
  ];
  classes.forEach((from, row) =>
    classes.forEach((to, column) => {
      const pair = pairOf(from, to);
      if (pair === null) return;
      const own = 2 * Number(isOwnPair(sides.before, pair)) + Number(isOwnPair(sides.after, pair));
      // There are no more kinds than classes, so that no two pairs of kinds have one key.
      const key = 4 * (from.kind * classes.length + to.kind) + own;
      const delta = known.get(key) ?? deltaOf(sides, pair, target);
      known.set(key, delta);
      for (const { verb, rows } of both) {
        if (delta[verb].length === 0) continue;
        const columns = rows.get(row) ?? new Map<number, Traffic>();
        rows.set(row, columns.set(column, delta[verb]));
      }
    })
  );
  return both;
}

/** Pairs together that change by exactly the same. */
function groupsByDelta({ rows }: Deltas): Group[] {
  const groups = new Map<string, Group>();
  for (const [row, columns] of rows) {
    for (const [column, traffic] of columns) addTo(groups, traffic, row, column);
  }
  return [...groups.values()];
}

/** Parts of traffic together that change for exactly the same pairs. */
function groupsByPart({ rows }: Deltas): Group[] {
  const sets = [...rows.values()].flatMap((columns) => [...columns.values()]);
  const distinct = [...new Map(sets.map((set) => [formatTraffic(set), set])).values()];
  const cuts = new Set(distinct.flat().flatMap(({ first, last }) => [first, last + 1]));
  const sorted = [...cuts].sort((a, b) => a - b);
  const parts = sorted.slice(1).map((cut, i) => ({ first: sorted[i]!, last: cut - 1 }));
  const merged = new Map<string, Traffic>();
  for (const part of parts) {
    // Pairs that change by the same set agree on every part of it.
    const marks = distinct.map((set) => hasPoint(set, part.first) ? "1" : "0").join("");
    if (marks.includes("1")) merged.set(marks, union(merged.get(marks) ?? [], [part]));
  }
  const groups = new Map<string, Group>();
  for (const [row, columns] of rows) {
    for (const [column, delta] of columns) {
      for (const traffic of merged.values()) {
        if (hasPoint(delta, traffic[0]!.first)) addTo(groups, traffic, row, column);
      }
    }
  }
  return [...groups.values()];
}

function addTo(groups: Map<string, Group>, traffic: Traffic, row: number, column: number): void {
  const key = formatTraffic(traffic);
  const group = groups.get(key) ?? { traffic, pairs: new Map() };
  groups.set(key, group);
  group.pairs.set(row, (group.pairs.get(row) ?? new Set<number>()).add(column));
}

function deltaOf(sides: Sides, pair: Pair, target: Target): Record<Verb, Traffic> {
  const reach = (side: Side) => {
    const nodes = nodesOn(sides[side], pair);
    return nodes === null ? NO_TRAFFIC : reachOf(sides[side], nodes, target);
  };
  const [before, after] = [reach("before"), reach("after")];
  return { gains: subtract(after, before), loses: subtract(before, after) };
}

function reachOf(
  subjects: MeshSubjects,
  { from, to }: { from: MeshNode; to: MeshNode },
  target: Target,
): Traffic {
  switch (target.type) {
    case "node":
      return accessTo(subjects, from, to);
    case "exit":
      return mayUseExit(subjects, from, to) ? ALL_TRAFFIC : NO_TRAFFIC;
    case "route":
      return routeAccessApart(subjects, from, to, target.prefix);
  }
}

function changesOf(
  sides: Sides,
  classes: readonly NodeClass[],
  { verb, target, rows }: Deltas,
  group: Group,
): AccessChange[] {
  const subjects = verb === "gains" ? sides.after : sides.before;
  const idsOf = (indices: readonly number[]) => indices.flatMap((index) => classes[index]!.ids);
  return sentences(subjects, classes, group.pairs).map((sentence) => ({
    verb,
    target,
    traffic: commonTraffic(rows, sentence.pairs),
    sources: idsOf(sentence.rows),
    destinations: idsOf(sentence.columns),
    scope: sentence.scope,
  }));
}

/** Everything that all of `pairs` gain or lose: no less than what they were grouped for. */
function commonTraffic(rows: Deltas["rows"], pairs: Pairs): Traffic {
  const sets = new Set<Traffic>();
  for (const [row, columns] of pairs) {
    for (const column of columns) sets.add(rows.get(row)!.get(column)!);
  }
  return [...sets].reduce(intersect);
}
