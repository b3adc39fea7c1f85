/**
 * What completion scripts know of a place in the command line.
 * @module
 */
import type { OptionSpec, PositionalSpec } from "../options.ts";

/** The program (path ""), a group (`/token`) or a command (`/token/create`). */
export interface CompletionNode {
  readonly path: string;
  /** Paths that mean this node: its own and those of its aliases. */
  readonly spellings: readonly string[];
  readonly children: readonly { readonly name: string; readonly summary: string }[];
  readonly options: readonly OptionSpec[];
  readonly positionals: readonly PositionalSpec[];
}

/** How a shell asks the program for words that only it knows. */
export function askCommand(what: "peers" | "contexts"): string {
  return `tunnelmesh __complete ${what} 2>/dev/null`;
}

/** Names of all options that take a value, as typed. */
export function valueOptions(nodes: readonly CompletionNode[]): string[] {
  const names = nodes.flatMap(({ options }) =>
    options.filter(({ kind }) => kind !== "flag").flatMap(spellingsOf)
  );
  return [...new Set(names)].sort();
}

/** `--config` and `-c`. */
export function spellingsOf({ long, short }: OptionSpec): string[] {
  return [long, ...(short === null ? [] : [`-${short}`])];
}
