import assert from "node:assert/strict";
import { MAX_RULES } from "../dataplane/layout.ts";
import { FILTER_DROPS } from "../filter/filter.ts";
import type { FilterRule } from "../filter/rules.ts";
import { EVERYONE, type FilterConfig, type WrittenRule } from "../filter/written.ts";
import { MeshError } from "../errors.ts";
import { parsePrefix } from "../ip.ts";
import type { NodePeer } from "../node_peer.ts";
import type { Subject } from "../policy/subject.ts";
import { FilterRules, type InForce, type SourceResolver } from "./filter_rules.ts";
import { FilterUsers } from "./filter_users.ts";

const OWN = [parsePrefix("172.30.0.1")!, parsePrefix("fd00::1")!];
const PEERS: NodePeer[] = ["laptop", "phone", "nas"].map((name, slot) => ({
  slot,
  // The last one speaks plain WireGuard.
  id: name === "nas" ? null : `${slot}`.padStart(16, "0"),
  name,
  aliases: [],
  addresses: [`172.30.0.${slot + 2}`],
  wireguardKey: "",
  allowedIps: [],
}));
const [LAPTOP, PHONE] = PEERS.map(({ id }) => id!);
const NAS = "wireguard:nas";

function written(change: Partial<WrittenRule> = {}): WrittenRule {
  return {
    action: "allow",
    from: EVERYONE,
    protocol: "any",
    ports: null,
    origin: { where: "peer.yaml:3:5", comment: "" },
    ...change,
  };
}

function port(number: number): Pick<WrittenRule, "protocol" | "ports"> {
  return { protocol: "tcp", ports: [{ first: number, last: number }] };
}

const POLICY: FilterRule = {
  id: "policy",
  layer: "coordinator",
  action: "allow",
  sources: new Set([LAPTOP!]),
  ...port(22),
  destinations: null,
  origin: { where: "policy.yaml:2:5", comment: "Work" },
};

interface World {
  readonly rules: FilterRules;
  readonly users: FilterUsers;
  readonly hits: Map<string, number>;
  readonly changes: () => number;
  inForce(): InForce;
  /** What becomes of TCP from a peer to a port. */
  verdict(from: string, port: number): string;
  later(ms: number): void;
}

/** Rules at a node with three peers, until `run` ends. */
function withRules(config: Partial<FilterConfig>, run: (world: World) => void): void {
  let [now, changes] = [0, 0];
  const rules = new FilterRules({
    own: OWN,
    offered: () => ({ destinations: [], own: [] }),
    config: { isDefaultDeny: true, defaultWhere: "peer.yaml:2:3", rules: [], ...config },
    clock: () => now,
    changed: () => changes++,
    log: () => {},
  });
  const hits = new Map<string, number>();
  const users = new FilterUsers({
    rules,
    own: OWN,
    peers: () => PEERS,
    peer: (text) => {
      const peer = PEERS.find(({ name, id }) => text === name || text === id);
      if (!peer) throw new MeshError("peer-unknown", `Cannot find "${text}"`);
      return peer;
    },
    hits: () => hits,
    drops: () => ({ "no-rule": 3, malformed: 1 }),
    clock: () => now,
  });
  try {
    rules.compile(PEERS);
    run({
      rules,
      users,
      hits,
      changes: () => changes,
      inForce: () => rules.compile(PEERS),
      verdict: (from, port) => users.trace({ from, port: `tcp/${port}` }).verdict,
      later: (ms) => now += ms,
    });
  } finally {
    rules.close();
  }
}

Deno.test("FilterRules allows nothing before the policy is known, but what own layers open", () => {
  withRules(
    { rules: [written({ ...port(80), from: { kind: "node", name: "phone" } })] },
    (world) => {
      assert.equal(world.verdict("laptop", 22), "deny");
      assert.deepEqual(["laptop", "phone"].map((from) => world.verdict(from, 80)), [
        "deny",
        "allow",
      ]);
      assert.equal(world.users.report().hasPolicy, false);
      world.rules.setCoordinatorRules([POLICY]);
      assert.equal(world.verdict("laptop", 22), "allow");
      assert.equal(world.verdict("phone", 22), "deny");
      world.rules.setCoordinatorRules(null);
      assert.equal(world.verdict("laptop", 22), "deny");
    },
  );
});

const LAYER_CASES: [about: string, change: (rules: FilterRules) => void][] = [
  ["a temporary rule", (rules) => void rules.add(written({ ...port(22), action: "deny" }), null)],
  ["the policy", (rules) => rules.setCoordinatorRules([POLICY, { ...POLICY, action: "deny" }])],
];

for (const [about, change] of LAYER_CASES) {
  Deno.test(`FilterRules lets ${about} deny what every other layer allows`, () => {
    withRules({ rules: [written(port(22))] }, ({ rules, verdict }) => {
      rules.setCoordinatorRules([POLICY]);
      rules.openServicePort({
        name: "x",
        ...port(22),
        ports: [{ first: 22, last: 22 }],
        comment: "",
      });
      rules.add(written(port(22)), null);
      assert.equal(verdict("laptop", 22), "allow");
      change(rules);
      assert.equal(verdict("laptop", 22), "deny");
    });
  });
}

Deno.test("FilterRules lets any layer open what the policy says nothing of", () => {
  withRules({}, ({ rules, verdict }) => {
    rules.setCoordinatorRules([POLICY]);
    const close = rules.openServicePort({
      name: "metrics",
      protocol: "tcp",
      ports: [{ first: 9444, last: 9444 }],
      comment: "",
    });
    assert.equal(verdict("phone", 9444), "allow");
    close();
    assert.equal(verdict("phone", 9444), "deny");
    rules.add(written(port(80)), null);
    assert.equal(verdict("nas", 80), "allow");
  });
});

Deno.test("FilterRules allows what no rule speaks of where the file says so, and names the line", () => {
  withRules({ isDefaultDeny: false }, ({ rules, users, verdict }) => {
    rules.setCoordinatorRules([POLICY]);
    rules.add(written({ ...port(23), action: "deny" }), null);
    assert.deepEqual([22, 23, 24].map((each) => verdict("laptop", each)), [
      "allow",
      "deny",
      "allow",
    ]);
    const decided = (port: number) =>
      users.trace({ from: "laptop", port: `${port}` }).rules[0]!.where;
    assert.deepEqual([22, 24].map(decided), ["policy.yaml:2:5", "peer.yaml:2:3"]);
    assert.equal(users.report().defaultAction, "allow");
  });
});

Deno.test("FilterRules asks the resolver for sources, and knows plain WireGuard peers itself", () => {
  withRules({}, ({ rules }) => {
    const sources = (subject: Subject) => [...rules.sourcesOf(subject, "allow") ?? ["all"]];
    assert.deepEqual(sources({ kind: "node", name: "laptop" }), [LAPTOP]);
    assert.deepEqual(sources({ kind: "bare", name: "phone" }), [PHONE]);
    assert.deepEqual(sources({ kind: "tag", name: "ci" }), []);
    assert.deepEqual(sources(EVERYONE), ["all"]);
    const resolver: SourceResolver = ({ kind }) => new Set(kind === "tag" ? [PHONE!] : []);
    rules.setResolver(resolver);
    assert.deepEqual(sources({ kind: "tag", name: "ci" }), [PHONE]);
    assert.deepEqual(sources({ kind: "node", name: "laptop" }), []);
    assert.deepEqual(sources({ kind: "node", name: "nas" }), [NAS]);
    assert.deepEqual(sources({ kind: "bare", name: "nas" }), []);
  });
});

Deno.test("FilterRules compiles only when rules or peers are others", () => {
  withRules({}, ({ rules, inForce, changes }) => {
    const first = inForce();
    assert.equal(inForce(), first);
    assert.equal(changes(), 0);
    rules.add(written(port(1)), null);
    assert.equal(changes(), 1);
    const second = inForce();
    assert.notEqual(second.words[0], first.words[0]);
    assert.equal(inForce(), second);
    assert.notEqual(rules.compile(PEERS.slice(1)), second);
  });
});

Deno.test("FilterRules lets nobody begin anything when there are more rules than there can be", () => {
  withRules({}, ({ rules, users, verdict, inForce }) => {
    rules.setCoordinatorRules(
      Array.from({ length: MAX_RULES + 1 }, (_, i) => ({ ...POLICY, id: `${i}` })),
    );
    assert.match(inForce().problem!, /lets nobody in: Cannot use 4097 filter rules/);
    assert.equal(verdict("laptop", 22), "deny");
    assert.match(users.status().problem!, /nobody/);
    assert.throws(() => rules.add(written(), null), /Cannot add a rule: this node has 4096/);
    rules.setCoordinatorRules([POLICY]);
    assert.equal(inForce().problem, null);
  });
});

Deno.test("filter add and remove keep a rule until it is removed or its time is over", async () => {
  const expired = Promise.withResolvers<void>();
  let now = 0;
  const rules = new FilterRules({
    own: OWN,
    offered: () => ({ destinations: [], own: [] }),
    config: { isDefaultDeny: true, defaultWhere: "", rules: [] },
    clock: () => now,
    changed: () => {
      if (now > 0) expired.resolve();
    },
    log: () => {},
  });
  rules.add(written(port(1)), null);
  rules.add(written(port(2)), 5);
  now = 5;
  await expired.promise;
  assert.deepEqual(rules.own.map(({ id }) => id), ["t1"]);
  rules.remove(new Set(["t1"]));
  assert.deepEqual(rules.own, []);
  rules.close();
});

Deno.test("FilterUsers.add() keeps a peer by its id, and refuses one that nobody is", () => {
  withRules({}, ({ rules, users, later }) => {
    const request = { action: "allow", protocol: "tcp", comment: "why" } as const;
    const rule = users.add({ ...request, ports: "22-23", from: "node:laptop", ttlMs: 60_000 });
    assert.deepEqual(
      [rule.id, rule.traffic, rule.from, rule.peers, rule.expiresInMs, rule.where, rule.comment],
      ["t1", "tcp/22-23", "node:laptop", 1, 60_000, "filter add", "why"],
    );
    assert.deepEqual(rules.own[0]!.from, { kind: "node", name: LAPTOP });
    later(1000);
    assert.equal(users.report().rules[0]!.expiresInMs, 59_000);
    assert.throws(() => users.add({ ...request, from: "node:gone" }), /Cannot find "gone"/);
    assert.equal(users.add({ ...request, from: "tag:ci" }).peers, 0);
  });
});

Deno.test("FilterUsers.remove() removes what is like the request, and only temporary rules", () => {
  withRules({ rules: [written(port(22))] }, ({ users, rules }) => {
    const add = (ports: string, from = "everyone", protocol: "tcp" | "any" = "any") =>
      users.add({ action: "allow", protocol, ports, from, comment: "" });
    add("22");
    add("22", "node:laptop", "tcp");
    add("22-23");
    const ids = (request: Parameters<typeof users.remove>[0]) =>
      users.remove(request).map(({ id }) => id);
    assert.deepEqual(ids({ ports: "22", from: "node:laptop" }), ["t2"]);
    assert.throws(() => ids({ ports: "22", protocol: "udp" }), /no temporary one is like that/);
    assert.deepEqual(ids({ ports: "22" }), ["t1"]);
    assert.deepEqual(ids({ id: "t3" }), ["t3"]);
    assert.throws(() => ids({ id: "config-1" }), /Cannot remove rule config-1: it is of peer.yaml/);
    assert.deepEqual(rules.own.map(({ id }) => id), ["config-1"]);
  });
});

Deno.test("FilterUsers.trace() says which rule decides, what says the same, what lost", () => {
  withRules({}, ({ rules, users }) => {
    rules.setCoordinatorRules([POLICY, { ...POLICY, id: "again" }, {
      ...POLICY,
      id: "exit",
      destinations: OWN,
    }]);
    const parts = (from: string, port: string) =>
      users.trace({ from, port }).rules.map(({ id, part }) => `${id} ${part}`);
    assert.deepEqual(parts("laptop", "22"), ["policy decided", "again same"]);
    assert.deepEqual(parts("laptop", "ssh"), ["policy decided", "again same"]);
    assert.deepEqual(parts("laptop", "udp/22"), []);
    const laptop = { kind: "node", name: "laptop" } as const;
    rules.add(written({ action: "deny", from: laptop }), null);
    assert.deepEqual(parts("laptop", "22"), ["t1 decided", "policy overruled", "again overruled"]);
    assert.equal(users.trace({ from: "laptop", port: "22" }).cutOffBy, "t1");
    assert.equal(users.trace({ from: "phone", port: "22" }).cutOffBy, null);
  });
});

Deno.test("FilterUsers.trace() tells ping from other ICMP, and asks for one port", () => {
  withRules({}, ({ rules, users }) => {
    rules.add(written({ protocol: "icmp", icmpTypes: "echo-request" }), null);
    const verdict = (port: string) => users.trace({ from: "phone", port }).verdict;
    assert.deepEqual(["ping", "icmp"].map(verdict), ["allow", "deny"]);
    for (const text of ["80-81", "any", "tcp"]) {
      assert.throws(() => verdict(text), /it is more than one port/);
    }
    assert.throws(() => verdict("htp"), /no port and no known service/);
    assert.throws(() => users.trace({ from: "gone", port: "1" }), /Cannot find "gone"/);
  });
});

Deno.test("FilterUsers counts what rules decide, and drops of the filter alone", () => {
  withRules({ rules: [written(port(1))] }, ({ users, rules, hits }) => {
    rules.setCoordinatorRules([POLICY]);
    hits.set("policy", 7).set("config-1", 0).set("gone", 2);
    const report = users.report();
    assert.deepEqual(report.rules.map((rule) => [rule.id, rule.from, rule.hits]), [
      ["policy", "laptop", 7],
      ["config-1", "everyone", 0],
    ]);
    assert.deepEqual(report.drops, { "no-rule": 3 });
    assert.ok((FILTER_DROPS as readonly string[]).includes("no-rule"));
    const { layers, hits: counted } = users.status();
    assert.deepEqual(layers, { coordinator: 1, config: 1, temporary: 0, service: 0 });
    assert.deepEqual(counted, { policy: 7 });
  });
});
