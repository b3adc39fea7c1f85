/**
 * Where does each setting come from? Each source (file, environment, flags) as a tree of values
 * that can name the place of any of them.
 * @module
 */
import type { SettingNode } from "./schema.ts";

/** Keys and array indices from the root. */
export type Path = readonly (string | number)[];

/** A part of a configuration. */
export type Tree = { [key: string]: unknown };

/** One source of settings. */
export interface Source {
  readonly tree: Tree;
  /** Names the place of the value at `path`: `peer.yaml:3:5`, `TUNNELMESH_NAME`, `--name`. */
  where(path: Path): string;
  /** Whether that place names the setting too, so that its path need not be told. */
  readonly namesSettings: boolean;
}

/** A value given on the command line, and the option that gave it. */
export interface FlagValue {
  readonly flag: string;
  readonly value: unknown;
}

/** Whether `value` holds keys, and is no list. */
export function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A setting's environment variable, e.g. `TUNNELMESH_TUN_MTU`; null where text cannot hold it. */
export function variableOf(path: string, node: SettingNode): string | null {
  if (node.type === "array" && node.items?.type !== "string") return null;
  const isTopLevel = !path.includes(".");
  if (node.env !== undefined && isTopLevel) return node.env;
  return `TUNNELMESH_${path.replaceAll(".", "_").toUpperCase()}`;
}

/** Reads the settings that the environment holds; lists are separated by commas. */
export function environmentSource(
  settings: Iterable<{ path: string; node: SettingNode }>,
  env: Readonly<Record<string, string>>,
): Source {
  const tree: Tree = {};
  const names = new Map<string, string>();
  for (const { path, node } of settings) {
    const variable = variableOf(path, node);
    const value = variable === null ? undefined : env[variable];
    if (variable === null || value === undefined || value === "") continue;
    putAt(tree, path.split("."), valueOf(value, node));
    names.set(path, variable);
  }
  return { tree, where: (path) => nameAt(names, path), namesSettings: true };
}

function valueOf(text: string, node: SettingNode): unknown {
  if (node.type === "array") return text.split(",").map((item) => item.trim()).filter(Boolean);
  const kinds = [node.type, ...(node.anyOf ?? []).map(({ type }) => type)];
  if (kinds.includes("integer") || kinds.includes("number")) {
    return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
  }
  if (kinds.includes("boolean")) {
    if (/^(true|1|yes|on)$/i.test(text)) return true;
    if (/^(false|0|no|off)$/i.test(text)) return false;
  }
  return text;
}

/** Takes values from the command line, by dotted path. */
export function flagSource(flags: Readonly<Record<string, FlagValue>>): Source {
  const tree: Tree = {};
  const names = new Map<string, string>();
  for (const [path, { flag, value }] of Object.entries(flags)) {
    if (value === undefined) continue;
    putAt(tree, path.split("."), value);
    names.set(path, flag);
  }
  return { tree, where: (path) => nameAt(names, path), namesSettings: true };
}

/** The name of the longest known beginning of `path`. */
function nameAt(names: ReadonlyMap<string, string>, path: Path): string {
  for (let length = path.length; length > 0; length--) {
    const name = names.get(path.slice(0, length).join("."));
    if (name !== undefined) return name;
  }
  return path.join(".");
}

/** Sets the value at `path`, making the parts above it. */
export function putAt(tree: Tree, path: readonly string[], value: unknown): void {
  let part = tree;
  for (const key of path.slice(0, -1)) {
    const child = part[key];
    part = isTree(child) ? child : (part[key] = {}) as Tree;
  }
  part[path.at(-1)!] = value;
}

/** The value at `path`, or undefined. */
export function valueAt(tree: Tree, path: readonly string[]): unknown {
  let value: unknown = tree;
  for (const key of path) {
    if (!isTree(value) || !Object.hasOwn(value, key)) return undefined;
    value = value[key];
  }
  return value;
}

/** Merges trees, later ones winning; lists replace lists. */
export function mergeTrees(trees: readonly Tree[]): Tree {
  const merged: Tree = {};
  for (const tree of trees) {
    for (const [key, value] of Object.entries(tree)) {
      const before = merged[key];
      merged[key] = isTree(value) ? mergeTrees([isTree(before) ? before : {}, value]) : value;
    }
  }
  return merged;
}
