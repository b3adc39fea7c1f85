import assert from "node:assert/strict";
import { NetworkState } from "./network_state.ts";
import type { AddressEvent, LinkEvent, NetworkEvent, RouteEvent } from "./types_network.ts";

const ETH: LinkEvent = {
  type: "link",
  action: "new",
  index: 2,
  name: "eth0",
  alias: "",
  isUp: true,
  mtu: 1500,
};
const MESH: LinkEvent = { ...ETH, index: 3, name: "mesh0" };
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
  table: 254,
  metric: 0,
};

/** What comes of events on a machine that has `eth0` with an address, in short. */
function changes(...events: NetworkEvent[]): string[] {
  const state = new NetworkState("mesh0");
  state.apply([ETH, ADDRESS]);
  return state.apply(events).map((change) => {
    return [change.kind, change.action, change.interface, change.detail].join(" ");
  });
}

const OTHER = { ...ADDRESS, address: "192.0.2.6/24" };
const CASES: [name: string, events: NetworkEvent[], changes: string[]][] = [
  ["a new address", [OTHER], ["address new eth0 192.0.2.6/24"]],
  ["an address told again", [ADDRESS, ADDRESS], []],
  ["the end of an address", [{ ...ADDRESS, action: "del" }], ["address del eth0 192.0.2.5/24"]],
  ["the end of an unknown address", [{ ...OTHER, action: "del" }], []],
  ["an address that is being checked", [{ ...OTHER, isUsable: false }], []],
  [
    "an address that has been checked",
    [{ ...OTHER, isUsable: false }, OTHER],
    ["address new eth0 192.0.2.6/24"],
  ],
  [
    "an address that failed its check",
    [{ ...ADDRESS, isUsable: false }],
    ["address del eth0 192.0.2.5/24"],
  ],
  [
    "the same address on an interface without a name",
    [{ ...ADDRESS, index: 9 }],
    ["address new  192.0.2.5/24"],
  ],
  ["a route, told twice", [ROUTE, ROUTE], ["route new eth0 default (IPv4) via 192.0.2.1"]],
  [
    "a route that went",
    [{ ...ROUTE, action: "del" }],
    ["route del eth0 default (IPv4) via 192.0.2.1"],
  ],
  ["a route to nowhere", [{ ...ROUTE, index: null, gateway: null }], [
    "route new  default (IPv4)",
  ]],
  [
    "a route that went and came again",
    [ROUTE, { ...ROUTE, action: "del" }, ROUTE],
    [
      "route del eth0 default (IPv4) via 192.0.2.1",
      "route new eth0 default (IPv4) via 192.0.2.1",
    ],
  ],
  ["statistics of an interface", [ETH], []],
  ["an interface that goes down", [{ ...ETH, isUp: false }], ["link del eth0 down"]],
  [
    "an interface that comes up again",
    [{ ...ETH, isUp: false }, ETH],
    ["link del eth0 down", "link new eth0 up"],
  ],
  ["another MTU", [{ ...ETH, mtu: 1400 }], ["link new eth0 MTU 1400"]],
  ["an interface that is removed", [{ ...ETH, action: "del" }], ["link del eth0 removed"]],
  ["an interface that was never up", [{ ...ETH, index: 8, isUp: false }], []],
  [
    "all of the ignored interface",
    [MESH, { ...ADDRESS, index: 3 }, { ...ROUTE, index: 3 }, { ...MESH, action: "del" }],
    [],
  ],
];

for (const [name, events, expected] of CASES) {
  Deno.test(`NetworkState judges ${name}`, () => assert.deepEqual(changes(...events), expected));
}

Deno.test("NetworkState remembers a bounded number of routes", () => {
  const state = new NetworkState("mesh0");
  const routes = Array.from({ length: 3_000 }, (_, metric) => ({ ...ROUTE, metric }));
  for (const route of routes) assert.equal(state.apply([route]).length, 1);
  assert.equal(state.apply([routes.at(-1)!]).length, 0);
});

Deno.test("another context's interface is no change of the network, whatever happens to it", () => {
  const state = new NetworkState("mesh0");
  state.apply([ETH]);
  const other: LinkEvent = { ...ETH, index: 9, name: "tun-work", alias: "TunnelMesh context work" };
  assert.deepEqual(state.apply([other, { ...ADDRESS, index: 9, address: "172.29.0.2/16" }]), []);
  assert.deepEqual(state.apply([{ ...other, action: "del" }]), []);
  assert.equal(state.apply([{ ...other, alias: "" }]).length, 1);
});
