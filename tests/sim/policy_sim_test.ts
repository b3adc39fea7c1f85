import assert from "node:assert/strict";
import { MeshError } from "../../core/errors.ts";
import { policyBody, propose, state } from "./admin.ts";
import type { Host } from "./host.ts";
import { natKind } from "./internet.ts";
import { SimMesh } from "./mesh.ts";
import { SimRelay } from "./relay.ts";
import { startSimStun } from "./stun.ts";

const NODES = 50;
const SECOND = 1_000;
const KINDS = ["public", "port-restricted", "full-cone", "symmetric", "cgnat", "udp-blocked"];

/** Nobody reaches anybody but by ping. */
const CLOSED = `rules:
  - from: everyone
    to: everyone
    ports: [ping]
`;
const OPEN = `rules:
  - from: everyone
    to: everyone
    ports: any
`;

/** A mesh of machines at sites of all kinds; the first one is the admin's. */
function meshOf(count: number, seed: number): SimMesh {
  const mesh = new SimMesh(seed);
  const relays = [new SimRelay(mesh.world, { name: "r0", latency: [5, 20] })];
  const stunServers = startSimStun(mesh.network, "203.0.113.1");
  for (let i = 0; i < count; i++) {
    mesh.addBehind(natKind(KINDS[i % KINDS.length]!), { relays, stunServers });
  }
  mesh.world.run(10 * SECOND);
  return mesh;
}

/** Each machine and the one after it; not the other way, which would make one the answer. */
function ring(hosts: readonly Host[]): [Host, Host][] {
  return hosts.map((host, i) => [host, hosts[(i + 1) % hosts.length]!]);
}

function count(values: readonly boolean[]): number {
  return values.filter((value) => value).length;
}

Deno.test(`${NODES} nodes enforce a policy <= 1 s after an admin applies it, or after they return`, () => {
  using mesh = meshOf(NODES, 1);
  const { world, hosts } = mesh;
  const pairs = ring(hosts);
  mesh.passes(pairs, 3 * SECOND);
  assert.equal(count(mesh.passes(pairs)), NODES, "all flows are established");

  const asleep = hosts.slice(10, 14);
  const unplugged = hosts.slice(20, 24);
  const stopped = hosts.slice(30, 34);
  for (const host of asleep) host.sleep();
  for (const host of unplugged) host.unplug();
  for (const host of stopped) host.kill();
  const away = new Set([...asleep, ...unplugged, ...stopped]);
  world.run(5 * SECOND);

  const proposal = propose(world, hosts[0]!, policyBody(CLOSED));
  world.run(SECOND);
  assert.equal(proposal.outcome, "taken");
  const between = pairs.filter((pair) => pair.every((host) => !away.has(host)));
  assert.equal(count(mesh.passes(between)), 0, "flows go on at nodes that are there");

  for (const host of asleep) host.wake();
  for (const host of unplugged) host.plug();
  for (const host of stopped) host.start();
  world.run(SECOND);
  const { hash } = hosts[0]!.mesh.log.head;
  for (const host of hosts) assert.equal(host.mesh.log.head.hash, hash, host.name);
  assert.equal(count(mesh.passes(pairs)), 0, "flows go on at nodes that came back");

  state(hosts[0]!, policyBody(OPEN));
  world.run(SECOND);
  mesh.passes(pairs, 5 * SECOND);
  assert.equal(count(mesh.passes(pairs)), NODES, "the next policy opens all again");
});

Deno.test("a policy holds at a node without a coordinator, also over its restart", () => {
  using mesh = new SimMesh(1);
  const [a, b, c] = [mesh.add(), mesh.add(), mesh.add()];
  mesh.world.run(5 * SECOND);
  assert.equal(count(mesh.passes(ring([a, b, c]))), 3);
  state(a, policyBody(CLOSED));
  mesh.world.run(SECOND);
  mesh.coordinator.kill();
  for (const host of [b, c]) {
    host.kill();
    host.start();
  }
  const pairs = ring([a, b, c]);
  mesh.passes(pairs, 5 * SECOND);
  assert.equal(count(mesh.passes(pairs)), 0);
});

Deno.test("documents that cannot be read leave what held before in force", () => {
  using mesh = new SimMesh(1);
  const [a, b] = [mesh.add(), mesh.add()];
  assert.ok(mesh.world.runUntil(() => mesh.isWhole(), 5 * SECOND));
  state(a, policyBody("rules: [{ of: a newer version }]"));
  mesh.world.run(SECOND);
  assert.deepEqual(mesh.passes([[a, b]]), [true]);
  assert.ok(b.mesh.policy.problem);
  // At a start nothing is known of before.
  b.kill();
  b.start();
  mesh.world.run(5 * SECOND);
  assert.deepEqual(mesh.passes([[a, b]]), [false]);
});

Deno.test("a machine whose key is no admin's states nothing", () => {
  using mesh = new SimMesh(1);
  const [, b] = [mesh.add(), mesh.add()];
  mesh.world.run(SECOND);
  const isForbidden = (error: unknown) =>
    error instanceof MeshError && error.code === "entry-forbidden";
  assert.throws(() => state(b, policyBody(OPEN)), isForbidden);
});
