/**
 * Finds, reads and merges configuration files, and warns about what the user should know of them.
 * @module
 */
import type { PeerConfig, ServerConfig } from "../core/config/config.ts";
import {
  type ConfigSources,
  type ParsedConfig,
  parsePeerConfig,
  parseServerConfig,
} from "../core/config/parse.ts";
import type { FlagValue } from "../core/config/source.ts";
import { MeshError } from "../core/errors.ts";
import type { GlobalOptions } from "./globals.ts";
import type { Contexts } from "./contexts.ts";
import { exists, isOpenToOthers, readIfPresent } from "./files.ts";
import type { Host } from "./host.ts";
import type { Output } from "./output.ts";
import { absolutePath, directoryOf, peerFiles, serverFiles } from "./paths.ts";

/** Values from the command line by dotted path of the setting. */
export type Flags = Readonly<Record<string, FlagValue>>;

/** A configuration and the file it came from. */
export interface LoadedConfig<T> {
  readonly config: T;
  /** Absolute; null when there is no file. */
  readonly path: string | null;
  /** Where relative paths in the file start. */
  readonly base: string;
}

/** What {@link ConfigFiles} needs to know. */
export interface ConfigFilesOptions {
  readonly host: Host;
  readonly globals: GlobalOptions;
  readonly contexts: Contexts;
  readonly out: Output;
}

/** The configuration files of one command. */
export class ConfigFiles {
  readonly #options: ConfigFilesOptions;
  readonly #warned = new Set<string>();

  constructor(options: ConfigFilesOptions) {
    this.#options = options;
  }

  /** The file that `--config` names, or the first of the known places that holds one. */
  findPeerFile(): string | null {
    const { host, globals, contexts } = this.#options;
    const context = contexts.current(globals.context);
    const ofContext = contexts.entry(context).config;
    return this.#find([...(ofContext === null ? [] : [ofContext]), ...peerFiles(host, context)]);
  }

  /** The same for a coordinator's file. */
  findServerFile(): string | null {
    return this.#find(serverFiles(this.#options.host));
  }

  /** @throws {MeshError} `config-invalid` */
  async loadPeer(flags: Flags): Promise<LoadedConfig<PeerConfig>> {
    const { host, globals } = this.#options;
    const all: Record<string, FlagValue> = { ...flags };
    const global = (setting: string, flag: string, value: string | null) => {
      if (value !== null) all[setting] = { flag, value };
    };
    // Paths on the command line start at the working directory, unlike those in a file.
    const place = (value: string | null) => value === null ? null : absolutePath(host, value);
    global("identity", "--identity", place(globals.identity));
    global("state_dir", "--state-dir", place(globals.stateDir));
    global("log_level", "--log-level", globals.logLevel);
    return await this.#load(this.findPeerFile(), all, parsePeerConfig);
  }

  /** @throws {MeshError} `config-invalid` */
  async loadServer(flags: Flags): Promise<LoadedConfig<ServerConfig>> {
    const { logLevel } = this.#options.globals;
    const all = logLevel === null
      ? flags
      : { ...flags, log_level: { flag: "--log-level", value: logLevel } };
    return await this.#load(this.findServerFile(), all, parseServerConfig);
  }

  /** A secret's file, without the line break at its end. @throws {MeshError} `config-invalid` */
  readSecret(path: string): string {
    const text = readIfPresent(path);
    if (text === null) {
      throw new MeshError("config-invalid", `Cannot read the secret in ${path}: there is no file`);
    }
    this.#warnIfOpen(path, "a secret");
    return text.trim();
  }

  /** Warns once, however often a file is read. */
  #warn(text: string, hint?: string): void {
    if (this.#warned.has(text)) return;
    this.#warned.add(text);
    this.#options.out.warning(text, hint);
  }

  #find(candidates: readonly string[]): string | null {
    const { host, globals } = this.#options;
    if (globals.config !== null) return absolutePath(host, globals.config);
    return candidates.find(exists) ?? null;
  }

  async #load<T>(
    path: string | null,
    flags: Flags,
    parse: (sources: ConfigSources) => ParsedConfig<T>,
  ): Promise<LoadedConfig<T>> {
    const { host } = this.#options;
    const text = path === null ? null : readIfPresent(path);
    if (path !== null && text === null) {
      throw new MeshError("config-invalid", `Cannot read configuration: ${path} does not exist`, {
        hint: `\`tunnelmesh init --output ${path}\` writes one with every key`,
      });
    }
    const file = path === null || text === null
      ? null
      : (await import("../core/daemon/yaml_source.ts")).yamlSource({
        name: shown(path, host),
        text,
      });
    const { config, warnings, secretsInFile } = parse({ file, env: host.env, flags });
    for (const warning of warnings) this.#warn(warning);
    if (path !== null && secretsInFile.length > 0) this.#warnIfOpen(path, secretsInFile.join(", "));
    return { config, path, base: path === null ? host.cwd : directoryOf(path) };
  }

  #warnIfOpen(path: string, secret: string): void {
    if (!isOpenToOthers(path)) return;
    this.#warn(
      `${path} holds ${secret} and others than its owner may read it`,
      `Run \`chmod 600 ${path}\``,
    );
  }
}

/** A path as messages show it: relative where that is shorter. */
function shown(path: string, host: Host): string {
  return path.startsWith(`${host.cwd}/`) ? path.slice(host.cwd.length + 1) : path;
}
