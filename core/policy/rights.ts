/**
 * What may this user or node do with a bucket, a share, an NFS export or a panel?
 *
 * The highest right that any binding allows, up to below the lowest that any denies: who is denied
 * writing may still read. No binding opens the mesh's own objects (`_...`) by `*`, apart from the
 * admins' built-in one.
 * @module
 */
import {
  formatObject,
  type Grant,
  isSystemObject,
  isWithin,
  type Level,
  levelOf,
  OBJECT_KIND_NAMES,
  type PolicyObject,
  type Right,
  rightOf,
} from "./objects.ts";
import type { Binding } from "./policy.ts";
import type { MeshSubjects, Principal } from "./subjects.ts";

/** The binding that every mesh has. */
export const ADMIN_BINDING: Binding = {
  action: "allow",
  to: [{ kind: "group", name: "admins" }],
  grants: OBJECT_KIND_NAMES.map((kind) => ({ kind, path: [], level: 3 })),
  origin: { where: "built in", comment: "Admins may do everything" },
};

/** How far someone's rights on an object go, and which bindings say so. */
export interface Access {
  readonly level: Level;
  /** The binding that allows most; null when none allows anything. */
  readonly allowedBy: Binding | null;
  /** The binding that denies the next level; null when none does. */
  readonly deniedBy: Binding | null;
}

/** An answer to "may they?". */
export interface Decision {
  readonly isAllowed: boolean;
  /** What decided; null when no binding speaks of it. */
  readonly by: Binding | null;
  readonly level: Level;
}

/** The rights of `who` on `object`, also by `more` bindings than the document's. */
export function accessOf(
  subjects: MeshSubjects,
  who: Principal,
  object: PolicyObject,
  more: readonly Binding[] = [],
): Access {
  const matching = [ADMIN_BINDING, ...subjects.policy.bindings, ...more]
    .filter(({ to, action }) => subjects.includes(to, who, action));
  let allowed: Level = 0;
  let denied: Level | 4 = 4;
  let allowedBy: Binding | null = null;
  let deniedBy: Binding | null = null;
  for (const binding of matching) {
    for (const grant of binding.grants) {
      if (!covers(binding, grant, object)) continue;
      if (binding.action === "allow" && grant.level > allowed) {
        [allowed, allowedBy] = [grant.level, binding];
      } else if (binding.action === "deny" && grant.level < denied) {
        [denied, deniedBy] = [grant.level, binding];
      }
    }
  }
  return { level: Math.min(allowed, denied - 1) as Level, allowedBy, deniedBy };
}

/** Whether `who` has `right` on `object`, and by which binding that is so. */
export function may(
  subjects: MeshSubjects,
  who: Principal,
  right: Right,
  object: PolicyObject,
  more: readonly Binding[] = [],
): Decision {
  const wanted = levelOf(right);
  const { level, allowedBy, deniedBy } = accessOf(subjects, who, object, more);
  if (level >= wanted) return { isAllowed: true, by: allowedBy, level };
  const isDenied = deniedBy?.grants.some((grant) =>
    grant.level <= wanted && covers(deniedBy, grant, object)
  );
  return { isAllowed: false, by: isDenied ? deniedBy : null, level };
}

/** Whether a grant of a binding is about `object`. */
export function covers(binding: Binding, grant: Grant, object: PolicyObject): boolean {
  if (grant.kind !== object.kind || !isWithin(object.path, grant.path)) return false;
  const isByStar = grant.path.length === 0 && isSystemObject(object.path);
  return !isByStar || binding.action === "deny" || binding === ADMIN_BINDING;
}

/** The highest level of some grants. */
export function mostGiven(grants: readonly Grant[]): Level {
  return Math.max(0, ...grants.map(({ level }) => level)) as Level;
}

/** One or two lines: the answer and what decided it. */
export function formatDecision(right: Right, object: PolicyObject, decision: Decision): string {
  const { isAllowed, by, level } = decision;
  const head = `${isAllowed ? "allowed" : "denied"}: ${right} ${formatObject(object)}`;
  if (by === null) {
    const most = rightOf(level);
    return `${head}\n  no binding gives it${most === null ? "" : `; the most given is ${most}`}`;
  }
  const comment = by.origin.comment === "" ? "" : `  (${by.origin.comment})`;
  return `${head}\n  by the binding at ${by.origin.where}${comment}`;
}
