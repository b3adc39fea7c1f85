/**
 * Tests of nodes that were members once and come back with nothing but their key.
 * @module
 */
import assert from "node:assert/strict";
import { PATHS } from "../../core/control/envelope.ts";
import { leavingRecord, membershipOf } from "../../core/daemon/membership.ts";
import type { Identity } from "../../core/identity/keys.ts";
import { appendRequest, call } from "../../tests/coordinator_requests.ts";
import { assertMeshed, World, type WorldNode } from "../../tests/coordinator_world.ts";
import { admitted, drafted, identityOf, revoked } from "../../tests/mesh_fixture.ts";

const [PEER, NODE] = [0, 1].map(identityOf) as [Identity, Identity];
const SECOND = 1_000;

/** Two nodes that see each other. */
function worldOfTwo(): { readonly world: World; readonly peer: WorldNode; node: WorldNode } {
  const world = new World();
  const [peer, node] = [PEER, NODE].map((each, i) => world.join(each, `n${i}`, world.token()));
  world.run(SECOND);
  assertMeshed(world, 2);
  return { world, peer: peer!, node: node! };
}

/** Joins with nothing kept from before; the peer has to believe it. */
function expectBack(world: World, peer: WorldNode, secret?: Uint8Array): void {
  const again = world.join(NODE, "n1", secret);
  world.run(SECOND);
  assert.deepEqual(peer.all("record-refused"), []);
  assert.equal(peer.client.view.peers.get(NODE.peerId)?.online, true);
  assert.equal(again.client.report.state, "connected");
}

Deno.test("a node that was revoked and is admitted again from nothing is believed by its peers", () => {
  const { world, peer, node } = worldOfTwo();
  for (let seq = 1; seq <= 3; seq++) {
    revoked(world.log, NODE.peerId);
    world.perform(world.hub.handle({ type: "tick", wallTime: world.wallTime }, world.now));
    node.isAlive = false;
    world.run(SECOND);
    assert.equal(peer.client.view.peers.has(NODE.peerId), false);
    admitted(world.log, NODE);
    expectBack(world, peer);
    assert.equal(world.registry.state.nodes.get(NODE.peerId)?.recordSeq, seq);
    assert.equal(world.registry.state.removed.size, 0);
    world.nodes.at(-1)!.isAlive = false;
  }
});

Deno.test("a node states that it leaves, says farewell, and comes back by a token", () => {
  const { world, peer, node } = worldOfTwo();
  const { service, log } = world;
  const leaving = drafted(log, { type: "node-revoke", node: NODE.peerId, reason: "" }, {
    by: NODE,
    at: world.wallTime,
  });
  service.appendLog(appendRequest(world, NODE, [leaving]), world.moment);
  assert.equal(world.mesh.isMember(NODE.peerId), false);
  const { registration } = node;
  const place = { urls: ["https://coordinator"], caCertificate: null };
  const membership = membershipOf(NODE, place, { ...registration, caCertificate: "" }, null);
  const path = `${PATHS.nodes}/${NODE.peerId}`;
  const body = { record: leavingRecord(NODE, membership) };
  const farewell = call(world, NODE, "DELETE", path, body);
  const { events } = service.leave(NODE.peerId, farewell, world.moment);
  const { wallTime } = world;
  world.perform(world.hub.handle({ type: "changed", events, wallTime }, world.now));
  node.isAlive = false;
  world.run(SECOND);
  assert.equal(peer.client.view.peers.has(NODE.peerId), false);
  assert.equal(world.registry.state.nodes.has(NODE.peerId), false);
  expectBack(world, peer, world.token());
});
