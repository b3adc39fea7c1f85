import assert from "node:assert/strict";
import { parse } from "yaml";
import type { FilterRuleReport } from "./filter_types.ts";
import { INSTRUMENTS, type MetricFacts, scrape } from "./metrics.ts";
import { MetricsServer } from "./metrics_server.ts";

const RULE: FilterRuleReport = {
  id: "t1",
  layer: "temporary",
  action: "deny",
  traffic: "tcp/22",
  from: 'we"ird\n',
  peers: 1,
  to: null,
  hits: 5,
  expiresInMs: null,
  where: "filter add",
  comment: "",
};

const FACTS: MetricFacts = {
  name: "nas",
  version: "0.1.0",
  filter: {
    defaultAction: "deny",
    hasPolicy: true,
    problem: null,
    rules: [RULE, { ...RULE, id: "service-dns", layer: "service", action: "allow", hits: 0 }],
    drops: {},
  },
  policySeq: 42,
  nextExpiry: 1_800_000_000_999,
  drops: { "no-rule": 3, "no-session": 2 },
  filtered: [{ name: "laptop", counts: { tcp: 7, udp: 0, icmp: 1, other: 0 } }],
};

const LINES = [
  'tunnelmesh_dropped_filtered_total{protocol="tcp",source_peer="laptop",peer="nas"} 7',
  'tunnelmesh_dropped_filtered_total{protocol="icmp",source_peer="laptop",peer="nas"} 1',
  'tunnelmesh_filter_rules_total{source="temporary",peer="nas"} 1',
  'tunnelmesh_filter_rules_total{source="config",peer="nas"} 0',
  'tunnelmesh_filter_default_deny{peer="nas"} 1',
  'tunnelmesh_filter_rule_hits_total{rule="t1",source="temporary",action="deny",peer="nas"} 5',
  'tunnelmesh_filter_policy_known{peer="nas"} 1',
  'tunnelmesh_filter_policy_seq{peer="nas"} 42',
  'tunnelmesh_next_node_expiry_timestamp_seconds{peer="nas"} 1800000000',
  'tunnelmesh_filter_usable{peer="nas"} 1',
  'tunnelmesh_drops_total{reason="no-rule",peer="nas"} 3',
  'tunnelmesh_drops_total{reason="replay",peer="nas"} 0',
  'tunnelmesh_dropped_no_tunnel_total{peer="nas"} 2',
  'tunnelmesh_peer_info{version="0.1.0",peer="nas"} 1',
  "# TYPE tunnelmesh_dropped_filtered_total counter",
  "# TYPE tunnelmesh_filter_rules_total gauge",
];

Deno.test("scrape() shows each metric under its name, and nothing of the last scrape", async () => {
  for (let i = 0; i < 2; i++) {
    const { text } = await scrape(FACTS);
    const lines = new Set(text.split("\n"));
    assert.deepEqual(LINES.filter((line) => !lines.has(line)), []);
  }
  const { text } = await scrape({ ...FACTS, policySeq: null, filtered: [] });
  assert.doesNotMatch(text, /policy_seq\{|source_peer=/);
});

Deno.test("MetricsServer answers GET /metrics and nothing else", async () => {
  const port = freePort();
  const server = new MetricsServer({ addresses: [], port, scrape: () => scrape(FACTS) });
  const second = new MetricsServer({ addresses: [], port, scrape: () => scrape(FACTS) });
  try {
    assert.deepEqual(server.problems, []);
    assert.match(second.problems[0]!, /^Cannot serve metrics at 127.0.0.1:\d+: /);
    const base = `http://127.0.0.1:${port}`;
    const good = await fetch(`${base}/metrics`);
    assert.match(good.headers.get("content-type")!, /^text\/plain; version=0.0.4/);
    assert.match(await good.text(), /tunnelmesh_filter_default_deny/);
    const statusOf = async (path: string, method: string) => {
      const response = await fetch(base + path, { method });
      await response.body?.cancel();
      return response.status;
    };
    assert.equal(await statusOf("/", "GET"), 404);
    assert.equal(await statusOf("/metrics", "POST"), 405);
    assert.equal(await statusOf("/metrics", "HEAD"), 200);
  } finally {
    await server.close();
    await second.close();
  }
});

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}

interface Alerts {
  readonly groups: readonly {
    readonly rules: readonly {
      readonly alert: string;
      readonly expr: string;
      readonly for: string;
      readonly labels: { readonly severity: string; readonly category: string };
      readonly annotations: { readonly summary: string; readonly description: string };
    }[];
  }[];
}

Deno.test("the alert rules name metrics and labels that there are", async () => {
  const path = new URL("../../docs/reference/alerts.yaml", import.meta.url);
  const { groups } = parse(await Deno.readTextFile(path)) as Alerts;
  const rules = groups.flatMap((group) => group.rules);
  assert.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length);
  for (const { alert, expr, for: duration, labels, annotations } of rules) {
    assert.match(alert, /^[A-Z][A-Za-z]+$/);
    assert.match(duration, /^\d+m$/, alert);
    assert.match(labels.severity, /^(warning|critical|page)$/, alert);
    assert.ok(annotations.summary.includes("{{ $labels.peer }}"), alert);
    const names = expr.match(/tunnelmesh_\w+/g) ?? [];
    assert.ok(names.length > 0, alert);
    const known = names.map((name) => INSTRUMENTS.find((each) => each.name === name));
    assert.ok(known.every((each) => each !== undefined), `${alert}: ${names}`);
    for (const [, used] of expr.matchAll(/by \(([^)]*)\)/g)) {
      for (const label of used!.split(", ")) {
        assert.ok(label === "peer" || known.some((each) => each!.labels.includes(label)), label);
      }
    }
  }
});
