/**
 * Reads a configuration file's YAML, so that each of its values can name its line and column.
 *
 * It stands outside the pure core because the YAML parser looks at the environment.
 * @module
 */
import process from "node:process";
import { isMap, isNode, isScalar, LineCounter, parseDocument, visit } from "yaml";
import type { Document, Node } from "yaml";
import { isTree, type Path, type Source, type Tree } from "../config/source.ts";
import { MeshError } from "../errors.ts";

/** A configuration file's name, as messages show it, and its text. */
export interface ConfigText {
  readonly name: string;
  readonly text: string;
}

/** How a file is read. */
export interface YamlOptions {
  /** Keys without a value are null, for a schema to refuse: a rule without `action` allows. */
  readonly keepsNulls?: boolean;
}

/**
 * Reads YAML 1.2 text. A key without a value counts as absent unless `keepsNulls`, or in a list.
 *
 * @throws {MeshError} `config-invalid` with file, line and column when it is malformed.
 */
export function yamlSource(file: ConfigText, { keepsNulls = false }: YamlOptions = {}): Source {
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
    throw malformed(
      place(offsetOfAlias(document)),
      cause instanceof Error ? cause.message : "bad alias",
    );
  }
  if (value !== null && value !== undefined && !isTree(value)) {
    throw malformed(
      place(document.contents?.range?.[0] ?? 0),
      "the file must hold keys and values",
    );
  }
  return {
    tree: ((keepsNulls ? value : withoutNulls(value)) ?? {}) as Tree,
    where: (path) => place(offsetOf(document, path)),
    namesSettings: false,
  };
}

/**
 * Gives the YAML parser an empty environment to look at, so that a command may go on reading YAML
 * when it has no right to the real one any more.
 */
export function hideEnvironment(): void {
  process.env = {};
}

function malformed(where: string, message: string): MeshError {
  const reason = message.replace(/\s+/g, " ").replace(/\.$/, "");
  return new MeshError("config-invalid", `Cannot read configuration: ${where}: ${reason}`, {
    hint: "The file must be YAML: one `key: value` per line, nested keys indented by spaces",
  });
}

/** Offset of the first alias that stands for nothing, or else of the first one. */
function offsetOfAlias(document: Document): number {
  let offset: number | undefined;
  visit(document, {
    Alias(_key, alias) {
      offset ??= alias.range?.[0];
      if (alias.resolve(document) !== undefined) return undefined;
      offset = alias.range?.[0];
      return visit.BREAK;
    },
  });
  return offset ?? 0;
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

/** Drops keys without a value; a part of which nothing is left is absent like them. */
function withoutNulls(value: unknown): unknown {
  // In an item of a list they stay, for the schema to refuse: a rule without its source is about all.
  if (Array.isArray(value)) return value;
  if (!isTree(value)) return value;
  const children = Object.entries(value).map(([key, child]) => [key, withoutNulls(child)]);
  const kept = children.filter(([, child]) => child !== null);
  return kept.length === 0 && children.length > 0 ? null : Object.fromEntries(kept);
}
