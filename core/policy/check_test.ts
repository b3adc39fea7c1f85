import assert from "node:assert/strict";
import type { FilterRule } from "../filter/rules.ts";
import { meshOf, worldOf } from "./_world.ts";
import { checkPolicy, formatCheck } from "./check.ts";

const MESH = meshOf(["laptop alice", "phone alice", "nas - server", "desk bob", "alice dora"]);
const RULES = [
  { from: "user:alice", to: "tag:server", ports: ["https", "ssh"], comment: "Work" },
  { from: "user:bob", to: "tag:server", ports: 53 },
];

function check(tests: unknown[], more: Record<string, unknown> = {}) {
  return formatCheck(checkPolicy(worldOf({ rules: RULES, tests, ...more }, MESH)));
}

const PASSING: [name: string, test: Record<string, unknown>, more?: Record<string, unknown>][] = [
  ["a port alone is TCP where it is allowed", { from: "user:alice", allow: "nas:443" }],
  ["a port alone is TCP and UDP where it is denied", { from: "user:alice", deny: "nas:80" }],
  ["all nodes of a tag", { from: "phone", allow: ["tag:server:22", "tag:server:https"] }],
  ["a range", { from: "user:bob", deny: ["nas:tcp/1-52", "nas:icmp", "desk:any"] }],
  [
    "buckets",
    { from: "user:bob", allow: ["bucket:media/films/x:read"], deny: ["bucket:media:write"] },
    { bindings: [{ to: "user:bob", right: "read", buckets: "media" }] },
  ],
  [
    "exits",
    { from: "user:alice", allow: "exit:nas", deny: "exit:desk" },
    { exits: [{ offer: "nas", use: "everyone" }] },
  ],
  [
    "routes",
    { from: "user:alice", allow: "route:10.1.0.0/16", deny: "route:10.0.0.0/7" },
    { routes: [{ prefix: "10.0.0.0/8", offer: "nas", use: "user:alice" }] },
  ],
];

for (const [name, test, more] of PASSING) {
  Deno.test(`checkPolicy() passes a test of ${name}`, () => {
    assert.match(check([test], more), /^(.*tests nobody.*\n)?\d passed, 0 failed$/);
  });
}

const FAILING: [test: Record<string, unknown>, text: string, more?: Record<string, unknown>][] = [
  [
    { from: "user:alice", deny: ["nas:80", "nas:22"] },
    "policy#tests/0/deny/1: failed: deny nas:22\n" +
    "  laptop (user:alice) -> nas (tag:server) tcp/22: allowed\n" +
    "    by policy#rules/0 [coordinator]: allow tcp/22, tcp/443 from user:alice to tag:server  " +
    "(Work)\n1 passed, 1 failed",
  ],
  [
    { from: "user:bob", deny: "nas:udp/1-100" },
    "policy#tests/0/deny: failed: deny nas:udp/1-100\n" +
    "  desk (user:bob) -> nas (tag:server) udp/53: allowed\n" +
    "    by policy#rules/1 [coordinator]: allow 53 from user:bob to tag:server\n" +
    "0 passed, 1 failed",
  ],
  [
    { from: "user:bob", allow: "nas:ssh" },
    "policy#tests/0/allow: failed: allow nas:ssh\n" +
    "  desk (user:bob) -> nas (tag:server) tcp/22: denied\n" +
    "    no rule allows it\n" +
    "    rules that nearly decided otherwise:\n" +
    "      policy#rules/0 [coordinator]: allow tcp/22, tcp/443 from user:alice to tag:server  " +
    "(Work): is for other sources\n" +
    "      policy#rules/1 [coordinator]: allow 53 from user:bob to tag:server: " +
    "is for other ports\n0 passed, 1 failed",
  ],
  [
    { from: "user:bob", allow: "bucket:media:write" },
    "policy#tests/0/allow: failed: allow bucket:media:write\n" +
    "  user:bob: denied: write bucket:media\n" +
    "    no binding gives it; the most given is read\n" +
    "    bindings that nearly decided otherwise:\n" +
    "      policy#bindings/0: gives no more than read\n0 passed, 1 failed",
    { bindings: [{ to: "user:bob", right: "read", buckets: "*" }] },
  ],
  [
    { from: "user:bob", deny: "exit:nas" },
    "policy#tests/0/deny: failed: deny exit:nas\n" +
    "  desk (user:bob) -> the Internet through nas (tag:server): allowed\n" +
    "    by policy#exits/0  (Trip)\n0 passed, 1 failed",
    { exits: [{ offer: "nas", use: "user:bob", comment: "Trip" }] },
  ],
  [
    { from: "user:bob", allow: "exit:nas" },
    "policy#tests/0/allow: failed: allow exit:nas\n" +
    "  desk (user:bob) -> the Internet through nas (tag:server): denied\n" +
    "    nothing in exits allows it\n0 passed, 1 failed",
  ],
  [
    { from: "user:bob", deny: "route:10.1.0.0/16" },
    "policy#tests/0/deny: failed: deny route:10.1.0.0/16\n" +
    "  desk (user:bob) -> 10.1.0.0/16 through nas (tag:server): allowed for tcp/80\n" +
    "    by policy#routes/0\n0 passed, 1 failed",
    { routes: [{ prefix: "10.0.0.0/8", offer: "nas", use: "everyone", ports: "http" }] },
  ],
  [
    { from: "user:bob", allow: "route:10.0.0.0/8" },
    "policy#tests/0/allow: failed: allow route:10.0.0.0/8\n" +
    "  desk (user:bob) -> 10.0.0.0/8 through nas (tag:server): denied\n" +
    "    by policy#routes/1\n0 passed, 1 failed",
    {
      routes: [
        { prefix: "10.0.0.0/8", offer: "nas", use: "everyone" },
        { prefix: "10.9.0.0/16", offer: "nas", use: "user:bob", action: "deny" },
      ],
    },
  ],
  [
    { from: "user:bob", allow: "route:10.0.0.0/8" },
    "policy#tests/0/allow: failed: allow route:10.0.0.0/8\n" +
    "  no node may offer 10.0.0.0/8\n0 passed, 1 failed",
  ],
];

for (const [test, text, more] of FAILING) {
  Deno.test(`checkPolicy() gives a counter-example for ${JSON.stringify(test)}`, () => {
    assert.equal(check([test], more), text);
  });
}

Deno.test("checkPolicy() counts the rules of other layers where they are given", () => {
  const deny: FilterRule = {
    id: "x",
    layer: "config",
    action: "deny",
    sources: null,
    protocol: "any",
    ports: null,
    destinations: null,
    origin: { where: "peer.yaml:3:5", comment: "" },
  };
  const tests = [{ from: "user:alice", allow: "nas:443" }];
  const report = checkPolicy(worldOf({ rules: RULES, tests }, MESH), () => [deny]);
  assert.equal(report.isFit, false);
  assert.match(report.failures[0]!.counterExample, /by peer\.yaml:3:5 \[config\]: deny any/);
});

Deno.test("checkPolicy() says which tests are about nobody", () => {
  assert.equal(
    check([{ from: "tag:server", allow: "nas:22" }]),
    "policy#tests/0/allow: tests nobody: allow nas:22\n0 passed, 0 failed",
  );
});

const WARNINGS: [tree: Record<string, unknown>, warning: string][] = [
  [
    { rules: [{ from: "tag:servr", to: "everyone", ports: 1 }] },
    "policy#rules/0: nobody is tag:servr; did you mean tag:server?",
  ],
  [
    { bindings: [{ to: "user:bbo", role: "admin" }] },
    "policy#bindings/0: nobody is user:bbo; did you mean user:bob?",
  ],
  [{ groups: { g: "dsek" } }, "policy#groups/g: nobody is dsek; did you mean desk?"],
  [{ exits: [{ offer: "node:zzz", use: "everyone" }] }, "policy#exits/0: nobody is node:zzz"],
  [
    { rules: [{ from: "alice", to: "everyone", ports: 1 }] },
    'policy#rules/0: "alice" is a user and a node: write user:alice or node:alice',
  ],
];

for (const [tree, warning] of WARNINGS) {
  Deno.test(`checkPolicy() warns: ${warning}`, () => {
    assert.deepEqual(checkPolicy(worldOf(tree, MESH)).warnings, [warning]);
  });
}
