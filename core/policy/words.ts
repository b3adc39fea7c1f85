/**
 * What does a policy say, as a list to read? One line for each part, with its place and its reason.
 * @module
 */
import type { RuleOrigin } from "../filter/rules.ts";
import { formatPrefix } from "../ip.ts";
import { ruleText } from "./explain.ts";
import { formatObject, type Grant, rightOf } from "./objects.ts";
import type { Binding, Exit, Policy, Route } from "./policy.ts";
import { formatSubjects } from "./reader.ts";
import { ALL_TRAFFIC, equals, formatTraffic } from "./traffic.ts";

/** One part of a policy. */
export interface PolicyLine {
  /** What kind of part, e.g. `rules`. */
  readonly section: "groups" | "rules" | "exits" | "routes" | "bindings";
  readonly text: string;
  readonly where: string;
  /** Empty when the author gave no reason. */
  readonly comment: string;
}

/** Every group, rule, exit, route and binding, in that order. */
export function policyLines(policy: Policy): PolicyLine[] {
  const line = (section: PolicyLine["section"], text: string, origin: RuleOrigin) => ({
    section,
    text,
    ...origin,
  });
  return [
    ...[...policy.groups].map(([name, { members, where }]) =>
      line("groups", `${name}: ${formatSubjects(members) || "nobody"}`, { where, comment: "" })
    ),
    ...policy.rules.map((rule) => line("rules", ruleText(rule), rule.origin)),
    ...policy.exits.map((exit) => line("exits", exitText(exit), exit.origin)),
    ...policy.routes.map((route) => line("routes", routeText(route), route.origin)),
    ...policy.bindings.map((binding) => line("bindings", bindingText(binding), binding.origin)),
  ];
}

/** The same as text; what holds without being written comes first and last. */
export function formatPolicy(policy: Policy): string[] {
  const bySection = Map.groupBy(policyLines(policy), ({ section }) => section);
  return [
    ...[...bySection].flatMap(([section, lines]) => [
      `${section}:`,
      ...lines.map(({ text, where, comment }) =>
        `  ${text}  [${where}]${comment === "" ? "" : `  (${comment})`}`
      ),
    ]),
    "What no rule allows is denied; what any rule denies, none can allow. Admins have all rights.",
  ];
}

/** `allow read on bucket:media, panel:map to group:dev`. */
export function bindingText({ action, to, grants }: Binding): string {
  const byRight = Map.groupBy(grants, ({ level }: Grant) => rightOf(level));
  const rights = [...byRight].map(([right, objects]) =>
    `${right} on ${objects.map(formatObject).join(", ")}`
  );
  return `${action} ${rights.join("; ") || "nothing"} to ${formatSubjects(to)}`;
}

function exitText({ action, offer, use }: Exit): string {
  return `${action} the Internet through ${formatSubjects(offer)} to ${formatSubjects(use)}`;
}

function routeText({ action, prefixes, offer, use, traffic }: Route): string {
  const ports = equals(traffic, ALL_TRAFFIC) ? "" : `${formatTraffic(traffic)} on `;
  const networks = prefixes.map(formatPrefix).join(", ");
  return `${action} ${ports}${networks} through ${formatSubjects(offer)} to ${formatSubjects(use)}`;
}
