/**
 * The packet filter's rules as people read them.
 * @module
 */
import type {
  FilterReport,
  FilterRuleReport,
  FilterTrace,
  TracedRule,
} from "../core/daemon/filter_types.ts";
import { formatPrefix } from "../core/ip.ts";
import { internetPrefixes } from "../core/policy/internet.ts";
import { type Column, formatAge, formatCount } from "./format.ts";
import type { Output } from "./output.ts";

const COLUMNS: readonly Column[] = [
  { title: "Id" },
  { title: "Layer" },
  { title: "Action" },
  { title: "Traffic", shrinksTo: 12 },
  { title: "From", shrinksTo: 12 },
  { title: "Hits", align: "right" },
  { title: "Expires", align: "right" },
  { title: "Where", shrinksTo: 12 },
  { title: "Comment", shrinksTo: 8 },
];

/** Lines of `filter list`. */
export function* filterLines(report: FilterReport, out: Output): Generator<string> {
  const { defaultAction, hasPolicy, problem, rules, drops } = report;
  const verdict = defaultAction === "deny" ? "denied" : out.yellow("allowed");
  yield `What no rule speaks of is ${verdict}; what any rule denies, no rule allows.`;
  if (!hasPolicy) yield out.yellow("The policy of the mesh is not known yet.");
  if (problem !== null) yield out.red(problem);
  yield "";
  yield* out.table(COLUMNS, rules.map((rule) => rowOf(rule, out)));
  const counts = Object.entries(drops).map(([reason, count]) => `${reason} ${count}`);
  if (counts.length > 0) yield* ["", `Dropped: ${counts.join(", ")}`];
}

/** Lines of `filter add` and `filter remove`: `t1 allow tcp/22 from node:laptop, for 1h`. */
export function ruleLine(rule: FilterRuleReport): string {
  const { expiresInMs: ms } = rule;
  // What was asked for, not a moment less.
  const end = ms === null ? "" : `, for ${formatAge(1000 * Math.ceil(ms / 1000))}`;
  return `${rule.id}: ${textOf(rule)}${end}`;
}

/** Lines of `filter trace`. */
export function* traceLines(trace: FilterTrace, out: Output): Generator<string> {
  const { from, traffic, verdict, rules, cutOffBy } = trace;
  const shown = verdict === "allow" ? out.green("allowed") : out.red("denied");
  yield `${from.name} -> this node, ${traffic}: ${shown}`;
  for (const rule of rules) yield `  ${PARTS[rule.part]} ${placed(rule)}`;
  if (!rules.some(({ part }) => part === "decided")) {
    yield "  no rule speaks of it, and what no rule allows is denied";
    if (from.id === null) {
      yield `  the policy knows members alone; for plain WireGuard peers this node's rules are:`;
      yield `  filter.rules in its file, or: ${openingCommand(from.name, traffic)}`;
    }
  }
  if (cutOffBy !== null) {
    yield `  rule ${cutOffBy} also takes answers from ${from.name} to what this node sends`;
  }
}

/** The command that would let it in, of `tcp/22` or the name of a kind of ICMP. */
function openingCommand(name: string, traffic: string): string {
  const [protocol, port] = traffic.split("/");
  const what = port === undefined ? "--protocol icmp" : `--protocol ${protocol} --port ${port}`;
  return `tunnelmesh filter add --source-peer ${name} ${what}`;
}

const PARTS: Readonly<Record<TracedRule["part"], string>> = {
  decided: "by",
  same: "so says also",
  overruled: "overruled",
};

/** `allow tcp/22 from node:laptop to 10.0.0.0/8`. */
function textOf({ action, traffic, from, to }: FilterRuleReport): string {
  return `${action} ${traffic} from ${from}${to === null ? "" : ` to ${networksText(to)}`}`;
}

/** So many networks are named one by one. */
const NAMED_NETWORKS = 3;

/** What an exit leads to is many prefixes. */
function networksText(networks: readonly string[]): string {
  if (internetPrefixes().every((prefix) => networks.includes(formatPrefix(prefix)))) {
    return "the Internet";
  }
  const more = networks.length - NAMED_NETWORKS;
  const named = networks.slice(0, NAMED_NETWORKS).join(", ");
  return more > 0 ? `${named} and ${formatCount(more, "network")} more` : named;
}

function placed(rule: FilterRuleReport): string {
  const comment = rule.comment === "" ? "" : `  (${rule.comment})`;
  return `${rule.where} [${rule.layer}]: ${textOf(rule)}${comment}`;
}

function rowOf(rule: FilterRuleReport, out: Output): string[] {
  const { id, layer, action, peers, hits, expiresInMs, where, comment } = rule;
  const from = peers === 0 ? `${rule.from} (${formatCount(0, "peer")})` : rule.from;
  const to = rule.to === null ? "" : ` to ${networksText(rule.to)}`;
  return [
    id,
    layer,
    action === "allow" ? action : out.red(action),
    rule.traffic + to,
    from,
    String(hits),
    expiresInMs === null ? "never" : formatAge(expiresInMs),
    where,
    comment,
  ];
}
