/**
 * Small random policies and meshes for property tests: few names, so that rules often meet.
 * @module
 */
import fc from "fast-check";
import type { MeshView } from "../core/policy/subjects.ts";

import { meshOf } from "../core/policy/_world.ts";
import { ALL_TRAFFIC, ICMP, OTHER, PING, type Traffic } from "../core/policy/traffic.ts";

const SUBJECTS = ["everyone", "admins", "user:ann", "user:bob", "tag:t", "tag:s", "group:g"]
  .concat("group:h", "node:n1", "n2", "ann", "self");
const PORTS = [
  "any",
  "tcp",
  "udp",
  "icmp",
  "ping",
  22,
  "20-30",
  "tcp/22",
  "udp/25-40",
  "tcp/65535",
  "dns",
];
const BUCKETS = ["*", "a", "a/x", "a/x/y", "b", "_m"];

const action = fc.constantFrom<"allow" | "deny">("allow", "allow", "deny");

function some<T>(values: readonly T[], most = 2) {
  return fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: most });
}

const sources = some(SUBJECTS.slice(0, -1));
const members = some(SUBJECTS.filter((name) => !["self", "group:g", "group:h"].includes(name)));

/** Rules, groups, bindings, exits and routes. */
export const anyPolicy = fc.record({
  groups: fc.record({
    g: members,
    h: fc.oneof(members, fc.constant<string[]>(["group:g", "user:bob"])),
  }),
  rules: fc.array(
    fc.record({ action, from: sources, to: some(SUBJECTS), ports: some(PORTS) }),
    { maxLength: 4 },
  ),
  bindings: fc.array(
    fc.record({
      action,
      to: sources,
      right: fc.constantFrom<"read" | "write" | "admin">("read", "write", "admin"),
      buckets: some(BUCKETS),
    }),
    { maxLength: 4 },
  ),
  exits: fc.array(fc.record({ action, offer: sources, use: sources }), { maxLength: 2 }),
  routes: fc.array(
    fc.record({
      action,
      prefix: some(["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "192.168.0.0/24"]),
      offer: sources,
      use: sources,
      ports: some(PORTS),
    }),
    { maxLength: 2 },
  ),
});

const NODES = ["n1 ann", "n2 ann t", "n3 bob", "n4 - t,s", "n5 bob s", "ann - s"];

/** A mesh of some of six nodes, whose owners and tags vary. */
export const anyMesh: fc.Arbitrary<MeshView> = fc.record({
  kept: fc.array(fc.boolean(), { minLength: NODES.length, maxLength: NODES.length }),
  moved: fc.boolean(),
}).map(({ kept, moved }) => {
  const all = NODES.map((text) => moved ? text.replace("n3 bob", "n3 ann t") : text);
  const view = meshOf(all, { admins: ["ann"] });
  return { ...view, nodes: view.nodes.filter((_, i) => kept[i]) };
});

/** Every point that matters: the ends of all parts of `sets`, and what lies next to them. */
export function pointsOf(sets: readonly Traffic[]): number[] {
  const ends = [...sets, ALL_TRAFFIC].flat().flatMap(({ first, last }) => [first, last]);
  const near = [...ends, PING, ICMP, OTHER].flatMap((point) => [point - 1, point, point + 1]);
  return [...new Set(near)].filter((point) => point >= 0 && point <= OTHER);
}
