/**
 * Where does each setting come from? Each source (file, environment, flags) as a tree of values
 * that can name the place of any of them.
 * @module
 */
import { isMap, isNode, isScalar, LineCounter, parseDocument } from "yaml";
import type { Document, Node } from "yaml";
import { MeshError } from "../errors.ts";
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

/** A configuration file's name, as messages show it, and its text. */
export interface ConfigText {
  readonly name: string;
  readonly text: string;
}

/** A value given on the command line, and the option that gave it. */
export interface FlagValue {
  readonly flag: string;
  readonly value: unknown;
}

/**
 * Reads YAML 1.2 text. A key without a value counts as absent.
 *
 * @throws {MeshError} `config-invalid` with file, line and column when it is malformed.
 */
export function yamlSource(file: ConfigText): Source {
  const lines = new LineCounter();
  const document = parseDocument(file.text, { lineCounter: lines, prettyErrors: false });
  const place = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${file.name}:${line}:${col}`;
  };
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem) throw malformed(place(problem.pos[0]), problem.message);
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    throw malformed(`${file.name}:1:1`, cause instanceof Error ? cause.message : "bad alias");
  }
  if (value !== null && value !== undefined && !isTree(value)) {
    throw malformed(
      place(document.contents?.range?.[0] ?? 0),
      "the file must hold keys and values",
    );
  }
  return {
    tree: (withoutNulls(value) ?? {}) as Tree,
    where: (path) => place(offsetOf(document, path)),
    namesSettings: false,
  };
}

function malformed(where: string, message: string): MeshError {
  const reason = message.replace(/\s+/g, " ").replace(/\.$/, "");
  return new MeshError("config-invalid", `Cannot read configuration: ${where}: ${reason}`, {
    hint: "The file must be YAML: one `key: value` per line, nested keys indented by spaces",
  });
}

/** Offset of the key at `path`, or of the item where the path ends in an index. */
function offsetOf(document: Document, path: Path): number {
  let node: unknown = document.contents;
  let offset = 0;
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === step);
      if (!pair) break;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value;
    } else {
      const item: unknown = (node as { items?: unknown[] } | null)?.items?.[step as number];
      if (!isNode(item)) break;
      offset = item.range?.[0] ?? offset;
      node = item;
    }
  }
  return offset;
}

/** Whether `value` holds keys, and is no list. */
export function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Drops keys without a value; a part of which nothing is left is absent like them. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isTree(value)) return value;
  const children = Object.entries(value).map(([key, child]) => [key, withoutNulls(child)]);
  const kept = children.filter(([, child]) => child !== null);
  return kept.length === 0 && children.length > 0 ? null : Object.fromEntries(kept);
}

/** A setting's environment variable, e.g. `TUNNELMESH_TUN_MTU`; null where text cannot hold it. */
export function variableOf(path: string, node: SettingNode): string | null {
  if (node.type === "array" && node.items?.type !== "string") return null;
  return node.env ?? `TUNNELMESH_${path.replaceAll(".", "_").toUpperCase()}`;
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
