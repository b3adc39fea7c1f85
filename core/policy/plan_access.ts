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
import { type Pairs, type Rectangle, rectangles } from "./rectangles.ts";
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
  /** Only to nodes of the source's own user. */
  readonly isSelf: boolean;
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
    { type: "exit" },
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
    return byPart.length < byDelta.length ? byPart : byDelta;
  });
}

function isBelow(inner: Prefix, outer: Prefix): boolean {
  return inner.bits > outer.bits && holds(outer, inner);
}

function deltasOf(sides: Sides, classes: readonly NodeClass[], target: Target): Deltas[] {
  const known = new Map<string, Record<Verb, Traffic>>();
  const both: Deltas[] = [
    { verb: "gains", target, rows: new Map() },
    { verb: "loses", target, rows: new Map() },
  ];
  classes.forEach((from, row) =>
    classes.forEach((to, column) => {
      const pair = pairOf(from, to);
      if (pair === null) return;
      const own = [isOwnPair(sides.before, pair), isOwnPair(sides.after, pair)];
      const key = [from.kind, to.kind, ...own].join("/");
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
  deltas: Deltas,
  group: Group,
): AccessChange[] {
  const isAlone = (index: number) => classes[index]!.ids.length === 1;
  const idsOf = (indices: readonly number[]) => indices.flatMap((index) => classes[index]!.ids);
  const change = ({ rows, columns }: Rectangle, isSelf: boolean, pairs: Pairs): AccessChange => ({
    verb: deltas.verb,
    target: deltas.target,
    traffic: commonTraffic(deltas, rows, columns, pairs),
    sources: idsOf(rows),
    destinations: idsOf(columns),
    isSelf,
  });
  const plain = rectangles(group.pairs, isAlone);
  const own = ownPairs(sides, classes, deltas.verb, group.pairs);
  const rest = own && rectangles(own.rest, isAlone);
  if (own === null || rest === null || rest.length + 1 >= plain.length) {
    return plain.map((each) => change(each, false, group.pairs));
  }
  const rows = [...own.indices];
  return [
    change({ rows, columns: rows }, true, own.taken),
    ...rest.map((each) => change(each, false, own.rest)),
  ];
}

/** Everything that all of the pairs in a rectangle gain or lose: no less than the group's own. */
function commonTraffic(
  { rows }: Deltas,
  wanted: readonly number[],
  columns: readonly number[],
  pairs: Pairs,
): Traffic {
  const sets = wanted.flatMap((row) =>
    columns.filter((column) => pairs.get(row)?.has(column))
      .map((column) => rows.get(row)!.get(column)!)
  );
  return [...new Set(sets)].reduce((a, b) => a === b ? a : intersect(a, b));
}

/** Classes of users all of whose own pairs change: those pairs, and all others; null for none. */
function ownPairs(
  sides: Sides,
  classes: readonly NodeClass[],
  verb: Verb,
  pairs: Pairs,
): { indices: Set<number>; taken: Pairs; rest: Pairs } | null {
  const taken = new Map<number, Set<number>>();
  for (const own of classesByUser(verb === "gains" ? sides.after : sides.before, classes)) {
    const all = own.flatMap((row) => own.map((column) => [row, column] as const))
      .filter(([row, column]) => pairOf(classes[row]!, classes[column]!) !== null);
    if (all.length === 0 || !all.every(([row, column]) => pairs.get(row)?.has(column))) continue;
    for (const [row, column] of all) {
      taken.set(row, (taken.get(row) ?? new Set<number>()).add(column));
    }
  }
  if (taken.size === 0) return null;
  const rest = [...pairs].map(([row, columns]) =>
    [row, new Set([...columns].filter((column) => !taken.get(row)?.has(column)))] as const
  );
  return {
    indices: new Set(taken.keys()),
    taken,
    rest: new Map(rest.filter(([, columns]) => columns.size > 0)),
  };
}

/** Classes all of whose nodes are one user's, user by user. */
function classesByUser(subjects: MeshSubjects, classes: readonly NodeClass[]): number[][] {
  const byUser = new Map<string, number[]>();
  classes.forEach(({ ids }, index) => {
    const users = new Set(ids.map((id) => subjects.node(id)?.user ?? null));
    const [user] = users;
    if (users.size !== 1 || typeof user !== "string") return;
    byUser.set(user, [...byUser.get(user) ?? [], index]);
  });
  return [...byUser.values()];
}
