/**
 * Writes generated files, or with `--check` says which of them are stale.
 * @module
 */

/** A generated file: its path from the repository's root, and what it must hold. */
export interface Generated {
  readonly path: string;
  readonly text: string;
}

const ROOT = new URL("..", import.meta.url);

/** Text of a file of the repository; empty when there is none. */
export function currentText(path: string): string {
  try {
    return Deno.readTextFileSync(new URL(path, ROOT));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

/**
 * Writes what differs, or only names it when `args` has `--check`.
 *
 * @returns The exit status: 1 when a check found a stale file.
 */
export function settle(files: readonly Generated[], args: readonly string[], task: string): number {
  const stale = files.filter(({ path, text }) => currentText(path) !== text);
  if (args.includes("--check")) {
    for (const { path } of stale) console.error(`${path} is stale: run \`${task}\``);
    return stale.length === 0 ? 0 : 1;
  }
  for (const { path, text } of stale) {
    const url = new URL(path, ROOT);
    Deno.mkdirSync(new URL(".", url), { recursive: true });
    Deno.writeTextFileSync(url, text);
    console.log(`Wrote ${path}`);
  }
  return 0;
}
