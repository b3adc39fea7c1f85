/**
 * What does a policy's text come to in the mesh that the daemon tells of?
 *
 * It reads YAML, which looks at the environment, so commands call it before permissions are given
 * up.
 * @module
 */
import type { MeshReport } from "../core/daemon/mesh_report.ts";
import { MeshError } from "../core/errors.ts";
import { FIRST_POLICY_NAME, FIRST_POLICY_TEXT } from "../core/policy/default.ts";
import { type ParsedPolicy, parsePolicy } from "../core/policy/parse.ts";
import type { Policy } from "../core/policy/policy.ts";
import { MeshSubjects, type MeshView } from "../core/policy/subjects.ts";
import { type PolicyText, textsOf } from "./policy_files.ts";
import { yamlSource } from "../core/daemon/yaml_source.ts";

/** The first policy, under the name that its first edit gives it. */
export const FIRST_TEXTS: readonly PolicyText[] = [
  { file: "policy.yaml", shown: FIRST_POLICY_NAME, text: FIRST_POLICY_TEXT },
];

/** Something wrong in a document, and where. */
export interface PolicyProblem {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

/** The policy that holds in a mesh. */
export interface AppliedPolicy {
  readonly texts: readonly PolicyText[];
  /** Allows nothing where {@link AppliedPolicy.problem} is set. */
  readonly policy: Policy;
  /** Why this version cannot read it; null when it can. */
  readonly problem: string | null;
  /** Hash of the documents; null while the first policy holds. */
  readonly hash: string | null;
}

/** Reads documents. Says everything that is wrong, also of several files that are no YAML. */
export function parseTexts(texts: readonly PolicyText[]): ParsedPolicy {
  const malformed: string[] = [];
  const sources = texts.flatMap(({ shown, text }) => {
    try {
      return [yamlSource({ name: shown, text }, { keepsNulls: true })];
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      malformed.push(error.message.replace("Cannot read configuration: ", ""));
      return [];
    }
  });
  return malformed.length > 0 ? { policy: null, problems: malformed } : parsePolicy(sources);
}

/** The policy of documents. @throws {MeshError} `config-invalid` naming the first problem. */
export function expectPolicy(texts: readonly PolicyText[]): Policy {
  const { policy, problems } = parseTexts(texts);
  if (policy !== null) return policy;
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : "";
  throw new MeshError("config-invalid", `Cannot use the policy: ${problems[0]}${more}`, {
    hint: "`tunnelmesh policy check FILE...` lists all that is wrong; nothing was changed",
  });
}

/** Takes a problem's text apart. */
export function problemOf(text: string): PolicyProblem {
  const [, file, line, column, message] = /^(.*?):(\d+):(\d+): ([\s\S]*)$/.exec(text) ?? [];
  if (message === undefined) return { file: "", line: 0, column: 0, message: text };
  return { file: file!, line: Number(line), column: Number(column), message };
}

/** What holds now. It can be replaced even where it cannot be read. */
export function appliedPolicy({ policy: report }: MeshReport): AppliedPolicy {
  const texts = report === null ? FIRST_TEXTS : textsOf(report.documents);
  const { policy, problems } = parseTexts(texts);
  const problem = problems?.[0] ?? null;
  return { texts, policy: policy ?? NO_POLICY, problem, hash: report?.hash ?? null };
}

/** What holds now, for who asks about it. @throws {MeshError} `config-invalid` */
export function expectApplied(mesh: MeshReport): AppliedPolicy {
  const applied = appliedPolicy(mesh);
  if (applied.problem !== null) expectPolicy(applied.texts);
  return applied;
}

const NO_POLICY: Policy = {
  groups: new Map(),
  tags: new Map(),
  services: new Map(),
  bindings: [],
  rules: [],
  exits: [],
  routes: [],
  tests: [],
};

/** Who is in the mesh, as policies see it. */
export function viewOf({ nodes, users }: MeshReport): MeshView {
  return {
    nodes: nodes.map(({ id, name, user, tags }) => ({ id, name, user, tags })),
    users: users.map(({ name, isAdmin }) => ({ name, isAdmin })),
  };
}

/** A policy in the mesh of a report. */
export function subjectsOf(policy: Policy, mesh: MeshReport): MeshSubjects {
  return new MeshSubjects(policy, viewOf(mesh));
}
