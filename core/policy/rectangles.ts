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

/** Whether it does not matter if a rectangle holds that pair. */
export type IsFree = (row: number, column: number) => boolean;

/**
 * Rectangles that share no pair and hold exactly `pairs`, apart from free ones. Few of them, found
 * greedily; the fewest would be a hard problem.
 */
export function rectangles(pairs: Pairs, isFree: IsFree): Rectangle[] {
  const byRow = joinedRows(pairs, isFree);
  const byColumn = joinedRows(transposed(pairs), (row, column) => isFree(column, row));
  if (byRow.length <= byColumn.length) return byRow;
  return byColumn.map(({ rows, columns }) => ({ rows: columns, columns: rows }));
}

/** Rows with the same columns, each of which may lack columns that are free for it. */
function joinedRows(pairs: Pairs, isFree: IsFree): Rectangle[] {
  const found: { rows: number[]; columns: Set<number> }[] = [];
  const longestFirst = [...pairs].sort((a, b) => b[1].size - a[1].size);
  for (const [row, columns] of longestFirst) {
    const fitting = found.find((each) => fits(each, row, columns, isFree));
    if (fitting === undefined) {
      found.push({ rows: [row], columns: new Set(columns) });
    } else {
      fitting.rows.push(row);
      for (const column of columns) fitting.columns.add(column);
    }
  }
  return found.map(({ rows, columns }) => ({ rows, columns: [...columns] }));
}

function fits(
  { rows, columns }: { readonly rows: readonly number[]; readonly columns: ReadonlySet<number> },
  row: number,
  wanted: ReadonlySet<number>,
  isFree: IsFree,
): boolean {
  for (const column of columns) {
    if (!wanted.has(column) && !isFree(row, column)) return false;
  }
  for (const column of wanted) {
    if (!columns.has(column) && !rows.every((other) => isFree(other, column))) return false;
  }
  return true;
}

function transposed(pairs: Pairs): Pairs {
  const out = new Map<number, Set<number>>();
  for (const [row, columns] of pairs) {
    for (const column of columns) out.set(column, (out.get(column) ?? new Set()).add(row));
  }
  return out;
}

/** Only those of `pairs` for which `isWanted` holds. */
export function filterPairs(
  pairs: Pairs,
  isWanted: (row: number, column: number) => boolean,
): Pairs {
  const kept = [...pairs].map(([row, columns]) =>
    [row, new Set([...columns].filter((column) => isWanted(row, column)))] as const
  );
  return new Map(kept.filter(([, columns]) => columns.size > 0));
}
