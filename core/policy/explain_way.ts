/**
 * Why may a node reach the Internet, or a network, through another one, or not?
 * @module
 */
import type { RuleOrigin } from "../filter/rules.ts";
import { formatPrefix, type Prefix } from "../ip.ts";
import { nodeText } from "./explain_text.ts";
import type { MeshNode, MeshSubjects } from "./subjects.ts";
import { ALL_TRAFFIC, equals, formatTraffic, type Traffic } from "./traffic.ts";
import { exitsFor, mayUseExit, routeAccess, routesFor } from "./ways.ts";

/** One way out of the mesh: through a node, to a network or, for null, the Internet. */
export interface Way {
  readonly from: MeshNode;
  readonly via: MeshNode;
  readonly prefix: Prefix | null;
}

/** An answer with the entry that decided it; null where none speaks of it. */
export interface WayExplanation extends Way {
  readonly isAllowed: boolean;
  /** What may be sent there. */
  readonly traffic: Traffic;
  readonly by: RuleOrigin | null;
}

/** Answers for one way. */
export function explainWay(subjects: MeshSubjects, way: Way): WayExplanation {
  const { from, via, prefix } = way;
  const entries = prefix === null
    ? exitsFor(subjects, from, via)
    : routesFor(subjects, from, via, prefix);
  const isExit = prefix === null && mayUseExit(subjects, from, via);
  const traffic = prefix === null
    ? isExit ? ALL_TRAFFIC : []
    : routeAccess(subjects, from, via, prefix);
  const isAllowed = traffic.length > 0;
  const wanted = isAllowed ? "allow" : "deny";
  const by = entries.find(({ action }) => action === wanted)?.origin ?? null;
  return { ...way, isAllowed, traffic, by };
}

/** Text of one explanation. */
export function formatWay({ from, via, prefix, isAllowed, traffic, by }: WayExplanation): string {
  const what = prefix === null ? "the Internet" : formatPrefix(prefix);
  const some = isAllowed && !equals(traffic, ALL_TRAFFIC) ? ` for ${formatTraffic(traffic)}` : "";
  const verdict = isAllowed ? "allowed" : "denied";
  const comment = by === null || by.comment === "" ? "" : `  (${by.comment})`;
  const section = prefix === null ? "exits" : "routes";
  return `${nodeText(from)} -> ${what} through ${nodeText(via)}: ${verdict}${some}\n` +
    (by === null ? `  nothing in ${section} allows it` : `  by ${by.where}${comment}`);
}
