/**
 * Runs a command line: finds the command, parses its words, gives up the permissions that it does
 * not declare, runs it, and maps failures to exit statuses.
 * @module
 */
import { errorMessage, ERRORS, MeshError } from "../core/errors.ts";
import type { Command, CommandContext, PreparedCommand } from "./command.ts";
import { COMMANDS, loadCommands } from "./commands.ts";
import type { GlobalOptions } from "./globals.ts";
import type { HelpStyle } from "./help.ts";
import { type Host, readHost } from "./host.ts";
import { type InputSpec, NO_INPUT } from "./options.ts";
import { Output, wantsColor, writeAll } from "./output.ts";
import {
  globalOptions,
  parseArguments,
  splitArguments,
  unknownCommand,
  usage,
  type Values,
} from "./parse.ts";
import { revokeUndeclared } from "./permissions.ts";
import { pathsOf } from "./places.ts";

const PROGRAM = "tunnelmesh";

/** What is done with a command once it has no more permissions than it declares. */
export type Execute = (prepared: PreparedCommand, context: CommandContext) => Promise<number>;

/**
 * Runs the command that `argv` names and returns the exit status; never throws.
 *
 * @param execute Tests put something else in the command's place.
 */
export async function run(
  argv: readonly string[],
  execute: Execute = (prepared) => prepared.run(),
): Promise<number> {
  const host = readHost();
  const out = outputFor(host, argv.includes("--json"));
  try {
    return await dispatch(argv, host, out, execute);
  } catch (error) {
    // The reader of a pipe has seen enough, e.g. `tunnelmesh peers | head -1`.
    if (error instanceof Deno.errors.BrokenPipe) return 0;
    return report(error, host, out);
  }
}

function outputFor(host: Host, isJson: boolean): Output {
  return new Output({
    isJson,
    isColor: wantsColor(host.env, Deno.stdout.isTerminal()),
    isErrorColor: wantsColor(host.env, Deno.stderr.isTerminal()),
    columns: host.columns,
    write: (text) => writeAll(Deno.stdout, text),
    writeError: (text) => writeAll(Deno.stderr, text),
  });
}

/** Says what went wrong and returns the exit status for it. */
function report(error: unknown, host: Host, out: Output): number {
  if (host.env.TUNNELMESH_DEBUG && error instanceof Error) console.error(error);
  if (error instanceof MeshError) {
    out.error(error.code, error.message, error.hint);
    return ERRORS[error.code].exit;
  }
  if (error instanceof Deno.errors.NotCapable) {
    out.error("privilege-missing", `Cannot go on: ${error.message}`, PERMISSION_HINT);
    return ERRORS["privilege-missing"].exit;
  }
  out.error("internal", `Cannot go on, this is a bug: ${errorMessage(error)}`, BUG_HINT);
  return ERRORS.internal.exit;
}

const PERMISSION_HINT = "docs/reference/permissions.md says what each command needs";
const BUG_HINT = "Run it again with TUNNELMESH_DEBUG=1 and report what it prints";

async function dispatch(
  argv: readonly string[],
  host: Host,
  out: Output,
  execute: Execute,
): Promise<number> {
  const words = argv[0] === "--version" || argv[0] === "-V"
    ? ["version", ...argv.slice(1)]
    : argv[0] === "help"
    ? [...argv.slice(1), "--help"]
    : argv;
  const { before, command: name, rest } = splitArguments(words, PROGRAM);
  if (name === null) {
    const commands = await loadCommands();
    return await showHelp(out, (help, style) => help.rootHelp(commands, style));
  }
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!load) {
    const known = Object.keys(COMMANDS).filter((each) => !each.startsWith("_"));
    throw unknownCommand(PROGRAM, name, [...known, "help"]);
  }
  return await runCommand(
    await load(),
    { path: `${PROGRAM} ${name}`, words: rest, before, execute },
    host,
    out,
  );
}

interface Invocation {
  /** The command as typed so far. */
  readonly path: string;
  readonly words: readonly string[];
  /** Global options that stood before the command. */
  readonly before: Values;
  readonly execute: Execute;
}

async function runCommand(
  command: Command,
  { path, words, before, execute }: Invocation,
  host: Host,
  out: Output,
): Promise<number> {
  if (command.subcommands.length > 0) {
    const split = splitArguments(words, path);
    const values = { ...before, ...split.before };
    const invocation = {
      path: `${path} ${split.command}`,
      words: split.rest,
      before: values,
      execute,
    };
    if (split.command !== null) {
      return await runCommand(childOf(command, split.command, path), invocation, host, out);
    }
    if (values.help !== true) {
      throw usage(path, "a command is missing", `Run \`${path} --help\` for the commands`);
    }
    return await showHelp(out, (help, style) => help.groupHelp(command, path, style));
  }
  const spec = command.input ? (await import("./input_options.ts")).inputSpecOf(command) : NO_INPUT;
  const parsed = parseArguments(spec, words, path);
  const globals = globalOptions({ ...before, ...parsed.globals }, host.env);
  if (globals.help) {
    return await showHelp(out, (help, style) => help.commandHelp(command, spec, path, style));
  }
  const input = await validate(command, spec, parsed.values, path);
  const context = contextFor(globals, host, out);
  const prepared = await command.prepare(input, context);
  for (const each of prepared.permissions.opens ?? []) {
    // What fails here fails again where the command asks for it, if it does.
    await (each === "$control" ? context.daemon() : context.contexts()).catch(() => {});
  }
  await revokeUndeclared(prepared.permissions, pathsOf(host, globals, context.contexts));
  return await execute(prepared, context);
}

function childOf(group: Command, name: string, path: string): Command {
  const child = group.subcommands.find((each) => each.name === name || each.aliases.includes(name));
  if (child) return child;
  throw unknownCommand(
    path,
    name,
    group.subcommands.flatMap((each) => [each.name, ...each.aliases]),
  );
}

async function showHelp(
  out: Output,
  render: (help: typeof import("./help.ts"), style: HelpStyle) => string[],
): Promise<number> {
  const style = { width: out.width, bold: (text: string) => out.bold(text) };
  for (const line of render(await import("./help.ts"), style)) out.raw(`${line}\n`);
  return 0;
}

/** The input that the command's schema yields. @throws {MeshError} `usage`, naming the option. */
async function validate(
  command: Command,
  spec: InputSpec,
  values: Values,
  path: string,
): Promise<unknown> {
  if (!command.input) return {};
  const result = command.input.safeParse(values);
  if (result.success) return result.data;
  const { explainIssue } = await import("../core/config/explain.ts");
  const issue = result.error.issues[0]!;
  const key = String(issue.path[0] ?? "");
  const option = spec.options.find((each) => each.key === key);
  const positional = spec.positionals.find((each) => each.key === key);
  const name = option?.long ?? positional?.placeholder ?? key;
  const value = values[key];
  const shown = value === undefined ? "" : `, not ${JSON.stringify(value)}`;
  throw usage(path, `${name} ${explainIssue(issue, value)}${shown}`);
}

/** What a command runs with, made when first asked for. */
function contextFor(globals: GlobalOptions, host: Host, out: Output): CommandContext {
  const contexts = once(async () => (await import("./contexts.ts")).Contexts.load(host));
  const config = once(async () => {
    const { ConfigFiles } = await import("./config_files.ts");
    return new ConfigFiles({ host, globals, contexts: await contexts(), out });
  });
  const socketPath = once(async () => {
    const { findSocket } = await import("./sockets.ts");
    const file = globals.config === null ? null : await (await config()).loadPeer({});
    return findSocket(host, globals, await contexts(), file);
  });
  const daemon = once(async () => {
    const { ControlClient } = await import("./control_client.ts");
    const { usableSocket } = await import("./sockets.ts");
    return await ControlClient.connect(usableSocket(host, await socketPath()));
  });
  return { globals, host, out, commands: loadCommands, contexts, config, socketPath, daemon };
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => made ??= make();
}
