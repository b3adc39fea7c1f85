/**
 * How are some users and nodes called in few words? By the subjects that name exactly them.
 * @module
 */
import type { PeerId } from "../ids.ts";
import type { Policy } from "./policy.ts";
import { BUILTIN_GROUPS, formatSubject, type Subject } from "./subject.ts";
import type { MeshSubjects } from "./subjects.ts";

/** Whom to name; null users where only nodes matter. */
export interface Named {
  readonly nodes: ReadonlySet<PeerId>;
  readonly users: ReadonlySet<string> | null;
}

/**
 * Subjects that together name exactly those; nodes by name where no subject fits. What `policies`
 * speak of is preferred.
 */
export function nameOf(
  subjects: MeshSubjects,
  { nodes, users }: Named,
  policies: readonly Policy[] = [subjects.policy],
): string[] {
  const candidates = candidatesOf(subjects, policies).map(({ subject, isWritten }) => {
    const set = subjects.resolve(subject, "allow");
    const members = [...set.nodes, ...(users === null ? [] : [...set.users].map(asUser))];
    return { subject, isWritten, members };
  });
  const left = new Set([...nodes, ...[...users ?? []].map(asUser)]);
  const all = new Set(left);
  const fitting = candidates.filter(({ members }) => members.every((member) => all.has(member)));
  const names: string[] = [];
  while (left.size > 0) {
    const best = fitting.map(({ subject, isWritten, members }) => {
      const fresh = members.filter((member) => left.has(member)).length;
      return { subject, members, fresh: fresh > 1 || isWritten ? fresh : 0 };
    }).reduce((a, b) => b.fresh > a.fresh ? b : a, { fresh: 0, members: [], subject: null } as {
      fresh: number;
      members: string[];
      subject: Subject | null;
    });
    if (best.subject === null) break;
    names.push(formatSubject(best.subject));
    best.members.forEach((member) => left.delete(member));
  }
  return [...names, ...[...left].map((member) => aloneName(subjects, member)).sort()];
}

/** Users and node ids in one set: no id begins like that. */
function asUser(name: string): string {
  return `user ${name}`;
}

function aloneName(subjects: MeshSubjects, member: string): string {
  // The user without all of its nodes: what the user may do where no node matters.
  if (member.startsWith(asUser(""))) return `user:${member.slice(asUser("").length)} (as a user)`;
  return `node:${subjects.node(member)?.name ?? member}`;
}

interface Candidate {
  readonly subject: Subject;
  /** The document speaks of it, so it says more than a node's name also for one node. */
  readonly isWritten: boolean;
}

/** Subjects that may stand for a set, what the document itself speaks of first. */
function candidatesOf({ policy, view }: MeshSubjects, policies: readonly Policy[]): Candidate[] {
  const written = policies.flatMap(subjectsOf)
    .filter(({ kind }) => kind === "user" || kind === "tag" || kind === "group");
  const known: Subject[] = [
    ...[...BUILTIN_GROUPS, ...policy.groups.keys()].map((name) =>
      ({ kind: "group", name }) as const
    ),
    ...[...new Set(view.nodes.flatMap(({ tags }) => tags))]
      .map((name) => ({ kind: "tag", name }) as const),
    ...view.users.map(({ name }) => ({ kind: "user", name }) as const),
  ];
  const subjects = new Map<string, Candidate>();
  for (const subject of written) subjects.set(formatSubject(subject), { subject, isWritten: true });
  for (const subject of known) {
    const name = formatSubject(subject);
    if (!subjects.has(name)) subjects.set(name, { subject, isWritten: false });
  }
  return [...subjects.values()];
}

/** Whom a policy speaks of. */
function subjectsOf({ groups, rules, bindings, exits, routes }: Policy): Subject[] {
  return [
    ...rules.flatMap(({ from, to }) => [...from, ...to]),
    ...bindings.flatMap(({ to }) => to),
    ...[...exits, ...routes].flatMap(({ offer, use }) => [...offer, ...use]),
    ...[...groups.values()].flatMap(({ members }) => members),
  ];
}
