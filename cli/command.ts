/**
 * What is a command? A value: its name, its input schema, the permissions it needs and what it
 * does. Parsing, help, completion, reference pages and permission sets are all read from it.
 * @module
 */
import type { z } from "zod";
import type { ConfigFiles } from "./config_files.ts";
import type { Contexts } from "./contexts.ts";
import type { ControlClient } from "./control_client.ts";
import type { GlobalOptions } from "./globals.ts";
import type { Host } from "./host.ts";
import type { Output } from "./output.ts";

declare module "zod" {
  interface GlobalMeta {
    /** Which argument without a name fills this input, from 0. */
    positional?: number;
    /** One letter that stands for the option. */
    alias?: string;
    /** What the value is called in help, e.g. `HOST:PORT`. */
    placeholder?: string;
    /** What completes the value: peers that the daemon knows, contexts, or file names. */
    completes?: "peers" | "contexts" | "files";
    /** Accepted but left out of help, e.g. an old spelling. */
    hidden?: boolean;
  }
}

/**
 * Symbolic places that permission sets name; `cli/permissions.ts` says which paths they are.
 * `$control` is the daemon's socket, `$config` the configuration files and contexts,
 * `$identity` the identity key, `$state` the node's state, `$data` the coordinator's, and
 * `$system` what a node changes in the system (`/dev/net/tun`, `/etc/resolv.conf`, ...).
 */
export type Place = "$config" | "$control" | "$data" | "$identity" | "$state" | "$system";

/** What a command may do; a kind that is absent is revoked before the command runs. */
export interface Permissions {
  readonly read?: readonly Place[] | true;
  readonly write?: readonly Place[] | true;
  /** `$control` is the daemon's socket only; `true` is the network. */
  readonly net?: readonly ["$control"] | true;
  readonly env?: true;
  readonly sys?: true;
  /** Programs, by name; `true` where they differ by system. */
  readonly run?: readonly string[] | true;
  readonly ffi?: true;
}

/** What a command runs with; everything that is costly is made when it is first asked for. */
export interface CommandContext {
  readonly globals: GlobalOptions;
  readonly host: Host;
  readonly out: Output;
  /** Where the daemon of the chosen context listens. */
  socketPath(): Promise<string>;
  /** The daemon of the chosen context. */
  daemon(): Promise<ControlClient>;
  /** All commands, for what is made of their declarations. */
  commands(): Promise<Command[]>;
  /** Named contexts of this user. */
  contexts(): Promise<Contexts>;
  /** Finds, reads and merges configuration. */
  config(): Promise<ConfigFiles>;
}

/** One example of the help text. */
export interface Example {
  /** The whole command line. */
  readonly command: string;
  readonly meaning: string;
}

/** What {@link defineCommand} takes. */
export interface CommandDeclaration<Input extends z.ZodObject> {
  readonly name: string;
  readonly aliases?: readonly string[];
  /** One line, imperative, no full stop. */
  readonly summary: string;
  /** Paragraphs below the summary in help. */
  readonly description?: string;
  readonly examples?: readonly Example[];
  /** Keys are options (`udpPort` is `--udp-port`) unless their meta says `positional`. */
  readonly input?: Input;
  readonly permissions: Permissions;
  /** Left out of help, completion and reference pages. */
  readonly hidden?: boolean;
  /** What it may do besides with such an input, e.g. what a file that it names asks for. */
  permissionsFor?(input: z.infer<Input>, context: CommandContext): Promise<Permissions>;
  /**
   * Does the work; resolves to the exit status where that is not 0.
   *
   * @throws {MeshError} which `cli/mod.ts` maps to an exit status.
   */
  run(input: z.infer<Input>, context: CommandContext): Promise<number | void>;
}

/** What {@link defineGroup} takes. */
export interface GroupDeclaration {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly summary: string;
  readonly description?: string;
  readonly examples?: readonly Example[];
  readonly subcommands: readonly Command[];
}

/** A declared command or group of commands, its input type erased. */
export interface Command {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly summary: string;
  readonly description: string | null;
  readonly examples: readonly Example[];
  readonly input: z.ZodObject | null;
  readonly permissions: Permissions;
  readonly hidden: boolean;
  /** Empty for a command, what a group holds otherwise. */
  readonly subcommands: readonly Command[];
  /** All that it may do with an input that {@link Command.input} has accepted. */
  permissionsFor(input: unknown, context: CommandContext): Promise<Permissions>;
  /** Runs with an input that {@link Command.input} has accepted; resolves to the exit status. */
  run(input: unknown, context: CommandContext): Promise<number>;
}

/** Declares a command; `run` receives what its `input` schema yields. */
export function defineCommand<Input extends z.ZodObject>(
  declaration: CommandDeclaration<Input>,
): Command {
  return {
    name: declaration.name,
    aliases: declaration.aliases ?? [],
    summary: declaration.summary,
    description: declaration.description ?? null,
    examples: declaration.examples ?? [],
    input: declaration.input ?? null,
    permissions: declaration.permissions,
    hidden: declaration.hidden ?? false,
    subcommands: [],
    async permissionsFor(input, context) {
      const more = await declaration.permissionsFor?.(input as z.infer<Input>, context);
      return { ...declaration.permissions, ...more };
    },
    run: async (input, context) => await declaration.run(input as z.infer<Input>, context) ?? 0,
  };
}

/** Declares a command that only holds others. */
export function defineGroup(declaration: GroupDeclaration): Command {
  return {
    name: declaration.name,
    aliases: declaration.aliases ?? [],
    summary: declaration.summary,
    description: declaration.description ?? null,
    examples: declaration.examples ?? [],
    input: null,
    permissions: {},
    hidden: false,
    subcommands: declaration.subcommands,
    permissionsFor: () => Promise.resolve({}),
    run: () => Promise.resolve(0),
  };
}
