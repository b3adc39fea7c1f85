/**
 * The control plane as a whole, in virtual time: many nodes, one coordinator that dies and returns.
 * @module
 */
import assert from "node:assert/strict";
import { assertMeshed, World } from "./coordinator_world.ts";
import { identityOf } from "./mesh_fixture.ts";

function meshOf(count: number, seed: number): World {
  const world = new World({ seed });
  const token = world.token();
  for (let n = 0; n < count; n++) {
    world.join(identityOf(n), "node", token);
    world.run(20);
  }
  world.run(1000);
  return world;
}

function allConnected(world: World): boolean {
  return world.nodes.every(({ client }) => client.report.state === "connected");
}

Deno.test("200 nodes join, see each other, and none shares a name or an address", () => {
  const world = meshOf(200, 1);
  assertMeshed(world, 200);
  for (const { client } of world.nodes.slice(0, 10)) {
    const records = [...client.view.peers.values()].map(({ record }) => record);
    assert.equal(new Set(records.flatMap(({ addresses }) => addresses)).size, 400);
    assert.equal(new Set(records.map(({ name }) => name)).size, 200);
    assert.ok([...client.view.peers.values()].every(({ online }) => online));
  }
});

Deno.test("a restarted coordinator has all nodes back within 2 s, with the same addresses", () => {
  for (const seed of [1, 2, 3]) {
    const world = meshOf(30, seed);
    const before = world.nodes.map(({ registration }) => registration.addresses.join());
    for (const outage of [50, 700, 60_000]) {
      world.kill();
      world.run(outage);
      for (const { client } of world.nodes) {
        assert.equal(client.view.peers.size, 30, "the last netmap stays");
      }
      world.start();
      world.run(2000);
      assert.ok(allConnected(world), `seed ${seed}, outage of ${outage} ms`);
    }
    world.run(1000);
    assertMeshed(world, 30);
    const after = world.nodes.map(({ identity }) => world.register(identity).addresses.join());
    assert.deepEqual(after, before);
  }
});

Deno.test("a node that dies is shown offline and keeps its place; what it left open harms nobody", () => {
  const world = meshOf(3, 1);
  const [first, , last] = world.nodes;
  last!.isAlive = false;
  world.run(46_000);
  const seen = () => first!.client.view.peers.get(last!.identity.peerId);
  assert.equal(seen()?.online, false);
  assert.deepEqual(seen()?.record.addresses, [...last!.registration.addresses]);
  const again = world.join(last!.identity, "node");
  world.run(1000);
  const { name, addresses, recordSeq } = again.registration;
  assert.deepEqual([name, addresses], [last!.registration.name, last!.registration.addresses]);
  assert.equal(recordSeq, 0, "its next record has to be newer than this");
  assert.equal(seen()?.online, true);
});

Deno.test("a quiet mesh costs a ping every 15 s and node and nothing else", () => {
  const world = meshOf(10, 1);
  world.sent.clear();
  world.run(150_000);
  assert.deepEqual([...world.sent], [["pong", 100]]);
});
