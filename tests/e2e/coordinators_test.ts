/**
 * Two coordinators: what nodes do when the first one dies, comes back, and states something.
 * @module
 */
import { strict as assert } from "node:assert";
import type { NetcheckReport } from "../../core/daemon/api_types.ts";
import { formatPublicKey, parsePrivateKey } from "../../core/identity/openssh.ts";
import { Node } from "./lab/node.ts";
import { waitFor } from "./lab/process.ts";
import { PingStream } from "./lab/traffic.ts";
import { assertWithin, type Placed, waitForLink, type World, worldTest } from "./nat/world.ts";

const PING_MS = 20;

/** Starts a further coordinator on a public machine of its own. */
async function joinCoordinator(world: World, name: string): Promise<Node> {
  const host = await world.net.addPublic(name);
  const made = await world.coordinator.cliJson<{ url: string; token: string }>(
    ...["token", "create", "--coordinator"],
  );
  const args = ["--coordinator", "--listen", ":443", "--public-host", host.ip4];
  return world.adopt(await Node.join(host, made, { args }));
}

/** Two nodes that only TCP gets out of. */
async function joinBlocked(world: World): Promise<[Placed, Placed]> {
  return await Promise.all([
    world.joinAt("udp-blocked", "a"),
    world.joinAt("udp-blocked", "b"),
  ]);
}

/** Makes who has a node's key another admin of the mesh. */
async function makeAdmin(by: Node, name: string, node: Node): Promise<void> {
  const pem = await node.machine.readFile("~/.tunnelmesh/id_ed25519");
  const key = formatPublicKey(parsePrivateKey(pem!).publicKey, name);
  for (const args of [["user", "add", name, key], ["user", "promote", name, "--yes"]]) {
    const output = await by.cli(...args);
    assert.equal(output.code, 0, output.stderr);
  }
}

async function relaysOf(node: Node): Promise<NetcheckReport["relays"]> {
  const path = node.machine.hostPath("/run/tunnelmesh/default.sock");
  using client = Deno.createHttpClient({ proxy: { transport: "unix", path } });
  const response = await fetch("http://localhost/v1/netcheck", { client });
  return (await response.json() as NetcheckReport).relays;
}

/** Waits until a node has a relay link to both coordinators. */
async function waitForRelays(node: Node, count = 2): Promise<NetcheckReport["relays"]> {
  return await waitFor(`${count} relays of ${node.name}`, async () => {
    const relays = await relaysOf(node);
    return relays.filter(({ isUp }) => isUp).length === count ? relays : null;
  }, { timeoutMs: 15_000, everyMs: 250 });
}

async function waitForCoordinator(node: Node, ip: string, timeoutMs = 30_000): Promise<void> {
  await node.waitForStatus(`a connection to ${ip}`, ({ coordinator: { state, url } }) => {
    return state === "connected" && url.includes(ip);
  }, timeoutMs);
}

worldTest({
  name: "the first of two coordinators dies by kill -9: traffic <= 2 s, the other one serves",
  run: async (world) => {
    const { coordinator: first } = world;
    const second = await joinCoordinator(world, "d");
    const [a, b] = await joinBlocked(world);
    await Promise.all([waitForRelays(a.node), waitForRelays(b.node)]);
    await makeAdmin(first, "anna", a.node);
    await using pings = await PingStream.start(
      a.node.machine,
      (await b.node.addresses()).ip4,
      PING_MS,
    );
    await waitForLink(a.node, "b", ["relay"]);
    await pings.waitForReply();

    const since = Date.now();
    await first.killHard();
    await pings.waitForReply();
    const times = [since, ...pings.replies().map(({ at }) => at).filter((at) => at > since)];
    const gaps = times.slice(1).map((at, i) => at - times[i]!);
    assertWithin(Math.max(...gaps), 2_000, "no traffic with the first coordinator dead");
    await Promise.all([a.node, b.node, second].map((node) => {
      const { ip4 } = second.host;
      return waitForCoordinator(node, node === second ? "127.0.0.1" : ip4);
    }));
    await a.node.waitForStatus("b online", ({ peers }) => {
      return peers.some(({ name, online }) => name === "b" && online === true);
    });

    const refused = await a.node.cli("token", "create");
    assert.equal(refused.code, 3, refused.stderr);
    assert.match(
      refused.stderr,
      /Cannot add to the mesh's log: only the coordinator at https:\/\/203\.0\.113\.1 does/,
    );

    // A node that starts while only the second is there finds it and its peers.
    assert.equal(await b.node.stop(), 0);
    await b.node.start();
    await waitForCoordinator(b.node, second.host.ip4);
    await pings.waitForReply(20_000);

    await first.start();
    await Promise.all([a.node, b.node, second].map((node) => {
      return waitForCoordinator(node, first.host.ip4);
    }));
    await pings.waitForReply();
    const made = await a.node.cli("token", "create");
    assert.equal(made.code, 0, made.stderr);
  },
});

worldTest({
  name: "what the first coordinator states holds at the second within 1 s",
  run: async (world) => {
    const { coordinator: first } = world;
    const second = await joinCoordinator(world, "d");
    const [a, b] = await joinBlocked(world);
    await Promise.all([waitForRelays(a.node), waitForRelays(b.node)]);
    // A follower goes on from what it kept.
    assert.equal(await second.stop(), 0);
    await second.start();
    await Promise.all([waitForRelays(a.node), waitForRelays(b.node)]);
    const { id } = await b.node.mustStatus();
    const output = await first.cli("node", "revoke", id, "--yes");
    assert.equal(output.code, 0, output.stderr);
    const since = performance.now();
    await waitFor("b to be cut off at both relays", async () => {
      return (await relaysOf(b.node)).every(({ isUp }) => !isUp);
    }, { timeoutMs: 10_000, everyMs: 50 });
    assertWithin(performance.now() - since, 1_000, "revoked at the second coordinator");
    // Once more: it asks the second one, which says the same.
    await b.node.waitForStatus("a refusal by the second", ({ coordinator: { state, url } }) => {
      return state === "refused" && url.includes(second.host.ip4);
    }, 40_000);
    assert.match((await b.node.mustStatus()).coordinator.lastError ?? "", /revoked/);
    assert.ok((await second.mustStatus()).peers.every(({ name }) => name !== "b"));
  },
});
