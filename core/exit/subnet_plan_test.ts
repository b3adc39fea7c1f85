import { strict as assert } from "node:assert";
import { parsePrefix } from "../ip.ts";
import { routeWords, ruleWords } from "./routing.ts";
import { planSubnets, type SubnetSettings } from "./subnet_plan.ts";

const SETTINGS: SubnetSettings = {
  interfaceName: "tm0",
  mark: 0x2174,
  table: 8565,
  priority: 4210,
  prefixes: [parsePrefix("10.77.0.0/16")!, parsePrefix("192.168.7.0/24")!],
  endpoints: [
    { ip: "192.168.7.2", protocol: "tcp", port: 2222 },
    { ip: "192.0.2.1", protocol: "tcp", port: 8443 },
  ],
};

Deno.test("planSubnets() keeps the tunnel's own packets out of it, and the machine's own networks", () => {
  const { rules, routes } = planSubnets(SETTINGS);
  assert.deepEqual(rules.map(ruleWords), [
    "priority 4210 fwmark 0x2174 lookup main protocol 84",
    "priority 4211 to 192.168.7.2/32 ipproto tcp dport 2222 lookup main protocol 84",
    "priority 4212 to 10.77.0.0/16 lookup main suppress_prefixlength 15 protocol 84",
    "priority 4212 to 192.168.7.0/24 lookup main suppress_prefixlength 23 protocol 84",
    "priority 4213 to 10.77.0.0/16 lookup 8565 protocol 84",
    "priority 4213 to 192.168.7.0/24 lookup 8565 protocol 84",
  ]);
  assert.deepEqual(routes.map(routeWords), [
    "10.77.0.0/16 dev tm0 table 8565 proto 84",
    "192.168.7.0/24 dev tm0 table 8565 proto 84",
  ]);
});

Deno.test("planSubnets() has nothing to say without networks", () => {
  const { rules, routes } = planSubnets({ ...SETTINGS, prefixes: [] });
  assert.deepEqual([rules, routes], [[], []]);
});

Deno.test("planSubnets() keeps families apart", () => {
  const prefixes = [parsePrefix("fd07::/64")!];
  const { rules, routes } = planSubnets({ ...SETTINGS, prefixes });
  assert.ok([...rules, ...routes].every(({ family }) => family === 6));
  assert.equal(rules.length, 3);
});
