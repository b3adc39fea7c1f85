/**
 * Is this policy fit for this mesh? Its tests must hold; what probably is a slip of the pen is told.
 * @module
 */
import { nearest } from "../config/nearest.ts";
import { noOtherLayers, type OtherLayers } from "./explain.ts";
import type { Policy } from "./policy.ts";
import { formatSubject, type Subject } from "./subject.ts";
import type { MeshSubjects, MeshView } from "./subjects.ts";
import { runTests, type TestReport } from "./tests_of.ts";

/** What a look at a policy found. */
export interface CheckReport extends TestReport {
  readonly isFit: boolean;
  /** One sentence each, with its place. */
  readonly warnings: readonly string[];
}

/** Runs the tests of a policy and looks for names that nobody in the mesh has. */
export function checkPolicy(
  subjects: MeshSubjects,
  others: OtherLayers = noOtherLayers,
): CheckReport {
  const report = runTests(subjects, others);
  return { ...report, isFit: report.failures.length === 0, warnings: warningsOf(subjects) };
}

/** Text of a report: failures with their counter-examples, warnings, a count. */
export function formatCheck({ passed, failures, empty, warnings }: CheckReport): string {
  return [
    ...failures.map(({ where, text, counterExample }) =>
      [`${where}: failed: ${text}`, ...counterExample.split("\n")].join("\n  ")
    ),
    ...empty.map(({ where, text }) => `${where}: tests nobody: ${text}`),
    ...warnings,
    `${passed} passed, ${failures.length} failed`,
  ].join("\n");
}

function warningsOf(subjects: MeshSubjects): string[] {
  const warnings = new Set<string>();
  for (const { subject, where } of mentions(subjects.policy)) {
    const text = formatSubject(subject);
    if (subjects.isAmbiguous(subject)) {
      warnings.add(`${where}: "${text}" is a user and a node: write user:${text} or node:${text}`);
      continue;
    }
    if (subject.kind === "self" || subject.kind === "group") continue;
    const { nodes, users } = subjects.resolve(subject, "deny");
    if (nodes.size + users.size > 0 || subjects.policy.tags.has(subject.name)) continue;
    const near = nearest(text, knownNames(subjects.view, subject.kind));
    warnings.add(`${where}: nobody is ${text}${near === null ? "" : `; did you mean ${near}?`}`);
  }
  return [...warnings];
}

/** Every subject of the document and where it stands. */
function mentions(policy: Policy): { subject: Subject; where: string }[] {
  const at = (subjects: readonly Subject[], where: string) =>
    subjects.map((subject) => ({ subject, where }));
  return [
    ...[...policy.groups.values()].flatMap(({ members, where }) => at(members, where)),
    ...[...policy.tags.values()].flatMap(({ owners, where }) => at(owners, where)),
    ...policy.rules.flatMap(({ from, to, origin }) => at([...from, ...to], origin.where)),
    ...policy.bindings.flatMap(({ to, origin }) => at(to, origin.where)),
    ...[...policy.exits, ...policy.routes].flatMap(({ offer, use, origin }) =>
      at([...offer, ...use], origin.where)
    ),
  ];
}

function knownNames({ nodes, users }: MeshView, kind: Subject["kind"]): Set<string> {
  const prefix = kind === "bare" ? "" : `${kind}:`;
  const names = {
    user: users.map(({ name }) => name),
    node: nodes.map(({ name }) => name),
    tag: nodes.flatMap(({ tags }) => tags),
  };
  const wanted = kind === "bare"
    ? [...names.user, ...names.node]
    : names[kind as keyof typeof names] ?? [];
  return new Set(wanted.map((name) => prefix + name));
}
