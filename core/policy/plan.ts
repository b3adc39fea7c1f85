/**
 * What would change if this policy held, or this mesh were so? Exactly who gains or loses what, in
 * sentences that name groups and tags where those are exactly the ones concerned.
 * @module
 */
import type { PeerId } from "../ids.ts";
import { formatPrefix, type Prefix } from "../ip.ts";
import { type Named, nameOf } from "./names.ts";
import { formatObject, RIGHTS } from "./objects.ts";
import { type AccessChange, accessChanges, type Target, type Verb } from "./plan_access.ts";
import type { Sides } from "./plan_classes.ts";
import { type RightChange, rightChanges, SYSTEM_PATH } from "./plan_rights.ts";
import type { MeshSubjects } from "./subjects.ts";
import { formatTraffic } from "./traffic.ts";
import { mayOfferExit, mayOfferRoute } from "./ways.ts";

/** Nodes that may be exits, or offer a network, on one side only. */
export interface OfferChange {
  readonly verb: Verb;
  /** The network; null for the Internet. */
  readonly prefix: Prefix | null;
  readonly nodes: readonly PeerId[];
}

/** All differences between two states. */
export interface Plan extends Sides {
  readonly access: readonly AccessChange[];
  readonly offers: readonly OfferChange[];
  readonly rights: readonly RightChange[];
}

/** Compares two policies, two views of the mesh, or both at once. */
export function planOf(before: MeshSubjects, after: MeshSubjects): Plan {
  const sides = { before, after };
  const prefixes = prefixesOf(sides);
  return {
    ...sides,
    access: accessChanges(sides, prefixes),
    offers: [null, ...prefixes].flatMap((prefix) => offerChanges(sides, prefix)),
    rights: rightChanges(sides),
  };
}

/** One sentence for each change; none where nothing changes for anybody. */
export function formatPlan(plan: Plan): string[] {
  return [
    ...plan.access.map((change) => accessText(plan, change)).sort(),
    ...plan.offers.map((change) => offerText(plan, change)).sort(),
    ...rightTexts(plan, plan.rights).sort(),
  ];
}

function prefixesOf({ before, after }: Sides): Prefix[] {
  const all = [...before.policy.routes, ...after.policy.routes].flatMap(({ prefixes }) => prefixes);
  return [...new Map(all.map((prefix) => [formatPrefix(prefix), prefix])).values()];
}

function offerChanges({ before, after }: Sides, prefix: Prefix | null): OfferChange[] {
  const offering = (subjects: MeshSubjects) =>
    subjects.view.nodes.filter((node) =>
      prefix === null ? mayOfferExit(subjects, node) : mayOfferRoute(subjects, node, prefix)
    ).map(({ id }) => id);
  const [old, now] = [new Set(offering(before)), new Set(offering(after))];
  const gaining = [...now].filter((id) => !old.has(id));
  const losing = [...old].filter((id) => !now.has(id));
  return [
    ...(gaining.length > 0 ? [{ verb: "gains", prefix, nodes: gaining } as const] : []),
    ...(losing.length > 0 ? [{ verb: "loses", prefix, nodes: losing } as const] : []),
  ];
}

/** What is gained is said in the words of what comes, what is lost in those of what was. */
function namesOf({ before, after }: Sides, verb: Verb, named: Named): string[] {
  const [side, other] = verb === "gains" ? [after, before] : [before, after];
  return nameOf(side, named, [side.policy, other.policy]);
}

function accessText(sides: Sides, change: AccessChange): string {
  const { verb, traffic, target, scope } = change;
  const nodes = (ids: readonly PeerId[]) =>
    namesOf(sides, verb, { nodes: new Set(ids), users: null });
  const sources = nodes(change.sources);
  const to = scope === "own" ? "self" : nodes(change.destinations).join(", ");
  const end = scope === "others" ? " (of other users)" : "";
  return `${said(sources, verb)} ${formatTraffic(traffic)} ${targetText(target, to)}${end}`;
}

function targetText(target: Target, to: string): string {
  switch (target.type) {
    case "node":
      return `on ${to}`;
    case "exit":
      return `on the Internet through ${to}`;
    case "route": {
      const apart = target.apart.map(formatPrefix).join(", ");
      const network = formatPrefix(target.prefix) + (apart === "" ? "" : ` (apart from ${apart})`);
      return `on ${network} through ${to}`;
    }
  }
}

function offerText(sides: Sides, { verb, prefix, nodes }: OfferChange): string {
  const names = namesOf(sides, verb, { nodes: new Set(nodes), users: null });
  const what = prefix === null ? "being an exit" : `offering ${formatPrefix(prefix)}`;
  return `${said(names, verb)} ${what}`;
}

/** Changes of one kind for the same users and nodes are one sentence. */
function rightTexts(sides: Sides, changes: readonly RightChange[]): string[] {
  const sentences = new Map<string, string[]>();
  for (const change of changes) {
    const { before, after, users, nodes } = change;
    const verb = after > before ? "gains" : "loses";
    const names = namesOf(sides, verb, { nodes: new Set(nodes), users: new Set(users) });
    const rights = RIGHTS.slice(Math.min(before, after), Math.max(before, after)).join(", ");
    const start = `${said(names, verb)} ${rights} on `;
    sentences.set(start, [...sentences.get(start) ?? [], objectText(change)]);
  }
  return [...sentences].map(([start, objects]) => start + objects.sort().join(", "));
}

function objectText({ kind, path, apart }: RightChange): string {
  if (path === SYSTEM_PATH) return `the mesh's own ${kind}`;
  // That `*` leaves the mesh's own objects alone is what it means, and no news.
  const except = apart.filter((each) => each !== SYSTEM_PATH)
    .map((each) => formatObject({ kind, path: each })).join(", ");
  return formatObject({ kind, path }) + (except === "" ? "" : ` (apart from ${except})`);
}

function said(names: readonly string[], verb: Verb): string {
  return `${names.join(", ")} ${names.length > 1 ? verb.replace(/s$/, "") : verb}`;
}
