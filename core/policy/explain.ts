/**
 * Why does a packet pass, or not? The verdict, the rule that decided it, of whatever layer, and the
 * rules that nearly did.
 * @module
 */
import type { FilterRule, Layer, RuleOrigin } from "../filter/rules.ts";
import { isFrom, isTo } from "./access.ts";
import { compileNode, mergeLayers } from "./compile.ts";
import { formatSubjects } from "./reader.ts";
import type { Action, Rule } from "./policy.ts";
import type { MeshNode, MeshSubjects } from "./subjects.ts";
import { formatTraffic, hasPoint, type Traffic, trafficOf } from "./traffic.ts";

/** One packet that opens a flow: `point` of `traffic.ts` is its protocol and port. */
export interface Question {
  readonly from: MeshNode;
  readonly to: MeshNode;
  readonly point: number;
}

/** A rule as far as people care: where it is, what it says. */
export interface ShownRule {
  readonly layer: Layer;
  readonly action: Action;
  readonly origin: RuleOrigin;
  /** `allow tcp/443 from group:dev to tag:server`. */
  readonly text: string;
}

/** What keeps a rule from deciding: one thing that differs, or a denial that wins over it. */
export type Miss = "source" | "destination" | "port" | "overruled";

export interface NearRule extends ShownRule {
  readonly miss: Miss;
}

/** An answer with its reasons. */
export interface Explanation extends Question {
  readonly verdict: Action;
  /** Null where no rule speaks of it, which is a denial. */
  readonly decidedBy: ShownRule | null;
  readonly near: readonly NearRule[];
}

/** A node's rules of the other layers. */
export type OtherLayers = (node: MeshNode) => readonly FilterRule[];

/** Rules of no other layer. */
export function noOtherLayers(): readonly FilterRule[] {
  return [];
}

/** Answers `question` for the policy and the rules of other layers at the destination. */
export function explain(
  subjects: MeshSubjects,
  question: Question,
  others: OtherLayers = noOtherLayers,
): Explanation {
  const { from, to, point } = question;
  const rules = mergeLayers(compileNode(subjects, to), others(to));
  const deciding = judge(rules, from.id, point);
  const verdict = deciding?.action ?? "deny";
  const decidedBy = deciding && show(subjects, deciding);
  const near = [...nearRules(subjects, question), ...nearOthers(subjects, others(to), question)];
  return {
    ...question,
    verdict,
    decidedBy,
    near: near.filter(({ miss, action }) => {
      if (action === verdict) return false;
      // Where a denial decided, no allowance that misses something would have changed it.
      return (miss === "overruled") === (decidedBy?.action === "deny");
    }),
  };
}

/** The rule that decides a packet to the node itself: a denial if any matches, else an allowance. */
export function judge(
  rules: readonly FilterRule[],
  source: string,
  point: number,
): FilterRule | null {
  const matching = rules.filter((rule) =>
    rule.destinations === null && hasPoint(trafficOf(rule), point) &&
    (rule.sources === null || rule.sources.has(source))
  );
  return matching.find(({ action }) => action === "deny") ?? matching[0] ?? null;
}

function show(subjects: MeshSubjects, rule: FilterRule): ShownRule {
  const { layer, action, origin } = rule;
  const written = subjects.policy.rules.find((each) => each.origin === origin);
  if (written) return { layer, action, origin, text: ruleText(written) };
  const sources = rule.sources === null
    ? "everyone"
    : [...rule.sources].map((id) => subjects.node(id)?.name ?? id).join(", ");
  const text = `${action} ${formatTraffic(trafficOf(rule))} from ${sources || "nobody"}`;
  return { layer, action, origin, text };
}

/** `allow tcp/443 from group:dev to tag:server`. */
export function ruleText(rule: Rule): string {
  return `${rule.action} ${formatTraffic(rule.traffic)} from ${formatSubjects(rule.from)} to ` +
    formatSubjects(rule.to);
}

function nearRules(subjects: MeshSubjects, { from, to, point }: Question): NearRule[] {
  return subjects.policy.rules.flatMap((rule) => {
    const miss = missOf({
      source: isFrom(subjects, rule, from),
      destination: isTo(subjects, rule, from, to),
      port: hasPoint(rule.traffic, point),
    });
    const { action, origin } = rule;
    return miss ? [{ layer: "coordinator", action, origin, text: ruleText(rule), miss }] : [];
  });
}

function nearOthers(
  subjects: MeshSubjects,
  rules: readonly FilterRule[],
  { from, point }: Question,
): NearRule[] {
  return rules.filter(({ destinations }) => destinations === null).flatMap((rule) => {
    const miss = missOf({
      source: rule.sources === null || rule.sources.has(from.id),
      port: hasPoint(trafficOf(rule), point),
    });
    return miss ? [{ ...show(subjects, rule), miss }] : [];
  });
}

/** What one thing keeps a rule from deciding; null when more than one does. */
function missOf(matches: Readonly<Partial<Record<Miss, boolean>>>): Miss | null {
  const missing = (Object.keys(matches) as Miss[]).filter((part) => !matches[part]);
  if (missing.length === 0) return "overruled";
  return missing.length === 1 ? missing[0]! : null;
}

/** Explanations that come to the same, and for how many pairs of nodes they do. */
export interface ExplainedGroup {
  readonly example: Explanation;
  readonly pairs: number;
}

/**
 * Explains `traffic` from all of `sources` to all of `destinations`, denials first.
 *
 * Answers are the same within one part of `traffic` that no rule cuts, so the first point of each
 * part stands for it.
 */
export function explainAll(
  subjects: MeshSubjects,
  sources: readonly MeshNode[],
  destinations: readonly MeshNode[],
  traffic: Traffic,
  others: OtherLayers = noOtherLayers,
): ExplainedGroup[] {
  const groups = new Map<string, { example: Explanation; pairs: number }>();
  for (const to of destinations) {
    const rules = mergeLayers(compileNode(subjects, to), others(to));
    const points = representatives(traffic, rules.map(trafficOf));
    for (const from of sources) {
      if (from.id === to.id) continue;
      for (const point of points) {
        const rule = judge(rules, from.id, point);
        const key = `${rule?.action ?? "deny"} ${rule?.layer} ${rule?.origin.where}`;
        const group = groups.get(key);
        if (group) group.pairs++;
        else {
          const example = explain(subjects, { from, to, point }, others);
          groups.set(key, { example, pairs: 1 });
        }
      }
    }
  }
  return [...groups.values()].sort((a, b) =>
    Number(a.example.verdict === "allow") - Number(b.example.verdict === "allow")
  );
}

/** One point of each part of `traffic` that none of `sets` cuts. */
export function representatives(traffic: Traffic, sets: readonly Traffic[]): number[] {
  const cuts = new Set(sets.flat().flatMap(({ first, last }) => [first, last + 1]));
  const points = traffic.flatMap(({ first, last }) => [
    first,
    ...[...cuts].filter((cut) => first < cut && cut <= last),
  ]);
  return points.sort((a, b) => a - b);
}
