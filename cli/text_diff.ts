/**
 * How do two texts differ, line by line? Unified, as `diff -u` and Git show it.
 * @module
 */

/** Lines before and after a change that are shown with it. */
const CONTEXT = 3;
/** Cells of the table of common lines; beyond it all between the first and last change differs. */
const MAX_CELLS = 4_000_000;

/** A line: in both texts, in the old one alone, or in the new one alone. */
export interface DiffLine {
  readonly sign: " " | "-" | "+";
  readonly text: string;
}

/** How many lines a change takes away and adds. */
export interface DiffStat {
  readonly removed: number;
  readonly added: number;
}

/** Every line of both texts, with as many in common as possible. */
export function diffLines(before: string, after: string): DiffLine[] {
  const [old, now] = [linesOf(before), linesOf(after)];
  let start = 0;
  while (start < Math.min(old.length, now.length) && old[start] === now[start]) start++;
  let end = 0;
  while (
    end < Math.min(old.length, now.length) - start &&
    old[old.length - 1 - end] === now[now.length - 1 - end]
  ) end++;
  const same = (text: string): DiffLine => ({ sign: " ", text });
  return [
    ...old.slice(0, start).map(same),
    ...between(old.slice(start, old.length - end), now.slice(start, now.length - end)),
    ...old.slice(old.length - end).map(same),
  ];
}

/** The lines that `diff -u` prints for a file; none when nothing differs. Null is no file. */
export function unifiedDiff(name: string, before: string | null, after: string | null): string[] {
  if (before === after) return [];
  const lines = diffLines(before ?? "", after ?? "");
  return [
    `--- ${before === null ? "/dev/null" : `a/${name}`}`,
    `+++ ${after === null ? "/dev/null" : `b/${name}`}`,
    ...hunksOf(lines),
  ];
}

/** Counts of a change. */
export function diffStat(before: string, after: string): DiffStat {
  const lines = diffLines(before, after);
  const count = (sign: DiffLine["sign"]) => lines.filter((line) => line.sign === sign).length;
  return { removed: count("-"), added: count("+") };
}

function linesOf(text: string): string[] {
  if (text === "") return [];
  const lines = text.split("\n");
  // A last line without its break is told apart, as `diff` does.
  if (lines.at(-1) === "") lines.pop();
  else lines[lines.length - 1] += "\n\\ No newline at end of file";
  return lines;
}

/** Longest common subsequence by its table. */
function between(old: readonly string[], now: readonly string[]): DiffLine[] {
  const width = now.length + 1;
  const isLarge = (old.length + 1) * width > MAX_CELLS;
  // Lines in common from here on, for each pair of places.
  const common = new Uint32Array(isLarge ? 0 : (old.length + 1) * width);
  for (let i = old.length - 1; i >= 0 && !isLarge; i--) {
    for (let j = now.length - 1; j >= 0; j--) {
      common[i * width + j] = old[i] === now[j]
        ? common[(i + 1) * width + j + 1]! + 1
        : Math.max(common[(i + 1) * width + j]!, common[i * width + j + 1]!);
    }
  }
  const lines: DiffLine[] = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < now.length) {
    const isSame = !isLarge && i < old.length && j < now.length && old[i] === now[j];
    const takesOld = j === now.length ||
      (i < old.length && (isLarge || common[(i + 1) * width + j]! >= common[i * width + j + 1]!));
    if (isSame) lines.push({ sign: " ", text: old[i++]! }), j++;
    else if (takesOld) lines.push({ sign: "-", text: old[i++]! });
    else lines.push({ sign: "+", text: now[j++]! });
  }
  return lines;
}

function hunksOf(lines: readonly DiffLine[]): string[] {
  const isNear = (at: number) =>
    lines.slice(Math.max(0, at - CONTEXT), at + CONTEXT + 1).some(({ sign }) => sign !== " ");
  const shown: string[] = [];
  let [oldAt, newAt] = [1, 1];
  for (let at = 0; at < lines.length;) {
    if (!isNear(at)) {
      [oldAt, newAt, at] = [oldAt + 1, newAt + 1, at + 1];
      continue;
    }
    let end = at;
    while (end < lines.length && isNear(end)) end++;
    const hunk = lines.slice(at, end);
    const oldCount = hunk.filter(({ sign }) => sign !== "+").length;
    const newCount = hunk.filter(({ sign }) => sign !== "-").length;
    shown.push(`@@ -${span(oldAt, oldCount)} +${span(newAt, newCount)} @@`);
    for (const { sign, text } of hunk) shown.push(...`${sign}${text}`.split("\n"));
    [oldAt, newAt, at] = [oldAt + oldCount, newAt + newCount, end];
  }
  return shown;
}

/** Where lines begin and how many they are; of no lines the one before. */
function span(start: number, count: number): string {
  return count === 1 ? String(start) : `${count === 0 ? start - 1 : start},${count}`;
}
