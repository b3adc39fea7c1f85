import assert from "node:assert/strict";
import { isOfLocalScope } from "./local_scope.ts";
import { parseIp } from "../ip.ts";
import { eventsBetween } from "./network_snapshot.ts";
import { NetworkState } from "./network_state.ts";
import type { AddressEvent, LinkEvent, NetworkEvent, RouteEvent } from "./types_network.ts";

const ETH: LinkEvent = {
  type: "link",
  action: "new",
  index: 2,
  name: "en0",
  alias: "",
  isUp: true,
  mtu: 1500,
};
const WIFI: LinkEvent = { ...ETH, index: 3, name: "en1" };
const ADDRESS: AddressEvent = {
  type: "address",
  action: "new",
  index: 2,
  address: "192.0.2.5/24",
  isUsable: true,
};
const ROUTE: RouteEvent = {
  type: "route",
  action: "new",
  index: 2,
  destination: "default (IPv4)",
  gateway: "192.0.2.1",
  table: 0,
  metric: 0,
};
const BEFORE = [ETH, ADDRESS, ROUTE];

const CASES: [name: string, after: NetworkEvent[], changes: string[]][] = [
  ["nothing, in another order", [ROUTE, ADDRESS, ETH], []],
  [
    "an interface that came with its address",
    [...BEFORE, { ...ADDRESS, index: 3, address: "198.51.100.7/24" }, WIFI],
    ["link new en1 up", "address new en1 198.51.100.7/24"],
  ],
  [
    "an interface that went with all it had",
    [],
    [
      "address del en0 192.0.2.5/24",
      "route del en0 default (IPv4) via 192.0.2.1",
      "link del en0 removed",
    ],
  ],
  ["another MTU", [{ ...ETH, mtu: 1400 }, ADDRESS, ROUTE], ["link new en0 MTU 1400"]],
  ["a carrier that went", [{ ...ETH, isUp: false }, ADDRESS, ROUTE], ["link del en0 down"]],
  [
    "an address that turned out to be another's",
    [ETH, { ...ADDRESS, isUsable: false }, ROUTE],
    ["address del en0 192.0.2.5/24"],
  ],
  [
    "another router",
    [ETH, ADDRESS, { ...ROUTE, gateway: "192.0.2.2" }],
    [
      "route del en0 default (IPv4) via 192.0.2.1",
      "route new en0 default (IPv4) via 192.0.2.2",
    ],
  ],
];

for (const [name, after, expected] of CASES) {
  Deno.test(`eventsBetween() tells of ${name}`, () => {
    const state = new NetworkState("mesh0");
    state.apply(eventsBetween([], BEFORE));
    const changes = state.apply(eventsBetween(BEFORE, after));
    assert.deepEqual(
      changes.map((each) => [each.kind, each.action, each.interface, each.detail].join(" ")),
      expected,
    );
  });
}

Deno.test("isOfLocalScope() knows addresses that nobody elsewhere can reach", () => {
  const local = ["127.0.0.1", "169.254.9.9", "239.1.2.3", "255.255.255.255", "::1"];
  for (const ip of [...local, "fe80::1", "febf::1", "ff02::1"]) {
    assert.ok(isOfLocalScope(parseIp(ip)!), ip);
  }
  for (
    const ip of ["10.0.0.1", "0.0.0.0", "240.0.0.1", "::", "fd00::1", "2001:db8::1", "fec0::1"]
  ) {
    assert.ok(!isOfLocalScope(parseIp(ip)!), ip);
  }
});
