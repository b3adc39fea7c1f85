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

/** Between changes, so that each meets nodes at rest. */
const SETTLE_MS = 1_000;

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
      await change();
      // Routers take a moment for it, which is not the nodes' to answer for.
      since = Date.now();
      await assertFlows(pings, { since, limitMs: 2_000, what: `with ${what}` });
      await login.echo();
      await assertDirectAgain(a.node, what);
      await waitForLink(b.node, "a", ["udp"]);
      await login.echo();
      await pause(SETTLE_MS);
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
  name: "from relay to direct and back under load nothing is lost or doubled; TCP never stalls",
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
      assert.equal(doubled, 0, `to ${link}`);
      assert.equal(received, sent, `to ${link}: some were lost`);
      assertWithin(longestStallMs, MAX_STALL_MS, `progress of TCP while going to ${link}`);
    }
  },
});

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The narrowest WAN links that are met, and the largest packet that a tunnel carries over each. */
const MTUS = [
  { wan: 1280, tunnel: 1220 },
  { wan: 1400, tunnel: 1340 },
  // The interface's own MTU fits.
  { wan: 1492, tunnel: null },
];

const TCP4_HEADER_BYTES = 40;

for (const isBlackHole of [false, true]) {
  const how = isBlackHole ? "without saying so" : "and says so";
  worldTest({
    name: `a WAN link becomes narrower in mid-stream ${how}: a bulk transfer goes on`,
    run: async (world) => {
      const [a, b] = await joinPair(world);
      await using bulk = await BulkStream.start(a.node, b.node);
      for (const { wan, tunnel } of MTUS.toReversed()) {
        await b.site.setMtu(wan, { isBlackHole });
        if (isBlackHole) await dropLonger(b.site, wan);
        const start = performance.now();
        await waitForMtu(a.node, "b", tunnel);
        await bulk.waitForProgress(5e6, 30_000);
        assertWithin(performance.now() - start, 30_000, `transfer over MTU ${wan} ${how}`);
      }
      const { longestStallMs } = await bulk.finish();
      assertWithin(
        longestStallMs,
        isBlackHole ? 8_000 : 1_000,
        `progress when links become narrow ${how}`,
      );
    },
  });

  worldTest({
    name: `nodes start where WAN links are narrow ${how}: a bulk transfer passes`,
    run: async (world) => {
      const placed = await Promise.all(MTUS.map(async ({ wan }) => {
        const name = `n${wan}`;
        const site = await world.net.addSite("port-restricted", [name]);
        await site.setMtu(wan, { isBlackHole });
        await clampMss(site, wan);
        return { site, node: await world.join(site.host(name)) };
      }));
      const far = await world.joinAt("port-restricted", "far");
      for (const [i, { wan, tunnel }] of MTUS.entries()) {
        const { node } = placed[i]!;
        const start = performance.now();
        await using bulk = await BulkStream.start(far.node, node);
        await bulk.waitForProgress(5e6);
        await waitForMtu(far.node, node.name, tunnel);
        assertWithin(performance.now() - start, 20_000, `start over MTU ${wan} ${how}`);
      }
    },
  });
}

/** As routers on narrow links do, without which no TCP passes a black hole, HTTPS included. */
async function clampMss(site: Site, mtu: number): Promise<void> {
  await setForwardRule(site, `tcp flags syn tcp option maxseg size set ${mtu - TCP4_HEADER_BYTES}`);
}

/** What is too long is not even fragmented. */
async function dropLonger(site: Site, mtu: number): Promise<void> {
  await setForwardRule(site, `meta length > ${mtu} drop`);
}

/** Replaces the rule that the site's router has beside its own. */
async function setForwardRule(site: Site, rule: string): Promise<void> {
  const table = "table inet narrow";
  const chain = `chain forward {\ntype filter hook forward priority mangle\n${rule}\n}`;
  const input = `${table}\ndelete ${table}\n${table} {\n${chain}\n}\n`;
  await site.router.must(["nft", "-f", "-"], { input });
}

/** Waits until a node says that no larger packets pass to a peer; null: the interface's limit. */
async function waitForMtu(node: Node, name: string, mtu: number | null): Promise<void> {
  await node.waitForStatus(`an MTU of ${mtu} to ${name}`, ({ peers }) => {
    return peers.some((peer) => peer.name === name && peer.link === "udp" && peer.mtu === mtu);
  }, 30_000);
}

const LOSS = 0.3;
const LOSSY_MS = 8_000;

worldTest({
  name: "30 % loss on the links of a direct and of a relayed node: nothing hangs, all recovers",
  run: async (world) => {
    const [a, b, c] = await Promise.all([
      world.joinAt("port-restricted", "a"),
      world.joinAt("port-restricted", "b"),
      world.joinAt("only-443", "d"),
    ]);
    await waitUntilDirect(a.node, b.node);
    await using direct = await startPings(a.node, b.node);
    await using relayed = await startPings(a.node, c.node);
    await waitForLink(a.node, "d", ["relay"]);
    await Promise.all([b.site.setLoss(LOSS), c.site.setLoss(LOSS)]);
    for (const end = Date.now() + LOSSY_MS; Date.now() < end; await pause(500)) {
      // The local API answers whatever happens to links.
      for (const { node } of [a, b, c]) await node.mustStatus();
    }
    await direct.waitForReply();
    await Promise.all([b.site.setLoss(0), c.site.setLoss(0)]);
    assertWithin(await direct.waitForReply(), 2_000, "direct traffic after the loss");
    assertWithin(await relayed.waitForReply(30_000), 20_000, "relayed traffic after the loss");
    await waitForLink(a.node, "b", ["udp"], 30_000);
    await waitForLink(a.node, "d", ["relay"], 30_000);
  },
});
