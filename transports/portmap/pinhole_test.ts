import assert from "node:assert/strict";
import { SeededRandom } from "../../core/random.ts";
import { parsePrefix } from "../../core/ip.ts";
import type { PinholeEffect, PinholeStart } from "./events.ts";
import { Pinhole } from "./pinhole.ts";
import { parseFirewallRoute } from "./route6.ts";
import {
  addPinholeCall,
  deletePinholeCall,
  encodeSearches,
  findService,
  FIREWALL_SERVICES,
  readFault,
  readPinholeId,
  updatePinholeCall,
} from "./upnp.ts";

const GATEWAY = "fe80::1";
const OWN = "2001:db8:1::7";
const PORT = 51820;
const START: PinholeStart = {
  type: "start",
  port: PORT,
  route: {
    gateway: GATEWAY,
    interfaceName: "eth0",
    localIp: OWN,
    onLink: [parsePrefix("2001:db8:1::/64")!],
  },
};
const TYPE = "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1";
const DESCRIPTION = `<root><service><serviceType>${TYPE}</serviceType>` +
  "<controlURL>/ctl/IP6FCtl</controlURL></service></root>";

/** A router with a firewall, which speaks what it is told to. */
class Firewall {
  /** Result code of PCP; null: silent. */
  pcp: number | null = 0;
  /** Whether it answers searches, and how calls. */
  upnp: "none" | "works" | "refuses" | "garbage" = "none";
  lifetimeSeconds = 7_200;
  location = "http://[2001:db8:1::1]:5000/rootDesc.xml";
  /** Nonces of PCP pinholes by port. */
  readonly nonces = new Map<number, string>();
  readonly ids = new Set<number>();
  readonly calls: string[] = [];
  #nextId = 1;

  /** The events that the machine gets for what it did. */
  answer(effect: PinholeEffect): Parameters<Pinhole["handle"]>[0] | null {
    if (effect.type === "changed") return null;
    if (effect.type === "http") {
      const { id, call } = effect;
      return { type: "http", id, ...this.#http(call?.body ?? null) };
    }
    const { to, from, bytes } = effect;
    if (to === `[${GATEWAY}]:5351` && from === "global" && this.pcp !== null) {
      return { type: "datagram", from: to, bytes: this.#map(bytes) };
    }
    if (to !== "[ff02::c]:1900" || this.upnp === "none") return null;
    const text = `HTTP/1.1 200 OK\r\nLOCATION: ${this.location}\r\n\r\n`;
    return {
      type: "datagram",
      from: `[${GATEWAY}]:1900`,
      bytes: new TextEncoder().encode(text),
    };
  }

  #map(request: Uint8Array): Uint8Array {
    assert.equal(request.length, 60);
    const out = request.slice();
    const view = new DataView(out.buffer);
    const lifetime = view.getUint32(4);
    assert.ok(out.slice(44, 60).every((byte) => byte === 0), "no address is suggested");
    out[1]! |= 0x80;
    out[3] = this.pcp!;
    if (this.pcp !== 0) return out;
    const nonce = out.slice(24, 36).toHex();
    const port = view.getUint16(40);
    if ((this.nonces.get(port) ?? nonce) !== nonce) out[3] = 2;
    else if (lifetime === 0) this.nonces.delete(port);
    else {
      assert.equal(view.getUint16(42), port);
      this.nonces.set(port, nonce);
      view.setUint32(4, this.lifetimeSeconds);
      out.set(out.slice(8, 24), 44);
    }
    return out;
  }

  #http(call: string | null): { status: number; body: string | null } {
    if (call === null) return { status: 200, body: DESCRIPTION };
    this.calls.push(/<u:(\w+) /.exec(call)![1]!);
    if (this.upnp === "garbage") return { status: 200, body: "<UniqueID>-1</UniqueID>" };
    if (this.upnp === "refuses") return { status: 500, body: "<errorCode>703</errorCode>" };
    const id = Number(/<UniqueID>(\d+)</.exec(call)?.[1] ?? 0);
    if (id > 0 && !this.ids.has(id)) return { status: 500, body: "<errorCode>704</errorCode>" };
    if (call.includes("DeletePinhole")) this.ids.delete(id);
    if (!call.includes("AddPinhole")) return { status: 200, body: "" };
    assert.ok(call.includes(`<InternalClient>${OWN}</InternalClient>`));
    this.ids.add(this.#nextId);
    return { status: 200, body: `<u:R><UniqueID>${this.#nextId++}</UniqueID></u:R>` };
  }
}

/** A machine and its router over virtual time. */
class Network {
  readonly machine = new Pinhole({ random: new SeededRandom(1) });
  now = 0;
  readonly router: Firewall;

  constructor(router: Partial<Pick<Firewall, "pcp" | "upnp" | "lifetimeSeconds" | "location">>) {
    this.router = Object.assign(new Firewall(), router);
  }

  /** Gives events and answers until nothing is under way. */
  handle(event: Parameters<Pinhole["handle"]>[0]): PinholeEffect[] {
    return this.machine.handle(event, this.now).flatMap((effect) => {
      const answer = this.router.answer(effect);
      return answer ? [effect, ...this.handle(answer)] : [effect];
    });
  }

  run(until: number): PinholeEffect[] {
    const effects: PinholeEffect[] = [];
    while (this.machine.deadline <= until) {
      this.now = Math.max(this.now, this.machine.deadline);
      effects.push(...this.handle({ type: "tick" }));
    }
    this.now = until;
    return effects;
  }
}

Deno.test("Pinhole asks by PCP, renews at half the lease, and gives it back", () => {
  const network = new Network({ upnp: "works", lifetimeSeconds: 1_000 });
  network.handle(START);
  const { machine, router } = network;
  assert.deepEqual(machine.report, {
    state: "open",
    protocol: "pcp",
    endpoint: `[${OWN}]:${PORT}`,
    gateway: GATEWAY,
    lastError: null,
    tried: [{ protocol: "pcp", result: "open" }],
  });
  assert.equal(machine.deadline, 500_000);
  const nonce = router.nonces.get(PORT);
  router.nonces.clear();
  network.run(510_000);
  assert.equal(router.nonces.get(PORT), nonce, "renewed under the same nonce");
  network.handle(START);
  assert.equal(machine.report.state, "open", "a change elsewhere changes nothing");
  network.handle({ type: "stop" });
  assert.equal(router.nonces.size, 0);
  assert.deepEqual([router.calls, machine.report.state, machine.deadline], [[], "none", Infinity]);
});

for (const [name, pcp] of [["refused", 2], ["silent", null], ["of another version", 1]] as const) {
  Deno.test(`Pinhole asks by UPnP when PCP is ${name}`, () => {
    const network = new Network({ pcp, upnp: "works" });
    const { machine, router } = network;
    network.handle(START);
    network.run(10_000);
    assert.deepEqual([machine.report.state, machine.report.protocol], ["open", "upnp"]);
    assert.equal(machine.report.endpoint, `[${OWN}]:${PORT}`);
    network.run(3_700_000);
    assert.deepEqual(router.calls, ["AddPinhole", "UpdatePinhole"]);
    router.ids.clear();
    network.run(7_400_000);
    assert.deepEqual(router.calls.slice(2), ["UpdatePinhole", "AddPinhole"], "it had forgotten");
    assert.equal(machine.report.state, "open");
    network.handle({ type: "stop" });
    assert.equal(router.ids.size, 0);
  });
}

const FAILURES: [name: string, router: Partial<Firewall>, lastError: string][] = [
  ["nobody answers", { pcp: null }, "pcp: no answer; upnp: no answer"],
  [
    "both refuse",
    { pcp: 4, upnp: "refuses" },
    "pcp: unsupported opcode; upnp: UPnP error 703, pinholes are not allowed",
  ],
  [
    "an answer is none",
    { pcp: 2, upnp: "garbage" },
    "pcp: not authorized; upnp: UPnP error 0, an answer that is none",
  ],
  [
    "the description is elsewhere",
    { pcp: 2, upnp: "works", location: "http://[2001:db8:2::1]/x.xml" },
    "pcp: not authorized; upnp: the router's description is not at an address of this link",
  ],
];

for (const [name, router, lastError] of FAILURES) {
  Deno.test(`Pinhole says what failed, and tries again in five minutes, when ${name}`, () => {
    const network = new Network(router);
    const { machine } = network;
    network.handle(START);
    network.run(12_000);
    assert.deepEqual([machine.report.state, machine.report.lastError], ["failed", lastError]);
    assert.deepEqual(network.run(290_000), [], "nobody is asked meanwhile");
    network.router.pcp = 0;
    network.run(320_000);
    assert.equal(machine.report.protocol, "pcp");
  });
}

Deno.test("Pinhole begins anew when the router no longer renews", () => {
  const network = new Network({ upnp: "works" });
  network.handle(START);
  network.router.pcp = null;
  network.run(3_610_000);
  assert.equal(network.machine.report.protocol, "upnp");
});

Deno.test("Pinhole does without IPv6, and on another network asks under another nonce", () => {
  const network = new Network({});
  network.handle({ ...START, route: null });
  assert.match(network.machine.report.lastError!, /no global IPv6 address/);
  assert.equal(network.machine.deadline, Infinity);
  network.handle(START);
  const before = network.router.nonces.get(PORT);
  network.router.nonces.clear();
  network.handle({ ...START, route: { ...START.route!, gateway: "fe80::2" } });
  assert.equal(network.machine.report.state, "searching", "the old router is not the new one");
  network.handle(START);
  assert.notEqual(network.router.nonces.get(PORT), before);
});

Deno.test("Pinhole closes what may have been granted when it ends before the answer", () => {
  const machine = new Pinhole({ random: new SeededRandom(1) });
  const [asked] = machine.handle(START, 0);
  const [released] = machine.handle({ type: "stop" }, 10);
  assert.ok(asked?.type === "transmit" && released?.type === "transmit");
  assert.equal(new DataView(released.bytes.buffer).getUint32(4), 0);
  assert.deepEqual(released.bytes.slice(24, 36), asked.bytes.slice(24, 36));
});

Deno.test("Pinhole believes the gateway alone, and no lease makes it ask without pause", () => {
  const machine = new Pinhole({ random: new SeededRandom(1) });
  const [asked] = machine.handle(START, 0);
  const router = new Firewall();
  router.lifetimeSeconds = 1;
  const answer = router.answer(asked!)!;
  assert.ok(answer.type === "datagram");
  machine.handle({ ...answer, from: "[fe80::66]:5351" }, 1);
  machine.handle({ ...answer, from: `[${GATEWAY}]:1900` }, 1);
  const other = answer.bytes.slice();
  other[24]! ^= 1;
  machine.handle({ ...answer, bytes: other }, 1);
  const nowhere = answer.bytes.slice();
  nowhere.fill(0, 44);
  machine.handle({ ...answer, bytes: nowhere }, 1);
  assert.equal(machine.report.state, "searching");
  machine.handle(answer, 1);
  assert.equal(machine.report.state, "open");
  assert.equal(machine.deadline, 4_001);
});

Deno.test("whatever a router sends, Pinhole goes on", () => {
  const random = new SeededRandom(7);
  const pieces = [
    "<service>",
    `<serviceType>${TYPE}<`,
    "<controlURL>",
    "http://[::",
    "<UniqueID>7<",
  ];
  for (let run = 0; run < 300; run++) {
    const machine = new Pinhole({ random });
    let effects = machine.handle(START, 0);
    for (let now = 50; now < 15_000; now += 250) {
      const asked = effects.findLast((effect) => effect.type !== "changed");
      effects = machine.handle({ type: "tick" }, now);
      const text = Array.from({ length: 8 }, () => pieces[random.uint32() % 5]).join("");
      if (asked?.type === "http") {
        const body = run % 3 === 0 ? null : text;
        effects.push(...machine.handle({ type: "http", id: asked.id, status: 200, body }, now));
      } else if (asked?.type === "transmit") {
        const bytes = asked.bytes.slice(0, random.uint32() % 62);
        for (let i = 0; i < 3 && bytes.length > 1; i++) {
          bytes[random.uint32() % bytes.length] = random.uint32();
        }
        if (bytes.length > 1) bytes[1] = 0x81;
        effects.push(...machine.handle({ type: "datagram", from: asked.to, bytes }, now));
        const answer = new TextEncoder().encode(
          `HTTP/1.1 200 OK\r\nLocation: ${
            run % 2 === 0 ? text : "http://[2001:db8:1::1]/"
          }\r\n\r\n`,
        );
        const from = `[${GATEWAY}]:1900`;
        effects.push(...machine.handle({ type: "datagram", from, bytes: answer }, now));
      }
      assert.ok(effects.length < 40);
    }
    assert.ok(["open", "failed"].includes(machine.report.state), machine.report.state);
  }
});

Deno.test("calls of WANIPv6FirewallControl carry what its specification wants", () => {
  const xml = `<service><serviceType>${TYPE}</serviceType><controlURL>/c</controlURL></service>`;
  const base = "http://[2001:db8:1::1]:5000/d.xml";
  assert.equal(findService(xml, base), null);
  const service = findService(xml, base, FIREWALL_SERVICES)!;
  assert.equal(service.controlUrl, "http://[2001:db8:1::1]:5000/c");
  const { headers, body } = addPinholeCall(service, { client: OWN, port: 9, leaseSeconds: 60 });
  assert.equal(headers["soapaction"], `"${TYPE}#AddPinhole"`);
  assert.ok(body.includes(
    `<RemoteHost></RemoteHost><RemotePort>0</RemotePort><InternalClient>${OWN}</InternalClient>` +
      "<InternalPort>9</InternalPort><Protocol>17</Protocol><LeaseTime>60</LeaseTime>",
  ));
  assert.match(
    updatePinholeCall(service, 7, 60).body,
    /<UniqueID>7<\/UniqueID><NewLeaseTime>60<\/NewLeaseTime>/,
  );
  assert.match(
    deletePinholeCall(service, 7).body,
    /<u:DeletePinhole [^>]*><UniqueID>7<\/UniqueID></,
  );
  assert.equal(readPinholeId("<a><u:UniqueID> 65535 </u:UniqueID></a>"), 65535);
  for (const text of ["65536", "-1", "", "1e3", "0x1", "7a"]) {
    assert.equal(readPinholeId(`<UniqueID>${text}</UniqueID>`), null, text);
  }
  assert.equal(readFault("<errorCode>702</errorCode>").why, "UPnP error 702, the firewall is off");
  const [search] = encodeSearches("ff02::c").map((bytes) => new TextDecoder().decode(bytes));
  assert.match(search!, /\r\nHOST: \[ff02::c\]:1900\r\n/);
});

Deno.test("elements are found in linear time in what is hostile", () => {
  for (const piece of [" ", "<UniqueID ", "<UniqueID>", "<a:"]) {
    assert.equal(readPinholeId(`<UniqueID>${piece.repeat(200_000 / piece.length)}`), null);
  }
});

const ROUTES = `
20010db8000100000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
20010db8000200000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001    wlan0
fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000002 00000600 00000001 00000000 00000003    wlan0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
ff000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000004 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
`;
const ADDRESSES = `
fe8000000000000010da16fffe0c6777 02 40 20 80     eth0
fd000000000000000000000000000007 02 40 00 80     eth0
20010db8000100000000000000000009 02 40 00 01     eth0
20010db8000100000000000000000005 02 40 00 a0     eth0
20010db8000100000000000000000007 02 40 00 80     eth0
20010db8000200000000000000000007 03 40 00 80    wlan0
`;

Deno.test("parseFirewallRoute() finds the router with the least metric and the lasting address", () => {
  assert.deepEqual(parseFirewallRoute(ROUTES, ADDRESSES), START.route);
  const isLasting = (line: string) => !line.startsWith("20010db8000100000000000000000007");
  const temporary = ADDRESSES.split("\n").filter(isLasting).join("\n");
  assert.equal(parseFirewallRoute(ROUTES, temporary)?.localIp, "2001:db8:1::9");
  assert.equal(parseFirewallRoute(ROUTES, ""), null);
  assert.equal(parseFirewallRoute("", ADDRESSES), null);
  const withoutGateway = ROUTES.split("\n").filter((line) => !line.includes("00000003")).join("\n");
  assert.equal(parseFirewallRoute(withoutGateway, ADDRESSES), null);
});
