/**
 * Whom do the subjects of a policy name in this mesh?
 *
 * A user stands for the user and all nodes of it. A bare name that fits a user and a node is
 * nobody's where something is allowed and both of theirs where something is denied, so that a node
 * that takes a user's name gains nothing by it.
 * @module
 */
import type { PeerId } from "../ids.ts";
import type { Action, Policy } from "./policy.ts";
import { type Subject } from "./subject.ts";

/** A node, as signed facts tell it. */
export interface MeshNode {
  readonly id: PeerId;
  readonly name: string;
  /** The user it belongs to; null for a node that only tags speak of. */
  readonly user: string | null;
  readonly tags: readonly string[];
}

/** A user, as signed facts tell it. */
export interface MeshUser {
  readonly name: string;
  readonly isAdmin: boolean;
}

/** Who is in the mesh. */
export interface MeshView {
  readonly nodes: readonly MeshNode[];
  readonly users: readonly MeshUser[];
  /** A user whom policies shall call otherwise, for a plan that compares with the name so far. */
  readonly renamed?: { readonly name: string; readonly to: string };
}

/** What subjects stand for. */
export interface SubjectSet {
  readonly nodes: ReadonlySet<PeerId>;
  readonly users: ReadonlySet<string>;
}

/** Who asks for something: a node, or a user wherever it is logged in. */
export type Principal = { readonly node: PeerId } | { readonly user: string };

const NOBODY: SubjectSet = { nodes: new Set(), users: new Set() };

/** A policy together with the mesh it speaks of. */
export class MeshSubjects {
  readonly policy: Policy;
  readonly view: MeshView;
  readonly #nodes = new Map<PeerId, MeshNode>();
  readonly #sets = new Map<string, SubjectSet>();
  readonly #lists = new WeakMap<readonly Subject[], Map<Action, SubjectSet>>();

  constructor(policy: Policy, view: MeshView) {
    this.policy = policy;
    this.view = view;
    for (const node of view.nodes) this.#nodes.set(node.id, node);
  }

  node(id: PeerId): MeshNode | undefined {
    return this.#nodes.get(id);
  }

  /** Everyone whom `subject` names, for a rule that allows or denies. `self` names nobody here. */
  resolve(subject: Subject, action: Action): SubjectSet {
    const key = subject.kind === "self" ? "self" : `${action} ${subject.kind} ${subject.name}`;
    const known = this.#sets.get(key);
    if (known) return known;
    const found = this.#resolve(subject, action);
    this.#sets.set(key, found);
    return found;
  }

  /** Everyone whom any of `subjects` names. */
  resolveAll(subjects: readonly Subject[], action: Action): SubjectSet {
    if (subjects.length === 1) return this.resolve(subjects[0]!, action);
    const known = this.#lists.get(subjects) ?? new Map<Action, SubjectSet>();
    const set = known.get(action) ??
      merge(subjects.map((subject) => this.resolve(subject, action)));
    this.#lists.set(subjects, known.set(action, set));
    return set;
  }

  /** Whether one of `subjects` names `who`. */
  includes(subjects: readonly Subject[], who: Principal, action: Action): boolean {
    return subjects.some((subject) => {
      const { nodes, users } = this.resolve(subject, action);
      return "node" in who ? nodes.has(who.node) : users.has(who.user);
    });
  }

  /** Whether a bare name fits a user and a node. */
  isAmbiguous(subject: Subject): boolean {
    return subject.kind === "bare" && this.#users(subject.name).length > 0 &&
      this.#named(subject.name).length > 0;
  }

  #resolve(subject: Subject, action: Action): SubjectSet {
    switch (subject.kind) {
      case "self":
        return NOBODY;
      case "user":
        return this.#owned(this.#users(subject.name));
      case "node":
        return { nodes: idsOf(this.#named(subject.name)), users: NOBODY.users };
      case "tag":
        return {
          nodes: idsOf(this.view.nodes.filter(({ tags }) => tags.includes(subject.name))),
          users: NOBODY.users,
        };
      case "group":
        return this.#group(subject.name, action);
      case "bare":
        if (action === "allow" && this.isAmbiguous(subject)) return NOBODY;
        return merge([
          this.resolve({ kind: "user", name: subject.name }, action),
          this.resolve({ kind: "node", name: subject.name }, action),
        ]);
    }
  }

  #group(name: string, action: Action): SubjectSet {
    const { nodes, users } = this.view;
    if (name === "everyone") {
      return { nodes: idsOf(nodes), users: new Set(users.map((user) => user.name)) };
    }
    if (name === "admins") {
      const admins = users.filter(({ isAdmin }) => isAdmin);
      return merge(admins.map((user) => this.#owned([user.name])));
    }
    return this.resolveAll(this.policy.groups.get(name)?.members ?? [], action);
  }

  #owned(users: readonly string[]): SubjectSet {
    return {
      users: new Set(users),
      nodes: idsOf(this.view.nodes.filter(({ user }) => user !== null && users.includes(user))),
    };
  }

  /** The user whom a policy calls so, also when only its nodes tell of it. */
  #users(called: string): string[] {
    const { renamed } = this.view;
    if (called === renamed?.name) return [];
    const name = called === renamed?.to ? renamed.name : called;
    const isKnown = this.view.users.some((user) => user.name === name) ||
      this.view.nodes.some((node) => node.user === name);
    return isKnown ? [name] : [];
  }

  #named(name: string): MeshNode[] {
    return this.view.nodes.filter((node) => node.name === name || node.id === name);
  }
}

/** Whether both nodes belong to one user. */
export function haveOneUser(a: MeshNode, b: MeshNode): boolean {
  return a.user !== null && a.user === b.user;
}

/** Whether the user may put `tag` on nodes. */
export function mayAssignTag(subjects: MeshSubjects, user: string, tag: string): boolean {
  const owners = subjects.policy.tags.get(tag)?.owners ?? [];
  const admins: Subject = { kind: "group", name: "admins" };
  return subjects.includes([admins, ...owners], { user }, "allow");
}

function idsOf(nodes: readonly MeshNode[]): Set<PeerId> {
  return new Set(nodes.map(({ id }) => id));
}

function merge(sets: readonly SubjectSet[]): SubjectSet {
  return {
    nodes: new Set(sets.flatMap(({ nodes }) => [...nodes])),
    users: new Set(sets.flatMap(({ users }) => [...users])),
  };
}
