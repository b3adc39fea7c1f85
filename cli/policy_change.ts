/**
 * What would another policy change, does it pass its tests, and how is it applied? The one way in
 * which the command line changes a policy, whoever wrote it: files, an edit, or history.
 * @module
 */
import type { MeshReport } from "../core/daemon/mesh_report.ts";
import { MeshError } from "../core/errors.ts";
import { checkPolicy, type CheckReport, formatCheck } from "../core/policy/check.ts";
import { formatPlan, planOf } from "../core/policy/plan.ts";
import type { Policy } from "../core/policy/policy.ts";
import { MeshSubjects, type MeshView } from "../core/policy/subjects.ts";
import { type PolicyDocument, policyHash } from "../core/state/bodies.ts";
import type { CommandContext } from "./command.ts";
import { documentsOf, type PolicyText } from "./policy_files.ts";
import { type AppliedPolicy, expectPolicy, viewOf } from "./policy_world.ts";
import { askYes } from "./prompt.ts";
import { state, type Stating } from "./statements.ts";

/** Hashes are shown as far as people compare them. */
export const SHORT_HASH = 12;

/** A policy beside the one that holds. */
export interface Proposal {
  readonly mesh: MeshReport;
  readonly documents: readonly PolicyDocument[];
  readonly hash: string;
  /** Whether these documents are the applied ones. */
  readonly isApplied: boolean;
  readonly check: CheckReport;
  /** Who gains or loses what, a sentence each. */
  readonly changes: readonly string[];
  /** Why the applied policy could not be compared with; null when it was. */
  readonly problem: string | null;
}

/** Compares. @throws {MeshError} `config-invalid` when the texts are no policy. */
export function propose(
  mesh: MeshReport,
  applied: AppliedPolicy,
  texts: readonly PolicyText[],
): Proposal {
  return proposePolicy(mesh, applied, texts, expectPolicy(texts));
}

/** The same for texts that were read already. */
export function proposePolicy(
  mesh: MeshReport,
  applied: AppliedPolicy,
  texts: readonly PolicyText[],
  policy: Policy,
): Proposal {
  const view = viewOf(mesh);
  const documents = documentsOf(texts);
  const hash = policyHash(documents);
  const after = new MeshSubjects(policy, view);
  return {
    mesh,
    documents,
    hash,
    isApplied: hash === applied.hash,
    check: checkPolicy(after),
    problem: applied.problem,
    changes: formatPlan(planOf(new MeshSubjects(applied.policy, view), after)),
  };
}

/** Who would gain or lose what if the mesh itself were so. */
export function changesInMesh(applied: AppliedPolicy, mesh: MeshReport, after: MeshView): string[] {
  const subjects = (view: MeshView) => new MeshSubjects(applied.policy, view);
  return formatPlan(planOf(subjects(viewOf(mesh)), subjects(after)));
}

/** What programs are told of a proposal. */
export function proposalDocument({ hash, isApplied, check, changes, problem }: Proposal) {
  return { hash, isApplied, changes, problem, ...checkDocument(check) };
}

/** What programs are told of tests. */
export function checkDocument({ isFit, passed, failures, empty, warnings }: CheckReport) {
  return { isFit, passed, failures, empty, warnings };
}

/** What people are told of a proposal. */
export function proposalLines({ isApplied, check, changes, problem }: Proposal): string[] {
  const none = isApplied
    ? "Nothing changes: these documents are the applied ones"
    : "Only the text changes: nobody gains or loses anything";
  const isQuiet = check.passed + check.failures.length + check.empty.length === 0 &&
    check.warnings.length === 0;
  return [
    ...problem === null ? [] : [`Compared with no policy, as the applied one is wrong: ${problem}`],
    ...changes.length > 0 ? changes : [none],
    ...isQuiet ? [] : ["", formatCheck(check)],
  ];
}

/** @throws {MeshError} `policy-unfit` when a test fails. */
export function expectFit({ check }: Proposal): void {
  if (check.isFit) return;
  const [first] = check.failures;
  const count = check.failures.length === 1 ? "a test" : `${check.failures.length} tests`;
  throw new MeshError(
    "policy-unfit",
    `Cannot apply the policy: it fails ${count}, first ${first!.where}: ${first!.text}`,
    { hint: "Mend the rule or the test; nothing was changed" },
  );
}

/** How a proposal is applied. */
export interface Applying extends Stating {
  readonly context: Pick<CommandContext, "host" | "out">;
  /** Do not ask. */
  readonly yes: boolean;
}

/** Shows the proposal, asks, and states it as one entry; the exit status. */
export async function applyProposal(proposal: Proposal, applying: Applying): Promise<number> {
  const { context: { host, out }, yes } = applying;
  const { isApplied, hash } = proposal;
  if (isApplied) {
    out.document({ ...proposalDocument(proposal), seq: null }, () => proposalLines(proposal));
    return 0;
  }
  for (const line of proposalLines(proposal)) out.line(line);
  expectFit(proposal);
  if (!yes && !askYes(host, "Apply this policy?")) return declined(applying);
  const { seq } = await stateProposal(proposal, applying);
  out.document({ ...proposalDocument(proposal), seq }, () => [
    `Policy ${hash.slice(0, SHORT_HASH)} is applied, entry ${seq} of the mesh's log`,
  ]);
  return 0;
}

/** Tells that the user said no; the exit status. */
export function declined({ context: { out } }: Pick<Applying, "context">): number {
  out.warning("Nothing was changed");
  return 1;
}

/** States a proposal, unless the policy is another one than it was compared with. */
export async function stateProposal({ mesh, documents, hash }: Proposal, stating: Stating) {
  const { policy } = await stating.client.mesh();
  if (policy !== null && policy.hash !== mesh.policy?.hash) {
    throw new MeshError(
      "entry-conflict",
      `Cannot apply the policy: ${policy.by} applied another one meanwhile, entry ${policy.seq}`,
      { hint: "Run it again to see the plan against that one" },
    );
  }
  return await state(stating, { type: "policy-set", documents: [...documents], hash });
}
