import { strict as assert } from "node:assert";
import { labTest } from "../../skip.ts";
import type { Namespace } from "../lab/netns.ts";
import { waitFor } from "../lab/process.ts";
import { ping } from "../lab/traffic.ts";
import { Internet } from "./internet.ts";
import { SITE_KIND_NAMES, SITE_KINDS, type SiteKind } from "./kinds.ts";
import { canConnect, freshText, isKeptOut, observe, Probe, Reflector, seenFrom } from "./probe.ts";
import type { Site } from "./site.ts";

const PROXY_PORT = 3128;
const SMALL_MTU = 1300;
const ICMP_HEADER_BYTES = 8;
const IP4_HEADER_BYTES = 20;
const IP6_HEADER_BYTES = 40;
/** What ping prints when it is told that a packet was too big. */
const TOLD = /frag needed|packet too big/i;

labTest({
  name: "every kind of site maps and filters UDP, and passes TCP, as it says",
  run: async () => {
    await using net = await Internet.create();
    const server = await net.addPublic("s", 2);
    const proxy = `${server.ip4}:${PROXY_PORT}`;
    const sites = await Promise.all(
      SITE_KIND_NAMES.map((kind, i) => net.addSite(kind, [`m${i}`], { proxy })),
    );
    const more = [443, 8443, PROXY_PORT].map((port) => `tcp:${server.ip4}:${port}`);
    await using reflector = await Reflector.open(server, [...more, `${server.ip4}:53`]);
    await using sockets = new AsyncDisposableStack();
    const socketByKind = new Map<SiteKind, Probe>();
    await Promise.all(sites.map(async (site) => {
      const socket = sockets.use(await Probe.at(site.hosts[0]!));
      socketByKind.set(site.kind, socket);
      assert.deepEqual(await observe(socket, reflector), SITE_KINDS[site.kind], site.kind);
    }));
    const socketOf = (kind: SiteKind) => socketByKind.get(kind)!;
    const siteOf = (kind: SiteKind) => sites.find((site) => site.kind === kind)!;
    await assertTcp(siteOf, server.ip4);
    // What is allowed as DNS passes, whatever it is.
    assert.ok(await seenFrom(socketOf("only-443"), reflector.probe, `${server.ip4}:53`));
    await assertPunches(socketOf, reflector);
  },
});

/** Which TCP ports of the server each strict kind reaches. */
async function assertTcp(siteOf: (kind: SiteKind) => Site, ip: string): Promise<void> {
  const expected = {
    "symmetric": [443, 8443, PROXY_PORT],
    "cgnat": [443, 8443, PROXY_PORT],
    "udp-blocked": [443, 8443, PROXY_PORT],
    "only-443": [443],
    "proxy-only": [PROXY_PORT],
  };
  for (const [kind, ports] of Object.entries(expected)) {
    const machine = siteOf(kind as SiteKind).hosts[0]!.namespace;
    const tries = [443, 8443, PROXY_PORT].map(async (port) => {
      return await canConnect(machine, `${ip}:${port}`) ? [port] : [];
    });
    assert.deepEqual((await Promise.all(tries)).flat(), ports, kind);
  }
}

/** Sending both ways opens a path unless a port cannot be foretold. */
async function assertPunches(
  socketOf: (kind: SiteKind) => Probe,
  { probe, endpoints: [one] }: Reflector,
): Promise<void> {
  const [a, b, c] = [socketOf("port-restricted"), socketOf("cgnat"), socketOf("symmetric")];
  const mapped = async (socket: Probe) => (await seenFrom(socket, probe, one))!;
  const [atA, atB, atC] = [await mapped(a), await mapped(b), await mapped(c)];
  assert.ok(await isKeptOut(a, b, atB));
  assert.equal(await seenFrom(b, a, atA), atB);
  assert.equal(await seenFrom(a, b, atB), atA);
  assert.ok(await isKeptOut(a, c, atC));
  assert.ok(await isKeptOut(c, a, atA));
  assert.ok(await isKeptOut(a, c, atC));
}

labTest({
  name:
    "machines of one site have mappings of their own, and reach one another where hairpin is on",
  run: async () => {
    await using net = await Internet.create();
    const server = await net.addPublic("s", 2);
    const cgnat = await net.addSite("cgnat", ["e"]);
    const [turning, plain, neighbour] = await Promise.all([
      net.addSite("full-cone", ["a", "b"], { hairpin: true }),
      net.addSite("full-cone", ["c", "d"]),
      net.addSite("cgnat", ["f"], { carrierOf: cgnat }),
    ]);
    await using reflector = await Reflector.open(server);
    const { probe, endpoints: [one, , stranger] } = reflector;
    await using sockets = new AsyncDisposableStack();
    const open = async (site: Site, label: string) => {
      const socket = sockets.use(await Probe.at(site.host(label)));
      const mapped = (await seenFrom(socket, probe, one))!;
      assert.equal(mapped.split(":")[0], site.wan);
      return { socket, mapped };
    };
    const [a, b] = [await open(turning, "a"), await open(turning, "b")];
    const [c, d] = [await open(plain, "c"), await open(plain, "d")];
    for (const { socket, mapped } of [a, b]) {
      assert.equal(await seenFrom(probe, socket, mapped), one);
      assert.equal(await seenFrom(socket, probe, stranger), mapped);
    }
    assert.equal(await seenFrom(a.socket, b.socket, b.mapped), a.mapped);
    assert.equal(await seenFrom(b.socket, a.socket, a.mapped), b.mapped);
    assert.ok(await isKeptOut(c.socket, d.socket, d.mapped));

    const [e, f] = [await open(cgnat, "e"), await open(neighbour, "f")];
    assert.equal(cgnat.wan, neighbour.wan);
    assert.ok(await isKeptOut(e.socket, f.socket, f.mapped));
    assert.equal(await seenFrom(f.socket, e.socket, e.mapped), f.mapped);
  },
});

labTest({
  name: "a site blocks UDP, restarts its router and changes its address under way",
  run: async () => {
    await using net = await Internet.create();
    const server = await net.addPublic("s", 2);
    const kinds = ["port-restricted", "full-cone", "cgnat"] as const;
    const sites = await Promise.all(kinds.map((kind) => net.addSite(kind, [kind.slice(0, 1)])));
    await using reflector = await Reflector.open(
      server,
      [`tcp:${server.ip4}:443`],
    );
    await Promise.all(sites.map((site) => assertChanges(net, site, reflector)));
  },
});

async function assertChanges(net: Internet, site: Site, reflector: Reflector): Promise<void> {
  const { probe, endpoints: [one, other], host: server } = reflector;
  const [host] = site.hosts;
  await using socket = await Probe.at(host!);
  const first = (await seenFrom(socket, probe, one))!;

  await site.blockUdp();
  assert.ok(await isKeptOut(socket, probe, one));
  assert.ok(await isKeptOut(probe, socket, first));
  assert.ok(await canConnect(host!.namespace, `${server.ip4}:443`));
  await site.unblockUdp();
  assert.equal(await seenFrom(socket, probe, one), first);
  assert.equal(await seenFrom(probe, socket, first), one);

  await site.reboot();
  assert.ok(await isKeptOut(probe, socket, first));
  const second = (await seenFrom(socket, probe, one))!;
  assert.notEqual(second, first);
  assert.equal(await seenFrom(socket, probe, other), second);
  assert.equal(await seenFrom(probe, socket, second), one);

  const address = net.freeAddress();
  await site.setWanAddress(address);
  assert.ok(await isKeptOut(probe, socket, second));
  const third = (await seenFrom(socket, probe, one))!;
  assert.equal(third.split(":")[0], address);
  assert.equal(await seenFrom(probe, socket, third), one);
}

labTest({
  name: "a link has a small MTU, with and without saying so; IPv6 has no NAT but a firewall",
  run: async () => {
    await using net = await Internet.create();
    const server = await net.addPublic("s");
    const kinds = ["port-restricted", "public"] as const;
    const [inside, open] = await Promise.all(
      kinds.map((kind, i) => net.addSite(kind, [`m${i}`], { ipv6: true })),
    ) as [Site, Site];
    await assertIpv6(inside, server.namespace, server.ip6);
    const [a, b] = [inside.hosts[0]!, open.hosts[0]!];
    for (const isBlackHole of [true, false]) {
      await Promise.all([inside, open].map((site) => site.setMtu(SMALL_MTU, { isBlackHole })));
      await Promise.all([
        ...[a, b].flatMap(({ namespace }) => [
          assertMtu(namespace, server.ip4, isBlackHole),
          assertMtu(namespace, server.ip6, isBlackHole),
        ]),
        ...[inside.wan, b.ip4, b.ip6].map((ip) => assertMtu(server.namespace, ip, isBlackHole)),
      ]);
    }
  },
});

labTest({
  name: "a link loses packets one way, the other, or all",
  run: async () => {
    await using net = await Internet.create();
    const server = await net.addPublic("s", 2);
    const site = await net.addSite("port-restricted", ["a"]);
    await using reflector = await Reflector.open(server);
    await using socket = await Probe.at(site.host("a"));
    const [one] = reflector.endpoints;
    await site.setLoss(0.3, "up");
    await assertLoss(socket, reflector, { isLossyUp: true, isLossyDown: false });
    await site.setLoss(0);
    await site.setLoss(0.3, "down");
    await assertLoss(socket, reflector, { isLossyUp: false, isLossyDown: true });
    await site.setLoss(1);
    assert.ok(await isKeptOut(socket, reflector.probe, one));
    await site.setLoss(0);
    assert.ok(await seenFrom(socket, reflector.probe, one));
    await net.setLoss("s", 1, "down");
    assert.ok(await isKeptOut(socket, reflector.probe, one));
  },
});

/** The machine opens connections over IPv6, and nobody to it. */
async function assertIpv6(site: Site, server: Namespace, ip6: string): Promise<void> {
  const [host] = site.hosts;
  assert.equal((await ping(host!.namespace, ip6, { count: 1 })).received, 1);
  assert.equal((await ping(server, host!.ip6, { count: 1, timeoutMs: 300 })).received, 0);
}

/** What fills the link passes; one byte more is lost, and the sender is told or not. */
async function assertMtu(from: Namespace, target: string, isBlackHole: boolean): Promise<void> {
  const header = target.includes(":") ? IP6_HEADER_BYTES : IP4_HEADER_BYTES;
  const size = SMALL_MTU - header - ICMP_HEADER_BYTES;
  const options = { count: 1, timeoutMs: 500, dontFragment: true };
  const full = await ping(from, target, { ...options, size });
  assert.equal(full.received, 1, `${target}: ${full.output}`);
  const large = await ping(from, target, { ...options, size: size + 1 });
  assert.equal(large.received, 0, `${target}: ${large.output}`);
  assert.equal(TOLD.test(large.output), !isBlackHole, `${target}: ${large.output}`);
}

const BURST = 300;
/** So few fit into any socket's buffer, however slowly it is read. */
const CHUNK = 30;

async function assertLoss(
  socket: Probe,
  { probe, endpoints: [one] }: Reflector,
  { isLossyUp, isLossyDown }: { isLossyUp: boolean; isLossyDown: boolean },
): Promise<void> {
  const mapped = (await seenFrom(socket, probe, one))!;
  assertShare(await burst(socket, probe, one), isLossyUp);
  assertShare(await burst(probe, socket, mapped), isLossyDown);
}

/** How many of many datagrams arrive. */
async function burst(from: Probe, to: Probe, endpoint: string): Promise<number> {
  const text = freshText();
  const count = () => to.received().filter((each) => each.text === text).length;
  for (let sent = 0; sent < BURST; sent += CHUNK) {
    for (let i = 0; i < CHUNK; i++) await from.send(endpoint, text);
    await waitFor("the chunk", () => count() >= sent + CHUNK, { timeoutMs: 100 }).catch(() => {});
  }
  await waitFor("the rest", () => count() >= BURST, { timeoutMs: 500 }).catch(() => {});
  return count();
}

function assertShare(arrived: number, isLossy: boolean): void {
  if (!isLossy) assert.equal(arrived, BURST);
  else assert.ok(arrived > 0.5 * BURST && arrived < 0.9 * BURST, `${arrived} of ${BURST}`);
}
