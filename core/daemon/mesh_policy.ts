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
import { errorMessage } from "../errors.ts";
import type { FilterRule } from "../filter/rules.ts";
import type { PeerId } from "../ids.ts";
import { compileNode } from "../policy/compile.ts";
import { firstPolicy } from "../policy/default.ts";
import type { Policy } from "../policy/policy.ts";
import { type MeshNode, MeshSubjects, type MeshView } from "../policy/subjects.ts";
import type { PolicyDocument } from "../state/bodies.ts";
import type { MeshLog } from "../state/log.ts";
import type { MeshState } from "../state/state.ts";
import type { Log } from "./log.ts";

/** Reads the documents of a policy. @throws {MeshError} "config-invalid" with all that is wrong */
export type ReadPolicy = (documents: readonly PolicyDocument[]) => Policy;

export interface MeshPolicyOptions {
  readonly own: PeerId;
  readonly log: MeshLog;
  readonly view: NetmapView;
  /** Loads what reads documents, when there are some: it takes memory. */
  readonly load: () => Promise<ReadPolicy>;
  /** The same where it is loaded already. */
  readonly read?: ReadPolicy;
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
  #read: ReadPolicy | null;
  #loading: Promise<void> | null = null;

  constructor(options: MeshPolicyOptions) {
    this.#options = options;
    this.#read = options.read ?? null;
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

  /** Loads what the policy that there is takes to be read. */
  async prepare(): Promise<void> {
    if (this.#options.log.state.policy === null || this.#read) return;
    this.#loading ??= this.#options.load().then((read) => void (this.#read = read));
    await this.#loading;
  }

  /** Log or names may have changed: follows them. */
  refresh(): void {
    const { log, view, own, publish } = this.#options;
    if (log.state.policy && !this.#read) {
      // The first policy that the mesh ever had; what holds until then is a moment older.
      this.prepare().then(
        () => this.refresh(),
        (error) =>
          this.#options.tell("error", "Cannot read policies", { why: errorMessage(error) }),
      );
      return;
    }
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
      this.#policy = policy ? this.#read!(policy.documents) : firstPolicy();
      this.#problem = null;
    } catch (error) {
      const kept = this.#policy ? "what held before stays in force" : "everything is denied";
      this.#problem = `The mesh's policy cannot be used here, ${kept}: ${errorMessage(error)}`;
      this.#options.tell("error", this.#problem, {});
    }
  }
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
