/**
 * What does the mesh's policy say here? The signed documents and the signed facts about members,
 * brought together with the names that nodes give themselves.
 *
 * A mesh without documents of its own has the first policy. Documents that this version cannot read
 * leave what held before in force, or, at a start, deny everything: an older node must not open what
 * it does not understand.
 * @module
 */
import type { NetmapView } from "../control/netmap.ts";
import { errorMessage, MeshError } from "../errors.ts";
import type { FilterRule } from "../filter/rules.ts";
import type { PeerId } from "../ids.ts";
import { compileNode } from "../policy/compile.ts";
import { firstPolicy } from "../policy/default.ts";
import { parsePolicy } from "../policy/parse.ts";
import type { Policy } from "../policy/policy.ts";
import { type MeshNode, MeshSubjects, type MeshView } from "../policy/subjects.ts";
import type { PolicyDocument } from "../state/bodies.ts";
import type { MeshLog } from "../state/log.ts";
import type { MeshState } from "../state/state.ts";
import type { Log } from "./log.ts";
import { yamlSource } from "./yaml_source.ts";

export interface MeshPolicyOptions {
  readonly own: PeerId;
  readonly log: MeshLog;
  readonly view: NetmapView;
  /** Takes the rules for this node, and who is who; never called when nothing can be read. */
  readonly publish: (
    rules: readonly FilterRule[],
    subjects: MeshSubjects,
    seq: number | null,
  ) => void;
  readonly tell: Log;
}

/** The policy at one node. */
export class MeshPolicy {
  readonly #options: MeshPolicyOptions;
  readonly #listeners: (() => void)[] = [];
  /** Hash of the documents that are in force; null for the first policy, undefined for none. */
  #hash: string | null | undefined;
  #policy: Policy | null = null;
  #subjects: MeshSubjects | null = null;
  /** Number of the entry that stated the policy. */
  #seq: number | null = null;
  #facts = "";
  #problem: string | null = null;

  constructor(options: MeshPolicyOptions) {
    this.#options = options;
  }

  /** Policy and mesh; null while no policy can be read. */
  get subjects(): MeshSubjects | null {
    return this.#subjects;
  }

  /** This node as the policy knows it; null when it is no member. */
  get ownNode(): MeshNode | null {
    return this.#subjects?.node(this.#options.own) ?? null;
  }

  /** Why the mesh's policy is not in force here, in a sentence; null when it is. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Calls back whenever {@link subjects} is another one. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Log or names may have changed: follows them. */
  refresh(): void {
    const { log, view, own, publish } = this.#options;
    this.#follow(log.state);
    const mesh = meshView(log.state, view);
    const facts = JSON.stringify([this.#hash, mesh]);
    if (facts === this.#facts) return;
    this.#facts = facts;
    this.#subjects = this.#policy && new MeshSubjects(this.#policy, mesh);
    if (this.#subjects) {
      const node = this.#subjects.node(own);
      // Who is no member lets nobody in.
      publish(node ? compileNode(this.#subjects, node) : [], this.#subjects, this.#seq);
    }
    for (const listener of this.#listeners) listener();
  }

  #follow({ policy }: MeshState): void {
    const hash = policy?.hash ?? null;
    if (hash === this.#hash) return;
    this.#seq = policy ? seqOf(this.#options.log, policy.hash) : null;
    this.#hash = hash;
    try {
      this.#policy = policy ? readPolicy(policy.documents) : firstPolicy();
      this.#problem = null;
    } catch (error) {
      const kept = this.#policy ? "what held before stays in force" : "everything is denied";
      this.#problem = `The mesh's policy cannot be used here, ${kept}: ${errorMessage(error)}`;
      this.#options.tell("error", this.#problem, {});
    }
  }
}

/**
 * Reads the documents of a policy.
 * @throws {MeshError} "config-invalid" with everything that is wrong.
 */
export function readPolicy(documents: readonly PolicyDocument[]): Policy {
  const sources = documents.map(({ file, text }) =>
    yamlSource({ name: file, text }, { keepsNulls: true })
  );
  const { policy, problems } = parsePolicy(sources);
  if (policy) return policy;
  throw new MeshError("config-invalid", problems.join("\n"));
}

/** The newest entry that stated documents with that hash; null when it lies before a snapshot. */
export function seqOf(log: MeshLog, hash: string): number | null {
  return log.since(0).findLast(({ entry: { body } }) =>
    body.type === "policy-set" && body.hash === hash
  )?.entry.seq ?? null;
}

/** Members and users as the policy sees them. A node that has not told its name has its id. */
export function meshView(state: MeshState, view: Pick<NetmapView, "peers">): MeshView {
  const nodes = [...state.nodes.values()].map(({ id, user, tags }): MeshNode => ({
    id,
    name: view.peers.get(id)?.record.name ?? id,
    user: user === null ? null : state.users.get(user)?.name ?? null,
    tags,
  }));
  const users = [...state.users.values()].map(({ name, isAdmin }) => ({ name, isAdmin }));
  return { nodes, users };
}
