import assert from "node:assert/strict";
import { SeededRandom } from "../../random.ts";
import type { AddressEvent, LinkEvent, NetworkEvent, RouteEvent } from "../types_network.ts";
import { type AddressRow, type InterfaceRow, type RouteRow, tables } from "./_network_tables.ts";
import { parseNetworkTables } from "./network_tables.ts";

const LINK: LinkEvent = {
  type: "link",
  action: "new",
  index: 7,
  name: "if 7",
  alias: "",
  isUp: true,
  mtu: 1500,
};
const ADDRESS: AddressEvent = {
  type: "address",
  action: "new",
  index: 7,
  address: "192.0.2.5/24",
  isUsable: true,
};
const ROUTE: RouteEvent = {
  type: "route",
  action: "new",
  index: 7,
  destination: "default (IPv4)",
  gateway: "192.0.2.1",
  table: 0,
  metric: 25,
};

/** Its identifier is its number here. */
function nameOf(luid: Uint8Array): string {
  assert.equal(luid.length, 8);
  return `if ${luid[0]}`;
}

const INTERFACES: [name: string, rows: InterfaceRow[], events: NetworkEvent[]][] = [
  ["an interface", [{}], [LINK]],
  ["one without a carrier", [{ isConnected: false }], [{ ...LINK, isUp: false }]],
  [
    "one with two families",
    [{ isConnected: false }, { family: 23, mtu: 1280 }],
    [LINK],
  ],
  ["two", [{}, { index: 9, mtu: 9000 }], [
    LINK,
    { ...LINK, index: 9, name: "if 9", mtu: 9000 },
  ]],
];
const ADDRESSES: [name: string, row: AddressRow, events: NetworkEvent[]][] = [
  ["an IPv4 address", { ip: "192.0.2.5" }, [ADDRESS]],
  ["an IPv6 address", { ip: "fd01::1", bits: 64 }, [{ ...ADDRESS, address: "fd01::1/64" }]],
  ["an address that will end", { ip: "192.0.2.5", dadState: 3 }, [ADDRESS]],
  ["a tentative address", { ip: "192.0.2.5", dadState: 1 }, [{ ...ADDRESS, isUsable: false }]],
  ["another's address", { ip: "192.0.2.5", dadState: 2 }, [{ ...ADDRESS, isUsable: false }]],
  ["an address of link scope", { ip: "fe80::1", bits: 64 }, []],
  ["one that a machine gave itself", { ip: "169.254.7.7", bits: 16 }, []],
  ["an address of loopback", { ip: "127.0.0.1", bits: 8 }, []],
];
const ROUTES: [name: string, row: RouteRow, events: NetworkEvent[]][] = [
  ["a default route", { ip: "0.0.0.0", bits: 0, via: "192.0.2.1" }, [ROUTE]],
  ["a default route of IPv6", { ip: "::", bits: 0, via: "fe80::1" }, [
    { ...ROUTE, destination: "default (IPv6)", gateway: "fe80::1" },
  ]],
  ["a route on the link", { ip: "192.0.2.0", bits: 24, via: "0.0.0.0" }, [
    { ...ROUTE, destination: "192.0.2.0/24", gateway: null },
  ]],
  ["an impossible prefix", { ip: "192.0.2.1", bits: 255, via: "0.0.0.0", metric: 1 }, [
    { ...ROUTE, destination: "192.0.2.1/32", gateway: null, metric: 1 },
  ]],
  ["a route to itself", { ip: "10.0.0.1", bits: 32, via: "0.0.0.0", isLoopback: true }, []],
  ["a route of multicast", { ip: "224.0.0.0", bits: 4, via: "0.0.0.0" }, []],
  ["a route of broadcast", { ip: "255.255.255.255", bits: 32, via: "0.0.0.0" }, []],
];
const CASES = [
  ...INTERFACES.map(([name, rows, events]) => [name, { interfaces: rows }, events] as const),
  ...ADDRESSES.map(([name, row, events]) => [name, { addresses: [row] }, events] as const),
  ...ROUTES.map(([name, row, events]) => [name, { routes: [row] }, events] as const),
  ["nothing", {}, []] as const,
];

for (const [name, rows, events] of CASES) {
  Deno.test(`parseNetworkTables() understands ${name}`, () => {
    assert.deepEqual(parseNetworkTables(tables(rows), nameOf), events);
  });
}

Deno.test("parseNetworkTables() passes over an address of a family it does not know", () => {
  const all = tables({ addresses: [{ ip: "192.0.2.5" }] });
  all.addresses[8] = 3;
  assert.deepEqual(parseNetworkTables(all, nameOf), []);
});

Deno.test("parseNetworkTables() refuses a table that is shorter than it says", () => {
  for (const which of ["interfaces", "addresses", "routes"] as const) {
    const all = tables({ interfaces: [{}], addresses: [{ ip: "192.0.2.5" }], routes: [] });
    for (const length of [0, 7]) {
      const cut = { ...all, [which]: all[which].subarray(0, length) };
      assert.equal(parseNetworkTables(cut, nameOf), null);
    }
    new DataView(all[which].buffer).setUint32(0, 2 ** 32 - 1, true);
    assert.equal(parseNetworkTables(all, nameOf), null);
  }
});

Deno.test("parseNetworkTables() refuses or understands whatever it is given", () => {
  const random = new SeededRandom(0x5749);
  const rows = {
    interfaces: [{}, { family: 23 }],
    addresses: [{ ip: "192.0.2.5" }, { ip: "fd01::1", bits: 64 }],
    routes: [{ ip: "0.0.0.0", bits: 0, via: "192.0.2.1" }, { ip: "::", bits: 0, via: "fe80::1" }],
  };
  const valid = tables(rows);
  let understood = 0;
  for (let i = 0; i < 5_000; i++) {
    const mutate = (bytes: Uint8Array) => {
      const changed = bytes.slice();
      for (let flips = random.uint32() % 4; flips > 0; flips--) {
        changed[random.uint32() % changed.length] = random.uint32() & 255;
      }
      const isCut = random.uint32() % 8 === 0;
      return isCut ? changed.subarray(0, random.uint32() % changed.length) : changed;
    };
    const { interfaces, addresses, routes } = valid;
    const parsed = parseNetworkTables({
      interfaces: mutate(interfaces),
      addresses: mutate(addresses),
      routes: mutate(routes),
    }, nameOf);
    if (parsed !== null) understood++;
  }
  assert.ok(understood > 1_000);
});
