/**
 * How is a set of pairs said in few sentences of the form "each of these with each of those"?
 * @module
 */

/** Pairs by their first number. */
export type Pairs = ReadonlyMap<number, ReadonlySet<number>>;

/** Every pair of one of `rows` and one of `columns`. */
export interface Rectangle {
  readonly rows: readonly number[];
  readonly columns: readonly number[];
}

/**
 * Covers exactly `pairs` by rectangles that share no pair. Whether a number is paired with itself
 * does not matter where `isFree` says so.
 */
export function rectangles(pairs: Pairs, isFree: (number: number) => boolean): Rectangle[] {
  const byRow = groupRows(pairs, isFree);
  const byColumn = groupRows(transposed(pairs), isFree);
  if (byRow.length <= byColumn.length) return byRow;
  return byColumn.map(({ rows, columns }) => ({ rows: columns, columns: rows }));
}

function groupRows(pairs: Pairs, isFree: (number: number) => boolean): Rectangle[] {
  const counts = new Map<string, number>();
  const choices = new Map<number, Set<string>>();
  for (const [row, columns] of pairs) {
    const keys = new Set([keyOf(columns)]);
    if (isFree(row)) keys.add(keyOf([...columns, row]));
    choices.set(row, keys);
    for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const groups = new Map<string, number[]>();
  for (const [row, keys] of choices) {
    const [first, second] = keys;
    const key = second !== undefined && counts.get(second)! > counts.get(first!)! ? second : first!;
    groups.set(key, [...groups.get(key) ?? [], row]);
  }
  return [...groups].map(([key, rows]) => ({ rows, columns: key.split(",").map(Number) }));
}

function keyOf(columns: Iterable<number>): string {
  return [...new Set(columns)].sort((a, b) => a - b).join(",");
}

function transposed(pairs: Pairs): Pairs {
  const out = new Map<number, Set<number>>();
  for (const [row, columns] of pairs) {
    for (const column of columns) out.set(column, (out.get(column) ?? new Set()).add(row));
  }
  return out;
}
