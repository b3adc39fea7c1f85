/**
 * What do the files of a policy say together? A whole policy, or all that is wrong with it: never a
 * part of one.
 *
 * Lists of the files follow one another, names may be defined once. An entry with a wrong shape is
 * not read further, but everything else is, so that one look tells all problems.
 * @module
 */
import type { Path } from "../config/source.ts";
import { isTree } from "../config/source.ts";
import { BUILTIN_ROLES, BUILTIN_SERVICES } from "./builtin.ts";
import { findCycles, findTooDeep, MAX_GROUP_DEPTH } from "./cycles.ts";
import type { Grant } from "./objects.ts";
import { readBinding, readExit, readRoute, readRule, readTest } from "./parse_entries.ts";
import type { Group, Policy, Tag } from "./policy.ts";
import { addIssues, type PolicySource, Problems, unsafeKeys } from "./problems.ts";
import { type Names, Reader } from "./reader.ts";
import { PolicyFile } from "./schema.ts";
import { BUILTIN_GROUPS } from "./subject.ts";
import type { Traffic } from "./traffic.ts";

/** A policy, or why there is none. */
export type ParsedPolicy =
  | { readonly policy: Policy; readonly problems: null }
  | { readonly policy: null; readonly problems: readonly string[] };

/** Sections whose entries have names. */
type NamedSection = "groups" | "tags" | "services" | "roles";
/** Sections whose entries stand in a list. */
type ListSection = "bindings" | "rules" | "exits" | "routes" | "tests";

/** One file, of which the entries at `wrong` are not to be read. */
interface File {
  readonly source: PolicySource;
  readonly wrong: ReadonlySet<string>;
}

/** One entry of a section. */
interface Entry<T> {
  readonly value: T;
  readonly path: Path;
  readonly source: PolicySource;
}

/** Reads the files of a policy, in order. Says everything that is wrong, and throws nothing. */
export function parsePolicy(sources: readonly PolicySource[]): ParsedPolicy {
  const problems = new Problems();
  const files = sources.map((source) => checkShape(source, problems));
  const names = collectNames(files, problems);
  const read = <Section extends ListSection, T>(
    section: Section,
    one: (reader: Reader, value: Item<Section>, path: Path) => T,
  ): T[] =>
    listed(files, section).map(({ source, value, path }) =>
      one(new Reader(source, problems, names), value, path)
    );
  const policy: Policy = {
    groups: readGroups(files, problems, names),
    tags: readTags(files, problems, names),
    services: names.services,
    bindings: read("bindings", readBinding),
    rules: read("rules", readRule),
    exits: read("exits", readExit),
    routes: read("routes", readRoute),
    tests: read("tests", readTest),
  };
  addNesting(files, policy.groups, problems);
  const found = problems.all;
  return found.length > 0 ? { policy: null, problems: found } : { policy, problems: null };
}

function addNesting(
  files: readonly File[],
  groups: ReadonlyMap<string, Group>,
  problems: Problems,
): void {
  const entries = new Map(named(files, "groups"));
  const add = (group: string, text: string) => {
    const { source, path } = entries.get(group)!;
    problems.add(source, path, text);
  };
  const cycles = findCycles(groups);
  for (const { group, path } of cycles) add(group, `contains itself: ${path.join(" > ")}`);
  if (cycles.length > 0) return;
  for (const group of findTooDeep(groups)) {
    add(group, `holds groups in groups more than ${MAX_GROUP_DEPTH} deep`);
  }
}

function checkShape(source: PolicySource, problems: Problems): File {
  const unsafe = unsafeKeys(source.tree);
  if (unsafe.length > 0) {
    for (const path of unsafe) problems.add(source, path, "is no name that can be used");
    return { source: { ...source, tree: {} }, wrong: new Set() };
  }
  const result = PolicyFile.safeParse(source.tree);
  const paths = result.success ? [] : addIssues(problems, source, result.error.issues);
  return { source, wrong: new Set(paths.map((path) => key(path.slice(0, 2)))) };
}

function key(path: Path): string {
  return JSON.stringify(path);
}

type Item<Section extends ListSection> = NonNullable<PolicyFile[Section]>[number];
type Value<Section extends NamedSection> = NonNullable<PolicyFile[Section]>[string];

/** Entries of the right shape in a list. */
function listed<Section extends ListSection>(
  files: readonly File[],
  section: Section,
): Entry<Item<Section>>[] {
  return files.flatMap(({ source, wrong }) => {
    const list = source.tree[section];
    if (!Array.isArray(list)) return [];
    return list.map((value, i) => ({ value, path: [section, i], source }))
      .filter(({ path }) => !wrong.has(key(path)) && !wrong.has(key([section])));
  });
}

/** Entries of the right shape that have names, the first of each name only. */
function named<Section extends NamedSection>(
  files: readonly File[],
  section: Section,
): [string, Entry<Value<Section>>][] {
  const found = new Map<string, Entry<Value<Section>>>();
  for (const { source, wrong } of files) {
    const part = source.tree[section];
    if (!isTree(part)) continue;
    for (const [name, value] of Object.entries(part)) {
      const path = [section, name];
      if (wrong.has(key(path)) || found.has(name)) continue;
      found.set(name, { value: value as Value<Section>, path, source });
    }
  }
  return [...found];
}

/** Names are known even where what they stand for is wrong: one mistake gives one problem. */
function allNames(
  files: readonly File[],
  section: NamedSection,
  builtin: Iterable<string>,
  problems: Problems,
): Set<string> {
  const reserved = new Set(builtin);
  const known = new Map<string, string>();
  for (const { source } of files) {
    const part = source.tree[section];
    for (const name of isTree(part) ? Object.keys(part) : []) {
      const path = [section, name];
      const before = known.get(name);
      if (reserved.has(name)) problems.add(source, path, "is built in and cannot be defined");
      else if (before !== undefined) problems.add(source, path, `is defined at ${before} already`);
      else known.set(name, source.where(path));
    }
  }
  return new Set([...reserved, ...known.keys()]);
}

function collectNames(files: readonly File[], problems: Problems): Names {
  const groups = allNames(files, "groups", BUILTIN_GROUPS, problems);
  const tags = allNames(files, "tags", [], problems);
  const roleNames = allNames(files, "roles", BUILTIN_ROLES.keys(), problems);
  const serviceNames = allNames(files, "services", BUILTIN_SERVICES.keys(), problems);
  const services = new Map<string, Traffic>(BUILTIN_SERVICES);
  const roles = new Map<string, readonly Grant[]>(BUILTIN_ROLES);
  const base: Names = { groups, tags, services: BUILTIN_SERVICES, roles: BUILTIN_ROLES };
  for (const [name, { source, value, path }] of named(files, "services")) {
    const traffic = new Reader(source, problems, base).traffic(value, path);
    if (!services.has(name)) services.set(name, traffic);
  }
  for (const [name, { source, value, path }] of named(files, "roles")) {
    const reader = new Reader(source, problems, base);
    const grants = value.flatMap((part, i) => reader.grants(part.right, part, [...path, i]));
    if (!roles.has(name)) roles.set(name, grants);
  }
  // What is wrong itself still is a name: whoever uses it made no mistake.
  for (const name of serviceNames) if (!services.has(name)) services.set(name, []);
  for (const name of roleNames) if (!roles.has(name)) roles.set(name, []);
  return { groups, tags, services, roles };
}

function readGroups(files: readonly File[], problems: Problems, names: Names): Map<string, Group> {
  return new Map(
    named(files, "groups").map(([name, { source, value, path }]) => [name, {
      members: new Reader(source, problems, names).subjects(value ?? [], path),
      where: source.where(path),
    }]),
  );
}

function readTags(files: readonly File[], problems: Problems, names: Names): Map<string, Tag> {
  return new Map(
    named(files, "tags").map(([name, { source, value, path }]) => [name, {
      owners: new Reader(source, problems, names).subjects(value?.owners ?? [], [
        ...path,
        "owners",
      ]),
      where: source.where(path),
    }]),
  );
}
