/**
 * Attackers who can send datagrams to a node: its memory stays flat and its peers notice nothing.
 * @module
 */
import { strict as assert } from "node:assert";
import { type Mesh, meshTest } from "./lab/mesh.ts";
import type { Node } from "./lab/node.ts";
import type { Process } from "./lab/process.ts";
import { download, mustPing, PingStream, serveBulk } from "./lab/traffic.ts";

/** What a node may grow by in a flood: garbage that the collector has not fetched yet. */
const MOST_GROWTH_BYTES = 40e6;

meshTest({
  name: "10 000 initiations a second from one address: memory flat, traffic passes, peers return",
  run: async (mesh) => {
    const [a, b] = [mesh.node("a"), mesh.node("b")];
    const attacker = (await mesh.lan.add("x")).namespace;
    const flood = async (seconds: number) => await startFlood(attacker, a, "initiation", seconds);

    await using warmUp = await flood(2);
    await warmUp.waitForExit(10_000);
    const before = await a.residentBytes();

    await using stream = await PingStream.start(b.machine, (await a.addresses()).ip4);
    await using attack = await flood(12);
    await using _server = await serveBulk(a.machine);
    assert.equal((await download(b.machine, "a.mesh", 20_000_000)).bytes, 20_000_000);
    // A peer that lost its session proves by a cookie that its address is its own.
    await b.killHard();
    b.spawn();
    const ms = await stream.waitForReply(12_000);
    assert.ok(attack.isRunning, `the flood ended before the peer returned after ${ms} ms`);
    await b.waitUntilReady();
    await attack.waitForExit(20_000);
    await attack.drained;

    const { sent } = JSON.parse(attack.stdout.split("\n")[1]!);
    assert.ok(sent > 100_000, `the attacker managed only ${sent} in 12 s`);
    const growth = (await a.residentBytes()) - before;
    assert.ok(growth < MOST_GROWTH_BYTES, `grew by ${growth} bytes`);
    await checkTraffic(mesh);
  },
});

meshTest({
  name: "100 000 random, truncated and forged datagrams change nothing",
  run: async (mesh) => {
    const a = mesh.node("a");
    const attacker = (await mesh.lan.add("x")).namespace;
    const { peers } = await a.mustStatus();
    const before = await a.residentBytes();
    await using attack = await startFlood(attacker, a, "garbage", 5, 20_000);
    await attack.waitForExit(20_000);
    await attack.drained;
    const { sent } = JSON.parse(attack.stdout.split("\n")[1]!);
    assert.ok(sent >= 90_000, `${sent} sent`);
    const after = await a.mustStatus();
    assert.deepEqual(
      after.peers.map((peer) => [peer.name, peer.session]),
      peers.map((peer) => [peer.name, peer.session]),
    );
    for (const { name, endpoint } of after.peers) {
      const { ip4, ip6 } = mesh.node(name).host;
      // Which of its own addresses is better may have changed meanwhile.
      const isOwn = endpoint?.startsWith(`${ip4}:`) || endpoint?.startsWith(`[${ip6}]:`);
      assert.ok(isOwn, `${name} is reached at ${endpoint}`);
    }
    const dropped = Object.values(after.drops).reduce((sum, count) => sum + count, 0);
    assert.ok(dropped > 1_000, `counted drops: ${JSON.stringify(after.drops)}`);
    assert.ok((await a.residentBytes()) - before < MOST_GROWTH_BYTES);
    await checkTraffic(mesh);
  },
});

async function startFlood(
  attacker: Mesh["lan"]["bridge"],
  victim: Node,
  kind: "initiation" | "garbage",
  seconds: number,
  perSecond = 10_000,
): Promise<Process> {
  const { udpPort } = await victim.mustStatus();
  const flood = attacker.deno("tests/e2e/lab/flood.ts", [
    ...[victim.host.ip4, `${udpPort}`, await victim.wireguardKey(), kind],
    ...[`${perSecond}`, `${seconds}`],
  ]);
  await flood.waitForOutput(/started/);
  return flood;
}

async function checkTraffic(mesh: Mesh): Promise<void> {
  await mustPing(mesh.node("a").machine, "b.mesh");
  await mustPing(mesh.node("b").machine, "a.mesh", { family: 6 });
}
