/**
 * Every metric of a node, with what it is read from at each scrape. Labels are node names, ids of
 * rules and words of closed lists: what packets hold makes no series.
 * @module
 */
import { Counter, Gauge, Registry } from "prom-client";
import { FILTERED_PROTOCOLS } from "../dataplane/layout.ts";
import { DROPS } from "../drops.ts";
import type { FilterReport } from "./filter_types.ts";
import { noRules } from "./filter_types.ts";

/** What a scrape shows. */
export interface MetricFacts {
  /** This node's name: label `peer` of all metrics. */
  readonly name: string;
  readonly version: string;
  readonly filter: FilterReport;
  /** Number of the policy that the rules are of; null where that is not known. */
  readonly policySeq: number | null;
  /** Wall time when the next member expires if it stays away; null where none does. */
  readonly nextExpiry: number | null;
  /** Packets that went no further, by reason. */
  readonly drops: Readonly<Record<string, number>>;
  /** What the filter dropped of each peer, by protocol. */
  readonly filtered: readonly {
    readonly name: string;
    readonly counts: Readonly<Record<string, number>>;
  }[];
}

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [labels: Labels, value: number];

/** One metric. */
interface Instrument {
  readonly name: string;
  readonly type: "counter" | "gauge";
  readonly help: string;
  readonly labels: readonly string[];
  read(facts: MetricFacts): readonly Sample[];
}

function dropsOf(reason: typeof DROPS[number]): Instrument["read"] {
  return ({ drops }) => [[{}, drops[reason] ?? 0]];
}

/** In the order in which they are shown. */
export const INSTRUMENTS: readonly Instrument[] = [
  {
    name: "tunnelmesh_peer_info",
    type: "gauge",
    help: "This node: its version",
    labels: ["version"],
    read: ({ version }) => [[{ version }, 1]],
  },
  {
    name: "tunnelmesh_dropped_filtered_total",
    type: "counter",
    help: "Packets that the filter dropped, by protocol and by the peer that sent them",
    labels: ["protocol", "source_peer"],
    read: ({ filtered }) =>
      filtered.flatMap(({ name, counts }) =>
        FILTERED_PROTOCOLS.map((protocol): Sample => [
          { protocol, source_peer: name },
          counts[protocol] ?? 0,
        ])
      ),
  },
  {
    name: "tunnelmesh_filter_rules_total",
    type: "gauge",
    help: "Rules of the packet filter, by layer: coordinator, config, temporary, service",
    labels: ["source"],
    read: ({ filter }) => {
      const layers = noRules();
      for (const { layer } of filter.rules) layers[layer]++;
      return Object.entries(layers).map(([source, count]): Sample => [{ source }, count]);
    },
  },
  {
    name: "tunnelmesh_filter_default_deny",
    type: "gauge",
    help: "1 where what no rule speaks of is denied",
    labels: [],
    read: ({ filter }) => [[{}, filter.defaultAction === "deny" ? 1 : 0]],
  },
  {
    name: "tunnelmesh_filter_rule_hits_total",
    type: "counter",
    help: "Packets that each rule decided of, by the rule's id",
    labels: ["rule", "source", "action"],
    read: ({ filter }) =>
      filter.rules.map(({ id, layer, action, hits }): Sample => [
        { rule: id, source: layer, action },
        hits,
      ]),
  },
  {
    name: "tunnelmesh_filter_policy_known",
    type: "gauge",
    help: "1 where the policy of the mesh is known; without it only a node's own rules allow",
    labels: [],
    read: ({ filter }) => [[{}, filter.hasPolicy ? 1 : 0]],
  },
  {
    name: "tunnelmesh_filter_policy_seq",
    type: "gauge",
    help: "Number of the policy that the rules are of",
    labels: [],
    read: ({ policySeq }) => policySeq === null ? [] : [[{}, policySeq]],
  },
  {
    name: "tunnelmesh_next_node_expiry_timestamp_seconds",
    type: "gauge",
    help: "When the next member of the mesh expires if it stays away, Unix time",
    labels: [],
    read: ({ nextExpiry }) => nextExpiry === null ? [] : [[{}, Math.floor(nextExpiry / 1000)]],
  },
  {
    name: "tunnelmesh_filter_usable",
    type: "gauge",
    help: "0 where the rules cannot be used and the filter lets nobody in",
    labels: [],
    read: ({ filter }) => [[{}, filter.problem === null ? 1 : 0]],
  },
  {
    name: "tunnelmesh_drops_total",
    type: "counter",
    help: "Packets and messages that went no further, by reason",
    labels: ["reason"],
    read: ({ drops }) => DROPS.map((reason): Sample => [{ reason }, drops[reason] ?? 0]),
  },
  {
    name: "tunnelmesh_dropped_no_route_total",
    type: "counter",
    help: "Packets to addresses that nobody has",
    labels: [],
    read: dropsOf("no-route"),
  },
  {
    name: "tunnelmesh_dropped_no_tunnel_total",
    type: "counter",
    help: "Packets to peers without a session",
    labels: [],
    read: dropsOf("no-session"),
  },
];

/** Text of all metrics, and what kind of text it is. */
export interface Scrape {
  readonly text: string;
  readonly contentType: string;
}

/** Shows `facts` as Prometheus reads them. */
export async function scrape(facts: MetricFacts): Promise<Scrape> {
  // What is gone must leave no series behind: each scrape begins with none.
  const registry = new Registry();
  registry.setDefaultLabels({ peer: facts.name });
  for (const { name, type, help, labels, read } of INSTRUMENTS) {
    const samples = read(facts);
    if (samples.length === 0) continue;
    const options = { name, help, labelNames: labels, registers: [registry] };
    const metric = type === "counter" ? new Counter(options) : new Gauge(options);
    for (const [values, value] of samples) metric.inc(values, value);
  }
  return { text: await registry.metrics(), contentType: registry.contentType };
}
