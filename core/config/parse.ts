/**
 * What does the user want? Merges defaults, file, environment and flags, in that order, into a
 * validated configuration, and says exactly where a wrong value stands.
 * @module
 */
import type { z } from "zod";
import { MeshError } from "../errors.ts";
import type { PeerConfig, ServerConfig } from "./config.ts";
import { nearest } from "./nearest.ts";
import { normalisePeer, normaliseServer } from "./normalise.ts";
import { problemsOf, withoutAliases } from "./problems.ts";
import { PeerFile, ServerFile, type Setting, settingsOf } from "./schema.ts";
import {
  environmentSource,
  flagSource,
  type FlagValue,
  isTree,
  mergeTrees,
  type Path,
  type Source,
  type Tree,
  valueAt,
  variableOf,
} from "./source.ts";
import { unavailableWarnings } from "./unavailable.ts";

/** Everything that a configuration is made of. */
export interface ConfigSources {
  /** The configuration file, read. */
  readonly file: Source | null;
  /** The process's environment; only `TUNNELMESH_*` is looked at. */
  readonly env: Readonly<Record<string, string>>;
  /** Values from the command line by dotted path, e.g. `tun.mtu`. */
  readonly flags: Readonly<Record<string, FlagValue>>;
}

/** A configuration and what the user should know about it. */
export interface ParsedConfig<T> {
  readonly config: T;
  /** One sentence each. */
  readonly warnings: readonly string[];
  /** Dotted paths of secrets that the file itself holds. */
  readonly secretsInFile: readonly string[];
}

/** Variables that are read elsewhere: they choose the file or the context, or are for debugging. */
const OTHER_VARIABLES = ["TUNNELMESH_CONFIG", "TUNNELMESH_CONTEXT", "TUNNELMESH_DEBUG"];

/** Beginnings of variables that the program sets for itself, and its tests for it. */
const OWN_VARIABLES = ["TUNNELMESH_EXECUTABLE", "TUNNELMESH_SUPERVISED", "TUNNELMESH_TEST"];

/** @throws {MeshError} `config-invalid`, naming the place of each wrong value. */
export function parsePeerConfig(sources: ConfigSources): ParsedConfig<PeerConfig> {
  const { value, ...rest } = parse(PeerFile, sources);
  return { config: normalisePeer(value, placesOf(sources)), ...rest };
}

/** @throws {MeshError} `config-invalid`, naming the place of each wrong value. */
export function parseServerConfig(sources: ConfigSources): ParsedConfig<ServerConfig> {
  const { value, ...rest } = parse(ServerFile, sources);
  return { config: normaliseServer(value, placesOf(sources)), ...rest };
}

/** Where the file has the lists that neither environment nor flags can hold. */
function placesOf({ file }: ConfigSources): (path: Path) => string {
  return (path) => file?.where(path) ?? "configuration";
}

function parse<Schema extends z.ZodObject>(schema: Schema, sources: ConfigSources) {
  const settings = settingsOf(schema);
  const { file } = sources;
  const layers: Source[] = [
    ...(file ? [file] : []),
    environmentSource(settings, sources.env),
    flagSource(sources.flags),
  ];
  const problems = layers.map((layer) => problemsOf(schema, settings, layer));
  if (problems.some((each) => each.length > 0)) {
    throw invalid(problems.flat(), file !== null && problems[0]!.length > 0);
  }
  const tree = layered(layers.map((layer) => withoutAliases(settings, layer.tree)));
  const warnings = [...unavailableWarnings(settings, tree), ...unknownVariables(sources.env)];
  const secretsInFile = settings
    .filter(({ path, node }) => node.secret && valueAt(file?.tree ?? {}, path.split(".")))
    .map(({ path }) => path);
  return { value: schema.parse(tree), warnings, secretsInFile };
}

/** Settings that say the same in different ways: a source that has one replaces the others. */
const EXCLUSIVE = [["auth_token", "auth_token_file"], ["server", "servers"]];

function layered(trees: readonly Tree[]): Tree {
  return trees.reduce((below, tree) => {
    const kept = structuredClone(below);
    for (const [upper, lower] of [[tree, kept], [tree.join_mesh, kept.join_mesh]]) {
      if (!isTree(upper) || !isTree(lower)) continue;
      for (const keys of EXCLUSIVE) {
        if (keys.some((key) => upper[key] !== undefined)) keys.forEach((key) => delete lower[key]);
      }
    }
    return mergeTrees([kept, tree]);
  }, {});
}

function invalid(problems: readonly string[], isInFile: boolean): MeshError {
  const [first, ...more] = problems;
  const shown = more.slice(0, 9).map((problem) => `\n  ${problem}`);
  const rest = more.length > 9 ? [`\n  and ${more.length - 9} more`] : [];
  const message = `Cannot use configuration: ${first}${[...shown, ...rest].join("")}`;
  const hint =
    "`tunnelmesh init --output FILE` writes a file that holds every key with its meaning";
  return new MeshError("config-invalid", message, isInFile ? { hint } : {});
}

let knownVariables: ReadonlySet<string> | undefined;

/** Names that either kind of file knows: one service environment may serve both. */
function variables(): ReadonlySet<string> {
  const names = (settings: Setting[]) =>
    settings.map(({ path, node }) => variableOf(path, node)).filter((name) => name !== null);
  knownVariables ??= new Set([
    ...OTHER_VARIABLES,
    ...names(settingsOf(PeerFile)),
    ...names(settingsOf(ServerFile)),
  ]);
  return knownVariables;
}

function unknownVariables(env: Readonly<Record<string, string>>): string[] {
  const unknown = Object.keys(env)
    .filter((name) => name.startsWith("TUNNELMESH_") && !variables().has(name))
    .filter((name) => !OWN_VARIABLES.some((own) => name.startsWith(own)));
  return unknown.map((name) => {
    const suggestion = nearest(name, variables());
    return `The environment variable ${name} is no setting and has no effect` +
      (suggestion ? `; did you mean ${suggestion}?` : "");
  });
}
