/**
 * Help text of the program, a group or a command, from their declarations.
 * @module
 */
import type { Command } from "./command.ts";
import { wrapText } from "./format.ts";
import { GLOBAL_OPTIONS, type InputSpec, type OptionSpec } from "./options.ts";

/** What the exit statuses mean; `docs/reference/cli.md` has the same words. */
export const EXIT_STATUSES: readonly [status: number, meaning: string][] = [
  [0, "done"],
  [1, "failed"],
  [2, "wrong usage or configuration"],
  [3, "not connected: no daemon, or no coordinator"],
  [4, "refused by policy"],
  [5, "something differs, for commands with --exit-code"],
];

/** How help looks. */
export interface HelpStyle {
  readonly width: number;
  readonly bold: (text: string) => string;
}

/** Lines of `tunnelmesh --help`. */
export function rootHelp(commands: readonly Command[], style: HelpStyle): string[] {
  return [
    "TunnelMesh: an encrypted network between your machines, with names.",
    "",
    `${style.bold("Usage:")} tunnelmesh COMMAND [OPTIONS]`,
    "",
    style.bold("First steps:"),
    ...table([
      ["sudo tunnelmesh up", "on one machine; it prints the line for the others"],
      ["sudo tunnelmesh join URL --token T", "on each other machine"],
      ["tunnelmesh status", "shows who is connected, and how"],
    ], style),
    "",
    style.bold("Commands:"),
    ...table(visible(commands).map(({ name, summary }) => [name, summary]), style),
    "",
    style.bold("Options of every command:"),
    ...optionTable(GLOBAL_OPTIONS, style, true),
    "",
    style.bold("Exit status:"),
    ...table(EXIT_STATUSES.map(([status, meaning]) => [String(status), meaning]), style),
    "",
    "`tunnelmesh COMMAND --help` tells more about a command.",
  ];
}

/** Lines of `tunnelmesh GROUP --help`. */
export function groupHelp(command: Command, path: string, style: HelpStyle): string[] {
  return [
    command.summary,
    "",
    `${style.bold("Usage:")} ${path} COMMAND [OPTIONS]`,
    ...paragraphs(command.description, style),
    "",
    style.bold("Commands:"),
    ...table(visible(command.subcommands).map((child) => [nameOf(child), child.summary]), style),
    ...examples(command, style),
  ];
}

/** Lines of the help of one command. */
export function commandHelp(
  command: Command,
  spec: InputSpec,
  path: string,
  style: HelpStyle,
): string[] {
  const { positionals } = spec;
  const own = spec.options.filter(({ isHidden }) => !isHidden);
  return [
    command.summary,
    "",
    `${style.bold("Usage:")} ${usageOf(path, spec)}`,
    ...paragraphs(command.description, style),
    ...section(
      "Arguments:",
      table(positionals.map((each) => [each.placeholder, each.description]), style),
      style,
    ),
    ...section("Options:", optionTable(own, style), style),
    ...section("Options of every command:", [...globalList(own, style)], style),
    ...examples(command, style),
  ];
}

/** `tunnelmesh ping PEER [OPTIONS]`. */
export function usageOf(path: string, { positionals, options }: InputSpec): string {
  const words = positionals.map(({ placeholder, isRequired, isRepeated }) => {
    const word = placeholder + (isRepeated ? "..." : "");
    return isRequired ? word : `[${word}]`;
  });
  return [path, ...words, ...(options.length > 0 ? ["[OPTIONS]"] : [])].join(" ");
}

/** `-c, --count N`. */
export function optionLabel({ short, long, kind, placeholder, choices }: OptionSpec): string {
  const value = choices.length > 0 && choices.join("|").length <= 24
    ? choices.join("|")
    : placeholder;
  return `${short ? `-${short}, ` : ""}${long}${kind === "flag" ? "" : ` ${value}`}`;
}

/** What an option means, whether it may be repeated, its default and its variable. */
export function optionMeaning(option: OptionSpec, withVariable = false): string {
  const { description, fallback, kind, variable } = option;
  const notes = [
    ...(kind === "list" ? ["may be repeated"] : []),
    ...(fallback === null ? [] : [`default: ${fallback}`]),
    ...(withVariable && variable !== null ? [variable] : []),
  ];
  return notes.length === 0 ? description : `${description} (${notes.join("; ")})`;
}

function visible(commands: readonly Command[]): Command[] {
  return commands.filter(({ hidden }) => !hidden);
}

function nameOf({ name, aliases }: Command): string {
  return [name, ...aliases].join(", ");
}

function optionTable(
  options: readonly OptionSpec[],
  style: HelpStyle,
  withVariable = false,
): string[] {
  const rows = options.map((option) => [optionLabel(option), optionMeaning(option, withVariable)]);
  return table(rows, style);
}

/** Global options by name only: the program's own help explains them. */
function globalList(own: readonly OptionSpec[], { width }: HelpStyle): string[] {
  const taken = new Set(own.map(({ short }) => short));
  const labels = GLOBAL_OPTIONS.map((option) =>
    optionLabel(taken.has(option.short) ? { ...option, short: null } : option)
  );
  const lines: string[] = [];
  for (const label of labels.map((each, i) => i + 1 < labels.length ? `${each},` : each)) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + label.length > width) lines.push(`  ${label}`);
    else lines[lines.length - 1] = `${last} ${label}`;
  }
  return [...lines, "  `tunnelmesh --help` explains them."];
}

function section(title: string, lines: readonly string[], style: HelpStyle): string[] {
  return lines.length === 0 ? [] : ["", style.bold(title), ...lines];
}

function paragraphs(text: string | null, style: HelpStyle): string[] {
  return text === null ? [] : ["", ...wrapText(text, style.width)];
}

function examples({ examples }: Command, style: HelpStyle): string[] {
  const lines = examples.flatMap(({ command, meaning }) => [
    `  ${command}`,
    ...wrapText(meaning, style.width - 6).map((line) => `      ${line}`),
  ]);
  return section("Examples:", lines, style);
}

const LABEL_WIDTH = 34;

/** Two columns; a label that is too long for the first stands on a line of its own. */
function table(rows: readonly (readonly string[])[], style: HelpStyle): string[] {
  const labels = rows.map(([label]) => label!.length).filter((length) => length <= LABEL_WIDTH);
  const column = Math.max(0, ...labels);
  return rows.flatMap(([label, meaning]) => {
    const lines = wrapText(meaning!, style.width - column - 4);
    const first = label!.length <= column ? lines.shift() ?? "" : "";
    return [
      `  ${label!.padEnd(column)}  ${first}`.trimEnd(),
      ...lines.map((line) => `${" ".repeat(column + 4)}${line}`),
    ];
  });
}
