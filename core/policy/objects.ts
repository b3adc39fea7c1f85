/**
 * What besides packets does a policy speak of? Buckets, shares, NFS mounts and panels, and the three
 * rights on them.
 *
 * A right holds the ones before it: who may write may read. Objects form a tree: `*` is all of a
 * kind, `media` a bucket with all it holds, `media/films` the keys below a prefix, cut at slashes,
 * so that `films-2` is not in it.
 * @module
 */

/** Rights in rising order. */
export const RIGHTS = ["read", "write", "admin"] as const;
export type Right = typeof RIGHTS[number];

/** How much may be done: 0 is nothing, 1 to 3 stand for {@link RIGHTS}. */
export type Level = 0 | 1 | 2 | 3;

/** Kinds of objects, as a binding's keys name them, with the singular that tests use. */
export const OBJECT_KINDS = {
  buckets: "bucket",
  shares: "share",
  nfs: "nfs",
  panels: "panel",
} as const;
export type ObjectKind = keyof typeof OBJECT_KINDS;
export const OBJECT_KIND_NAMES = Object.keys(OBJECT_KINDS) as ObjectKind[];

/** Steps from the root of a kind's tree: `[]` is `*`, `["media", "films"]` is `media/films`. */
export type ObjectPath = readonly string[];

/** One object or a tree of them. */
export interface PolicyObject {
  readonly kind: ObjectKind;
  readonly path: ObjectPath;
}

/** A right on objects. */
export interface Grant extends PolicyObject {
  readonly level: Level;
}

/** What a wrong object is told. */
export function objectForm(kind: ObjectKind): string {
  return kind === "panels"
    ? `must be the name of a panel, or "*" for all`
    : `must be NAME, NAME/PREFIX, or "*" for all`;
}

/** The level of a right. */
export function levelOf(right: Right): Level {
  return (RIGHTS.indexOf(right) + 1) as Level;
}

/** The right of a level; null for nothing. */
export function rightOf(level: Level): Right | null {
  return RIGHTS[level - 1] ?? null;
}

/** Reads `*`, `media`, `media/films`; null for anything else. */
export function parseObjectPath(kind: ObjectKind, text: string): ObjectPath | null {
  if (text === "*") return [];
  const steps = text.replace(/\/$/, "").split("/");
  if (!/^[^\s*,:/]{1,200}$/.test(steps[0]!) || text.length > 1024) return null;
  if (steps.some((step) => step === "" || step === "." || step === "..")) return null;
  return kind === "panels" && steps.length > 1 ? null : steps;
}

/** Text of an object path. */
export function formatObjectPath(path: ObjectPath): string {
  return path.length === 0 ? "*" : path.join("/");
}

/** Text of an object: `bucket:media/films`. */
export function formatObject({ kind, path }: PolicyObject): string {
  return `${OBJECT_KINDS[kind]}:${formatObjectPath(path)}`;
}

/** Whether `path` is `tree` or inside it. */
export function isWithin(path: ObjectPath, tree: ObjectPath): boolean {
  return tree.length <= path.length && tree.every((step, i) => step === path[i]);
}

/** Whether an object is the mesh's own, which no `*` opens: its name begins with `_`. */
export function isSystemObject(path: ObjectPath): boolean {
  return path[0]?.startsWith("_") ?? false;
}

/** The narrower of two trees when one holds the other; else null. */
export function narrower(a: ObjectPath, b: ObjectPath): ObjectPath | null {
  if (isWithin(a, b)) return a;
  return isWithin(b, a) ? b : null;
}
