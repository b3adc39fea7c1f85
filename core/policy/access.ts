/**
 * What may one node send to another, by the policy alone? The plain reading of the rules, which the
 * compiled ones must agree with.
 * @module
 */
import type { Rule } from "./policy.ts";
import { haveOneUser, type MeshNode, type MeshSubjects } from "./subjects.ts";
import { NO_TRAFFIC, subtract, type Traffic, union } from "./traffic.ts";

/** Whether the sources of `rule` include `from`. */
export function isFrom(subjects: MeshSubjects, rule: Rule, from: MeshNode): boolean {
  return subjects.resolveAll(rule.from, rule.action).nodes.has(from.id);
}

/** Whether `rule` is about packets to `to` that come from `from`. */
export function isTo(subjects: MeshSubjects, rule: Rule, from: MeshNode, to: MeshNode): boolean {
  return subjects.resolveAll(rule.to, rule.action).nodes.has(to.id) ||
    (hasSelf(rule) && haveOneUser(from, to));
}

/** Whether a rule's destinations depend on the source. */
export function hasSelf(rule: Rule): boolean {
  return rule.to.some(({ kind }) => kind === "self");
}

/** Everything that `from` may send to `to`. */
export function accessTo(subjects: MeshSubjects, from: MeshNode, to: MeshNode): Traffic {
  let allowed: Traffic = NO_TRAFFIC;
  let denied: Traffic = NO_TRAFFIC;
  for (const rule of subjects.policy.rules) {
    if (!isFrom(subjects, rule, from) || !isTo(subjects, rule, from, to)) continue;
    if (rule.action === "allow") allowed = union(allowed, rule.traffic);
    else denied = union(denied, rule.traffic);
  }
  return subtract(allowed, denied);
}
