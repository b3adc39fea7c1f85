import assert from "node:assert/strict";
import fc from "fast-check";
import type { Tree } from "../config/source.ts";
import { policyOf, problemsOf } from "./_world.ts";
import { MAX_GROUP_DEPTH } from "./cycles.ts";
import { parsePolicy } from "./parse.ts";
import { formatSubject } from "./subject.ts";
import { formatTraffic } from "./traffic.ts";

const RULE = { from: "everyone", to: "everyone", ports: "any" };

const PROBLEMS: [name: string, tree: Tree, problem: string][] = [
  [
    "an unknown section",
    { rulez: [] },
    'policy#rulez: unknown key "rulez"; did you mean "rules"?',
  ],
  [
    "an unknown key of a rule",
    { rules: [{ ...RULE, comments: "x" }] },
    'policy#rules/0/comments: unknown key "comments" in rules[0]; did you mean "comment"?',
  ],
  [
    "an unknown key of a tag",
    { tags: { server: { owner: "everyone" } } },
    'policy#tags/server/owner: unknown key "owner" in tags.server; did you mean "owners"?',
  ],
  [
    "an unknown key of a role",
    { roles: { films: [{ right: "read", bucket: "films" }] } },
    'policy#roles/films/0/bucket: unknown key "bucket" in roles.films[0]; did you mean "buckets"?',
  ],
  ["rules that are no list", { rules: {} }, "policy#rules: rules must be a list"],
  [
    "groups that have no names",
    { groups: ["ops"] },
    "policy#groups: groups must be a part with keys of its own",
  ],
  [
    "a rule without ports",
    { rules: [{ from: "everyone", to: "everyone" }] },
    "policy#rules/0/ports: rules[0].ports is missing",
  ],
  [
    "a rule that is text",
    { rules: ["allow all"] },
    'policy#rules/0: rules[0] must be a part with keys of its own, not "allow all"',
  ],
  [
    "an action that is none",
    { rules: [{ ...RULE, action: "drop" }] },
    'policy#rules/0/action: rules[0].action must be one of allow, deny, not "drop"',
  ],
  [
    "a comment that is a number",
    { rules: [{ ...RULE, comment: 7 }] },
    "policy#rules/0/comment: rules[0].comment must be text, not 7",
  ],
  [
    "a comment that is a book",
    { rules: [{ ...RULE, comment: "x".repeat(1001) }] },
    "policy#rules/0/comment: rules[0].comment must have at most 1000 characters, " +
    `not "${"x".repeat(80)}…"`,
  ],
  [
    "a list of no subjects",
    { rules: [{ ...RULE, from: [] }] },
    "policy#rules/0/from: rules[0].from must not be empty",
  ],
  [
    "a subject of an unknown kind",
    { rules: [{ ...RULE, from: ["everyone", "grop:ops"] }] },
    "policy#rules/0/from/1: rules[0].from[1] must be user:NAME, node:NAME, tag:NAME, group:NAME, " +
    'everyone, admins or a bare name, not "grop:ops"; did you mean "group:ops"?',
  ],
  [
    "a group that is not defined",
    { groups: { ops: [] }, rules: [{ ...RULE, to: "group:opss" }] },
    'policy#rules/0/to: rules[0].to names the group "opss", which is not defined; ' +
    'did you mean "ops"?',
  ],
  [
    "self as a source",
    { rules: [{ ...RULE, from: "self" }] },
    "policy#rules/0/from: rules[0].from must not be self, which only `to` of a rule knows",
  ],
  [
    "a bare name of a group and a tag",
    { groups: { ops: "user:a" }, tags: { ops: {} }, rules: [{ ...RULE, to: "ops" }] },
    'policy#rules/0/to: rules[0].to must be group:ops or tag:ops: "ops" is a group and a tag',
  ],
  [
    "a port that is none",
    { rules: [{ ...RULE, ports: [22, 65536] }] },
    "policy#rules/0/ports/1: rules[0].ports[1] must be a port (22), a range (8000-8010), tcp/443, " +
    'udp/53, tcp, udp, icmp, any or the name of a service, not "65536"',
  ],
  [
    "a service that is not defined",
    { rules: [{ ...RULE, ports: "htps" }] },
    "policy#rules/0/ports: rules[0].ports must be a port (22), a range (8000-8010), tcp/443, " +
    'udp/53, tcp, udp, icmp, any or the name of a service, not "htps"; did you mean "https"?',
  ],
  [
    "a group with a bad name",
    { groups: { "Ops Team": "user:a" } },
    "policy#groups/Ops Team: groups.Ops Team must be 1 to 63 lower-case letters, digits, dots, " +
    "hyphens and underscores, the first no sign",
  ],
  [
    "a name that is no name to JavaScript",
    { groups: JSON.parse('{"__proto__": "user:a"}') },
    "policy#groups/__proto__: groups.__proto__ is no name that can be used",
  ],
  [
    "a from that is a number",
    { rules: [{ ...RULE, from: 7 }] },
    "policy#rules/0/from: rules[0].from must be a subject or a list of them, not 7",
  ],
  [
    "a group that is built in",
    { groups: { everyone: "user:a" } },
    "policy#groups/everyone: groups.everyone is built in and cannot be defined",
  ],
  [
    "a service that is built in",
    { services: { ssh: 2222 } },
    "policy#services/ssh: services.ssh is built in and cannot be defined",
  ],
  [
    "a role that is built in",
    { roles: { admin: [{ right: "read", panels: "*" }] } },
    "policy#roles/admin: roles.admin is built in and cannot be defined",
  ],
  [
    "a group that contains itself",
    { groups: { a: "group:b", b: ["user:x", "c"], c: "group:a" } },
    "policy#groups/a: groups.a contains itself: a > b > c > a",
  ],
  [
    "a binding with neither role nor right",
    { bindings: [{ to: "everyone", buckets: "*" }] },
    "policy#bindings/0: bindings[0] must have either a role or a right",
  ],
  [
    "a binding with a role and a right",
    { bindings: [{ to: "everyone", role: "bucket-read", right: "read" }] },
    "policy#bindings/0: bindings[0] must have either a role or a right",
  ],
  [
    "a right on nothing",
    { bindings: [{ to: "everyone", right: "read" }] },
    "policy#bindings/0: bindings[0] must say on what: buckets, shares, nfs or panels",
  ],
  [
    "a right that is none",
    { bindings: [{ to: "everyone", right: "delete", buckets: "*" }] },
    'policy#bindings/0/right: bindings[0].right must be one of read, write, admin, not "delete"',
  ],
  [
    "a role that is not defined",
    { bindings: [{ to: "everyone", role: "bucket-reed" }] },
    'policy#bindings/0/role: bindings[0].role names the role "bucket-reed", which is not ' +
    'defined; did you mean "bucket-read"?',
  ],
  [
    "a role narrowed to what it is not for",
    { bindings: [{ to: "everyone", role: "bucket-read", panels: "logs" }] },
    "policy#bindings/0/panels: bindings[0].panels names panel:logs, which the role is not for",
  ],
  [
    "a bucket with a wildcard in it",
    { bindings: [{ to: "everyone", right: "read", buckets: "media*" }] },
    'policy#bindings/0/buckets: bindings[0].buckets must be NAME, NAME/PREFIX, or "*" for all, ' +
    'not "media*"',
  ],
  [
    "a panel with a prefix",
    { bindings: [{ to: "everyone", right: "read", panels: ["map", "a/b"] }] },
    'policy#bindings/0/panels/1: bindings[0].panels[1] must be the name of a panel, or "*" for ' +
    'all, not "a/b"',
  ],
  [
    "a route to host bits",
    { routes: [{ prefix: "192.168.7.1/24", offer: "nas", use: "everyone" }] },
    "policy#routes/0/prefix: routes[0].prefix must be a network without host bits, such as " +
    '192.168.7.0/24, not "192.168.7.1/24"',
  ],
  [
    "a route to everything",
    { routes: [{ prefix: "0.0.0.0/0", offer: "nas", use: "everyone" }] },
    "policy#routes/0/prefix: routes[0].prefix must be a network without host bits, such as " +
    '192.168.7.0/24, not "0.0.0.0/0"; exits are for the whole Internet',
  ],
  [
    "a test of nothing",
    { tests: [{ from: "everyone" }] },
    "policy#tests/0: tests[0] must have allow or deny",
  ],
  [
    "a target without a port",
    { tests: [{ from: "everyone", allow: ["nas"] }] },
    "policy#tests/0/allow/0: tests[0].allow[0] must be SUBJECT:PORTS (nas:443, tag:server:ssh), " +
    "bucket:NAME:RIGHT, share:NAME:RIGHT, nfs:NAME:RIGHT, panel:NAME:RIGHT, exit:NODE or " +
    'route:NETWORK, not "nas"',
  ],
  [
    "a target with a right that is none",
    { tests: [{ from: "everyone", deny: "bucket:media:wite" }] },
    "policy#tests/0/deny: tests[0].deny must end in :read, :write or :admin, " +
    'not "media:wite"; did you mean "write"?',
  ],
];

for (const [name, tree, problem] of PROBLEMS) {
  Deno.test(`parsePolicy() refuses ${name}`, () => {
    assert.deepEqual(problemsOf(tree), [problem]);
  });
}

Deno.test("parsePolicy() names both places of a name that two files define", () => {
  assert.deepEqual(problemsOf({ groups: { ops: "user:a" } }, { groups: { ops: "user:b" } }), [
    "file2#groups/ops: groups.ops is defined at file1#groups/ops already",
  ]);
});

Deno.test("parsePolicy() refuses groups nested too deep", () => {
  const names = Array.from({ length: MAX_GROUP_DEPTH + 1 }, (_, i) => `g${i}`);
  const groups = Object.fromEntries(names.map((name, i) => [name, `group:g${i + 1}`]));
  const deep = { groups: { ...groups, [`g${names.length}`]: "user:a" } };
  assert.deepEqual(problemsOf(deep), [
    `policy#groups/g0: groups.g0 holds groups in groups more than ${MAX_GROUP_DEPTH} deep`,
  ]);
});

Deno.test("parsePolicy() tells all problems at once, in the order of their places", () => {
  const problems = problemsOf({
    groups: { ops: "group:opps" },
    rules: [{ ...RULE, ports: "x" }, { ...RULE, frm: 1 }, { ...RULE, to: "a:b" }],
  });
  assert.deepEqual(problems.map((each) => each.split(":")[0]), [
    "policy#groups/ops",
    "policy#rules/0/ports",
    "policy#rules/1/frm",
    "policy#rules/2/to",
  ]);
});

Deno.test("parsePolicy() says once what is wrong with a service, not wherever it is used", () => {
  const problems = problemsOf({ services: { web: "tcp/x" }, rules: [{ ...RULE, ports: "web" }] });
  assert.equal(problems.length, 1);
});

Deno.test("parsePolicy() joins the lists of files and shares their names", () => {
  const { policy } = parsePolicy([
    { tree: { rules: [{ ...RULE, ports: "web", from: "ops" }] }, where: () => "a.yaml:1:1" },
    {
      tree: { groups: { ops: "user:alice" }, services: { web: ["tcp/80", 443] }, rules: [RULE] },
      where: () => "b.yaml:1:1",
    },
  ]);
  assert.deepEqual(policy!.rules.map(({ origin }) => origin.where), ["a.yaml:1:1", "b.yaml:1:1"]);
  assert.equal(formatTraffic(policy!.rules[0]!.traffic), "443, tcp/80");
  assert.deepEqual(policy!.rules[0]!.from.map(formatSubject), ["group:ops"]);
});

Deno.test("parsePolicy() takes groups and tags without anything in them", () => {
  const policy = policyOf({ groups: { a: null, b: [] }, tags: { c: null, d: {} } });
  assert.deepEqual([...policy.groups.keys(), ...policy.tags.keys()], ["a", "b", "c", "d"]);
});

const WORDS = ["everyone", "self", "user:a", "tag:b", "group:g", "g", "22", "any", "a:22", "*"]
  .concat("rules", "groups", "from", "to", "ports", "role", "right", "read", "buckets", "allow")
  .concat("__proto__", "constructor", "tests", "bindings", "exits", "routes", "prefix", "::/1")
  .concat("bucket:a:read", "exit:a", "route:10.0.0.0/8", ":", "a:", ":a", "services", "roles");

Deno.test("parsePolicy() never throws, whatever the tree", () => {
  const word = fc.oneof(fc.constantFrom(...WORDS), fc.string());
  const { tree } = fc.letrec((tie) => ({
    leaf: fc.oneof(word, fc.integer(), fc.double(), fc.boolean(), fc.constant(null)),
    node: fc.oneof(
      { depthSize: "medium" },
      tie("leaf"),
      fc.array(tie("node"), { maxLength: 4 }),
      fc.dictionary(word, tie("node"), { maxKeys: 4 }),
    ),
    tree: fc.dictionary(fc.constantFrom(...WORDS), tie("node"), { maxKeys: 6 }),
  }));
  fc.assert(
    fc.property(tree, (value) => {
      const { policy, problems } = parsePolicy([{ tree: value as Tree, where: () => "x:1:1" }]);
      assert.equal(policy === null, problems !== null);
      assert.ok(problems === null || problems.every((each) => each.startsWith("x:1:1: ")));
    }),
    { numRuns: 3000 },
  );
});

Deno.test("parsePolicy() never throws on a policy with one value replaced", () => {
  const good: Tree = {
    groups: { g: ["user:a", "tag:b"] },
    tags: { b: { owners: "group:g" } },
    services: { web: ["tcp/80", 443] },
    roles: { r: [{ right: "read", buckets: ["x/y"] }] },
    bindings: [{ to: "g", role: ["r", "admin"] }, { to: "b", right: "write", nfs: "*" }],
    rules: [{ from: "g", to: ["self", "tag:b"], ports: ["web", "icmp"], comment: "c" }],
    exits: [{ offer: "tag:b", use: "everyone" }],
    routes: [{ prefix: "10.0.0.0/8", offer: "tag:b", use: "g", ports: "any" }],
    tests: [{ from: "g", allow: ["b:22", "bucket:x/y:read"], deny: "exit:b" }],
  };
  assert.deepEqual(problemsOf(good), []);
  const paths = pathsOf(good, []);
  const value = fc.oneof(fc.anything(), fc.constantFrom(...WORDS), fc.string());
  fc.assert(
    fc.property(fc.constantFrom(...paths), value, (path, replacement) => {
      const { policy, problems } = parsePolicy([{
        tree: replaced(good, path, replacement) as Tree,
        where: () => "x",
      }]);
      assert.equal(policy === null, problems !== null);
    }),
    { numRuns: 3000 },
  );
});

function pathsOf(value: unknown, path: string[]): string[][] {
  if (typeof value !== "object" || value === null) return [path];
  const below = Object.entries(value).flatMap(([key, child]) => pathsOf(child, [...path, key]));
  return path.length === 0 ? below : [path, ...below];
}

function replaced(value: unknown, [key, ...rest]: string[], replacement: unknown): unknown {
  if (key === undefined) return replacement;
  const copy = Array.isArray(value) ? [...value] : { ...value as Tree };
  const part = copy as Tree;
  part[key] = replaced(part[key], rest, replacement);
  return copy;
}
