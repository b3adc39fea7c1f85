import assert from "node:assert/strict";
import { MAX_ENDPOINTS } from "../control/messages.ts";
import { type Endpoint, formatEndpoint, type Ip } from "../ip.ts";
import type { Millis } from "../machine.ts";
import type { NodeEvent } from "../node.ts";
import type { Offer } from "../path/messages.ts";
import { KEEPALIVE_MS } from "../path/nat_discovery.ts";
import { SeededRandom } from "../random.ts";
import { decodeMessage, encodeSuccess } from "../stun/message.ts";
import type { PinholeReport, PortMapReport } from "./api_types.ts";
import { type PortMapper, Reachability } from "./reachability.ts";

const PORT = 51_820;
const OWN = "192.168.1.5";
const LOCAL: Endpoint = `${OWN}:${PORT}`;
const SERVERS: Ip[] = ["203.0.113.1", "203.0.113.2"];
const PORTS = [3478, 3479];
const MAPPED = "198.51.100.7:4000";
const SEEN = ["198.51.100.7:5001", "198.51.100.7:5002", "198.51.100.7:5003"];
/** After the last of several events that are one change. */
const SETTLE_MS = 100;

/** Timers that fire when a test says so, in place of the system's. */
class Clock {
  now: Millis = 1_000.5;
  readonly #due = new Map<number, { readonly at: Millis; readonly act: () => void }>();
  readonly #system = [globalThis.setTimeout, globalThis.clearTimeout] as const;
  #id = 0;

  constructor() {
    const set = (act: () => void, delay = 0) => {
      this.#due.set(++this.#id, { at: this.now + delay, act });
      return this.#id;
    };
    Object.assign(globalThis, {
      setTimeout: set,
      clearTimeout: (id: number) => void this.#due.delete(id),
    });
  }

  get pending(): number {
    return this.#due.size;
  }

  run(duration: Millis): void {
    const end = this.now + duration;
    for (;;) {
      const [next] = [...this.#due].sort(([, a], [, b]) => a.at - b.at);
      if (!next || next[1].at > end) break;
      this.#due.delete(next[0]);
      this.now = next[1].at;
      next[1].act();
    }
    this.now = end;
  }

  [Symbol.dispose](): void {
    const [setTimeout, clearTimeout] = this.#system;
    Object.assign(globalThis, { setTimeout, clearTimeout });
  }
}

/** A node on a network of its own. */
class Rig {
  readonly clock = new Clock();
  readonly events: NodeEvent[] = [];
  readonly sent: { readonly to: Endpoint; readonly bytes: Uint8Array }[] = [];
  /** How STUN servers see the node; null where they do not answer. */
  mapped: Endpoint | null = MAPPED;
  addresses = [{ name: "eth0", address: OWN }, { name: "tm0", address: "172.30.0.2" }];
  readonly mapper = new FakeMapper();
  readonly reach: Reachability;
  readonly #interfaces = Deno.networkInterfaces;

  constructor({ mapsPorts = false } = {}) {
    Deno.networkInterfaces = () => this.addresses as Deno.NetworkInterfaceInfo[];
    this.reach = new Reachability({
      clock: () => this.clock.now,
      random: new SeededRandom(1),
      udpPort: PORT,
      meshInterfaces: () => ["tm0"],
      links: () => ({ relays: true, sshPort: 2_222 }),
      transmit: (to, bytes) => void this.sent.push({ to, bytes }),
      emit: (event) => void this.events.push(event),
      openPortMapper: mapsPorts ? (onChange) => this.mapper.open(onChange) : null,
      log: () => {},
    });
  }

  /** What is told to peers from here on. */
  get offers(): Offer[] {
    return this.events.flatMap((event) =>
      event.type === "path" && event.event.type === "offer" ? [event.event.offer] : []
    );
  }

  get endpoints(): readonly Endpoint[] {
    return this.offers.at(-1)!.endpoints;
  }

  /** Lets servers answer for a while. */
  run(duration: Millis): this {
    for (let spent = 0; spent < duration; spent += 50) {
      for (const { to, bytes } of this.sent.splice(0)) {
        const { transactionId, changePort } = decodeMessage(bytes)!;
        const ip = to.split(":")[0]!;
        if (this.mapped === null || !SERVERS.includes(ip) || changePort) continue;
        const answer = encodeSuccess({ transactionId, mapped: this.mapped });
        this.reach.datagram(to, answer);
      }
      this.clock.run(50);
    }
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.reach.close();
    assert.equal(this.clock.pending, 0, "no timer is left");
    this.clock[Symbol.dispose]();
    Deno.networkInterfaces = this.#interfaces;
  }
}

/** A router that was asked for a port. */
class FakeMapper implements PortMapper {
  report: PortMapReport = {
    state: "searching",
    protocol: null,
    external: null,
    gateway: null,
    lastError: null,
    tried: [],
  };
  pinhole: PinholeReport = {
    state: "none",
    protocol: null,
    endpoint: null,
    gateway: null,
    lastError: null,
    tried: [],
  };
  changes = 0;
  isClosed = false;
  #onChange = () => {};

  open(onChange: () => void): this {
    this.#onChange = onChange;
    return this;
  }

  map(external: Endpoint | null): void {
    this.report = { ...this.report, external };
    this.#onChange();
  }

  networkChanged(): void {
    this.changes++;
  }

  close(): Promise<void> {
    this.isClosed = true;
    return Promise.resolve();
  }
}

Deno.test("start() tells coordinator and peers the machine's addresses, the mesh's own left out", async () => {
  await using rig = new Rig();
  rig.reach.start();
  const [control, path] = rig.events;
  const links = { relays: true, sshPort: 2_222 };
  const event = { type: "set-endpoints", endpoints: [LOCAL], udpPort: PORT, links };
  assert.deepEqual(control, { type: "control", event });
  const { nat, natText, local, portMap } = rig.reach.report;
  assert.deepEqual(path, {
    type: "path",
    event: { type: "offer", offer: { endpoints: [LOCAL], nat } },
  });
  assert.equal(rig.events.length, 2);
  assert.deepEqual([local, portMap, nat.udp], [[LOCAL], null, false]);
  assert.match(natText, /^unknown/);
});

Deno.test("what STUN servers see is told, once", async () => {
  await using rig = new Rig();
  rig.reach.start();
  rig.reach.setStun(SERVERS, PORTS);
  assert.deepEqual(rig.sent.map(({ to }) => to), ["203.0.113.1:3478", "203.0.113.2:3478"]);
  rig.run(5_000);
  assert.deepEqual(rig.endpoints, [LOCAL, MAPPED]);
  const { nat, natText } = rig.reach.report;
  assert.equal(nat.mapping, "endpoint-independent");
  assert.equal(nat.filtering, "address-and-port-dependent");
  assert.match(natText, /^behind a NAT/);
  const count = rig.events.length;
  rig.reach.setStun(SERVERS, PORTS);
  rig.run(KEEPALIVE_MS * 3);
  assert.equal(rig.events.length, count, "the same is no news");
});

Deno.test("a mapping that changes is noticed, and told", async () => {
  await using rig = new Rig();
  rig.reach.start();
  rig.reach.setStun(SERVERS, PORTS);
  rig.run(5_000);
  rig.mapped = "198.51.100.7:4001";
  rig.reach.doubt();
  rig.run(5_000);
  assert.deepEqual(rig.endpoints, [LOCAL, "198.51.100.7:4001"]);
});

const ASKED: [name: string, ips: Ip[], ports: number[], asked: Ip[]][] = [
  ["this machine itself", ["127.0.0.1", "::1", OWN, SERVERS[0]!], PORTS, [SERVERS[0]!]],
  ["a coordinator without STUN ports", SERVERS, [], []],
  ["nobody", [], PORTS, []],
];
for (const [name, ips, ports, asked] of ASKED) {
  Deno.test(`setStun() asks no server that would not help: ${name}`, async () => {
    await using rig = new Rig();
    rig.reach.start();
    rig.reach.setStun(ips, ports);
    assert.deepEqual(
      rig.sent.map(({ to }) => to),
      asked.map((ip) => formatEndpoint(ip, PORTS[0]!)),
    );
  });
}

Deno.test("setStun() asks four servers at most", async () => {
  await using rig = new Rig();
  rig.reach.start();
  rig.reach.setStun(Array.from({ length: 9 }, (_, i) => `203.0.113.${i + 1}`), PORTS);
  assert.equal(rig.sent.length, 4);
});

Deno.test("servers that are gone are asked no more, and what they saw holds no longer", async () => {
  await using rig = new Rig();
  rig.reach.start();
  rig.reach.setStun(SERVERS, PORTS);
  rig.run(5_000);
  rig.reach.setStun([], []);
  assert.deepEqual(rig.endpoints, [LOCAL]);
  rig.sent.length = 0;
  rig.clock.run(KEEPALIVE_MS * 2);
  assert.deepEqual(rig.sent, []);
});

Deno.test("the last two endpoints that peers saw are told, the newest first", async () => {
  await using rig = new Rig();
  rig.reach.start();
  for (const endpoint of SEEN) rig.reach.observed(endpoint);
  assert.deepEqual(rig.endpoints, [LOCAL, SEEN[2], SEEN[1]]);
  assert.deepEqual(rig.reach.report.observed, [SEEN[2], SEEN[1]]);
  const count = rig.events.length;
  rig.reach.observed(SEEN[1]!);
  assert.equal(rig.events.length, count);
});

Deno.test("without STUN servers the NAT is what peers see of it", async () => {
  await using rig = new Rig();
  rig.reach.start();
  rig.reach.observed(SEEN[0]!);
  const { nat } = rig.reach.report;
  assert.deepEqual([nat.udp, nat.mapping, nat.mapped], [true, "unknown", [SEEN[0]]]);
  rig.reach.setStun(SERVERS, PORTS);
  assert.equal(rig.reach.report.nat.udp, false, "servers know better");
});

Deno.test("without a NAT peers see one of the machine's own addresses", async () => {
  await using rig = new Rig();
  rig.reach.start();
  rig.reach.observed(LOCAL);
  assert.equal(rig.reach.report.nat.mapping, "none");
  assert.deepEqual(rig.endpoints, [LOCAL]);
});

Deno.test("the port that the router opened comes first, and goes when it does", async () => {
  await using rig = new Rig({ mapsPorts: true });
  rig.reach.start();
  assert.equal(rig.reach.report.portMap, rig.mapper.report);
  rig.mapper.map("198.51.100.7:51820");
  assert.deepEqual(rig.endpoints, ["198.51.100.7:51820", LOCAL]);
  rig.mapper.map(null);
  assert.deepEqual(rig.endpoints, [LOCAL]);
  const count = rig.events.length;
  rig.mapper.map(null);
  assert.equal(rig.events.length, count, "that is no news");
});

Deno.test("loopback is never told, nor more than peers take", async () => {
  await using rig = new Rig();
  rig.addresses = Array.from({ length: 30 }, (_, i) => ({ name: `e${i}`, address: `10.0.0.${i}` }));
  rig.reach.start();
  rig.reach.observed("127.0.0.1:9");
  assert.equal(rig.endpoints.length, MAX_ENDPOINTS);
  rig.addresses = [];
  rig.reach.networkChanged("test");
  rig.clock.run(SETTLE_MS);
  rig.reach.observed("[::1]:9");
  assert.deepEqual(rig.endpoints, []);
});

Deno.test("events that come together are one change of the network", async () => {
  await using rig = new Rig({ mapsPorts: true });
  rig.reach.start();
  rig.reach.setStun(SERVERS, PORTS);
  rig.run(5_000);
  rig.reach.observed(SEEN[0]!);
  rig.addresses = [{ name: "wlan0", address: "10.0.0.9" }];
  const count = rig.events.length;
  for (let i = 0; i < 5; i++) {
    rig.reach.networkChanged("an address came");
    rig.clock.run(SETTLE_MS - 1);
  }
  assert.equal(rig.events.length, count);
  rig.clock.run(1);
  const changes = rig.events.slice(count).filter((event) =>
    event.type === "path" && event.event.type === "network-changed"
  );
  assert.equal(changes.length, 1);
  assert.equal(rig.mapper.changes, 1);
  // What was seen through the old network holds no longer, and servers are asked anew.
  assert.deepEqual(rig.endpoints, ["10.0.0.9:51820"]);
  assert.ok(rig.sent.some(({ to }) => to === "203.0.113.1:3478"));
  rig.mapped = "198.51.100.200:77";
  rig.run(5_000);
  assert.deepEqual(rig.endpoints, ["10.0.0.9:51820", "198.51.100.200:77"]);
});

Deno.test("after close() servers are asked no more, and the router's port is given back", async () => {
  const rig = new Rig({ mapsPorts: true });
  rig.reach.start();
  rig.reach.setStun(SERVERS, PORTS);
  rig.reach.networkChanged("test");
  await rig[Symbol.asyncDispose]();
  assert.ok(rig.mapper.isClosed);
  const count = [rig.events.length, rig.sent.length];
  rig.reach.doubt();
  rig.reach.setStun(["203.0.113.9"], PORTS);
  rig.reach.networkChanged("test");
  assert.deepEqual([rig.events.length, rig.sent.length], count);
});
