/**
 * A history drawn from a seed: a few machines, two minutes of trouble, then quiet, after which
 * everything must work again.
 * @module
 */
import assert from "node:assert/strict";
import type { Host } from "./host.ts";
import { SimMesh } from "./mesh.ts";

/** How long trouble lasts, and how long the mesh may take to be whole after it. */
const TROUBLE_MS = 120_000;
const RECOVERY_MS = 30_000;

/** Runs one seed; returns its trace. @throws {assert.AssertionError} when something does not hold. */
export function runScenario(seed: number): string[] {
  using mesh = new SimMesh(seed);
  const { world, network, coordinator } = mesh;
  try {
    const count = 2 + Math.floor(world.between(0, 3));
    for (let i = 0; i < count; i++) {
      mesh.add();
      if (world.chance(0.5)) world.run(world.between(0, 500));
    }
    const end = world.now + TROUBLE_MS;
    while (world.now < end) {
      trouble(mesh);
      talk(mesh);
      world.run(world.between(50, 6_000));
      mesh.checkLeases();
    }
    world.note("quiet");
    Object.assign(network.weather, { latency: [1, 20], loss: 0, duplication: 0 });
    if (!coordinator.isRunning) coordinator.start();
    for (const host of mesh.hosts) settle(host);
    assert.ok(
      world.runUntil(() => mesh.hosts.every((host) => host.isConnected), 20_000),
      "not every node found the coordinator",
    );
    const whole = () => mesh.isWhole();
    assert.ok(world.runUntil(whole, RECOVERY_MS), "the mesh did not become whole");
    mesh.checkLeases();
    return world.trace;
  } catch (error) {
    const history = world.trace.join("\n");
    const message = error instanceof Error ? error.message : String(error);
    throw new Error(`seed ${seed}: ${message}\nreplay: deno task sim --seed=${seed}\n${history}`, {
      cause: error,
    });
  }
}

/** One thing that goes wrong, or right again. */
function trouble(mesh: SimMesh): void {
  const { world, network, coordinator, hosts } = mesh;
  const host = hosts[Math.floor(world.between(0, hosts.length))]!;
  const kind = Math.floor(world.between(0, 11));
  switch (kind) {
    case 0:
      network.weather.loss = world.between(0, 0.1);
      return;
    case 1:
      network.weather.latency = [1, world.between(2, 300)];
      return;
    case 2:
      network.weather.duplication = world.between(0, 0.2);
      return;
    case 3:
      return coordinator.isRunning ? coordinator.kill() : coordinator.start();
    case 4:
      if (host.isRunning) host.kill();
      else settle(host);
      return;
    case 5:
      if (host.isRunning) host.sleep();
      else settle(host);
      return;
    case 6:
      if (host.isRunning) host.roam(freeAddress(mesh));
      return;
    case 7:
      host.clockOffset = world.chance(0.5) ? -3_600_000 : 3_600_000;
      return;
    case 8:
      for (let i = 0; i < 10; i++) network.replay();
      return;
    case 9:
      for (let i = 0; i < 10; i++) network.rubbish(host.endpoint);
      return;
    case 10:
      if (!coordinator.isRunning || !host.isRunning) return;
      world.note(`${host.name} leaves and joins again`);
      host.leave();
      host.join(mesh.token);
      host.start();
      return;
  }
}

/** An address that no machine has. */
function freeAddress({ world, hosts }: SimMesh): string {
  for (;;) {
    const ip = `198.51.100.${1 + Math.floor(world.between(0, 250))}`;
    if (!hosts.some(({ endpoint }) => endpoint.startsWith(`${ip}:`))) return ip;
  }
}

/** Machines talk, some pairs both ways at once. */
function talk(mesh: SimMesh): void {
  const running = mesh.hosts.filter((host) => host.isRunning);
  for (const from of running) {
    for (const to of running) {
      if (from !== to && mesh.world.chance(0.6)) {
        mesh.send(from, to, mesh.world.chance(0.5) ? 4 : 6);
      }
    }
  }
}

/** Brings a host back from wherever it is. */
function settle(host: Host): void {
  if (host.isRunning) return;
  if (host.isAsleep) host.wake();
  else host.start();
}
