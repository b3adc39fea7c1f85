import assert from "node:assert/strict";
import type { Endpoint } from "../../core/ip.ts";
import { type Expectation, NAT_KINDS, natKind, type Place } from "./internet.ts";
import { type Dependence, DEPENDENCES, ipOf, Nat, type NatOptions, portOf } from "./nat.ts";
import { Network, type SendOptions, type Site } from "./network.ts";
import { World } from "./world.ts";

const INSIDE = "192.168.1.2:51820";
const PUBLIC_IP = "198.18.1.1";
/** Two addresses with two ports each, as RFC 5780 servers have. */
const [A1, A2, B1, B2] = ["192.0.2.1:3478", "192.0.2.1:3479", "192.0.2.2:3478", "192.0.2.2:3479"];
/** Long enough for every datagram to arrive. */
const FLIGHT_MS = 1_000;

function natOf(options: Partial<NatOptions> = {}, seed = 1): { world: World; nat: Nat } {
  const world = new World(seed);
  const nat = new Nat(world, { ...defaults, ...options });
  return { world, nat };
}

const defaults: NatOptions = {
  publicIp: PUBLIC_IP,
  mapping: "endpoint-independent",
  filtering: "address-and-port-dependent",
  ports: "preserve",
  hairpin: false,
};

/** How many of three remotes, from near to far, a dependence does not tell apart. */
const SAME: Record<Dependence, number> = {
  "endpoint-independent": 3,
  "address-dependent": 2,
  "address-and-port-dependent": 1,
};

/** Collects what arrives at endpoints. */
class Inbox {
  readonly network: Network;
  readonly world: World;
  readonly got: string[] = [];

  constructor(seed = 1) {
    this.world = new World(seed);
    this.network = new Network(this.world);
  }

  listen(endpoint: Endpoint, site: Site | Network = this.network): void {
    site.attach(endpoint, (from) => this.got.push(`${from} > ${endpoint}`));
  }

  /** Sends one datagram; what arrived because of it. */
  send(from: Endpoint, to: Endpoint, length = 100, options?: SendOptions): string[] {
    this.network.send(from, to, new Uint8Array(length), options);
    return this.settle();
  }

  settle(): string[] {
    this.world.run(FLIGHT_MS);
    return this.got.splice(0);
  }

  build(kind: string, number: number, ...rest: [] | [Place["site"]["router"]]): Place {
    const place = natKind(kind).build(this.network, number, ...rest);
    this.listen(`${place.ip4}:51820`);
    if (place.ip6) this.listen(`[${place.ip6}]:51820`);
    return place;
  }
}

for (const mapping of DEPENDENCES) {
  for (const filtering of DEPENDENCES) {
    Deno.test(`a NAT with ${mapping} mapping and ${filtering} filtering`, () => {
      for (const ports of ["preserve", "sequential", "random"] as const) {
        const { nat } = natOf({ mapping, filtering, ports });
        const first = nat.translate(INSIDE, A1)!;
        const answers = [A1, A2, B1].map((from) => nat.inbound(first, from));
        const letIn = answers.filter((to) => to === INSIDE).length;
        assert.equal(letIn, SAME[filtering]);
        assert.equal(nat.dropped, 3 - letIn);
        const again = [A1, A2, B1].map((to) => nat.translate(INSIDE, to));
        assert.equal(again.filter((source) => source === first).length, SAME[mapping]);
        assert.equal(nat.mappingsMade, new Set(again).size);
        assert.equal(nat.inbound(`${PUBLIC_IP}:9`, A1), null);
      }
    });
  }
}

Deno.test("a NAT assigns ports as it is told", () => {
  const from = (port: number) => `192.168.1.${port % 7}:${port}`;
  const ports = (nat: Nat) =>
    [5000, 5001, 5002].map((port) => portOf(nat.translate(from(port), A1)!));
  assert.deepEqual(ports(natOf({ ports: "preserve" }).nat), [5000, 5001, 5002]);
  const [first, ...rest] = ports(natOf({ ports: "sequential" }).nat);
  assert.deepEqual(rest, [first! + 1, first! + 2]);
  const random = ports(natOf({ ports: "random" }).nat);
  assert.equal(new Set(random.map((port, i) => port - i)).size, 3);
  const { nat } = natOf({ ports: "preserve" });
  assert.equal(nat.translate("192.168.1.2:5000", A1), `${PUBLIC_IP}:5000`);
  assert.equal(nat.translate("192.168.1.3:5000", A1), `${PUBLIC_IP}:5001`, "taken");
});

Deno.test("a mapping lives on by what leaves, not by what enters", () => {
  const { world, nat } = natOf({ timeoutMs: 10_000, ports: "random" });
  const external = nat.translate(INSIDE, A1)!;
  world.run(9_000);
  assert.equal(nat.translate(INSIDE, A1), external);
  world.run(9_000);
  assert.equal(nat.inbound(external, A1), INSIDE);
  world.run(1_000);
  assert.equal(nat.inbound(external, A1), null);
  assert.notEqual(nat.translate(INSIDE, A1), external);
  assert.equal(nat.size, 1);
});

Deno.test("one remote's permission ends though the mapping lives on for another", () => {
  const { world, nat } = natOf({ timeoutMs: 10_000 });
  const external = nat.translate(INSIDE, A1)!;
  world.run(6_000);
  nat.translate(INSIDE, B1);
  world.run(6_000);
  assert.equal(nat.inbound(external, A1), null);
  assert.equal(nat.inbound(external, B1), INSIDE);
});

Deno.test("a reboot forgets everything and moves to other ports", () => {
  for (const ports of ["preserve", "sequential", "random"] as const) {
    const { nat } = natOf({ ports });
    nat.addPortMapping(7000, "192.168.1.9:7000");
    const before = nat.translate(INSIDE, A1)!;
    nat.reboot();
    assert.equal(nat.inbound(before, A1), null);
    assert.equal(nat.inbound(`${PUBLIC_IP}:7000`, A1), null);
    assert.notEqual(nat.translate(INSIDE, A1), before);
  }
});

Deno.test("another public address ends mappings, and port mappings move to it", () => {
  const { nat } = natOf();
  nat.addPortMapping(7000, "192.168.1.9:7000");
  const before = nat.translate(INSIDE, A1)!;
  nat.setPublicIp("198.18.1.9");
  assert.equal(nat.inbound(before, A1), null);
  assert.equal(nat.inbound("198.18.1.9:51820", A1), null);
  assert.equal(nat.inbound("198.18.1.9:7000", A1), "192.168.1.9:7000");
  assert.equal(ipOf(nat.translate(INSIDE, A1)!), "198.18.1.9");
});

Deno.test("a port mapping lets everyone in, for good, and is one machine's", () => {
  const { world, nat } = natOf({ mapping: "address-and-port-dependent", ports: "random" });
  assert.ok(nat.addPortMapping(51820, INSIDE));
  assert.ok(nat.addPortMapping(51820, INSIDE));
  assert.ok(!nat.addPortMapping(51820, "192.168.1.3:51820"));
  world.run(3_600_000);
  for (const from of [A1, B2]) assert.equal(nat.inbound(`${PUBLIC_IP}:51820`, from), INSIDE);
  assert.equal(nat.translate(INSIDE, A1), `${PUBLIC_IP}:51820`);
  nat.removePortMapping(51820);
  assert.equal(nat.inbound(`${PUBLIC_IP}:51820`, A1), null);
});

Deno.test("a NAT in distress makes no new mapping until old ones end", () => {
  const { world, nat } = natOf({ mapping: "address-and-port-dependent", maxMappings: 2 });
  assert.ok(nat.translate(INSIDE, A1));
  assert.ok(nat.translate(INSIDE, A2));
  assert.equal(nat.translate(INSIDE, B1), null);
  assert.deepEqual([nat.mappingsMade, nat.dropped, nat.size], [2, 1, 2]);
  assert.ok(nat.translate(INSIDE, A2), "what it has still works");
  nat.capacity = 3;
  assert.ok(nat.translate(INSIDE, B1));
  world.run(30_000);
  assert.equal(nat.size, 0);
  assert.ok(nat.translate(INSIDE, B2));
});

/** What a machine finds out about its routers as RFC 5780 section 4 says; null without an answer. */
function discover(inbox: Inbox, place: Place): Pick<Expectation, "mapping" | "filtering"> {
  const own = `${place.ip4}:51820`;
  for (const server of [A1, A2, B1, B2]) inbox.listen(server);
  const probe = (to: Endpoint) => inbox.send(own, to)[0]?.split(" ")[0];
  const same = (results: readonly boolean[]) =>
    DEPENDENCES.find((each) => SAME[each] === 1 + results.filter(Boolean).length) ?? "unknown";
  // Filtering first: each probe to another server makes it looser.
  const first = probe(A1);
  if (!first) return { mapping: "unknown", filtering: "unknown" };
  const filtering = same([A2, B1].map((from) => inbox.send(from, first).length > 0));
  const mapping = same([A2, B1].map((to) => probe(to) === first));
  return { filtering, mapping: first === own ? "none" : mapping };
}

for (const kind of NAT_KINDS) {
  Deno.test(`a machine of kind ${kind.name} finds what is expected of it`, () => {
    const inbox = new Inbox();
    const place = inbox.build(kind.name, 1);
    const { mapping, filtering, isPubliclyReachable } = kind.expected;
    const at = `${place.site.apparentIp(place.ip4)}:51820`;
    assert.equal(inbox.send("192.0.2.77:7", at).length > 0, isPubliclyReachable);
    assert.deepEqual(discover(inbox, place), { mapping, filtering });
    assert.equal(place.site.permitsTcp(443), kind.name !== "proxy-only");
    assert.equal(place.site.permitsTcp(443, true), true);
    assert.equal(place.site.permitsTcp(22), !["only-443", "proxy-only"].includes(kind.name));
  });
}

Deno.test("two machines behind port-restricted NATs meet once both have sent", () => {
  const inbox = new Inbox();
  const [a, b] = [inbox.build("port-restricted", 1), inbox.build("port-restricted", 2)];
  const [toA, toB] = [a, b].map(({ site, ip4 }) => `${site.apparentIp(ip4)}:51820`);
  assert.deepEqual(inbox.send(`${a.ip4}:51820`, toB!), []);
  assert.deepEqual(inbox.send(`${b.ip4}:51820`, toA!), [`${toB} > ${a.ip4}:51820`]);
  assert.deepEqual(inbox.send(`${a.ip4}:51820`, toB!), [`${toA} > ${b.ip4}:51820`]);
});

Deno.test("machines of one site meet without their router, by external endpoints with hairpin", () => {
  const inbox = new Inbox();
  const { site } = inbox.build("full-cone", 1);
  const [own, other] = ["192.168.1.2:51820", "192.168.1.3:51820"];
  site.place(ipOf(other));
  inbox.listen(other);
  Object.assign(site, { udp: false });
  assert.deepEqual(inbox.send(own, other), [`${own} > ${other}`]);
  assert.equal(site.router.nat!.mappingsMade, 0);
  inbox.send(other, A1);
  const external = `${PUBLIC_IP}:51820`;
  assert.deepEqual(inbox.send(own, external), [`${PUBLIC_IP}:51821 > ${other}`]);
  site.router.nat!.hairpin = false;
  assert.deepEqual(inbox.send(own, external), []);
});

Deno.test("a carrier's NAT translates again, and turns round only when it can", () => {
  const inbox = new Inbox();
  const a = inbox.build("cgnat", 1);
  const carrier = a.site.router.outside.above!;
  const b = inbox.build("full-cone", 2, carrier);
  inbox.listen(A1);
  const [ownA, ownB] = [`${a.ip4}:51820`, `${b.ip4}:51820`];
  const [seen] = inbox.send(ownB, A1);
  const outerB = seen!.split(" ")[0]!;
  assert.equal(ipOf(outerB), a.site.apparentIp(a.ip4));
  assert.equal(b.nats[0]!.translate(ownB, A1), "100.64.2.1:51820");
  assert.deepEqual(inbox.send(ownA, outerB), [], "no hairpin");
  assert.deepEqual(inbox.send(ownA, "100.64.2.1:51820"), [`100.64.1.1:51820 > ${ownB}`]);
  carrier.nat!.hairpin = true;
  assert.deepEqual(inbox.send(ownA, outerB), [], "filtered");
  const outerA = carrier.nat!.translate("100.64.1.1:51820", outerB)!;
  inbox.send(ownB, outerA);
  assert.deepEqual(inbox.send(ownA, outerB), [`${outerA} > ${ownB}`]);
  a.nats[1]!.reboot();
  assert.deepEqual(inbox.send(ownA, outerB), []);
});

Deno.test("two sites may use the same private addresses", () => {
  const inbox = new Inbox();
  const [a, b] = [1, 2].map((n) =>
    inbox.network.site({ nat: { ...defaults, publicIp: `198.18.${n}.1` } })
  );
  for (const site of [a!, b!]) inbox.listen(INSIDE, site);
  inbox.listen(A1);
  b!.send(INSIDE, A1, new Uint8Array(1));
  assert.deepEqual(inbox.settle(), [`198.18.2.1:51820 > ${A1}`]);
  assert.deepEqual(inbox.send(A1, "198.18.2.1:51820"), [`${A1} > ${INSIDE}`]);
  a!.send("192.168.1.7:1", INSIDE, new Uint8Array(1));
  assert.equal(inbox.settle().length, 1);
  a!.place("192.168.1.2");
  assert.throws(() => b!.place("192.168.1.2"));
});

Deno.test("IPv6 is filtered, not translated, and never mixed with IPv4", () => {
  const inbox = new Inbox();
  const { ip6, ip4 } = inbox.build("ipv6", 1);
  const [own, server, stranger] = [
    `[${ip6}]:51820`,
    "[2001:db8:ffff::1]:1",
    "[2001:db8:ffff::1]:2",
  ];
  inbox.listen(server);
  assert.deepEqual(inbox.send(server, own), []);
  assert.deepEqual(inbox.send(own, server), [`${own} > ${server}`]);
  assert.deepEqual(inbox.send(server, own), [`${server} > ${own}`]);
  assert.deepEqual(inbox.send(stranger, own), []);
  assert.deepEqual(inbox.send(`${ip4}:51820`, server), []);
  inbox.world.run(30_000);
  assert.deepEqual(inbox.send(server, own), [], "too long ago");
});

Deno.test("a datagram that fits nowhere is cut up, or dropped when it may not be", () => {
  const inbox = new Inbox();
  const [a, b] = [inbox.build("public", 1), inbox.build("ipv6", 2)];
  const [own, other, server] = [`${a.ip4}:51820`, "198.18.3.1:1", "[2001:db8:ffff::1]:1"];
  const far = inbox.network.site();
  far.place(ipOf(other));
  for (const endpoint of [other, server]) inbox.listen(endpoint);
  const passes = (length: number, df: boolean) => inbox.send(own, other, length, { df }).length;
  assert.deepEqual([passes(1472, true), passes(1473, true), passes(1473, false)], [1, 0, 1]);
  for (const narrow of [a.site, far]) {
    narrow.mtu = 1400;
    assert.deepEqual([passes(1372, true), passes(1373, true), passes(1373, false)], [1, 0, 1]);
    far.dropsFragments = true;
    assert.deepEqual([passes(1372, false), passes(1373, false)], [1, 0]);
    Object.assign(narrow, { mtu: 1500 });
    far.dropsFragments = false;
  }
  inbox.network.mtu = 9000;
  assert.equal(passes(1473, true), 0);
  const own6 = `[${b.ip6}]:51820`;
  assert.equal(inbox.send(own6, server, 1452, { df: true }).length, 1);
  assert.equal(inbox.send(own6, server, 1453, { df: true }).length, 0);
});

Deno.test("a line loses in one direction only", () => {
  const inbox = new Inbox();
  const { site, ip4 } = inbox.build("public", 1);
  inbox.listen(A1);
  const own = `${ip4}:51820`;
  const share = (from: Endpoint, to: Endpoint) => {
    for (let i = 0; i < 1_000; i++) inbox.network.send(from, to, new Uint8Array(1));
    return inbox.settle().length / 1_000;
  };
  site.lossUp = 0.3;
  assert.ok(Math.abs(share(own, A1) - 0.7) < 0.05);
  assert.equal(share(A1, own), 1);
  Object.assign(site, { lossUp: 0, lossDown: 1 });
  assert.deepEqual([share(own, A1), share(A1, own)], [1, 0]);
});

Deno.test("what changes while a datagram flies, changes its fate", () => {
  const inbox = new Inbox();
  const { site, ip4 } = inbox.build("full-cone", 1);
  inbox.listen(A1);
  const at = inbox.send(`${ip4}:51820`, A1)[0]!.split(" ")[0]!;
  const change = (act: () => void) => {
    inbox.network.send(A1, at, new Uint8Array(1));
    act();
    return inbox.settle().length;
  };
  assert.equal(change(() => {}), 1);
  assert.equal(change(() => site.udp = false), 0);
  assert.equal(change(() => site.udp = true), 1);
  assert.equal(change(() => site.router.reboot()), 0);
  inbox.send(`${ip4}:51820`, A1);
  assert.equal(change(() => site.router.nat!.setPublicIp("198.18.1.2")), 0);
});

Deno.test("an attacker repeats what it saw on the internet, as it saw it", () => {
  const inbox = new Inbox();
  const { ip4 } = inbox.build("symmetric", 1);
  inbox.listen(A1);
  const [first] = inbox.send(`${ip4}:51820`, A1);
  inbox.network.replay();
  assert.deepEqual(inbox.settle(), [first]);
  inbox.network.rubbish(`${ip4}:51820`);
  assert.deepEqual(inbox.settle(), [], "private addresses are not on the internet");
});

Deno.test("the same seed gives the same ports, losses and arrivals", () => {
  const history = (seed: number) => {
    const inbox = new Inbox(seed);
    const places = NAT_KINDS.map((kind, i) => inbox.build(kind.name, i + 1));
    inbox.listen(A1);
    inbox.network.weather.loss = 0.2;
    for (const { site } of places) Object.assign(site, { lossUp: 0.1, latency: [1, 50] });
    for (let i = 0; i < 10; i++) {
      for (const { ip4 } of places) inbox.network.send(`${ip4}:51820`, A1, new Uint8Array(1));
    }
    return inbox.settle();
  };
  assert.deepEqual(history(5), history(5));
  assert.notDeepEqual(history(5), history(6));
});
