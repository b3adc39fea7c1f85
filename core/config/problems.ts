/**
 * What is wrong with a source of settings, in words that name the place and what to write instead?
 * @module
 */
import type { z } from "zod";
import { explainIssue } from "./explain.ts";
import { nearest } from "./nearest.ts";
import type { Setting } from "./schema.ts";
import { isTree, type Path, putAt, type Source, type Tree, valueAt } from "./source.ts";

type Issue = z.core.$ZodIssue;

/** Every problem of one source, as `PLACE: what is wrong`. */
export function problemsOf(
  schema: z.ZodObject,
  settings: readonly Setting[],
  source: Source,
): string[] {
  const result = schema.safeParse(source.tree);
  const issues = result.success ? [] : result.error.issues;
  const problems = issues.flatMap((issue) =>
    issue.code === "unrecognized_keys"
      ? issue.keys.map((key) => unknownKey(settings, source, [...keys(issue), key]))
      : [wrongValue(settings, source, issue)]
  );
  problems.push(...aliasClashes(settings, source));
  return problems.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
}

function keys(issue: Issue): (string | number)[] {
  return issue.path.map((step) => typeof step === "symbol" ? String(step) : step);
}

function unknownKey(settings: readonly Setting[], source: Source, path: Path): string {
  const key = String(path.at(-1));
  const parent = dotted(path.slice(0, -1), false);
  const shown = parent ? `"${key}" in ${parent}` : `"${key}"`;
  const suggestion = suggest(settings, key, parent);
  return `${source.where(path)}: unknown key ${shown}` +
    (suggestion ? `; did you mean "${suggestion}"?` : "");
}

/** A sibling with a similar name, or the one place elsewhere where a key of that name stands. */
function suggest(settings: readonly Setting[], key: string, parent: string): string | null {
  const prefix = parent ? `${parent}.` : "";
  const under = childrenOf(settings, parent);
  const sibling = nearest(key, under);
  if (sibling !== null) return sibling;
  const elsewhere = settings
    .filter(({ path, node }) => path.split(".").at(-1) === key && !node.unavailable)
    .map(({ path }) => path).filter((path) => !prefix || !path.startsWith(prefix));
  return elsewhere[0] ?? null;
}

function childrenOf(settings: readonly Setting[], parent: string): Set<string> {
  const list = settings.find(({ path }) => path === parent)?.node.items?.properties;
  if (list) return new Set(Object.keys(list));
  const prefix = parent ? `${parent}.` : "";
  const below = settings.filter(({ path }) => path.startsWith(prefix));
  return new Set(below.map(({ path }) => path.slice(prefix.length).split(".")[0]!));
}

function wrongValue(settings: readonly Setting[], source: Source, issue: Issue): string {
  const path = keys(issue);
  const value = valueOf(source.tree, path);
  const name = dotted(path, true) || "the configuration";
  const isSecret = isSecretAt(settings, path);
  const shown = value === undefined || isSecret || typeof value === "object"
    ? ""
    : `, not ${JSON.stringify(value)}`;
  const expected = explainIssue(issue, value);
  const subject = source.namesSettings ? source.where(path) : `${source.where(path)}: ${name}`;
  return `${subject} ${expected}${expected === "is missing" ? "" : shown}`;
}

function isSecretAt(settings: readonly Setting[], path: Path): boolean {
  const setting = settings.find((candidate) => candidate.path === dotted(path, false)) ??
    settings.find((candidate) => dotted(path, false).startsWith(`${candidate.path}.`));
  const leaf = setting?.node.items?.properties?.[String(path.at(-1))];
  return (leaf ?? setting?.node)?.secret ?? false;
}

/** `wireguard_peers[0].name`, or without the indices. */
export function dotted(path: Path, withIndices: boolean): string {
  let out = "";
  for (const step of path) {
    if (typeof step === "number") out += withIndices ? `[${step}]` : "";
    else out += out === "" ? step : `.${step}`;
  }
  return out;
}

function valueOf(tree: Tree, path: Path): unknown {
  let value: unknown = tree;
  for (const step of path) {
    if (Array.isArray(value)) value = value[step as number];
    else value = isTree(value) ? value[step] : undefined;
  }
  return value;
}

interface Alias {
  readonly path: string[];
  readonly canonical: string[];
}

function aliasesOf(settings: readonly Setting[]): Alias[] {
  return settings.filter(({ node }) => node.aliasFor).map(({ path, node }) => {
    const parts = path.split(".");
    return { path: parts, canonical: [...parts.slice(0, -1), ...node.aliasFor!.split(".")] };
  });
}

function aliasClashes(settings: readonly Setting[], source: Source): string[] {
  return aliasesOf(settings).flatMap(({ path, canonical }) => {
    const [old, value] = [valueAt(source.tree, path), valueAt(source.tree, canonical)];
    if (old === undefined || value === undefined || old === value) return [];
    return [
      `${source.where(path)}: ${path.join(".")} is another name of ${canonical.join(".")}, ` +
      `which has another value at ${source.where(canonical)}`,
    ];
  });
}

/** A copy of `tree` in which old spellings are replaced by present ones. */
export function withoutAliases(settings: readonly Setting[], tree: Tree): Tree {
  const copy = structuredClone(tree);
  for (const { path, canonical } of aliasesOf(settings)) {
    const value = valueAt(copy, path);
    if (value === undefined) continue;
    putAt(copy, canonical, value);
    const parent = path.length === 1 ? copy : valueAt(copy, path.slice(0, -1)) as Tree;
    delete parent[path.at(-1)!];
  }
  return copy;
}
