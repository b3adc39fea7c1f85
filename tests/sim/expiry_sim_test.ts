import assert from "node:assert/strict";
import {
  DAY_MS,
  DEFAULT_EXPIRES_AFTER_MS,
  type Expiry,
  expiryOf,
} from "../../core/state/expiry.ts";
import { state } from "./admin.ts";
import type { Host } from "./host.ts";
import { SimMesh } from "./mesh.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
/** Nodes look who has expired within this. */
const REVIEWED = 70 * SECOND;

function meshOf(count: number, seed = 1): SimMesh {
  const mesh = new SimMesh(seed);
  for (let i = 0; i < count; i++) mesh.add();
  assert.ok(mesh.world.runUntil(() => mesh.isWhole(), 5 * SECOND));
  return mesh;
}

/** Days pass; every few of them the machines that run talk until they have reviewed. */
function live(mesh: SimMesh, days: number): void {
  const STEP = 10;
  for (let day = 0; day < days; day += STEP) {
    mesh.world.skip(STEP * DAY_MS);
    const running = mesh.hosts.filter(({ isRunning }) => isRunning);
    mesh.passes(running.flatMap((a) => running.flatMap((b) => a === b ? [] : [[a, b]])), REVIEWED);
  }
}

/** What a host thinks of another one. */
function expiry(at: Host, of: Host, mesh: SimMesh): Expiry["state"] {
  const { id } = of.reply;
  const member = at.mesh.log.state.nodes.get(id)!;
  const lastSeen = at.node.control.view.peers.get(id)?.lastSeen ?? 0;
  return expiryOf(member, lastSeen, mesh.world.wallTime).state;
}

Deno.test("a node that is away is warned of, expires, and comes back only when it is renewed", () => {
  using mesh = meshOf(3);
  const [admin, other, away] = mesh.hosts as [Host, Host, Host];
  const { id, name } = away.reply;
  away.kill();
  // Sessions with it end.
  mesh.world.run(5 * MINUTE);
  live(mesh, 150);
  assert.equal(expiry(admin, away, mesh), "member");
  live(mesh, 20);
  assert.equal(expiry(admin, away, mesh), "warned");
  assert.notEqual(admin.node.slotOf(id), undefined, "it may come back until then");
  live(mesh, 15);
  for (const host of [admin, other]) {
    assert.equal(expiry(host, away, mesh), "expired");
    assert.equal(host.node.slotOf(id), undefined);
    assert.equal(host.zone.lookup(`${name}.mesh`), null);
  }

  away.start();
  const tries = mesh.passes([[away, admin], [away, other]], MINUTE);
  assert.deepEqual(tries, [false, false]);
  assert.ok(!away.isConnected);

  state(admin, {
    type: "node-expire-policy",
    node: id,
    expiresAfterMs: DEFAULT_EXPIRES_AFTER_MS,
  });
  assert.ok(mesh.world.runUntil(() => away.isConnected, 30 * SECOND));
  assert.ok(mesh.world.runUntil(() => mesh.isWhole(), 30 * SECOND));
});

Deno.test("a node that never expires is a member after ten years", () => {
  using mesh = meshOf(3);
  const [admin, , away] = mesh.hosts as [Host, Host, Host];
  const { id } = away.reply;
  state(admin, { type: "node-expire-policy", node: id, expiresAfterMs: null });
  mesh.world.run(SECOND);
  away.kill();
  mesh.world.skip(3_650 * DAY_MS);
  mesh.world.run(REVIEWED);
  away.start();
  assert.ok(mesh.world.runUntil(() => mesh.isWhole(), 30 * SECOND));
});

Deno.test("a coordinator that is away for 200 days expires nobody who is heard", () => {
  using mesh = meshOf(3);
  const { world, coordinator, hosts } = mesh;
  coordinator.kill();
  live(mesh, 100);
  // What was heard is on the disk.
  hosts[1]!.kill();
  hosts[1]!.start();
  live(mesh, 100);
  for (const host of hosts) {
    host.kill();
    host.start();
  }
  assert.ok(world.runUntil(() => mesh.isWhole(), 30 * SECOND), "without the coordinator");
  coordinator.start();
  assert.ok(world.runUntil(() => hosts.every((host) => host.isConnected), 10 * SECOND));
  assert.ok(mesh.isWhole());
  world.run(REVIEWED);
  assert.ok(mesh.isWhole());
});

Deno.test("a coordinator that was away does not count that as absence of the nodes", () => {
  using mesh = meshOf(3);
  const { world, coordinator, hosts } = mesh;
  const [, , away] = hosts as [Host, Host, Host];
  away.kill();
  world.run(5 * MINUTE);
  live(mesh, 100);
  coordinator.kill();
  live(mesh, 200);
  coordinator.start();
  assert.ok(world.runUntil(() => hosts[0]!.isConnected && hosts[1]!.isConnected, 10 * SECOND));
  // Its absence before and after counts.
  live(mesh, 85);
  assert.equal(hosts[0]!.node.slotOf(away.reply.id), undefined);
  away.start();
  assert.deepEqual(mesh.passes([[away, hosts[0]!]], MINUTE), [false]);
  assert.ok(!away.isConnected);
});

Deno.test("a peer without traffic does not expire over a restart after months online", () => {
  using mesh = meshOf(2);
  const { world, coordinator, hosts } = mesh;
  for (let day = 0; day < 200; day += 5) {
    world.skip(5 * DAY_MS);
    world.run(REVIEWED);
  }
  coordinator.kill();
  for (const host of hosts) {
    host.kill();
    host.start();
  }
  assert.ok(world.runUntil(() => mesh.isWhole(), 30 * SECOND));
});
