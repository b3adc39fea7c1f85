import assert from "node:assert/strict";
import { toHex } from "../../core/bytes.ts";
import { SeededRandom } from "../../core/random.ts";
import type { PortMapEvent } from "./events.ts";
import { PortMapping } from "./machine.ts";
import { decodePmp, encodePcpMap, encodePmpAddress, encodePmpMap } from "./pmp.ts";
import { parseRoutes } from "./route.ts";
import { decodeSearchAnswer, findService, readExternalAddress, readFault } from "./upnp.ts";

const GATEWAY = "192.168.1.1";
const START = { type: "start", gateway: GATEWAY, localIp: "192.168.1.7", port: 51820 } as const;

/** A router that speaks NAT-PMP only, as those before PCP. */
class PmpRouter {
  bootedAt = 0;
  external = "198.51.100.9";
  readonly mapped = new Map<number, number>();

  answer(bytes: Uint8Array, now: number): Uint8Array {
    const out = new Uint8Array(16);
    const view = new DataView(out.buffer);
    const asked = new DataView(bytes.buffer, bytes.byteOffset);
    view.setUint8(1, 0x80 | bytes[1]!);
    view.setUint32(4, Math.floor((now - this.bootedAt) / 1000));
    if (bytes[0] !== 0) {
      view.setUint16(2, 1);
      return out.subarray(0, 8);
    }
    if (bytes[1] === 0) {
      out.set(this.external.split(".").map(Number), 8);
      return out.subarray(0, 12);
    }
    const [internal, external, lifetime] = [4, 6, 8].map((at) =>
      at === 8 ? asked.getUint32(at) : asked.getUint16(at)
    );
    if (lifetime === 0) this.mapped.delete(internal!);
    else this.mapped.set(internal!, external!);
    view.setUint16(8, internal!);
    view.setUint16(10, external!);
    view.setUint32(12, lifetime!);
    return out;
  }
}

/** Runs the machine against a router for so long. */
function run(machine: PortMapping, router: PmpRouter | null, from: number, until: number): void {
  for (let now = from; now <= until; now += 50) {
    const effects = machine.handle({ type: "tick" }, now);
    for (const effect of effects) {
      if (effect.type !== "transmit" || effect.to !== `${GATEWAY}:5351` || !router) continue;
      const bytes = router.answer(effect.bytes, now);
      machine.handle({ type: "datagram", from: `${GATEWAY}:5351`, bytes }, now);
    }
  }
}

Deno.test("PortMapping falls back to NAT-PMP, renews at half the lease, and gives the port back", () => {
  const machine = new PortMapping({ random: new SeededRandom(1) });
  const router = new PmpRouter();
  machine.handle(START, 0);
  run(machine, router, 0, 2_000);
  assert.equal(machine.report.state, "mapped");
  assert.equal(machine.report.protocol, "nat-pmp");
  assert.equal(machine.report.external, "198.51.100.9:51820");
  router.mapped.clear();
  run(machine, router, 2_000, 3_610_000);
  assert.equal(router.mapped.get(51820), 51820, "renewed");
  const released = machine.handle({ type: "stop" }, 3_611_000);
  for (const effect of released) {
    if (effect.type === "transmit") router.answer(effect.bytes, 3_611_000);
  }
  assert.equal(router.mapped.size, 0);
});

Deno.test("PortMapping tells that the router itself is behind a NAT", () => {
  const machine = new PortMapping({ random: new SeededRandom(1) });
  const router = new PmpRouter();
  router.external = "100.64.3.4";
  machine.handle(START, 0);
  run(machine, router, 0, 2_000);
  assert.match(machine.report.lastError ?? "", /another NAT is in front of it/);
});

Deno.test("PortMapping gives up within four seconds and tries again after five minutes", () => {
  const machine = new PortMapping({ random: new SeededRandom(1) });
  machine.handle(START, 0);
  run(machine, null, 0, 4_100);
  assert.equal(machine.report.state, "failed");
  run(machine, new PmpRouter(), 4_100, 320_000);
  assert.equal(machine.report.state, "mapped");
});

Deno.test("PortMapping renews under the same nonce while the network is the same", () => {
  const machine = new PortMapping({ random: new SeededRandom(1) });
  const nonceAfter = (event: PortMapEvent) =>
    machine.handle(event, 0).flatMap((effect) => {
      // A MAP request of PCP: version 2, 24 bytes of header, then the nonce (RFC 6887 section 11.1).
      const isPcp = effect.type === "transmit" && effect.bytes[0] === 2;
      return isPcp ? [toHex(effect.bytes.subarray(24, 36))] : [];
    })[0];
  const nonce = nonceAfter(START);
  assert.ok(nonce);
  assert.equal(nonceAfter(START), nonce);
  assert.notEqual(nonceAfter({ ...START, localIp: "192.168.1.8" }), nonce);
});

Deno.test("PortMapping believes the gateway alone", () => {
  const machine = new PortMapping({ random: new SeededRandom(1) });
  machine.handle(START, 0);
  const router = new PmpRouter();
  for (const bytes of [encodePmpAddress(), encodePmpMap(51820, 51820, 7200)]) {
    const answer = router.answer(bytes, 0);
    machine.handle({ type: "datagram", from: "192.168.1.66:5351", bytes: answer }, 10);
  }
  assert.equal(machine.report.external, null);
  const elsewhere = new TextEncoder().encode(
    "HTTP/1.1 200 OK\r\nLOCATION: http://203.0.113.1/x.xml\r\n\r\n",
  );
  const from = `${GATEWAY}:1900`;
  const effects = machine.handle({ type: "datagram", from, bytes: elsewhere }, 20);
  assert.ok(effects.every(({ type }) => type !== "http"));
});

Deno.test("PCP answers are read, IPv4 and IPv6", () => {
  for (const client of ["192.168.1.7", "2001:db8::7"]) {
    const nonce = new SeededRandom(1).bytes(12);
    const map = { client, nonce, internalPort: 1, externalPort: 2, lifetimeSeconds: 3 };
    const answer = encodePcpMap(map);
    answer[1] = 0x81;
    answer[3] = 0;
    const decoded = decodePmp(answer);
    assert.ok(decoded?.type === "mapped" && decoded.protocol === "pcp");
    assert.deepEqual([decoded.internalPort, decoded.externalPort, decoded.lifetimeSeconds], [
      1,
      2,
      3,
    ]);
    assert.equal(decoded.nonce, nonce.toHex());
    assert.equal(decoded.external, client.includes(":") ? "::" : "0.0.0.0");
  }
});

Deno.test("a router's description names its service, however it is written", () => {
  const xml = `<?xml version="1.0"?><root><s:device xmlns:s="x"><service>
    <serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>
    <controlURL> /ctl/IPConn </controlURL></service></s:device></root>`;
  assert.deepEqual(findService(xml, "http://192.168.1.1:5000/rootDesc.xml"), {
    type: "urn:schemas-upnp-org:service:WANIPConnection:1",
    controlUrl: "http://192.168.1.1:5000/ctl/IPConn",
  });
  assert.equal(findService("<root/>", "http://192.168.1.1/"), null);
  const address = "<u:R><NewExternalIPAddress>198.51.100.1</NewExternalIPAddress></u:R>";
  assert.equal(readExternalAddress(address), "198.51.100.1");
  const fault = "<UPnPError><errorCode>725</errorCode></UPnPError>";
  assert.deepEqual(readFault(fault), {
    code: 725,
    why: "UPnP error 725, only permanent leases are supported",
  });
});

Deno.test("parseRoutes() finds the default gateway with the least metric", () => {
  const text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n" +
    "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\n" +
    "eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\n" +
    "eth0\t0002A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\n";
  assert.deepEqual(parseRoutes(text), { gateway: "192.168.2.1", interfaceName: "eth0" });
  assert.equal(parseRoutes("Iface\n"), null);
});

Deno.test("whatever a router sends, parsers give an answer or none", () => {
  const random = new SeededRandom(5);
  for (let run = 0; run < 30_000; run++) {
    const bytes = random.bytes(random.uint32() % 80);
    if (bytes.length > 1) bytes.set([run % 2 === 0 ? 2 : 0, 0x80 | (run % 4)]);
    decodePmp(bytes);
    const text = new TextDecoder().decode(bytes);
    decodeSearchAnswer(new TextEncoder().encode(`HTTP/1.1 200 OK\r\nLocation: ${text}\r\n\r\n`));
    findService(`<service>${text}<controlURL>${text}`, "http://192.168.1.1/");
    readFault(text);
  }
});
