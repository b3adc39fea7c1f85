/**
 * What is wrong with a policy document? Everything at once, each with its place and its field.
 * @module
 */
import type { z } from "zod";
import { explainIssue } from "../config/explain.ts";
import { nearest } from "../config/nearest.ts";
import { dotted } from "../config/problems.ts";
import type { SettingNode } from "../config/schema.ts";
import { isTree, type Path, type Source, type Tree } from "../config/source.ts";
import { policyJsonSchema } from "./schema.ts";

/** One file of a policy, read: its values, and where each of them is written. */
export type PolicySource = Pick<Source, "tree" | "where">;

/** Collects what is wrong, as `PLACE: FIELD what is wrong`. */
export class Problems {
  readonly #found: string[] = [];

  /** Says that the value at `path` is wrong; `text` begins with a verb. */
  add(source: PolicySource, path: Path, text: string): void {
    this.#found.push(`${source.where(path)}: ${dotted(path, true) || "the document"} ${text}`);
  }

  addPlain(source: PolicySource, path: Path, text: string): void {
    this.#found.push(`${source.where(path)}: ${text}`);
  }

  /** In the order of files, lines and columns. */
  get all(): string[] {
    return [...this.#found].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  }
}

/** Adds what the schema found; returns the paths of what must not be read any further. */
export function addIssues(
  problems: Problems,
  source: PolicySource,
  issues: readonly z.core.$ZodIssue[],
): Path[] {
  return issues.map((issue) => {
    const path = issue.path.map((step) => typeof step === "symbol" ? String(step) : step);
    if (issue.code === "unrecognized_keys") {
      for (const key of issue.keys) addUnknownKey(problems, source, path, key);
    } else {
      const value = valueAt(source.tree, path);
      const isName = issue.code === "invalid_key";
      problems.add(source, path, explain(issue, value) + (isName ? "" : shown(value)));
    }
    return path;
  });
}

/** `; did you mean "x"?` when a known word is near, else nothing. */
export function suggestion(word: string, known: Iterable<string>): string {
  const found = nearest(word, known);
  return found === null ? "" : `; did you mean "${found}"?`;
}

/** `, not "x"` for a value that fits on a line. */
export function shown(value: unknown): string {
  if (value === undefined || (typeof value === "object" && value !== null)) return "";
  const text = typeof value === "string" && value.length > 80 ? value.slice(0, 80) + "…" : value;
  return `, not ${typeof text === "bigint" ? text : JSON.stringify(text)}`;
}

function explain(issue: z.core.$ZodIssue, value: unknown): string {
  if (issue.code === "invalid_key") return issue.issues[0]?.message ?? "has a wrong name";
  if (issue.code === "too_small" && issue.origin === "string") return "must not be empty";
  if (issue.code === "too_small" && issue.origin === "array") return "must not be empty";
  if (issue.code === "too_big" && issue.origin === "array") {
    return `must have at most ${issue.maximum} entries`;
  }
  if (issue.code === "too_big") return `must have at most ${issue.maximum} characters`;
  if (issue.code === "invalid_type" && issue.expected === "record" && value !== undefined) {
    return "must be a part with keys of its own";
  }
  return explainIssue(issue, value);
}

/** Paths of keys that JavaScript would take for something else than a key. */
export function unsafeKeys(
  value: unknown,
  path: Path = [],
  above: readonly unknown[] = [],
): Path[] {
  if (typeof value !== "object" || value === null || above.includes(value)) return [];
  return Object.entries(value).flatMap(([key, child]) => {
    const place = [...path, Array.isArray(value) ? Number(key) : key];
    return key === "__proto__" ? [place] : unsafeKeys(child, place, [...above, value]);
  });
}

function addUnknownKey(problems: Problems, source: PolicySource, path: Path, key: string): void {
  const parent = dotted(path, true);
  problems.addPlain(
    source,
    [...path, key],
    `unknown key "${key}"${parent && ` in ${parent}`}${suggestion(key, keysAt(path))}`,
  );
}

interface JsonNode extends SettingNode {
  readonly additionalProperties?: JsonNode | boolean;
}

/** The keys that the schema knows at `path`. */
function keysAt(path: Path): string[] {
  let node = policyJsonSchema() as JsonNode | undefined;
  for (const step of path) {
    const branch = node?.anyOf?.find(({ properties, items }) => properties ?? items) ?? node;
    if (typeof step === "number") {
      node = branch?.items as JsonNode | undefined;
    } else {
      const more = (branch as JsonNode | undefined)?.additionalProperties;
      const child = branch?.properties?.[step] as JsonNode | undefined;
      node = child ?? (typeof more === "object" ? more : undefined);
    }
  }
  const part = node?.anyOf?.find(({ properties }) => properties) ?? node;
  return Object.keys(part?.properties ?? {});
}

function valueAt(tree: Tree, path: Path): unknown {
  let value: unknown = tree;
  for (const step of path) {
    if (Array.isArray(value)) value = value[step as number];
    else value = isTree(value) && Object.hasOwn(value, step) ? value[step] : undefined;
  }
  return value;
}
