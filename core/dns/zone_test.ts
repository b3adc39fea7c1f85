/**
 * The zone's contract in tables, checked against an independent codec (dns-packet).
 * @module
 */
// @ts-types="@types/dns-packet"
import dnsPacket from "dns-packet";
import { strict as assert } from "node:assert";
import { Buffer } from "node:buffer";
import { parsePrefix } from "../ip.ts";
import { encodeQuery } from "./reply.ts";
import { MAX_ADDRESSES, Zone } from "./zone.ts";

const RANGES = ["172.30.0.0/16", "fd12:3456:789a::/48"].map((text) => parsePrefix(text)!);
const NODES = [
  { name: "a", aliases: ["www.shop", "nas"], addresses: ["172.30.0.5", "fd12:3456:789a::5"] },
  { name: "b", aliases: ["nas", "a", "this"], addresses: ["172.30.0.6"] },
  { name: "six", aliases: [], addresses: ["fd12:3456:789a::7"] },
  { name: "a", aliases: [], addresses: ["172.30.0.66"] },
  { name: "Bad Name", aliases: ["..", "x".repeat(64)], addresses: ["nonsense"] },
  { name: "out", aliases: [], addresses: ["192.0.2.1"] },
];

function zone(): Zone {
  const made = new Zone();
  made.setRanges(RANGES);
  made.setNodes(NODES, ["a", "six"]);
  return made;
}

interface Ask {
  readonly type?: string;
  readonly class?: string;
  readonly edns?: boolean;
  readonly carrier?: "udp" | "tcp";
  readonly zone?: Zone;
}

/** Asks and decodes with dns-packet, whose types leave out what it does know. */
// deno-lint-ignore no-explicit-any
function ask(name: string, options: Ask = {}): any {
  const reply = (options.zone ?? zone()).answer(query(name, options), options.carrier ?? "udp");
  assert.equal(reply.kind, "answer");
  return reply.kind === "answer" ? dnsPacket.decode(Buffer.from(reply.response)) : null;
}

function query(name: string, options: Ask = {}): Uint8Array {
  const additionals = options.edns
    ? [{ type: "OPT", name: ".", udpPayloadSize: 4096, flags: 0, options: [] }]
    : [];
  return dnsPacket.encode({
    type: "query",
    id: 7,
    flags: dnsPacket.RECURSION_DESIRED,
    questions: [{ type: options.type ?? "A", class: options.class ?? "IN", name }],
    additionals,
    // deno-lint-ignore no-explicit-any
  } as any);
}

/** rcode, then the answers' data. */
function summary(name: string, options: Ask = {}): string {
  const reply = ask(name, options);
  // deno-lint-ignore no-explicit-any
  const data = reply.answers.map((r: any) => typeof r.data === "string" ? r.data : r.type);
  return [reply.rcode, ...data].join(" ");
}

const V4 = "5.0.30.172.in-addr.arpa";
const V6 = "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa";
const TABLE: readonly (readonly [name: string, type: string, expected: string])[] = [
  ["a.tunnelmesh", "A", "NOERROR 172.30.0.5"],
  ["a.mesh", "A", "NOERROR 172.30.0.5"],
  ["a.tm", "A", "NOERROR 172.30.0.5"],
  ["A.TuNNeLMesh", "A", "NOERROR 172.30.0.5"],
  ["a.tm", "AAAA", "NOERROR fd12:3456:789a::5"],
  ["a.tm", "ANY", "NOERROR 172.30.0.5"],
  ["six.tm", "ANY", "NOERROR fd12:3456:789a::7"],
  ["b.tm", "AAAA", "NOERROR"],
  ["six.tm", "A", "NOERROR"],
  ["a.tm", "MX", "NOERROR"],
  ["a.tm", "SRV", "NOERROR"],
  ["www.shop.mesh", "A", "NOERROR 172.30.0.5"],
  ["WWW.Shop.mesh", "AAAA", "NOERROR fd12:3456:789a::5"],
  ["shop.mesh", "A", "NOERROR"],
  ["other.shop.mesh", "A", "NXDOMAIN"],
  ["nas.mesh", "A", "NOERROR 172.30.0.5"],
  ["x.a.mesh", "A", "NXDOMAIN"],
  ["unknown.tm", "A", "NXDOMAIN"],
  ["unknown.tm", "AAAA", "NXDOMAIN"],
  ["bad name.tm", "A", "NXDOMAIN"],
  ["this.tm", "A", "NOERROR 172.30.0.5"],
  ["this.mesh", "AAAA", "NOERROR fd12:3456:789a::5 fd12:3456:789a::7"],
  ["coordinator.tunnelmesh", "A", "NOERROR 172.30.0.5"],
  ["mesh", "A", "NOERROR"],
  ["mesh", "SOA", "NOERROR SOA"],
  ["mesh", "NS", "NOERROR this.mesh"],
  ["mesh", "ANY", "NOERROR SOA"],
  ["TM", "NS", "NOERROR this.TM"],
  ["mesh", "AXFR", "REFUSED"],
  [V4, "PTR", "NOERROR a.tunnelmesh"],
  [V4.toUpperCase(), "PTR", "NOERROR a.tunnelmesh"],
  [V6, "PTR", "NOERROR a.tunnelmesh"],
  [V4, "A", "NOERROR"],
  ["0.30.172.in-addr.arpa", "PTR", "NOERROR"],
  ["30.172.in-addr.arpa", "SOA", "NOERROR SOA"],
  ["30.172.in-addr.arpa", "NS", "NOERROR this.tunnelmesh"],
  ["9.9.30.172.in-addr.arpa", "PTR", "NXDOMAIN"],
  ["66.0.30.172.in-addr.arpa", "PTR", "NXDOMAIN"],
  ["9.30.172.in-addr.arpa", "PTR", "NXDOMAIN"],
  ["b._dns-sd._udp.0.0.30.172.in-addr.arpa", "PTR", "NXDOMAIN"],
  ["_dns.resolver.arpa", "SVCB", "NOERROR"],
];

Deno.test("Zone answers each name and type as its table says", () => {
  for (const [name, type, expected] of TABLE) {
    const options = type === "SVCB" ? { type: "UNKNOWN_64" } : { type };
    assert.equal(summary(name, options), expected, `${name} ${type}`);
  }
});

Deno.test("Zone forwards names outside the mesh", () => {
  const outside = [
    "example.com",
    "tm.example.com",
    "mesh.local",
    "a",
    "localhost",
    "",
    "xtm",
    "1.2.0.192.in-addr.arpa",
    "31.172.in-addr.arpa",
    "172.in-addr.arpa",
    "in-addr.arpa",
    "arpa",
    "1.0.0.0.d.f.ip6.arpa",
    "130.172.in-addr.arpa",
  ];
  for (const name of outside) {
    assert.equal(zone().answer(query(name), "udp").kind, "forward", name);
  }
});

Deno.test("Zone's negative answers carry an SOA that is soon forgotten", () => {
  for (const name of ["b.tm", "unknown.tm", "mesh", "9.9.30.172.in-addr.arpa"]) {
    const reply = ask(name, { type: "AAAA" });
    assert.equal(reply.flag_aa, true);
    assert.equal(reply.authorities.length, 1);
    const [soa] = reply.authorities;
    assert.equal(soa.type, "SOA");
    assert.ok(name.endsWith(soa.name), soa.name);
    assert.ok(soa.ttl <= 1 && soa.data.minimum <= 1);
    assert.match(soa.data.mname, /^this\.(tm|mesh|tunnelmesh)$/);
    assert.equal(soa.data.rname, `hostmaster.${soa.name}`);
  }
});

Deno.test("Zone's answers live as long as asked, five seconds at most", () => {
  for (const [wanted, expected] of [[undefined, 5], [300, 5], [2, 2], [0, 0]] as const) {
    const made = new Zone(wanted);
    made.setNodes(NODES, []);
    assert.equal(ask("a.tm", { zone: made }).answers[0].ttl, expected);
  }
});

Deno.test("Zone's serial grows with each change", () => {
  const made = zone();
  const serial = () => ask("tm", { type: "SOA", zone: made }).answers[0].data.serial;
  const before = serial();
  made.setNodes(NODES, []);
  assert.ok(serial() > before);
});

Deno.test("Zone sends the question back byte for byte, with id and RD", () => {
  const message = new Uint8Array(query("wWw.ShOp.mEsH"));
  const reply = zone().answer(message, "udp");
  assert.ok(reply.kind === "answer");
  assert.deepEqual(reply.response.subarray(0, 2), message.subarray(0, 2));
  assert.equal(reply.response[2], 0x85);
  assert.deepEqual(reply.response.subarray(12, message.length), message.subarray(12));
  assert.equal(ask("wWw.ShOp.mEsH").answers[0].name, "wWw.ShOp.mEsH");
});

Deno.test("Zone answers EDNS0 with its own size and no options, when asked with it", () => {
  assert.equal(ask("a.tm").additionals.length, 0);
  const [opt] = ask("a.tm", { edns: true }).additionals;
  assert.equal(opt.type, "OPT");
  assert.equal(opt.udpPayloadSize, 1232);
  assert.equal(opt.options.length, 0);

  const withVersion = encodeQuery(1, "a.tm", 1);
  withVersion[withVersion.length - 5] = 1;
  const reply = zone().answer(withVersion, "udp");
  assert.ok(reply.kind === "answer");
  assert.equal(reply.response[3]! & 15, 0);
  assert.equal(reply.response[reply.response.length - 6], 1, "extended rcode 16 is BADVERS");

  const twoOpts = new Uint8Array([...encodeQuery(1, "a.tm", 1), 0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]);
  twoOpts[11] = 2;
  const refused = zone().answer(twoOpts, "udp");
  assert.ok(refused.kind === "answer");
  assert.equal(refused.response[3]! & 15, 1);
});

Deno.test("Zone repeats the DO bit", () => {
  const message = encodeQuery(1, "a.tm", 1);
  message[message.length - 4] = 0x80;
  const reply = zone().answer(message, "udp");
  assert.ok(reply.kind === "answer");
  assert.equal(reply.response[reply.response.length - 4], 0x80);
});

Deno.test("Zone sets TC when an answer is too large for UDP, and sends all of it over TCP", () => {
  const nodes = Array.from({ length: 100 }, (_, i) => ({
    name: `c${i}`,
    aliases: [],
    addresses: [`172.30.1.${i}`, `fd12:3456:789a::${i + 1}`],
  }));
  const made = zone();
  made.setNodes(nodes, nodes.map((node) => node.name));
  const plain = ask("this.tm", { zone: made });
  assert.equal(plain.flag_tc, true);
  assert.equal(plain.answers.length, 0);
  assert.equal(ask("this.tm", { zone: made, edns: true }).answers.length, MAX_ADDRESSES);
  assert.equal(ask("this.tm", { zone: made, edns: true, type: "AAAA" }).flag_tc, true);
  const whole = ask("this.tm", { zone: made, type: "AAAA", carrier: "tcp" });
  assert.equal(whole.flag_tc, false);
  assert.equal(whole.answers.length, MAX_ADDRESSES);
});

Deno.test("Zone refuses other classes and answers class ANY", () => {
  assert.equal(summary("a.tm", { class: "CH" }), "REFUSED");
  assert.equal(summary("a.tm", { class: "ANY" }), "NOERROR 172.30.0.5");
});

Deno.test("Zone without nodes knows `this` and nothing else", () => {
  const empty = new Zone();
  assert.equal(summary("this.tm", { zone: empty }), "NOERROR");
  assert.equal(summary("a.tm", { zone: empty }), "NXDOMAIN");
  assert.equal(empty.answer(query(V4, { type: "PTR" }), "udp").kind, "forward");
});

Deno.test("Zone.answer() judges malformed messages without an answer that could loop", () => {
  const good = encodeQuery(0x1234, "a.tm", 1);
  const changed = (changes: Record<number, number>) => {
    const bytes = new Uint8Array(good);
    for (const [at, value] of Object.entries(changes)) bytes[Number(at)] = value;
    return bytes;
  };
  const cases:
    readonly (readonly [what: string, message: Uint8Array, expected: string | number])[] = [
      ["empty", new Uint8Array(0), "drop"],
      ["eleven bytes", good.subarray(0, 11), "drop"],
      ["a response", changed({ 2: 0x81 }), "drop"],
      ["header only", good.subarray(0, 12), 1],
      ["no question", changed({ 5: 0 }), 1],
      ["two questions", changed({ 5: 2 }), 1],
      ["65535 questions", changed({ 4: 255, 5: 255 }), 1],
      ["opcode NOTIFY", changed({ 2: 0x20 }), 4],
      ["opcode UPDATE", changed({ 2: 0x28 }), 4],
      ["pointer in the question", changed({ 12: 0xc0, 13: 12 }), 1],
      ["label type 01", changed({ 12: 0x41 }), 1],
      ["label past the end", changed({ 12: 63 }), 1],
      ["question cut short", good.subarray(0, 20), 1],
      ["record promised but absent", changed({ 11: 2 }), 1],
      ["OPT cut short", good.subarray(0, good.length - 1), 1],
      ["OPT data past the end", changed({ [good.length - 1]: 9 }), 1],
      ["65535 records promised", changed({ 6: 255, 7: 255 }), 1],
    ];
  for (const [what, message, expected] of cases) {
    const reply = zone().answer(message, "udp");
    if (expected === "drop") {
      assert.equal(reply.kind, "drop", what);
      continue;
    }
    assert.ok(reply.kind === "answer", what);
    assert.equal(reply.response[3]! & 15, expected, what);
    assert.deepEqual([...reply.response.subarray(0, 2)], [0x12, 0x34], what);
    assert.equal(reply.response.length, 12, what);
  }
});

Deno.test("Zone.answer() takes the longest name and refuses a longer one", () => {
  const label = (length: number) => "x".repeat(length);
  const longest = [label(63), label(63), label(63), label(58), "tm"].join(".");
  assert.equal(summary(longest), "NXDOMAIN");
  const good = encodeQuery(1, longest, 1);
  // One byte more in the fourth label makes 256.
  const at = 12 + 3 * 64;
  const long = new Uint8Array([...good.subarray(0, at), 59, 120, ...good.subarray(at + 1)]);
  const reply = zone().answer(long, "udp");
  assert.ok(reply.kind === "answer");
  assert.equal(reply.response[3]! & 15, 1);
});

Deno.test("Zone.lookup() finds names with and without suffix", () => {
  const found = zone().lookup("Nas.Mesh.");
  assert.deepEqual(found, {
    name: "nas.tunnelmesh",
    addresses: ["172.30.0.5", "fd12:3456:789a::5"],
    peer: "a",
  });
  assert.equal(zone().lookup("www.shop")?.peer, "a");
  assert.equal(zone().lookup("this")?.peer, null);
  for (const name of ["shop", "tm", "", "a.example"]) assert.equal(zone().lookup(name), null, name);
});

Deno.test("Zone.isMeshAddress() knows the ranges in both families", () => {
  const made = zone();
  const inside = ["172.30.255.255", "fd12:3456:789a:1::1"];
  const outside = ["172.31.0.0", "fd12:3456:789b::1", "x"];
  assert.deepEqual(inside.map((ip) => made.isMeshAddress(ip)), [true, true]);
  assert.deepEqual(outside.map((ip) => made.isMeshAddress(ip)), [false, false, false]);
});
