/**
 * What did the user type? Words of a command line to a command, its values and global options.
 *
 * Pure: it knows no command by name and reads nothing.
 * @module
 */
import { nearest } from "../core/config/nearest.ts";
import { MeshError } from "../core/errors.ts";
import type { GlobalOptions } from "./globals.ts";
import { GLOBAL_OPTIONS, type InputSpec, type OptionSpec } from "./options.ts";

/** Values by input key; what was not given is not there. */
export type Values = Record<string, unknown>;

/** The words of a command line, split at the command. */
export interface SplitArguments {
  /** Global options before the command. */
  readonly before: Values;
  /** First word that is no option, or null. */
  readonly command: string | null;
  /** Words after the command. */
  readonly rest: readonly string[];
}

/** Takes global options up to the first word that is none. @throws {MeshError} `usage` */
export function splitArguments(words: readonly string[], name: string): SplitArguments {
  const before: Values = {};
  let at = 0;
  while (at < words.length && words[at]!.startsWith("-") && words[at] !== "-") {
    if (words[at] === "--") break;
    at = takeOption({ words, at, name, options: GLOBAL_OPTIONS, values: before });
  }
  return { before, command: words[at] ?? null, rest: words.slice(at + 1) };
}

/** What a command's words say. */
export interface ParsedArguments {
  readonly values: Values;
  readonly globals: Values;
}

/**
 * Parses the words after a command.
 *
 * @param name The command as typed, e.g. `tunnelmesh join`, for messages.
 * @throws {MeshError} `usage` for what the command does not take.
 */
export function parseArguments(
  spec: InputSpec,
  words: readonly string[],
  name: string,
): ParsedArguments {
  const options = [...spec.options, ...GLOBAL_OPTIONS];
  const values: Values = {};
  const positionals: string[] = [];
  for (let at = 0; at < words.length;) {
    const word = words[at]!;
    if (word === "--") {
      positionals.push(...words.slice(at + 1));
      break;
    }
    if (word.startsWith("-") && word !== "-") {
      at = takeOption({ words, at, name, options, values });
    } else {
      positionals.push(word);
      at++;
    }
  }
  const own = new Set(spec.options.map(({ key }) => key));
  const globals = Object.fromEntries(Object.entries(values).filter(([key]) => !own.has(key)));
  const given = Object.fromEntries(Object.entries(values).filter(([key]) => own.has(key)));
  if (globals.help !== true) placePositionals(spec, positionals, given, name);
  return { values: given, globals };
}

function placePositionals(
  spec: InputSpec,
  words: readonly string[],
  values: Values,
  name: string,
): void {
  const excess = words[spec.positionals.length];
  if (excess !== undefined && !spec.positionals.at(-1)?.isRepeated) {
    throw usage(name, `unexpected argument "${excess}"`, `Run \`${name} --help\``);
  }
  spec.positionals.forEach(({ key, isRequired, isRepeated, placeholder }, index) => {
    const word = words[index];
    if (word !== undefined) values[key] = isRepeated ? words.slice(index) : word;
    else if (isRequired) {
      throw usage(name, `${placeholder} is missing`, `Run \`${name} --help\` for examples`);
    }
  });
}

interface Taking {
  readonly words: readonly string[];
  readonly at: number;
  readonly name: string;
  readonly options: readonly OptionSpec[];
  readonly values: Values;
}

/** Takes the option at `at` with its value; returns where the next word is. */
function takeOption(taking: Taking): number {
  const word = taking.words[taking.at]!;
  return word.startsWith("--") ? takeLong(taking, word) : takeShort(taking, word);
}

function takeLong(taking: Taking, word: string): number {
  const equals = word.indexOf("=");
  const long = equals < 0 ? word : word.slice(0, equals);
  const attached = equals < 0 ? null : word.slice(equals + 1);
  const option = taking.options.find((candidate) => candidate.long === long);
  if (!option) throw unknownOption(taking, long);
  if (option.kind !== "flag") return takeValue(taking, option, attached);
  if (attached !== null) throw usage(taking.name, `${long} takes no value`);
  taking.values[option.key] = true;
  return taking.at + 1;
}

/** `-c FILE`, `-cFILE`, and several flags in one word. */
function takeShort(taking: Taking, word: string): number {
  for (let i = 1; i < word.length; i++) {
    const option = taking.options.find((candidate) => candidate.short === word[i]);
    if (!option) throw unknownOption(taking, i === 1 && word.length > 6 ? word : `-${word[i]}`);
    if (option.kind !== "flag") return takeValue(taking, option, word.slice(i + 1) || null);
    taking.values[option.key] = true;
  }
  return taking.at + 1;
}

function takeValue(taking: Taking, option: OptionSpec, attached: string | null): number {
  const { words, at, name, values } = taking;
  const next = words[at + 1];
  const isNext = next !== undefined &&
    (!/^-./.test(next) || (option.isNumber && /^-\d/.test(next)));
  const text = attached ?? (isNext ? next : undefined);
  if (text === undefined || (text === "" && option.isNumber)) {
    throw usage(name, `${option.long} needs a value`, `Write ${option.long} ${option.placeholder}`);
  }
  // A text that is no number stays one, so that the schema can say what it must be.
  const value = option.isNumber && text.trim() !== "" && !isNaN(Number(text)) ? Number(text) : text;
  if (option.kind === "list") {
    values[option.key] = [...(values[option.key] as unknown[] | undefined ?? []), value];
  } else {
    values[option.key] = value;
  }
  return attached === null ? at + 2 : at + 1;
}

function unknownOption({ name, options }: Taking, word: string): MeshError {
  const known = options.filter(({ isHidden }) => !isHidden).map(({ long }) => long);
  const suggestion = word.startsWith("--") ? nearest(word, known) : null;
  const hint = suggestion
    ? `Did you mean ${suggestion}?`
    : word.startsWith("--") || word.length === 2
    ? `Run \`${name} --help\` for the options`
    : `If it is no option, write \`--\` before it: \`${name} -- ${word}\``;
  return usage(name, `unknown option ${word}`, hint);
}

/** A command line that cannot be run. */
export function usage(name: string, problem: string, hint?: string): MeshError {
  const options = hint === undefined ? {} : { hint };
  return new MeshError("usage", `Cannot run \`${name}\`: ${problem}`, options);
}

/** The error for a word that names no command. */
export function unknownCommand(parent: string, word: string, known: Iterable<string>): MeshError {
  const suggestion = nearest(word, known);
  const hint = suggestion
    ? `Did you mean \`${parent} ${suggestion}\`?`
    : `Run \`${parent} --help\` for the commands`;
  return usage(`${parent} ${word}`, "there is no such command", hint);
}

/** Fills the global options from the command line, then from the environment. */
export function globalOptions(
  values: Values,
  env: Readonly<Record<string, string>>,
): GlobalOptions {
  const text = (key: string, variable: string) =>
    typeof values[key] === "string" ? values[key] : env[variable] || null;
  return {
    json: values.json === true,
    help: values.help === true,
    config: text("config", "TUNNELMESH_CONFIG"),
    logLevel: text("logLevel", "TUNNELMESH_LOG_LEVEL"),
    context: text("context", "TUNNELMESH_CONTEXT"),
    identity: text("identity", "TUNNELMESH_IDENTITY"),
    stateDir: text("stateDir", "TUNNELMESH_STATE_DIR"),
  };
}
