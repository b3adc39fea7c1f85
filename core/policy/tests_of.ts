/**
 * Does the policy do what its author wrote down as tests?
 *
 * A line of a test holds for every node that its subjects name; the first pair for which it does not
 * is the counter-example.
 * @module
 */
import { explainAll, noOtherLayers, type OtherLayers } from "./explain.ts";
import { explainRight, formatRight } from "./explain_right.ts";
import { formatExplanation } from "./explain_text.ts";
import { explainWay, formatWay } from "./explain_way.ts";
import { formatPrefix } from "../ip.ts";
import type { PolicyTest, TestCase, TestTarget } from "./policy.ts";
import type { Subject } from "./subject.ts";
import type { MeshNode, MeshSubjects, Principal } from "./subjects.ts";
import { mayOfferRoute } from "./ways.ts";

/** A line of a test that does not hold. */
export interface TestFailure {
  /** File, line and column of that line. */
  readonly where: string;
  /** `deny nas:22`. */
  readonly text: string;
  /** Who reaches what after all, or fails to, and why. */
  readonly counterExample: string;
}

/** How the tests went. */
export interface TestReport {
  readonly passed: number;
  readonly failures: readonly TestFailure[];
  /** Lines about nobody: they hold, and prove nothing. */
  readonly empty: readonly { readonly where: string; readonly text: string }[];
}

/** What a line of a test comes to: a counter-example, null, or "empty". */
type Outcome = string | null | "empty";

/** Runs all tests of the policy. Rules of other layers count only where `others` gives them. */
export function runTests(
  subjects: MeshSubjects,
  others: OtherLayers = noOtherLayers,
): TestReport {
  const failures: TestFailure[] = [];
  const empty: { where: string; text: string }[] = [];
  let passed = 0;
  for (const test of subjects.policy.tests) {
    for (const each of test.cases) {
      const line = { where: each.where, text: `${each.expected} ${each.text}` };
      const outcome = run(subjects, test, each, others);
      if (outcome === "empty") empty.push(line);
      else if (outcome === null) passed++;
      else failures.push({ ...line, counterExample: outcome });
    }
  }
  return { passed, failures, empty };
}

function run(
  subjects: MeshSubjects,
  test: PolicyTest,
  { expected, target }: TestCase,
  others: OtherLayers,
): Outcome {
  switch (target.type) {
    case "traffic": {
      const sources = nodesOf(subjects, test.from);
      const destinations = nodesOf(subjects, [target.to]);
      const groups = explainAll(subjects, sources, destinations, target.traffic, others);
      if (groups.length === 0) return "empty";
      const wrong = groups.find(({ example }) => example.verdict !== expected);
      return wrong ? formatExplanation(wrong.example) : null;
    }
    case "right":
      return runRight(subjects, test, target, expected === "allow");
    default:
      return runWay(subjects, test, target, expected === "allow");
  }
}

function runRight(
  subjects: MeshSubjects,
  test: PolicyTest,
  { right, object }: TestTarget & { type: "right" },
  isExpected: boolean,
): Outcome {
  const { nodes, users } = subjects.resolveAll(test.from, "deny");
  const principals: Principal[] = [
    ...[...users].map((user) => ({ user })),
    ...[...nodes].map((node) => ({ node })),
  ];
  if (principals.length === 0) return "empty";
  for (const who of principals) {
    const explanation = explainRight(subjects, who, right, object);
    if (explanation.decision.isAllowed !== isExpected) return formatRight(explanation);
  }
  return null;
}

function runWay(
  subjects: MeshSubjects,
  test: PolicyTest,
  target: TestTarget & { type: "exit" | "route" },
  isExpected: boolean,
): Outcome {
  const sources = nodesOf(subjects, test.from);
  const vias = target.type === "exit"
    ? nodesOf(subjects, [target.via])
    : subjects.view.nodes.filter((node) => mayOfferRoute(subjects, node, target.prefix));
  let pairs = 0;
  for (const from of sources) {
    for (const via of vias) {
      if (from.id === via.id) continue;
      pairs++;
      const prefix = target.type === "exit" ? null : target.prefix;
      const explanation = explainWay(subjects, { from, via, prefix });
      if (explanation.isAllowed !== isExpected) return formatWay(explanation);
    }
  }
  if (pairs > 0) return null;
  const nobodyOffers = target.type === "route" && sources.length > 0 && isExpected;
  return nobodyOffers ? `no node may offer ${formatPrefix(target.prefix)}` : "empty";
}

/** A test is about everyone whom its words may mean. */
function nodesOf(subjects: MeshSubjects, names: readonly Subject[]): MeshNode[] {
  const { nodes } = subjects.resolveAll(names, "deny");
  return subjects.view.nodes.filter(({ id }) => nodes.has(id));
}
