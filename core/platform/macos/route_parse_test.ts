import assert from "node:assert/strict";
import { SeededRandom } from "../../random.ts";
import type { AddressEvent, LinkEvent, NetworkEvent, RouteEvent } from "../types_network.ts";
import {
  ifAddress,
  ifInfo,
  in4,
  in6,
  linkAddress,
  mask4,
  mask6,
  NO_MASK,
  route,
} from "./_route_messages.ts";
import { parseRouteMessages, RTM } from "./route_parse.ts";

const ZEROS = Array<number>(16).fill(0);
const FD01 = [0xfd, 1, ...Array<number>(13).fill(0), 1];
const FE80 = [0xfe, 0x80, 0, 4, ...Array<number>(11).fill(0), 1];
const MASK64 = mask6(...Array<number>(8).fill(0xff));
const MASK24 = mask4(255, 255, 255);
const LINK: LinkEvent = {
  type: "link",
  action: "new",
  index: 4,
  name: "en0",
  alias: "",
  isUp: true,
  mtu: 1500,
};
const ADDRESS: AddressEvent = {
  type: "address",
  action: "new",
  index: 4,
  address: "192.0.2.5/24",
  isUsable: true,
};
const ROUTE: RouteEvent = {
  type: "route",
  action: "new",
  index: 4,
  destination: "default (IPv4)",
  gateway: "10.0.0.1",
  table: 0,
  metric: 0,
};
const DEFAULT = [in4(0, 0, 0, 0), in4(10, 0, 0, 1), NO_MASK];
const NEIGHBOUR = [in4(10, 0, 0, 9), linkAddress(4, "")];

const CASES: [name: string, bytes: Uint8Array, events: NetworkEvent[]][] = [
  ["an interface of the list", ifInfo(4, 0x8863, 1500, "en0"), [LINK]],
  ["one without a carrier", ifInfo(4, 0x8823, 1500, "en0"), [{ ...LINK, isUp: false }]],
  ["one that is switched off", ifInfo(4, 0x8862, 1500, "en0"), [{ ...LINK, isUp: false }]],
  ["an interface that changed", ifInfo(4, 0x8863, 9000), [{ ...LINK, name: "", mtu: 9000 }]],
  ["a long name", ifInfo(9, 0x41, 1280, "bridge-with-15c"), [
    { ...LINK, index: 9, name: "bridge-with-15c", mtu: 1280 },
  ]],
  ["an IPv4 address", ifAddress(RTM.NEWADDR, 4, in4(192, 0, 2, 5), MASK24), [ADDRESS]],
  [
    "the end of an IPv6 address",
    ifAddress(RTM.DELADDR, 5, in6(FD01), MASK64),
    [{ ...ADDRESS, action: "del", index: 5, address: "fd01::1/64" }],
  ],
  [
    "a mask within a byte",
    ifAddress(RTM.NEWADDR, 4, in4(192, 0, 2, 5), mask4(255, 255, 255, 0xf0)),
    [{ ...ADDRESS, address: "192.0.2.5/28" }],
  ],
  ["an address of link scope", ifAddress(RTM.NEWADDR, 4, in6(FE80), MASK64), []],
  ["an address of loopback", ifAddress(RTM.NEWADDR, 1, in4(127, 0, 0, 1), mask4(255)), []],
  ["an address of another family", ifAddress(RTM.NEWADDR, 4, linkAddress(4, "x"), NO_MASK), []],
  ["a default route", route({ addresses: DEFAULT }), [ROUTE]],
  ["a default route of one interface", route({ flags: 0x1000003, addresses: DEFAULT }), [
    { ...ROUTE, table: 1 },
  ]],
  [
    "a default route of IPv6 by a link-local router",
    route({ type: RTM.DELETE, addresses: [in6(ZEROS), in6(FE80), NO_MASK] }),
    [{ ...ROUTE, action: "del", destination: "default (IPv6)", gateway: "fe80::1" }],
  ],
  [
    "a subnet by a link, with bits beyond its mask",
    route({ addresses: [in4(192, 0, 2, 5), linkAddress(4, "en0"), MASK24] }),
    [{ ...ROUTE, destination: "192.0.2.0/24", gateway: null }],
  ],
  [
    "a route for one host, without a mask",
    route({ flags: 0x7, addrs: 3, addresses: [in4(192, 0, 2, 5), in4(10, 0, 0, 1)] }),
    [{ ...ROUTE, destination: "192.0.2.5/32" }],
  ],
  ["a route to nowhere", route({ index: 0, addrs: 5, addresses: [in6(FD01), MASK64] }), [
    { ...ROUTE, index: null, destination: "fd01::/64", gateway: null },
  ]],
  ["a route that changed", route({ type: RTM.CHANGE, addresses: DEFAULT }), [
    { ...ROUTE, action: "del" },
    ROUTE,
  ]],
  ["a neighbour", route({ flags: 0x405, addrs: 3, addresses: NEIGHBOUR }), []],
  ["a copy of a route", route({ flags: 0x20007, addrs: 3, addresses: NEIGHBOUR }), []],
  ["a route to an own address", route({ flags: 0x200005, addresses: NEIGHBOUR, addrs: 3 }), []],
  ["a request that was refused", route({ errno: 17, addresses: DEFAULT }), []],
  ["a route of multicast", route({ addresses: [in4(224, 0, 0, 0), NO_MASK], addrs: 5 }), []],
  ["a look-up that failed", route({ type: 7, addresses: DEFAULT }), []],
  ["an answer to another program", route({ type: 4, addresses: DEFAULT }), []],
  ["a route without a destination", route({ addrs: 2, addresses: [in4(10, 0, 0, 1)] }), []],
  [
    "several messages",
    Uint8Array.from([
      ...ifInfo(4, 0x8863, 1500, "en0"),
      ...route({ type: 7, addresses: DEFAULT }),
      ...ifAddress(RTM.NEWADDR, 4, in4(192, 0, 2, 5), MASK24),
    ]),
    [LINK, ADDRESS],
  ],
  ["nothing", new Uint8Array(), []],
];

for (const [name, bytes, events] of CASES) {
  Deno.test(`parseRouteMessages() understands ${name}`, () => {
    assert.deepEqual(parseRouteMessages(bytes), events);
  });
}

/** The length that a message says, changed. */
function ofLength(bytes: Uint8Array, length: number): Uint8Array {
  const changed = bytes.slice();
  new DataView(changed.buffer).setUint16(0, length, true);
  return changed;
}

const LONG = route({ addresses: DEFAULT });
const MALFORMED: [name: string, bytes: Uint8Array][] = [
  ["a cut header", LONG.subarray(0, 3)],
  ["a message longer than the bytes", LONG.subarray(0, LONG.length - 1)],
  ["a length below the header's", ofLength(LONG, 3)],
  ["another version", route({ version: 4, addresses: DEFAULT })],
  ["a header of the type that is cut", ofLength(LONG.slice(0, 91), 91)],
  ["an address beyond the message", route({ addrs: 1, addresses: [[17, 2, 0, 0]] })],
];

for (const [name, bytes] of MALFORMED) {
  Deno.test(`parseRouteMessages() refuses ${name}`, () => {
    assert.equal(parseRouteMessages(bytes), null);
  });
}

Deno.test("parseRouteMessages() reads a message written out from net/if.h", () => {
  // RTM_NEWADDR of 192.168.1.23/24 with its broadcast address on en0, interface 4.
  const bytes = Uint8Array.from([
    ...[0x50, 0x00, 0x05, 0x0c, 0xb4, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
    ...[0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
    ...[0x07, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00],
    ...[0x14, 0x12, 0x04, 0x00, 0x06, 0x03, 0x06, 0x00, 0x65, 0x6e, 0x30, 0xaa],
    ...[0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x00, 0x00, 0x00],
    ...[0x10, 0x02, 0x00, 0x00, 0xc0, 0xa8, 0x01, 0x17, 0, 0, 0, 0, 0, 0, 0, 0],
    ...[0x10, 0x02, 0x00, 0x00, 0xc0, 0xa8, 0x01, 0xff, 0, 0, 0, 0, 0, 0, 0, 0],
  ]);
  assert.deepEqual(parseRouteMessages(bytes), [{ ...ADDRESS, address: "192.168.1.23/24" }]);
});

Deno.test("parseRouteMessages() refuses or understands whatever it is given", () => {
  const random = new SeededRandom(0x5254);
  const valid = CASES.map(([, bytes]) => bytes);
  let understood = 0;
  for (let i = 0; i < 20_000; i++) {
    const bytes = valid[random.uint32() % valid.length]!.slice();
    for (let flips = random.uint32() % 4; flips > 0 && bytes.length > 0; flips--) {
      bytes[random.uint32() % bytes.length] = random.uint32() & 255;
    }
    const cut = random.uint32() % 3 === 0 ? random.uint32() % (bytes.length + 1) : bytes.length;
    if (parseRouteMessages(bytes.subarray(0, cut)) !== null) understood++;
    parseRouteMessages(random.bytes(random.uint32() % 160));
  }
  assert.ok(understood > 1_000);
});
