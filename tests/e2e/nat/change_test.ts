/**
 * What running traffic does when the network below it changes: routers, addresses, relays, MTU.
 * @module
 */
import { strict as assert } from "node:assert";
import type { Node } from "../lab/node.ts";
import { PingStream } from "../lab/traffic.ts";
import type { Site } from "./site.ts";
import { BulkStream, DatagramStream, Login } from "./streams.ts";
import {
  assertWithin,
  type Placed,
  setPaths,
  waitForLink,
  type World,
  worldTest,
} from "./world.ts";

/** Between pings whose answers say whether traffic flows. */
const PING_MS = 20;

/** Two nodes at port-restricted sites, reached directly. */
async function joinPair(world: World): Promise<[Placed, Placed]> {
  const [a, b] = await Promise.all([
    world.joinAt("port-restricted", "a"),
    world.joinAt("port-restricted", "b"),
  ]);
  await waitUntilDirect(a.node, b.node);
  return [a, b];
}

/** Waits until two nodes reach each other by UDP, with traffic to bring it about. */
async function waitUntilDirect(a: Node, b: Node, timeoutMs = 20_000): Promise<void> {
  await using _traffic = await PingStream.start(a.machine, (await b.addresses()).ip4, 200);
  await Promise.all([
    waitForLink(a, b.name, ["udp"], timeoutMs),
    waitForLink(b, a.name, ["udp"], timeoutMs),
  ]);
}

worldTest({
  name: "an SSH login survives: UDP cut, other addresses on one and both sides, a router's restart",
  needs: { tools: ["sshd", "ssh"] },
  run: async (world) => {
    const [a, b] = await joinPair(world);
    await using login = await Login.start(a.node, b.node);
    await using pings = await startPings(a.node, b.node);
    await login.echo();

    let since = Date.now();
    await a.site.blockUdp();
    await assertFlows(pings, { since, limitMs: 1_000, what: "with UDP cut" });
    await waitForLink(a.node, "b", ["relay", "ssh"]);
    await login.echo();
    await a.site.unblockUdp();
    await assertDirectAgain(a.node, "UDP back");
    await login.echo();

    const { net } = world;
    const changes: readonly [string, () => Promise<unknown>][] = [
      ["another address of a", () => a.site.setWanAddress(net.freeAddress())],
      ["other addresses of both", () => Promise.all(renumber(net, [a.site, b.site]))],
      ["a's router restarted", () => a.site.reboot()],
      ["both routers restarted", () => Promise.all([a.site.reboot(), b.site.reboot()])],
    ];
    for (const [what, change] of changes) {
      since = Date.now();
      await change();
      await assertFlows(pings, { since, limitMs: 2_000, what: `with ${what}` });
      await login.echo();
      await assertDirectAgain(a.node, what);
      await login.echo();
    }
  },
});

function renumber(net: World["net"], sites: readonly Site[]): Promise<void>[] {
  return sites.map((site) => site.setWanAddress(net.freeAddress()));
}

async function startPings(from: Node, to: Node): Promise<PingStream> {
  return await PingStream.start(from.machine, (await to.addresses()).ip4, PING_MS);
}

/** How long answers stayed away since a moment, now that they come again. */
async function assertFlows(
  pings: PingStream,
  { since, limitMs, what }: { since: number; limitMs: number; what: string },
): Promise<void> {
  await pings.waitForReply();
  const times = [since, ...pings.replies().map(({ at }) => at).filter((at) => at > since)];
  const gaps = times.slice(1).map((at, i) => at - times[i]!);
  assertWithin(Math.max(...gaps), limitMs, `no traffic ${what}`);
}

/** While there is traffic, `b` is reached by UDP again. */
async function assertDirectAgain(a: Node, what: string): Promise<void> {
  const start = performance.now();
  await waitForLink(a, "b", ["udp"], 30_000);
  assertWithin(performance.now() - start, 15_000, `direct after ${what}`);
}

worldTest({
  name: "the relay dies by kill -9: traffic goes on through another node <= 2 s",
  run: async (world) => {
    // The relay is what they use while it lives.
    const env = { TUNNELMESH_TRANSPORTS_ORDER: "udp,ssh,relay,node" };
    await world.joinPublic("r", { env: { TUNNELMESH_RELAY: "true" } });
    const [a, b] = await Promise.all([
      world.joinAt("symmetric", "a", { env }),
      world.joinAt("symmetric", "b", { env }),
    ]);
    await using pings = await startPings(a.node, b.node);
    await Promise.all([waitForLink(a.node, "b", ["relay"]), waitForLink(b.node, "a", ["relay"])]);
    await pings.waitForReply();
    const since = Date.now();
    await world.coordinator.killHard();
    await assertFlows(pings, { since, limitMs: 2_000, what: "with the relay dead" });
    await Promise.all([waitForLink(a.node, "b", ["node"]), waitForLink(b.node, "a", ["node"])]);
    await pings.waitForReply();
  },
});

const DATAGRAMS_PER_SECOND = 1_000;
const MAX_STALL_MS = 200;

worldTest({
  name: "from relay to direct and back under load: no datagram lost or doubled, TCP never stalls",
  run: async (world) => {
    const [a, b] = await joinPair(world);
    const switches: readonly [string, () => Promise<unknown>][] = [
      ["udp", () => Promise.all([setPaths(a.node, "b", []), setPaths(b.node, "a", [])])],
      ["relay", () => setPaths(a.node, "b", ["udp", "ssh"])],
    ];
    await setPaths(a.node, "b", ["udp", "ssh"]);
    await waitForLink(a.node, "b", ["relay"]);
    for (const [link, change] of switches) {
      await using datagrams = await DatagramStream.start(a.node, b.node, DATAGRAMS_PER_SECOND);
      await using bulk = await BulkStream.start(a.node, b.node);
      await pause(1_000);
      await change();
      await waitForLink(a.node, "b", [link as "udp" | "relay"]);
      await pause(2_000);
      const { longestStallMs } = await bulk.finish();
      const { sent, received, doubled } = await datagrams.finish();
      assert.deepEqual({ received, doubled }, { received: sent, doubled: 0 }, `to ${link}`);
      assertWithin(longestStallMs, MAX_STALL_MS, `progress of TCP while going to ${link}`);
    }
  },
});

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
