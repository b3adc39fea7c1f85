/**
 * Which nodes can two policies not tell apart? Nodes of one class are named by the same rules on
 * both sides, so what holds for one holds for all, and a plan computed over classes is exact.
 * @module
 */
import type { PeerId } from "../ids.ts";
import { hasSelf } from "./access.ts";
import type { Policy } from "./policy.ts";
import type { Subject } from "./subject.ts";
import { haveOneUser, type MeshNode, type MeshSubjects } from "./subjects.ts";

/** Two states of the policy, of the mesh, or of both. */
export interface Sides {
  readonly before: MeshSubjects;
  readonly after: MeshSubjects;
}

export type Side = keyof Sides;

/** Nodes that are alike. */
export interface NodeClass {
  readonly ids: readonly PeerId[];
  /** Equal for classes that only differ in who owns the nodes; less than their number. */
  readonly kind: number;
}

/** One node of each of two classes, which are two nodes. */
export interface Pair {
  readonly from: PeerId;
  readonly to: PeerId;
}

/** All nodes of either side, in classes. */
export function nodeClasses(sides: Sides): NodeClass[] {
  const ids = new Set([...sides.before.view.nodes, ...sides.after.view.nodes].map(({ id }) => id));
  const classes = new Map<string, { ids: PeerId[]; kind: number }>();
  const kinds = new Map<string, number>();
  const marks = { before: marker(sides.before), after: marker(sides.after) };
  for (const id of ids) {
    const found = { before: marks.before(id), after: marks.after(id) };
    const marksOfBoth = `${found.before.kind}|${found.after.kind}`;
    const kind = kinds.get(marksOfBoth) ?? kinds.size;
    kinds.set(marksOfBoth, kind);
    const key = JSON.stringify([kind, found.before.owner, found.after.owner]);
    const known = classes.get(key);
    if (known) known.ids.push(id);
    else classes.set(key, { ids: [id], kind });
  }
  return [...classes.values()];
}

interface Marks {
  readonly kind: string;
  readonly owner: string | null;
}

/** For one side: by which lists of subjects a node is named, and who owns it if that matters. */
function marker(subjects: MeshSubjects): (id: PeerId) => Marks {
  const sets = listsOf(subjects.policy).map(({ list, action }) =>
    subjects.resolveAll(list, action).nodes
  );
  const isOwnerUsed = subjects.policy.rules.some(hasSelf);
  return (id) => {
    const node = subjects.node(id);
    if (node === undefined) return { kind: "absent", owner: null };
    return {
      kind: sets.map((set) => set.has(id) ? "1" : "0").join(""),
      owner: isOwnerUsed ? node.user : null,
    };
  };
}

function listsOf({ rules, exits, routes }: Policy) {
  const lists = (
    action: "allow" | "deny",
    ...all: (readonly Subject[])[]
  ) => all.map((list) => ({ list, action }));
  return [
    ...rules.flatMap(({ action, from, to }) => lists(action, from, to)),
    ...[...exits, ...routes].flatMap(({ action, offer, use }) => lists(action, offer, use)),
  ];
}

/** A pair that stands for all pairs of two classes; null where a class is one node alone. */
export function pairOf(from: NodeClass, to: NodeClass): Pair | null {
  if (from !== to) return { from: from.ids[0]!, to: to.ids[0]! };
  return from.ids.length > 1 ? { from: from.ids[0]!, to: from.ids[1]! } : null;
}

/** Both nodes of a pair on one side; null where one of them is not there. */
export function nodesOn(
  subjects: MeshSubjects,
  { from, to }: Pair,
): { from: MeshNode; to: MeshNode } | null {
  const [a, b] = [subjects.node(from), subjects.node(to)];
  return a && b ? { from: a, to: b } : null;
}

/** Whether a pair is one user's on that side. */
export function isOwnPair(subjects: MeshSubjects, pair: Pair): boolean {
  const [from, to] = [subjects.node(pair.from), subjects.node(pair.to)];
  return from !== undefined && to !== undefined && haveOneUser(from, to);
}
