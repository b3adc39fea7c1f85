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
 * Symbolic places that permissions name; `cli/places.ts` says which paths they are for a user.
 * `$contexts` is the file of contexts, `$config` the configuration files, `$identity` the folder of
 * the identity key, `$state` the node's state, `$data` the coordinator's, and `$system` what a node
 * changes in the system (`/etc/resolv.conf`, ...).
 */
export type Place = "$config" | "$contexts" | "$data" | "$identity" | "$state" | "$system";

/** A path that does not depend on the working directory. */
export type AbsolutePath = `/${string}`;

/** Where a command reads or writes. */
export type PlaceOrPath = Place | AbsolutePath;

/** What is opened for a command before it runs: the daemon's socket, the file of contexts. */
export type Opened = "$control" | "$contexts";

/** What a command may do; a kind that is absent is revoked before the command runs. */
export interface Permissions {
  /** Opened while that is allowed; using it later needs none of the kinds below. */
  readonly opens?: readonly Opened[];
  readonly read?: readonly PlaceOrPath[] | true;
  readonly write?: readonly PlaceOrPath[] | true;
  readonly net?: true;
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
export interface CommandDeclaration<Input extends z.ZodObject, Prepared> {
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
  /** Reads what its permissions depend on, while all is permitted; changes nothing. */
  prepare?(input: z.infer<Input>, context: CommandContext): Promise<Prepared>;
  /** What it may do with such an input: in place of what it declares, kind by kind. */
  permissionsFor?(prepared: Prepared, context: CommandContext): Permissions;
  /**
   * Does the work; resolves to the exit status where that is not 0.
   *
   * @throws {MeshError} which `cli/mod.ts` maps to an exit status.
   */
  run(
    input: z.infer<Input>,
    context: CommandContext,
    prepared: Prepared,
  ): Promise<number | void>;
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
  /** Takes an input that {@link Command.input} has accepted. */
  prepare(input: unknown, context: CommandContext): Promise<PreparedCommand>;
}

/** A command with its input, before permissions are given up. */
export interface PreparedCommand {
  /** All that it may do with that input. */
  readonly permissions: Permissions;
  /** Does the work; resolves to the exit status. */
  run(): Promise<number>;
}

/** Declares a command; `run` receives what its `input` schema yields. */
export function defineCommand<Input extends z.ZodObject, Prepared = undefined>(
  declaration: CommandDeclaration<Input, Prepared>,
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
    async prepare(input, context) {
      const values = input as z.infer<Input>;
      const prepared = await declaration.prepare?.(values, context) as Prepared;
      const exact = declaration.permissionsFor?.(prepared, context);
      return {
        permissions: { ...declaration.permissions, ...exact },
        run: async () => await declaration.run(values, context, prepared) ?? 0,
      };
    },
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
    prepare: () => Promise.resolve({ permissions: {}, run: () => Promise.resolve(0) }),
  };
}
