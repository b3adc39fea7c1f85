import assert from "node:assert/strict";
import fc from "fast-check";
import type { FilterRule } from "../filter/rules.ts";
import { formatIp, parseIp, parsePrefix, prefixContains } from "../ip.ts";
import { anyMesh, anyPolicy, pointsOf } from "../../tests/policy_random.ts";
import { meshOf, nodeNamed, worldOf } from "./_world.ts";
import { accessTo } from "./access.ts";
import { compileNode, mergeLayers } from "./compile.ts";
import { firstPolicy } from "./default.ts";
import { judge } from "./explain.ts";
import { internetPrefixes } from "./internet.ts";
import { MeshSubjects } from "./subjects.ts";
import { hasPoint, trafficOf } from "./traffic.ts";
import { mayUseExit, routeAccess } from "./ways.ts";

const MESH = meshOf(["laptop alice", "phone alice", "nas - server", "desk bob"]);

/** Names of a rule's sources, or "all". */
function sourcesOf(world: MeshSubjects, rule: FilterRule): string {
  return rule.sources === null
    ? "all"
    : [...rule.sources].map((id) => world.node(id)!.name).join(" ");
}

Deno.test("compileNode() gives a node only the rules that are about it, with their places", () => {
  const world = worldOf({
    rules: [
      { from: "user:alice", to: "tag:server", ports: ["ssh", "icmp"], comment: "Admin work" },
      { from: "everyone", to: "tag:server", ports: "https" },
      { action: "deny", from: "desk", to: "user:alice", ports: "any" },
    ],
  }, MESH);
  const rules = compileNode(world, nodeNamed(world, "nas"));
  assert.deepEqual(
    rules.map((rule) => [rule.action, rule.protocol, rule.ports, sourcesOf(world, rule)]),
    [
      ["allow", "tcp", [{ first: 22, last: 22 }], "laptop phone"],
      ["allow", "icmp", null, "laptop phone"],
      ["allow", "tcp", [{ first: 443, last: 443 }], "all"],
    ],
  );
  assert.deepEqual(rules[0]!.origin, { where: "policy#rules/0", comment: "Admin work" });
  assert.equal(rules[0]!.layer, "coordinator");
});

Deno.test("compileNode() reads self as the nodes of the source's own user", () => {
  const world = new MeshSubjects(firstPolicy(), MESH);
  const self = (name: string) =>
    compileNode(world, nodeNamed(world, name)).filter(({ protocol, ports }) =>
      protocol === "any" && ports === null
    );
  assert.deepEqual(self("laptop").map((rule) => sourcesOf(world, rule)), ["phone"]);
  assert.deepEqual(self("desk"), []);
  assert.deepEqual(self("nas"), []);
});

Deno.test("compileNode() keeps a rule's id when other rules come and go, and repeats none", () => {
  const rule = { from: "everyone", to: "nas", ports: "ssh" };
  const idsOf = (rules: unknown[]) => {
    const world = worldOf({ rules }, MESH);
    return compileNode(world, nodeNamed(world, "nas")).map(({ id }) => id);
  };
  const [id] = idsOf([rule]);
  const before = idsOf([{ ...rule, ports: [80, "tcp/1", "icmp"] }, rule, rule]);
  assert.equal(before.includes(id!), true);
  assert.equal(new Set(before).size, before.length);
});

Deno.test("mergeLayers() puts all layers in one set whose ids are unique", () => {
  const rule = (layer: FilterRule["layer"]): FilterRule => ({
    id: "x",
    layer,
    action: "allow",
    sources: null,
    protocol: "any",
    ports: null,
    destinations: null,
    origin: { where: "test", comment: "" },
  });
  const merged = mergeLayers([rule("service")], [rule("config"), rule("temporary")], []);
  assert.deepEqual(merged.map(({ id, layer }) => `${id} ${layer}`), [
    "x config",
    "x~2 temporary",
    "x~3 service",
  ]);
});

Deno.test("compileNode() decides every packet as the plain reading of the rules does", () => {
  fc.assert(
    fc.property(anyPolicy, anyMesh, (tree, view) => {
      const world = worldOf(tree, view);
      for (const to of view.nodes) {
        const rules = compileNode(world, to);
        const points = pointsOf(rules.map(trafficOf));
        for (const from of view.nodes.filter(({ id }) => id !== to.id)) {
          const access = accessTo(world, from, to);
          for (const point of points) {
            const isAllowed = judge(rules, from.id, point)?.action === "allow";
            assert.equal(isAllowed, hasPoint(access, point), `${from.name} ${to.name} ${point}`);
          }
        }
      }
    }),
    { numRuns: 200 },
  );
});

Deno.test("compileNode() lets through an exit whom the policy lets use it, and nobody else", () => {
  fc.assert(
    fc.property(anyPolicy, anyMesh, (tree, view) => {
      const world = worldOf({ ...tree, routes: [] }, view);
      for (const exit of view.nodes) {
        const rules = compileNode(world, exit).filter(({ destinations }) => destinations !== null);
        for (const from of view.nodes.filter(({ id }) => id !== exit.id)) {
          const about = rules.filter(({ sources }) => sources === null || sources.has(from.id));
          const isAllowed = about.length > 0 && about.every(({ action }) => action === "allow");
          assert.equal(isAllowed, mayUseExit(world, from, exit));
        }
      }
    }),
    { numRuns: 200 },
  );
});

Deno.test("compileNode() lets through a router exactly what routes say for each address", () => {
  const addresses = ["9.9.9.9", "10.0.0.1", "10.1.0.1", "10.1.2.3", "192.168.0.9", "192.168.1.1"];
  fc.assert(
    fc.property(anyPolicy, anyMesh, (tree, view) => {
      const world = worldOf({ ...tree, exits: [] }, view);
      for (const router of view.nodes) {
        const rules = compileNode(world, router).filter(({ destinations }) =>
          destinations !== null
        );
        const points = pointsOf(rules.map(trafficOf));
        for (const from of view.nodes.filter(({ id }) => id !== router.id)) {
          for (const text of addresses) {
            const about = rules.filter(({ sources, destinations }) =>
              (sources === null || sources.has(from.id)) &&
              destinations!.some((each) => prefixContains(each, parseIp(text)!))
            );
            const access = routeAccess(world, from, router, parsePrefix(`${text}/32`)!);
            for (const point of points) {
              const matching = about.filter((rule) => hasPoint(trafficOf(rule), point));
              const isAllowed = matching.length > 0 &&
                matching.every(({ action }) => action === "allow");
              assert.equal(isAllowed, hasPoint(access, point));
            }
          }
        }
      }
    }),
    { numRuns: 60 },
  );
});

const ADDRESSES: [address: string, isInternet: boolean][] = [
  ["1.1.1.1", true],
  ["9.255.255.255", true],
  ["10.0.0.0", false],
  ["11.0.0.0", true],
  ["100.63.255.255", true],
  ["100.64.0.0", false],
  ["172.15.255.255", true],
  ["172.30.0.5", false],
  ["192.167.255.255", true],
  ["192.168.255.255", false],
  ["223.255.255.255", true],
  ["224.0.0.1", false],
  ["255.255.255.255", false],
  ["2606:4700::1111", true],
  ["fd00::1", false],
  ["fe80::1", false],
];

for (const [address, isInternet] of ADDRESSES) {
  Deno.test(`internetPrefixes() ${isInternet ? "hold" : "leave out"} ${address}`, () => {
    const bytes = parseIp(address)!;
    const holding = internetPrefixes().filter((prefix) => prefixContains(prefix, bytes));
    assert.equal(holding.length, isInternet ? 1 : 0, formatIp(bytes));
  });
}
