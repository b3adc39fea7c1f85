/**
 * Why may someone do something with an object, or not? The binding that decided it, and those that
 * nearly did.
 * @module
 */
import { levelOf, type PolicyObject, type Right, rightOf } from "./objects.ts";
import type { Binding } from "./policy.ts";
import { covers, type Decision, formatDecision, may, mostGiven } from "./rights.ts";
import type { MeshSubjects, Principal } from "./subjects.ts";

/** A binding that one thing keeps from deciding. */
export interface NearBinding {
  readonly binding: Binding;
  /** `is for others`, `gives no more than read`. */
  readonly miss: string;
}

/** An answer with its reasons. */
export interface RightExplanation {
  readonly who: string;
  readonly right: Right;
  readonly object: PolicyObject;
  readonly decision: Decision;
  readonly near: readonly NearBinding[];
}

/** Bindings beyond these are only counted. */
const MAX_NEAR = 5;

/** Answers for the document's bindings and `more`. */
export function explainRight(
  subjects: MeshSubjects,
  who: Principal,
  right: Right,
  object: PolicyObject,
  more: readonly Binding[] = [],
): RightExplanation {
  const decision = may(subjects, who, right, object, more);
  const bindings = [...subjects.policy.bindings, ...more];
  const name = "user" in who
    ? `user:${who.user}`
    : `node:${subjects.node(who.node)?.name ?? who.node}`;
  // What a denial decided, no further allowance would change.
  const wanted = decision.isAllowed ? "deny" : "allow";
  const isOpen = decision.by?.action !== "deny";
  const near = bindings.filter(({ action }) => isOpen && action === wanted).flatMap((binding) => {
    const miss = missOf(subjects, who, right, object, binding);
    return miss === null ? [] : [{ binding, miss }];
  });
  return { who: name, right, object, decision, near };
}

function missOf(
  subjects: MeshSubjects,
  who: Principal,
  right: Right,
  object: PolicyObject,
  binding: Binding,
): string | null {
  const isFor = subjects.includes(binding.to, who, binding.action);
  const about = binding.grants.filter((grant) => covers(binding, grant, object));
  const isEnough = (level: number) =>
    binding.action === "allow" ? level >= levelOf(right) : level <= levelOf(right);
  if (about.some(({ level }) => isEnough(level))) return isFor ? null : "is for others";
  if (!isFor) return null;
  if (about.length > 0) {
    return binding.action === "allow"
      ? `gives no more than ${rightOf(mostGiven(about))}`
      : "is for other rights";
  }
  const isOfKind = binding.grants.some(({ kind, level }) =>
    kind === object.kind && isEnough(level)
  );
  return isOfKind ? "is for other objects" : null;
}

/** Text of one explanation. */
export function formatRight({ who, right, object, decision, near }: RightExplanation): string {
  const shown = near.slice(0, MAX_NEAR);
  return [
    `${who}: ${formatDecision(right, object, decision)}`,
    ...(shown.length > 0 ? ["  bindings that nearly decided otherwise:"] : []),
    ...shown.map(({ binding: { origin }, miss }) => {
      const comment = origin.comment === "" ? "" : ` (${origin.comment})`;
      return `    ${origin.where}${comment}: ${miss}`;
    }),
    ...(near.length > shown.length ? [`    and ${near.length - shown.length} more`] : []),
  ].join("\n");
}
