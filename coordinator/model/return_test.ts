/**
 * Tests of nodes that were members once and come back with nothing but their key.
 * @module
 */
import assert from "node:assert/strict";
import { PATHS } from "../../core/control/envelope.ts";
import { leavingRecord, membershipOf } from "../../core/daemon/membership.ts";
import type { Identity } from "../../core/identity/keys.ts";
import { appendRequest, call } from "../../tests/coordinator_requests.ts";
import { type NodeRecord, verifyNodeRecord } from "../../core/identity/record.ts";
import { mayReturn } from "./returning.ts";
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

/** Revokes the node, has something happen, and admits it again; it goes on running all the while. */
function outAndIn(happens: (world: World, node: WorldNode) => void = () => {}) {
  const { world, peer, node } = worldOfTwo();
  revoked(world.log, NODE.peerId);
  world.perform(world.hub.handle({ type: "tick", wallTime: world.wallTime }, world.now));
  world.run(SECOND);
  assert.equal(node.client.report.state, "refused");
  happens(world, node);
  world.run(30 * SECOND);
  assert.equal(node.client.report.state, "refused");
  admitted(world.log, NODE);
  world.run(30 * SECOND);
  return { world, peer, node };
}

Deno.test("a node that is admitted again goes on by itself, as what it was", () => {
  const { world, peer, node } = outAndIn();
  assert.equal(node.client.report.state, "connected");
  assert.deepEqual(peer.all("record-refused"), []);
  assert.equal(peer.client.view.peers.get(NODE.peerId)?.online, true);
  const { name, ip4 } = world.registry.state.nodes.get(NODE.peerId)!;
  assert.deepEqual([name, ip4], ["n1", node.registration.addresses[0]]);
  assert.equal(world.registry.state.removed.size, 0);
});

for (const what of ["name", "address"]) {
  Deno.test(`a node whose ${what} somebody has meanwhile has to register again`, () => {
    const { world, node } = outAndIn((world) => {
      // The address that is free is given first.
      if (what === "address") world.register(identityOf(2), { name: "other" }, world.token());
      else {
        for (const [n, name] of [[2, "other"], [3, "n1"]] as const) {
          world.register(identityOf(n), { name }, world.token());
        }
        world.registry.execute({ type: "remove", at: world.wallTime, id: identityOf(2).peerId });
      }
    });
    assert.equal(node.client.report.state, "refused");
    assert.equal(world.registry.state.nodes.has(NODE.peerId), false);
    world.register(NODE, { name: "n1" });
  });
}

Deno.test("mayReturn() takes no record that its node gave up, nor another's place", () => {
  const { world, node } = worldOfTwo();
  const { state } = world.registry;
  const { id, ip4, ip6 } = state.nodes.get(NODE.peerId)!;
  const without = { ...state, nodes: new Map([...state.nodes].filter(([each]) => each !== id)) };
  const record: NodeRecord = { ...verifyNodeRecord(state.nodes.get(id)!.record!), seq: 5 };
  assert.equal(mayReturn(without, record), true);
  assert.equal(mayReturn(state, record), false, "it is there");
  const wrong: Partial<NodeRecord>[] = [
    { left: true },
    { meshId: "0".repeat(32) },
    { addresses: ["10.0.0.1", ip6] },
    { addresses: [ip4, "fd00::1"] },
    { addresses: [ip4] },
    { addresses: [node.registration.addresses[0], ip6, "172.30.0.77"] },
    { name: "localhost" },
    { aliases: ["n0"] },
  ];
  for (const over of wrong) assert.equal(mayReturn(without, { ...record, ...over }), false);
  const removed = (seq: number) => ({ ...without, removed: new Map([[id, seq]]) });
  assert.deepEqual([4, 5, 6].map((seq) => mayReturn(removed(seq), record)), [true, true, false]);
  const departed = new Map([[id, { id, record: state.nodes.get(id)!.record!, seq: 5, at: 0 }]]);
  assert.equal(mayReturn({ ...without, departed }, record), false);
});

Deno.test("a node that was revoked and kept its state goes on with the record that it had", () => {
  const { world, peer, node } = worldOfTwo();
  revoked(world.log, NODE.peerId);
  world.perform(world.hub.handle({ type: "tick", wallTime: world.wallTime }, world.now));
  world.run(SECOND);
  assert.equal(node.client.report.state, "refused");
  admitted(world.log, NODE);
  const { name, recordSeq, addresses } = world.register(NODE, { name: "n1" });
  assert.deepEqual([name, addresses, recordSeq], ["n1", node.registration.addresses, 0]);
  world.run(30 * SECOND);
  assert.equal(node.client.report.state, "connected");
  assert.deepEqual(peer.all("record-refused"), []);
  assert.equal(peer.client.view.peers.get(NODE.peerId)?.online, true);
});
