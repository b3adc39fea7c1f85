/**
 * Who gains or loses which rights on buckets, shares, NFS exports and panels between two states of
 * policy and mesh? Exact: objects that no binding tells apart are one, and so are users and nodes.
 * @module
 */
import type { PeerId } from "../ids.ts";
import {
  formatObjectPath,
  isSystemObject,
  isWithin,
  type Level,
  OBJECT_KIND_NAMES,
  type ObjectKind,
  type ObjectPath,
} from "./objects.ts";
import type { Sides } from "./plan_classes.ts";
import { accessOf, ADMIN_BINDING } from "./rights.ts";
import type { MeshSubjects, Principal } from "./subjects.ts";

/** Stands for all objects of the mesh itself that no binding names. */
export const SYSTEM_PATH: ObjectPath = ["_*"];

/** Users and nodes whose rights on some objects change from one level to another. */
export interface RightChange {
  readonly before: Level;
  readonly after: Level;
  readonly kind: ObjectKind;
  readonly path: ObjectPath;
  /** Parts of `path` that have changes of their own, or none. */
  readonly apart: readonly ObjectPath[];
  readonly users: readonly string[];
  readonly nodes: readonly PeerId[];
}

interface PrincipalClass {
  readonly users: string[];
  readonly nodes: PeerId[];
}

/** Every change, none twice. */
export function rightChanges(sides: Sides): RightChange[] {
  const changes = new Map<string, RightChange & PrincipalClass>();
  for (const { users, nodes } of principalClasses(sides)) {
    const who: Principal = users.length > 0 ? { user: users[0]! } : { node: nodes[0]! };
    for (const kind of OBJECT_KIND_NAMES) {
      for (const { path, apart, before, after } of changesFor(sides, who, kind)) {
        const key = JSON.stringify([kind, path, apart, before, after]);
        const known = changes.get(key);
        known?.users.push(...users);
        known?.nodes.push(...nodes);
        if (known) continue;
        changes.set(key, {
          kind,
          path,
          apart,
          before,
          after,
          users: [...users],
          nodes: [...nodes],
        });
      }
    }
  }
  return [...changes.values()];
}

/** Users and nodes that the same bindings name on both sides. */
function principalClasses({ before, after }: Sides): PrincipalClass[] {
  const classes = new Map<string, PrincipalClass>();
  const add = (who: Principal) => {
    const key = [before, after].map((side) => marksOf(side, who)).join("|");
    const found = classes.get(key) ?? { users: [], nodes: [] };
    classes.set(key, found);
    if ("user" in who) found.users.push(who.user);
    else found.nodes.push(who.node);
  };
  const views = [before.view, after.view];
  const users = views.flatMap((view) => view.users.map(({ name }) => name));
  for (const user of new Set(users)) add({ user });
  const nodes = views.flatMap((view) => view.nodes.map(({ id }) => id));
  for (const node of new Set(nodes)) add({ node });
  return [...classes.values()];
}

function marksOf(subjects: MeshSubjects, who: Principal): string {
  return [ADMIN_BINDING, ...subjects.policy.bindings]
    .map(({ to, action }) => subjects.includes(to, who, action) ? "1" : "0").join("");
}

interface PathChange {
  readonly path: ObjectPath;
  readonly before: Level;
  readonly after: Level;
}

/** Changes for one principal; an object like the one that holds it goes without saying. */
function changesFor(sides: Sides, who: Principal, kind: ObjectKind) {
  const all = pathsOf(sides, kind).map((path): PathChange => ({
    path,
    before: levelOn(sides.before, who, { kind, path }),
    after: levelOn(sides.after, who, { kind, path }),
  }));
  const heads = all.filter((each) => {
    const above = holderOf(each, all);
    return above === null || above.before !== each.before || above.after !== each.after;
  });
  return heads.filter(({ before, after }) => before !== after).map((head) => ({
    ...head,
    apart: heads.filter((each) => holderOf(each, heads) === head).map(({ path }) => path),
  }));
}

function levelOn(
  subjects: MeshSubjects,
  who: Principal,
  object: { kind: ObjectKind; path: ObjectPath },
): Level {
  return accessOf(subjects, who, object).level;
}

/** The smallest of `all` that holds `each`, apart from itself. */
function holderOf(each: PathChange, all: readonly PathChange[]): PathChange | null {
  const above = all.filter((other) => other !== each && isInside(each.path, other.path));
  return above.reduce<PathChange | null>(
    (best, other) => best === null || isInside(other.path, best.path) ? other : best,
    null,
  );
}

/** Whether `path` is in `tree`, where {@link SYSTEM_PATH} holds all objects of the mesh itself. */
export function isInside(path: ObjectPath, tree: ObjectPath): boolean {
  return tree === SYSTEM_PATH ? isSystemObject(path) : isWithin(path, tree);
}

/** Every object that a binding of either side names, `*`, and the mesh's own. */
function pathsOf({ before, after }: Sides, kind: ObjectKind): ObjectPath[] {
  const paths = new Map<string, ObjectPath>();
  for (const path of [[], SYSTEM_PATH]) paths.set(formatObjectPath(path), path);
  for (const { grants } of [...before.policy.bindings, ...after.policy.bindings]) {
    for (const grant of grants) {
      if (grant.kind === kind) paths.set(formatObjectPath(grant.path), grant.path);
    }
  }
  return [...paths.values()].sort((a, b) => a.length - b.length);
}
