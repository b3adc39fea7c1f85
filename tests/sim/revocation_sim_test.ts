import assert from "node:assert/strict";
import { type ErrorCode, MeshError } from "../../core/errors.ts";
import type { Body } from "../../core/state/bodies.ts";
import { propose, state } from "./admin.ts";
import type { Host } from "./host.ts";
import { SimMesh } from "./mesh.ts";

const SECOND = 1_000;
const SEEDS = 5;

function revocation(host: Host): Body {
  return { type: "node-revoke", node: host.reply.id, reason: "lost" };
}

/** Whether `host` has neither the peer nor a session with it. */
function hasForgotten(host: Host, id: string): boolean {
  return host.node.slotOf(id) === undefined &&
    [...host.node.peers.values()].every((peer) => peer.id !== id) &&
    !host.node.control.view.peers.has(id);
}

function refusesWith(...codes: ErrorCode[]): (error: unknown) => boolean {
  return (error) => error instanceof MeshError && codes.includes(error.code);
}

Deno.test("a revoked node is out everywhere <= 1 s later, and does not come back by a token", () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    using mesh = new SimMesh(seed);
    const hosts = Array.from({ length: 6 }, () => mesh.add());
    const [admin, lost, ...others] = hosts as [Host, Host, ...Host[]];
    assert.ok(mesh.world.runUntil(() => mesh.isWhole(), 5 * SECOND));
    const { id, name } = lost.reply;
    const away = others[0]!;
    away.unplug();

    const proposal = propose(mesh.world, admin, revocation(lost));
    mesh.world.run(SECOND);
    assert.equal(proposal.outcome, "taken");
    const there = [admin, ...others.slice(1)];
    for (const host of there) {
      assert.ok(hasForgotten(host, id), `seed ${seed}: ${host.name} has it still`);
      assert.equal(host.zone.lookup(`${name}.mesh`), null, "its name is gone");
    }
    assert.ok(!mesh.coordinator.state.nodes.has(id), "its name and address are free");
    assert.ok(!lost.isConnected);
    // It may try what it likes.
    const tries = there.map((host) => [lost, host] as const);
    assert.ok(mesh.passes(tries, 10 * SECOND).every((hasArrived) => !hasArrived));
    away.plug();
    mesh.world.run(SECOND);
    assert.ok(hasForgotten(away, id), `seed ${seed}: the one that was away has it still`);

    assert.throws(() => lost.join(mesh.token), refusesWith("authority-exceeded"));
    assert.throws(() => lost.join(null), refusesWith("peer-unknown"));
    lost.kill();
    lost.start();
    mesh.coordinator.kill();
    mesh.coordinator.start();
    mesh.world.run(30 * SECOND);
    assert.throws(() => lost.join(mesh.token), refusesWith("authority-exceeded"));
    assert.ok(!lost.isConnected);
    for (const host of [...there, away]) assert.ok(hasForgotten(host, id));
  }
});

Deno.test("a revoked node stays out of nodes that restart without a coordinator", () => {
  using mesh = new SimMesh(1);
  const [admin, lost, other] = [mesh.add(), mesh.add(), mesh.add()];
  assert.ok(mesh.world.runUntil(() => mesh.isWhole(), 5 * SECOND));
  state(admin, revocation(lost));
  mesh.world.run(SECOND);
  mesh.coordinator.kill();
  // What is on disk says so too.
  for (const host of [admin, other]) {
    host.kill();
    host.start();
  }
  const id = lost.reply.id;
  mesh.world.run(10 * SECOND);
  for (const host of [admin, other]) assert.ok(hasForgotten(host, id));
  const tries = mesh.passes([[lost, admin], [lost, other]], 10 * SECOND);
  assert.deepEqual(tries, [false, false]);
});

Deno.test("an admin lets a revoked node in again", () => {
  using mesh = new SimMesh(1);
  const [admin, lost] = [mesh.add(), mesh.add()];
  assert.ok(mesh.world.runUntil(() => mesh.isWhole(), 5 * SECOND));
  const member = admin.mesh.log.state.nodes.get(lost.reply.id)!;
  const { identity, user, tags, expiresAfterMs } = member;
  state(admin, revocation(lost));
  mesh.world.run(SECOND);
  state(admin, {
    type: "node-admit",
    ...{ identity, user, tags, expiresAfterMs, authority: null },
  });
  mesh.world.run(SECOND);
  lost.kill();
  lost.join(null);
  lost.start();
  assert.ok(mesh.world.runUntil(() => mesh.isWhole(), 20 * SECOND));
});

Deno.test("a user who is removed has no nodes, and nothing of theirs counts", () => {
  using mesh = new SimMesh(1);
  const [admin, node] = [mesh.add(), mesh.add()];
  assert.ok(mesh.world.runUntil(() => mesh.isWhole(), 5 * SECOND));
  const key = admin.mesh.log.state.nodes.get(node.reply.id)!.identity;
  const user = node.reply.id;
  state(admin, { type: "user-add", name: "bob", key }, { type: "admin-add", user, key });
  mesh.world.run(SECOND);
  // Its nodes are anna's all the same.
  state(node, { type: "user-rename", user, name: "berta" });
  mesh.world.run(SECOND);
  state(admin, { type: "user-remove", user });
  mesh.world.run(SECOND);
  assert.throws(
    () => state(node, { type: "user-rename", user, name: "bernd" }),
    refusesWith("entry-forbidden"),
  );
  assert.ok(mesh.isWhole());
});
