/**
 * How does an explanation read, on one screen?
 * @module
 */
import type { ExplainedGroup, Explanation, Miss, NearRule, ShownRule } from "./explain.ts";
import type { MeshNode } from "./subjects.ts";
import { formatPoint } from "./traffic.ts";

/** Near rules and groups beyond these are only counted: a screen has 24 lines. */
const MAX_NEAR = 5;
const MAX_GROUPS = 3;

const MISSES: Readonly<Record<Miss, string>> = {
  source: "is for other sources",
  destination: "is for other nodes",
  port: "is for other ports",
  overruled: "would, but a denial wins",
};

/** Text of one explanation. */
export function formatExplanation(explanation: Explanation): string {
  const { from, to, point, verdict, decidedBy, near } = explanation;
  const head = `${nodeText(from)} -> ${nodeText(to)} ${formatPoint(point)}: ` +
    (verdict === "allow" ? "allowed" : "denied");
  const reason = decidedBy ? `  by ${ruleLine(decidedBy)}` : "  no rule allows it";
  const shown = near.slice(0, MAX_NEAR);
  return [
    head,
    reason,
    ...(shown.length > 0 ? ["  rules that nearly decided otherwise:"] : []),
    ...shown.map((rule) => `    ${nearLine(rule)}`),
    ...(near.length > shown.length ? [`    and ${near.length - shown.length} more`] : []),
  ].join("\n");
}

/** Text of what {@link explainAll} found. */
export function formatGroups(groups: readonly ExplainedGroup[]): string {
  if (groups.length === 0) {
    return "no node sends to another one";
  }
  const shown = groups.slice(0, MAX_GROUPS).map(({ example, pairs }) =>
    formatExplanation(example) + (pairs > 1 ? `\n  the same for ${pairs - 1} more` : "")
  );
  const rest = groups.length - shown.length;
  return [...shown, ...(rest > 0 ? [`and ${rest} other reasons`] : [])].join("\n");
}

function ruleLine({ layer, origin, text }: ShownRule): string {
  const comment = origin.comment === "" ? "" : `  (${origin.comment})`;
  return `${origin.where} [${layer}]: ${text}${comment}`;
}

function nearLine(rule: NearRule): string {
  return `${ruleLine(rule)}: ${MISSES[rule.miss]}`;
}

/** `nas (tag:server)`, `laptop (user:alice)`. */
export function nodeText(node: MeshNode): string {
  const about = [
    ...(node.user === null ? [] : [`user:${node.user}`]),
    ...node.tags.map((tag) => `tag:${tag}`),
  ];
  return about.length === 0 ? node.name : `${node.name} (${about.join(", ")})`;
}
