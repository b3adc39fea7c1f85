import assert from "node:assert/strict";
import fc from "fast-check";
import type { FilterRule } from "../filter/rules.ts";
import { anyMesh, anyPolicy, pointsOf } from "../../tests/policy_random.ts";
import { meshOf, nodeNamed, worldOf } from "./_world.ts";
import { accessTo } from "./access.ts";
import { explain, explainAll } from "./explain.ts";
import { formatExplanation, formatGroups } from "./explain_text.ts";
import { ALL_TRAFFIC, hasPoint, parseTraffic } from "./traffic.ts";

const MESH = meshOf(["laptop alice", "phone alice", "nas - server", "desk bob"]);
const TREE = {
  groups: { dev: "user:alice" },
  rules: [
    { from: "group:dev", to: "tag:server", ports: ["https", "ssh"], comment: "Work" },
    { action: "deny", from: "phone", to: "tag:server", ports: "ssh", comment: "No shells" },
    { from: "user:bob", to: "tag:server", ports: "tcp/25" },
    { from: "group:dev", to: "user:bob", ports: "tcp/25" },
  ],
};
const WORLD = worldOf(TREE, MESH);

function ask(from: string, to: string, ports: string, others: readonly FilterRule[] = []) {
  const point = parseTraffic(ports)![0]!.first;
  const question = { from: nodeNamed(WORLD, from), to: nodeNamed(WORLD, to), point };
  return formatExplanation(explain(WORLD, question, () => others));
}

Deno.test("explain() names the rule that allows, its layer and its place", () => {
  assert.equal(
    ask("laptop", "nas", "tcp/443"),
    "laptop (user:alice) -> nas (tag:server) tcp/443: allowed\n" +
      "  by policy#rules/0 [coordinator]: allow tcp/22, tcp/443 from group:dev to tag:server  (Work)",
  );
});

Deno.test("explain() names the denial that wins, and what it wins over", () => {
  assert.equal(
    ask("phone", "nas", "tcp/22"),
    "phone (user:alice) -> nas (tag:server) tcp/22: denied\n" +
      "  by policy#rules/1 [coordinator]: deny tcp/22 from phone to tag:server  (No shells)\n" +
      "  rules that nearly decided otherwise:\n" +
      "    policy#rules/0 [coordinator]: allow tcp/22, tcp/443 from group:dev to tag:server  " +
      "(Work): would, but a denial wins",
  );
});

Deno.test("explain() tells of rules that miss one thing where none matches", () => {
  assert.equal(
    ask("laptop", "nas", "tcp/25"),
    "laptop (user:alice) -> nas (tag:server) tcp/25: denied\n" +
      "  no rule allows it\n" +
      "  rules that nearly decided otherwise:\n" +
      "    policy#rules/0 [coordinator]: allow tcp/22, tcp/443 from group:dev to tag:server  " +
      "(Work): is for other ports\n" +
      "    policy#rules/2 [coordinator]: allow tcp/25 from user:bob to tag:server: " +
      "is for other sources\n" +
      "    policy#rules/3 [coordinator]: allow tcp/25 from group:dev to user:bob: " +
      "is for other nodes",
  );
});

Deno.test("explain() knows the rules of other layers", () => {
  const rule: FilterRule = {
    id: "x",
    layer: "temporary",
    action: "deny",
    sources: null,
    protocol: "tcp",
    ports: [{ first: 443, last: 443 }],
    destinations: null,
    origin: { where: "filter add", comment: "" },
  };
  assert.match(
    ask("laptop", "nas", "tcp/443", [rule]),
    /denied\n {2}by filter add \[temporary\]: deny tcp\/443 from everyone\n/,
  );
});

Deno.test("explainAll() groups pairs by what decides, denials first", () => {
  const { nodes } = MESH;
  const groups = explainAll(WORLD, nodes, [nodeNamed(WORLD, "nas")], parseTraffic("tcp/22")!);
  assert.equal(
    formatGroups(groups),
    "phone (user:alice) -> nas (tag:server) tcp/22: denied\n" +
      "  by policy#rules/1 [coordinator]: deny tcp/22 from phone to tag:server  (No shells)\n" +
      "  rules that nearly decided otherwise:\n" +
      "    policy#rules/0 [coordinator]: allow tcp/22, tcp/443 from group:dev to tag:server  " +
      "(Work): would, but a denial wins\n" +
      "desk (user:bob) -> nas (tag:server) tcp/22: denied\n" +
      "  no rule allows it\n" +
      "  rules that nearly decided otherwise:\n" +
      "    policy#rules/0 [coordinator]: allow tcp/22, tcp/443 from group:dev to tag:server  " +
      "(Work): is for other sources\n" +
      "    policy#rules/2 [coordinator]: allow tcp/25 from user:bob to tag:server: " +
      "is for other ports\n" +
      "laptop (user:alice) -> nas (tag:server) tcp/22: allowed\n" +
      "  by policy#rules/0 [coordinator]: allow tcp/22, tcp/443 from group:dev to tag:server  " +
      "(Work)\n  rules that nearly decided otherwise:\n" +
      "    policy#rules/1 [coordinator]: deny tcp/22 from phone to tag:server  (No shells): " +
      "is for other sources",
  );
});

Deno.test("explain() agrees with the plain reading of the rules, and fits on a screen", () => {
  fc.assert(
    fc.property(anyPolicy, anyMesh, (tree, view) => {
      const world = worldOf(tree, view);
      const [from, to] = view.nodes;
      if (!from || !to) return;
      const access = accessTo(world, from, to);
      for (const point of pointsOf([access, ...world.policy.rules.map(({ traffic }) => traffic)])) {
        const found = explain(world, { from, to, point });
        assert.equal(found.verdict === "allow", hasPoint(access, point));
        assert.equal(found.decidedBy?.action ?? "deny", found.verdict);
        assert.ok(formatExplanation(found).split("\n").length <= 24);
      }
    }),
    { numRuns: 100 },
  );
});

Deno.test("explainAll() finds every verdict that any point of the traffic has", () => {
  fc.assert(
    fc.property(anyPolicy, anyMesh, (tree, view) => {
      const world = worldOf(tree, view);
      const found = new Set(
        explainAll(world, view.nodes, view.nodes, ALL_TRAFFIC).map(({ example }) =>
          example.verdict
        ),
      );
      const pairs = view.nodes.flatMap((from) => view.nodes.map((to) => ({ from, to })))
        .filter(({ from, to }) => from !== to);
      const accesses = pairs.map(({ from, to }) => accessTo(world, from, to));
      assert.equal(
        found.has("allow"),
        accesses.some((access) => access.length > 0),
      );
      const points = pointsOf([...accesses, ...world.policy.rules.map(({ traffic }) => traffic)]);
      const someDenied = accesses.some((access) =>
        points.some((point) => !hasPoint(access, point))
      );
      assert.equal(found.has("deny"), someDenied);
    }),
    { numRuns: 100 },
  );
});
