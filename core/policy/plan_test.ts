import assert from "node:assert/strict";
import fc from "fast-check";
import type { PeerId } from "../ids.ts";
import { parseIp, prefixContains } from "../ip.ts";
import { anyMesh, anyPolicy, pointsOf } from "../../tests/policy_random.ts";
import { meshOf, policyOf, worldOf } from "./_world.ts";
import { accessTo } from "./access.ts";
import { firstPolicy } from "./default.ts";
import { nameOf } from "./names.ts";
import type { ObjectPath } from "./objects.ts";
import { formatPlan, type Plan, planOf } from "./plan.ts";
import type { AccessChange } from "./plan_access.ts";
import { isInside } from "./plan_rights.ts";
import type { Policy } from "./policy.ts";
import { accessOf } from "./rights.ts";
import { parseSubject } from "./subject.ts";
import { haveOneUser, MeshSubjects, type MeshView, type Principal } from "./subjects.ts";
import { hasPoint, NO_TRAFFIC, subtract, type Traffic, union } from "./traffic.ts";
import { mayOfferExit, mayUseExit } from "./ways.ts";

/** Pairs of nodes of either side, each two different ones. */
function pairsOf({ before, after }: Plan): [PeerId, PeerId][] {
  const ids = [...new Set([...before.view.nodes, ...after.view.nodes].map(({ id }) => id))];
  return ids.flatMap((from) => ids.map((to): [PeerId, PeerId] => [from, to]))
    .filter(([from, to]) => from !== to);
}

/** What the plan says of a pair, read word by word; so that changes may overlap. */
function saidOf(plan: Plan, verb: string, type: string, from: PeerId, to: PeerId) {
  return plan.access.filter((change) => {
    if (change.verb !== verb || change.target.type !== type) return false;
    if (!change.sources.includes(from) || !change.destinations.includes(to)) return false;
    if (change.scope === "all") return true;
    const subjects = verb === "gains" ? plan.after : plan.before;
    const [a, b] = [subjects.node(from), subjects.node(to)];
    const isOwn = a !== undefined && b !== undefined && haveOneUser(a, b);
    return isOwn === (change.scope === "own");
  });
}

function assertSame(
  said: readonly AccessChange[],
  points: number[],
  is: (point: number) => boolean,
) {
  for (const point of points) {
    assert.equal(said.some(({ traffic }) => hasPoint(traffic, point)), is(point), `${point}`);
  }
}

function onSide<T>(
  subjects: MeshSubjects,
  [from, to]: [PeerId, PeerId],
  otherwise: T,
  is: (from: NonNullable<ReturnType<MeshSubjects["node"]>>, to: typeof from) => T,
): T {
  const [a, b] = [subjects.node(from), subjects.node(to)];
  return a && b ? is(a, b) : otherwise;
}

const anySides = fc.tuple(anyPolicy, anyPolicy, anyMesh, anyMesh, fc.nat(3)).map(
  ([one, other, mesh, later, same]) => {
    const before = worldOf(one, mesh);
    return planOf(before, worldOf(same === 0 ? one : other, same === 1 ? later : mesh));
  },
);

Deno.test("planOf() names every packet that someone gains or loses and no other", () => {
  fc.assert(
    fc.property(anySides, (plan) => {
      const rules = [...plan.before.policy.rules, ...plan.after.policy.rules];
      const points = pointsOf(rules.map(({ traffic }) => traffic));
      for (const pair of pairsOf(plan)) {
        const before = onSide<Traffic>(
          plan.before,
          pair,
          NO_TRAFFIC,
          (from, to) => accessTo(plan.before, from, to),
        );
        const after = onSide<Traffic>(
          plan.after,
          pair,
          NO_TRAFFIC,
          (from, to) => accessTo(plan.after, from, to),
        );
        const has = (is: Traffic, isNot: Traffic) => (point: number) =>
          hasPoint(is, point) && !hasPoint(isNot, point);
        assertSame(saidOf(plan, "gains", "node", ...pair), points, has(after, before));
        assertSame(saidOf(plan, "loses", "node", ...pair), points, has(before, after));
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("planOf() names every exit that someone gains or loses", () => {
  fc.assert(
    fc.property(anySides, (plan) => {
      for (const pair of pairsOf(plan)) {
        const may = (side: MeshSubjects) =>
          onSide(side, pair, false, (from, to) => mayUseExit(side, from, to));
        const [before, after] = [may(plan.before), may(plan.after)];
        assert.equal(saidOf(plan, "gains", "exit", ...pair).length > 0, after && !before);
        assert.equal(saidOf(plan, "loses", "exit", ...pair).length > 0, before && !after);
      }
      for (const node of plan.after.view.nodes) {
        const old = plan.before.node(node.id);
        const isNew = mayOfferExit(plan.after, node) && !(old && mayOfferExit(plan.before, old));
        const said = plan.offers.some(({ verb, prefix, nodes }) =>
          verb === "gains" && prefix === null && nodes.includes(node.id)
        );
        assert.equal(said, isNew);
      }
    }),
    { numRuns: 150 },
  );
});

const ADDRESSES = [
  "10.0.0.0",
  "10.255.255.255",
  "10.1.0.0",
  "10.1.255.255",
  "10.1.2.0",
  "10.1.2.255",
]
  .concat("192.168.0.0", "192.168.1.0", "9.255.255.255", "11.0.0.0");

/** What the routes of one side let a pair send to one address, read from the document. */
function routedTo(subjects: MeshSubjects, from: PeerId, via: PeerId, address: Uint8Array): Traffic {
  const sum = (action: "allow" | "deny") =>
    union(
      ...subjects.policy.routes.filter((route) =>
        route.action === action && route.prefixes.some((each) => prefixContains(each, address)) &&
        subjects.includes(route.use, { node: from }, action) &&
        subjects.includes(route.offer, { node: via }, action)
      ).map(({ traffic }) => traffic),
    );
  return subtract(sum("allow"), sum("deny"));
}

Deno.test("planOf() names every address of a route that someone gains or loses", () => {
  fc.assert(
    fc.property(anySides, (plan) => {
      const routes = [...plan.before.policy.routes, ...plan.after.policy.routes];
      const points = pointsOf(routes.map(({ traffic }) => traffic));
      for (const pair of pairsOf(plan)) {
        for (const text of ADDRESSES) {
          const address = parseIp(text)!;
          const to = (side: MeshSubjects) =>
            onSide<Traffic>(side, pair, NO_TRAFFIC, () => routedTo(side, ...pair, address));
          const [before, after] = [to(plan.before), to(plan.after)];
          const said = (verb: string) =>
            saidOf(plan, verb, "route", ...pair).filter(({ target }) =>
              target.type === "route" && prefixContains(target.prefix, address) &&
              !target.apart.some((each) => prefixContains(each, address))
            );
          assertSame(
            said("gains"),
            points,
            (each) => hasPoint(after, each) && !hasPoint(before, each),
          );
          assertSame(
            said("loses"),
            points,
            (each) => hasPoint(before, each) && !hasPoint(after, each),
          );
        }
      }
    }),
    { numRuns: 60 },
  );
});

const OBJECTS: ObjectPath[] = [["a"], ["a", "x"], ["a", "x", "y"], ["a", "x", "z"], ["a", "q"], [
  "b",
]];
OBJECTS.push(["new"], ["_m"], ["_m", "k"], ["_other"]);

Deno.test("planOf() names every right that someone gains or loses, once, and no other", () => {
  fc.assert(
    fc.property(anySides, (plan) => {
      const { before, after } = plan;
      const views = [before.view, after.view];
      const principals: Principal[] = [
        ...new Set(views.flatMap(({ users }) => users.map(({ name }) => name))),
      ].map((user) => ({ user }));
      for (const id of new Set(views.flatMap(({ nodes }) => nodes.map((node) => node.id)))) {
        principals.push({ node: id });
      }
      for (const who of principals) {
        for (const path of OBJECTS) {
          const level = (side: MeshSubjects) =>
            accessOf(side, who, { kind: "buckets", path }).level;
          const said = plan.rights.filter((change) =>
            change.kind === "buckets" && speaksOf(change, path) &&
            ("user" in who ? change.users.includes(who.user) : change.nodes.includes(who.node))
          );
          const [old, now] = [level(before), level(after)];
          assert.deepEqual(
            said.map((change) => [change.before, change.after]),
            old === now ? [] : [[old, now]],
            path.join("/"),
          );
        }
      }
    }),
    { numRuns: 200 },
  );
});

function speaksOf(change: Plan["rights"][number], path: ObjectPath): boolean {
  return isInside(path, change.path) && !change.apart.some((each) => isInside(path, each));
}

Deno.test("planOf() finds no difference between a state and itself", () => {
  fc.assert(
    fc.property(anyPolicy, anyMesh, (tree, view) => {
      assert.deepEqual(formatPlan(planOf(worldOf(tree, view), worldOf(tree, view))), []);
    }),
    { numRuns: 100 },
  );
});

Deno.test("nameOf() names exactly the nodes and users it is given", () => {
  const anyCase = fc.tuple(anyPolicy, anyMesh, fc.nat(63), fc.nat(7));
  fc.assert(
    fc.property(anyCase, ([tree, view, nodeBits, userBits]) => {
      const world = worldOf(tree, view);
      const nodes = new Set(view.nodes.flatMap(({ id }, i) => nodeBits >> i & 1 ? [id] : []));
      const users = new Set(view.users.flatMap(({ name }, i) => userBits >> i & 1 ? [name] : []));
      const found = { nodes: new Set<string>(), users: new Set<string>() };
      for (const name of nameOf(world, { nodes, users })) {
        if (name.endsWith(" (as a user)")) {
          found.users.add(name.slice("user:".length, -" (as a user)".length));
          continue;
        }
        const set = world.resolve(parseSubject(name)!, "allow");
        set.nodes.forEach((id) => found.nodes.add(id));
        set.users.forEach((user) => found.users.add(user));
      }
      assert.deepEqual([...found.nodes].sort(), [...nodes].sort());
      assert.deepEqual([...found.users].sort(), [...users].sort());
    }),
    { numRuns: 200 },
  );
});

const MESH = meshOf(
  [
    "laptop alice",
    "phone alice",
    "desk bob",
    "pad bob",
    "nas - server",
    "web - server",
    "cam - iot",
  ],
);
const GROUPS = { dev: ["user:alice", "user:bob"] };
const SSH = { from: "group:dev", to: "tag:server", ports: "ssh" };

const TEXTS: [name: string, before: Policy, after: Policy, lines: string[]][] = [
  [
    "a group that gains a port",
    policyOf({ groups: GROUPS, rules: [SSH] }),
    policyOf({ groups: GROUPS, rules: [{ ...SSH, ports: ["ssh", "https"] }] }),
    ["group:dev gains tcp/443 on tag:server"],
  ],
  [
    "a denial for some of a group",
    policyOf({ groups: GROUPS, rules: [SSH] }),
    policyOf({
      groups: GROUPS,
      rules: [SSH, { action: "deny", from: "phone", to: "nas", ports: 22 }],
    }),
    ["node:phone loses tcp/22 on node:nas"],
  ],
  [
    "a member who leaves a group",
    policyOf({ groups: GROUPS, rules: [SSH] }),
    policyOf({ groups: { dev: ["user:alice"] }, rules: [SSH] }),
    ["user:bob loses tcp/22 on tag:server"],
  ],
  [
    "no difference in what holds",
    policyOf({ groups: GROUPS, rules: [SSH] }),
    policyOf({
      rules: [{ ...SSH, from: ["user:alice", "user:bob"], ports: ["tcp/1-22", "tcp/22"] }],
    }),
    ["user:alice, user:bob gain tcp/1-21 on tag:server"],
  ],
  [
    "the first policy",
    policyOf({}),
    firstPolicy(),
    [
      "everyone gains 53, ping on everyone",
      "user:alice, user:bob gain any on self",
      "everyone gains read on panel:alerts, panel:map, panel:s3, panel:shares, panel:visualizer",
      "everyone gains read, write on nfs:default, share:default",
    ],
  ],
  [
    "rights on a bucket and a part of it",
    policyOf({ bindings: [{ to: "everyone", role: "bucket-write" }] }),
    policyOf({
      bindings: [
        { to: "everyone", role: "bucket-write" },
        { to: "tag:iot", action: "deny", right: "write", buckets: "*" },
        { to: "tag:iot", action: "deny", right: "read", buckets: "media/private" },
      ],
    }),
    [
      "tag:iot loses read, write on bucket:media/private",
      "tag:iot loses write on bucket:* (apart from bucket:media/private)",
    ],
  ],
  [
    "exits and routes",
    policyOf({}),
    policyOf({
      exits: [{ offer: "nas", use: "user:alice" }],
      routes: [{ prefix: "192.168.7.0/24", offer: "nas", use: "tag:iot", ports: "http" }],
    }),
    [
      "tag:iot gains tcp/80 on 192.168.7.0/24 through node:nas",
      "user:alice gains any on the Internet through node:nas",
      "node:nas gains being an exit",
      "node:nas gains offering 192.168.7.0/24",
    ],
  ],
];

for (const [name, before, after, lines] of TEXTS) {
  Deno.test(`formatPlan() tells of ${name}`, () => {
    const plan = planOf(new MeshSubjects(before, MESH), new MeshSubjects(after, MESH));
    assert.deepEqual(formatPlan(plan), lines);
  });
}

Deno.test("formatPlan() tells what a node that joins gains and gives", () => {
  const policy = firstPolicy();
  const without: MeshView = { ...MESH, nodes: MESH.nodes.filter(({ name }) => name !== "pad") };
  const plan = planOf(new MeshSubjects(policy, without), new MeshSubjects(policy, MESH));
  assert.deepEqual(formatPlan(plan).filter((line) => !/read|write/.test(line)), [
    "node:pad gains 53, ping on tag:server, user:alice, node:cam",
    "tag:server, user:alice, node:cam gain 53, ping on node:pad",
    "user:bob gains any on user:bob",
  ]);
});

Deno.test("formatPlan() says apart what nodes of one user have anyway, and no more than that", () => {
  const view = meshOf(["a1 alice x", "a2 alice y", "b1 bob x", "b2 bob y", "c1 - x", "c2 - y"]);
  const own = { from: "everyone", to: "self", ports: "any" };
  const gain = { from: "tag:x", to: "tag:y", ports: "ssh" };
  const lines = (...more: unknown[]) =>
    formatPlan(planOf(
      worldOf({ rules: [own, ...more] }, view),
      worldOf({ rules: [own, gain] }, view),
    ));
  assert.deepEqual(lines(), ["tag:x gains tcp/22 on tag:y (of other users)"]);
  // The nodes that are nobody's are not one user's: they gain nothing, and so it must be said.
  assert.deepEqual(lines({ from: "c1", to: "c2", ports: "ssh" }), [
    "node:a1, node:b1 gain tcp/22 on tag:y (of other users)",
    "node:c1 gains tcp/22 on node:a2, node:b2",
  ]);
});
