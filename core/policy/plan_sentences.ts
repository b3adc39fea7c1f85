/**
 * In which few sentences are pairs of classes said that change alike?
 *
 * Most policies let the nodes of one user reach each other. So besides the plain way, pairs of one
 * user and pairs of others are said apart, and what is shorter is taken.
 * @module
 */
import type { PeerId } from "../ids.ts";
import { type NodeClass, pairOf } from "./plan_classes.ts";
import { filterPairs, type Pairs, type Rectangle, rectangles } from "./rectangles.ts";
import type { MeshSubjects } from "./subjects.ts";

/** Which of the pairs of a sentence are meant, by who owns the nodes. */
export type Scope = "all" | "own" | "others";

/** Each of the sources with each of the destinations but itself, as far as `scope` goes. */
export interface Sentence extends Rectangle {
  readonly scope: Scope;
  /** What the sentence means, word by word, without the pairs that do not matter. */
  readonly pairs: Pairs;
}

/** Sentences that together mean exactly `pairs`. */
export function sentences(
  subjects: MeshSubjects,
  classes: readonly NodeClass[],
  pairs: Pairs,
): Sentence[] {
  const isAlone = (row: number, column: number) => row === column && classes[row]!.ids.length === 1;
  const plain = rectangles(pairs, isAlone).map((each) => sentence(each, "all", pairs));
  const owners = ownersOf(subjects, classes);
  if (owners === null || plain.length === 1) return plain;
  const isOwn = (row: number, column: number) =>
    owners[row] !== null && owners[row] === owners[column];
  const isFree = (row: number, column: number) => isOwn(row, column) || isAlone(row, column);

  const own = ownSentences(classes, owners, filterPairs(pairs, isOwn), isAlone);
  const others = filterPairs(pairs, (row, column) => !isOwn(row, column));
  const apart = rectangles(others, isFree).map((each) => {
    const isExceptional = each.rows.some((row) =>
      each.columns.some((column) => isOwn(row, column))
    );
    return sentence(each, isExceptional ? "others" : "all", others);
  });
  const whole = wholeUsers(classes, owners, pairs);
  const rest = filterPairs(pairs, (row, column) => !whole.get(row)?.has(column));
  const mixed = whole.size === 0 ? plain : [
    ownSentence(whole),
    ...rectangles(rest, isAlone).map((each) => sentence(each, "all", rest)),
  ];
  return [mixed, [...own, ...apart]].reduce((a, b) => b.length < a.length ? b : a, plain);
}

function sentence({ rows, columns }: Rectangle, scope: Scope, pairs: Pairs): Sentence {
  const meant = rows.map((row) =>
    [row, new Set(columns.filter((column) => pairs.get(row)?.has(column)))] as const
  );
  return { rows, columns, scope, pairs: new Map(meant) };
}

function ownSentence(whole: Pairs): Sentence {
  const rows = [...whole.keys()];
  return { rows, columns: rows, scope: "own", pairs: whole };
}

function ownSentences(
  classes: readonly NodeClass[],
  owners: readonly (string | null)[],
  pairs: Pairs,
  isAlone: (row: number, column: number) => boolean,
): Sentence[] {
  const whole = wholeUsers(classes, owners, pairs);
  const rest = filterPairs(pairs, (row, column) => !whole.get(row)?.has(column));
  return [
    ...(whole.size === 0 ? [] : [ownSentence(whole)]),
    ...rectangles(rest, isAlone).map((each) => sentence(each, "all", rest)),
  ];
}

/** Pairs of the users all of whose own pairs are among `pairs`. */
function wholeUsers(
  classes: readonly NodeClass[],
  owners: readonly (string | null)[],
  pairs: Pairs,
): Map<number, Set<number>> {
  const whole = new Map<number, Set<number>>();
  const byOwner = new Map<string, number[]>();
  owners.forEach((owner, index) => {
    if (owner !== null) byOwner.set(owner, [...byOwner.get(owner) ?? [], index]);
  });
  for (const indices of byOwner.values()) {
    const all = indices.flatMap((row) => indices.map((column) => [row, column] as const))
      .filter(([row, column]) => pairOf(classes[row]!, classes[column]!) !== null);
    if (!all.every(([row, column]) => pairs.get(row)?.has(column))) continue;
    for (const [row, column] of all) {
      whole.set(row, (whole.get(row) ?? new Set<number>()).add(column));
    }
  }
  return whole;
}

/** Whose each class is; null where a class has nodes of several owners, so that none can be told. */
function ownersOf(
  subjects: MeshSubjects,
  classes: readonly NodeClass[],
): (string | null)[] | null {
  const ownerOf = (id: PeerId) => subjects.node(id)?.user ?? null;
  const isMixed = classes.some(({ ids }) => new Set(ids.map(ownerOf)).size > 1);
  return isMixed ? null : classes.map(({ ids }) => ownerOf(ids[0]!));
}
