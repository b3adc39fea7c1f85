/**
 * The options and arguments of a command, as parser, help and completion see them.
 *
 * Global options are written here; those of a command come from its input schema, by
 * `input_options.ts`, which is loaded only when a command has an input.
 * @module
 */

/** An option of the command line. */
export interface OptionSpec {
  /** Where its value goes in the input. */
  readonly key: string;
  /** With its dashes, e.g. `--udp-port`. */
  readonly long: string;
  /** One letter, or null. */
  readonly short: string | null;
  /** A flag takes no value; a list may be given more than once. */
  readonly kind: "flag" | "value" | "list";
  readonly isNumber: boolean;
  readonly placeholder: string;
  readonly description: string;
  /** What is used when it is absent; null when nothing is or help need not say. */
  readonly fallback: string | null;
  /** Environment variable that says the same, or null. */
  readonly variable: string | null;
  readonly choices: readonly string[];
  readonly completes: Completes | null;
  readonly isHidden: boolean;
}

/** An argument without a name. */
export interface PositionalSpec {
  readonly key: string;
  readonly placeholder: string;
  readonly description: string;
  readonly isRequired: boolean;
  /** Takes all words that are left; only the last one does. */
  readonly isRepeated: boolean;
  readonly choices: readonly string[];
  readonly completes: Completes | null;
}

/** Words that complete a value but are only known when asked for. */
export type Completes = "peers" | "contexts" | "files";

/** Everything a command takes. */
export interface InputSpec {
  readonly options: readonly OptionSpec[];
  readonly positionals: readonly PositionalSpec[];
}

/** What a command without an input takes. */
export const NO_INPUT: InputSpec = { options: [], positionals: [] };

function globalOption(
  key: string,
  long: string,
  description: string,
  more: Partial<OptionSpec> = {},
): OptionSpec {
  return {
    key,
    long,
    short: null,
    kind: "value",
    isNumber: false,
    placeholder: "TEXT",
    description,
    fallback: null,
    variable: null,
    choices: [],
    completes: null,
    isHidden: false,
    ...more,
  };
}

/** Options that every command takes, before or after its name. */
export const GLOBAL_OPTIONS: readonly OptionSpec[] = [
  globalOption("help", "--help", "Show this help", { kind: "flag", short: "h" }),
  globalOption("json", "--json", "Print JSON for programs", { kind: "flag" }),
  globalOption("config", "--config", "Configuration file", {
    variable: "TUNNELMESH_CONFIG",
    short: "c",
    placeholder: "FILE",
    completes: "files",
  }),
  globalOption("context", "--context", "Context to use", {
    variable: "TUNNELMESH_CONTEXT",
    placeholder: "NAME",
    fallback: "the active one",
    completes: "contexts",
  }),
  globalOption("identity", "--identity", "Identity key", {
    variable: "TUNNELMESH_IDENTITY",
    placeholder: "FILE",
    fallback: "~/.tunnelmesh/id_ed25519",
    completes: "files",
  }),
  globalOption("stateDir", "--state-dir", "State directory", {
    variable: "TUNNELMESH_STATE_DIR",
    placeholder: "DIR",
    completes: "files",
  }),
  globalOption("logLevel", "--log-level", "How much is logged", {
    variable: "TUNNELMESH_LOG_LEVEL",
    short: "l",
    placeholder: "LEVEL",
    fallback: "info",
    choices: ["trace", "debug", "info", "warn", "error"],
  }),
];
