import assert from "node:assert/strict";
import { SeededRandom } from "../../random.ts";
import { type NetlinkEvent, parseNetlink, RTM } from "./netlink_parse.ts";

type Attribute = readonly [type: number, value: readonly number[]];

/** A message as the kernel makes it. */
function message(
  type: number,
  header: readonly number[],
  attributes: readonly Attribute[] = [],
): Uint8Array {
  const parts = attributes.flatMap(([type, value]) => {
    const padding = Array<number>(-value.length & 3).fill(0);
    return [...u16(value.length + 4), ...u16(type), ...value, ...padding];
  });
  const length = 16 + header.length + parts.length;
  return Uint8Array.from([...u32(length), ...u16(type), ...Array(10).fill(0), ...header, ...parts]);
}

function u16(value: number): number[] {
  return [value & 255, value >> 8];
}

function u32(value: number): number[] {
  return [...u16(value & 0xffff), ...u16(value >>> 16)];
}

function text(value: string): number[] {
  return [...new TextEncoder().encode(value + "\0")];
}

function link(family: number, flags: number): Uint8Array {
  const header = [family, 0, ...u16(1), ...u32(2), ...u32(flags), ...u32(0)];
  return message(RTM.NEWLINK, header, [[3, text("eth0")], [4, u32(1500)]]);
}

function address4(scope: number, flags: number, attributes: readonly Attribute[]): Uint8Array {
  return message(RTM.NEWADDR, [2, 24, flags, scope, ...u32(2)], attributes);
}

const FD01 = [0xfd, 1, ...Array<number>(13).fill(0), 1];
const LINK: NetlinkEvent = {
  type: "link",
  action: "new",
  index: 2,
  name: "eth0",
  alias: "",
  isUp: true,
  mtu: 1500,
};
const ADDRESS: NetlinkEvent = {
  type: "address",
  action: "new",
  index: 2,
  address: "192.0.2.5/24",
  isUsable: true,
};
const ROUTE: NetlinkEvent = {
  type: "route",
  action: "new",
  index: 2,
  destination: "default (IPv4)",
  gateway: "10.0.0.1",
  table: 254,
  metric: 0,
};
const LOCAL: Attribute = [2, [192, 0, 2, 5]];
const VIA: readonly Attribute[] = [[5, [10, 0, 0, 1]], [4, u32(2)]];

/** struct rtmsg. */
function rtmsg(family: number, bits: number, table: number, type: number, flags = 0): number[] {
  return [family, bits, 0, 0, table, 3, 0, type, ...u32(flags)];
}

const CASES: [name: string, bytes: Uint8Array, events: NetlinkEvent[]][] = [
  ["an interface that is up", link(0, 0x41), [LINK]],
  ["one without a carrier", link(0, 0x01), [{ ...LINK, isUp: false }]],
  ["an interface as a port of a bridge", link(7, 0x41), []],
  ["an IPv4 address", address4(0, 0x80, [[1, [192, 0, 2, 9]], LOCAL]), [ADDRESS]],
  ["an address of link scope", address4(253, 0, [LOCAL]), []],
  ["a tentative address", address4(0, 0x40, [LOCAL]), [{ ...ADDRESS, isUsable: false }]],
  [
    "flags that do not fit the header",
    address4(0, 0, [LOCAL, [8, u32(0x48)]]),
    [{ ...ADDRESS, isUsable: false }],
  ],
  [
    "the end of an IPv6 address",
    message(RTM.DELADDR, [10, 64, 0, 0, ...u32(3)], [[1, FD01]]),
    [{ type: "address", action: "del", index: 3, address: "fd01::1/64", isUsable: true }],
  ],
  ["an address of another family", message(RTM.NEWADDR, [7, 0, 0, 0, ...u32(1)]), []],
  ["a default route", message(RTM.NEWROUTE, rtmsg(2, 0, 254, 1), VIA), [ROUTE]],
  [
    "a default route by several interfaces",
    message(RTM.NEWROUTE, rtmsg(2, 0, 254, 1), [[9, [...u16(8), 0, 0, ...u32(7)]]]),
    [{ ...ROUTE, index: 7, gateway: null }],
  ],
  [
    "a route to nowhere with a metric in a table above 255",
    message(RTM.DELROUTE, rtmsg(10, 128, 252, 7), [[1, FD01], [15, u32(1000)], [6, u32(9)]]),
    [{
      ...ROUTE,
      action: "del",
      index: null,
      destination: "fd01::1/128",
      gateway: null,
      table: 1000,
      metric: 9,
    }],
  ],
  ["a route to an own address", message(RTM.NEWROUTE, rtmsg(2, 0, 255, 2), VIA), []],
  ["a route of multicast", message(RTM.NEWROUTE, rtmsg(10, 0, 254, 5), VIA), []],
  ["a route in a cache", message(RTM.NEWROUTE, rtmsg(2, 0, 254, 1, 0x200), VIA), []],
  [
    "several messages, one of another type",
    Uint8Array.from([...link(0, 0x41), ...message(99, [1, 2, 3, 4]), ...message(3, u32(0))]),
    [LINK, { type: "done" }],
  ],
  ["nothing", new Uint8Array(), []],
];

for (const [name, bytes, events] of CASES) {
  Deno.test(`parseNetlink() understands ${name}`, () => {
    assert.deepEqual(parseNetlink(bytes), events);
  });
}

const MALFORMED: [name: string, bytes: Uint8Array][] = [
  ["a cut header", link(0, 0x41).subarray(0, 15)],
  ["a message longer than the bytes", link(0, 0x41).subarray(0, 40)],
  ["a length below the header's", Uint8Array.from([...u32(15), ...Array(20).fill(0)])],
  ["a header of the type that is cut", message(RTM.NEWLINK, [0, 0, 0, 0])],
  ["an attribute below its own header", message(RTM.NEWLINK, Array(16).fill(0).concat(u32(3)))],
  ["an attribute beyond the message", message(RTM.NEWLINK, Array(16).fill(0).concat(u32(99)))],
  ["an address of a wrong length", address4(0, 0, [[2, [1, 2, 3]]])],
  ["a route without its prefix", message(RTM.NEWROUTE, rtmsg(2, 8, 254, 1), VIA)],
];

for (const [name, bytes] of MALFORMED) {
  Deno.test(`parseNetlink() refuses ${name}`, () => assert.equal(parseNetlink(bytes), null));
}

Deno.test("parseNetlink() refuses or understands whatever it is given", () => {
  const random = new SeededRandom(0x4e4c);
  const valid = CASES.map(([, bytes]) => bytes);
  let understood = 0;
  for (let i = 0; i < 20_000; i++) {
    const bytes = valid[random.uint32() % valid.length]!.slice();
    for (let flips = random.uint32() % 4; flips > 0 && bytes.length > 0; flips--) {
      bytes[random.uint32() % bytes.length] = random.uint32() & 255;
    }
    const cut = random.uint32() % 3 === 0 ? random.uint32() % (bytes.length + 1) : bytes.length;
    if (parseNetlink(bytes.subarray(0, cut)) !== null) understood++;
    parseNetlink(random.bytes(random.uint32() % 80));
  }
  assert.ok(understood > 1_000);
});
