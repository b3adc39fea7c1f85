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
  /** Options that only this command has; the global ones come beside them. */
  readonly options: readonly OptionSpec[];
  readonly positionals: readonly PositionalSpec[];
}

/** Everything that a script is made of. */
export interface CompletionModel {
  /** The program first, then groups and commands, parents before their children. */
  readonly nodes: readonly CompletionNode[];
  readonly globals: readonly OptionSpec[];
}

/** How a shell asks the program for words that only it knows. */
export function askCommand(what: "peers" | "contexts"): string {
  return `tunnelmesh __complete ${what} 2>/dev/null`;
}

/** Options that take a value. */
export function valued(options: readonly OptionSpec[]): OptionSpec[] {
  return options.filter(({ kind }) => kind !== "flag");
}

/** `--config` and `-c`. */
export function spellingsOf({ long, short }: OptionSpec): string[] {
  return [long, ...(short === null ? [] : [`-${short}`])];
}

/** Global options beside those of a node, without letters that the node uses itself. */
export function globalsBeside(
  { options }: CompletionNode,
  globals: readonly OptionSpec[],
): OptionSpec[] {
  return globals.map((option) =>
    option.short !== null && options.some(({ short }) => short === option.short)
      ? { ...option, short: null }
      : option
  );
}
