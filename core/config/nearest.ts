/**
 * Which known word did a mistyped one mean?
 * @module
 */

/**
 * Returns the known word nearest to `word`, or null when none is near enough to suggest: at most a
 * third of the letters may differ, a swap of neighbours counting as one.
 */
export function nearest(word: string, known: Iterable<string>): string | null {
  let best: string | null = null;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best ?? uniqueExtension(word, known);
}

/** The only known word that begins with `word`, for one that was cut short. */
function uniqueExtension(word: string, known: Iterable<string>): string | null {
  if (word.length < 2) return null;
  const matches = [...known].filter((candidate) => candidate.startsWith(word));
  return matches.length === 1 ? matches[0]! : null;
}

/** Optimal string alignment distance: insert, delete, replace or swap neighbours. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, before[j - 2]! + 1);
      }
      row.push(least);
    }
    [before, previous] = [previous, row];
  }
  return previous[b.length]!;
}
