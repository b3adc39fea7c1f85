import assert from "node:assert/strict";
import { SimMesh } from "./mesh.ts";
import { runScenario } from "./scenario.ts";

const SEEDS = 200;
const MINUTE = 60_000;

Deno.test(`a mesh is whole again after trouble drawn from any of ${SEEDS} seeds`, () => {
  for (let seed = 1; seed <= SEEDS; seed++) runScenario(seed);
});

Deno.test("the same seed gives the same history", () => {
  assert.deepEqual(runScenario(7), runScenario(7));
});

Deno.test("traffic, rekeys and names go on for ten minutes without the coordinator", () => {
  using mesh = new SimMesh(1);
  const [a, b] = [mesh.add(), mesh.add()];
  assert.ok(mesh.world.runUntil(() => mesh.isWhole(), 5_000));
  mesh.coordinator.kill();
  const lost = mesh.lost;
  for (let i = 0; i < 600; i++) {
    mesh.send(a, b, i % 2 === 0 ? 4 : 6);
    mesh.send(b, a);
    mesh.world.run(1_000);
  }
  assert.equal(mesh.lost, lost);
  assert.ok(mesh.namesAreRight());
  assert.ok(!a.isConnected);
});

Deno.test("two nodes that never met find each other without the coordinator", () => {
  using mesh = new SimMesh(2);
  const [a, b] = [mesh.add(), mesh.add()];
  mesh.world.run(2_000);
  mesh.coordinator.kill();
  for (const host of [a, b]) host.kill();
  mesh.world.run(MINUTE);
  for (const host of [a, b]) host.start();
  const number = mesh.send(a, b);
  assert.ok(mesh.world.runUntil(() => mesh.hasArrived(number), 3_000));
});

Deno.test("a restarted coordinator has every node again within 2 s after it listens", () => {
  for (let seed = 1; seed <= 20; seed++) {
    using mesh = new SimMesh(seed);
    for (let i = 0; i < 4; i++) mesh.add();
    const areAllConnected = () => mesh.hosts.every((host) => host.isConnected);
    assert.ok(mesh.world.runUntil(areAllConnected, 5_000));
    mesh.coordinator.kill();
    mesh.world.run(seed * MINUTE / 4);
    assert.ok(!areAllConnected());
    mesh.coordinator.start();
    assert.ok(mesh.world.runUntil(areAllConnected, 2_000), `seed ${seed}`);
  }
});

Deno.test("a node killed and started again has its address, and traffic within 3 s", () => {
  for (let seed = 1; seed <= 20; seed++) {
    using mesh = new SimMesh(seed);
    const [a, b] = [mesh.add(), mesh.add()];
    assert.ok(mesh.world.runUntil(() => mesh.isWhole(), 5_000));
    const before = b.reply.addresses.join();
    // With and without the coordinator, which must not be needed for it.
    if (seed % 2 === 0) mesh.coordinator.kill();
    b.kill();
    mesh.world.run(seed * 2_000);
    b.start();
    const numbers: number[] = [];
    for (let i = 0; i < 30; i++) {
      numbers.push(mesh.send(a, b));
      mesh.world.run(100);
    }
    assert.ok(numbers.some((number) => mesh.hasArrived(number)), `seed ${seed}`);
    assert.equal(b.reply.addresses.join(), before);
  }
});

Deno.test("no packet is lost or doubled over twenty minutes of rekeys", () => {
  using mesh = new SimMesh(3);
  const [a, b] = [mesh.add(), mesh.add()];
  assert.ok(mesh.world.runUntil(() => mesh.isWhole(), 5_000));
  const lost = mesh.lost;
  for (let i = 0; i < 20 * 60 * 4; i++) {
    mesh.send(a, b);
    if (i % 3 === 0) mesh.send(b, a);
    mesh.world.run(250);
  }
  assert.equal(mesh.lost, lost);
});

Deno.test("handshakes that cross end in one session that works both ways", () => {
  for (let seed = 1; seed <= 60; seed++) {
    using mesh = new SimMesh(seed);
    const [a, b] = [mesh.add(), mesh.add()];
    mesh.world.run(1_000);
    mesh.coordinator.kill();
    for (const host of [a, b]) host.kill();
    mesh.world.run(1_000);
    for (const host of [a, b]) host.start();
    const numbers = [mesh.send(a, b), mesh.send(b, a)];
    assert.ok(
      mesh.world.runUntil(() => numbers.every((number) => mesh.hasArrived(number)), 12_000),
      `seed ${seed}`,
    );
  }
});
