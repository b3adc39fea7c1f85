import { strict as assert } from "node:assert";
import { formatPrefix, parsePrefix } from "../ip.ts";
import { NO_OFFERS, parseOffer } from "./offers.ts";
import { NO_POLICY } from "./policy.ts";
import { chooseWays, type WayPeer, type WaySettings } from "./ways.ts";

const [ME, A, B] = ["00000000000000aa", "00000000000000ab", "00000000000000ac"] as const;

function router(id: string, name: string, ...routes: string[]): WayPeer {
  const offers = { isExit: false, routes: routes.map((text) => parseOffer(text)!) };
  return { id, name, isOnline: true, offers };
}

const SETTINGS: WaySettings = {
  node: ME,
  peers: [],
  policy: NO_POLICY,
  exit: null,
  meshRanges: [parsePrefix("172.30.0.0/16")!, parsePrefix("fd00:1::/48")!],
  localNetworks: [parsePrefix("192.168.1.0/24")!],
};

function states(settings: Partial<WaySettings>) {
  const { routes, byPeer, subnets } = chooseWays({ ...SETTINGS, ...settings });
  return {
    routes: routes.map(({ name, route, state }) => `${name} ${route.prefix} ${state}`),
    byPeer: [...byPeer].map(([id, prefixes]) => [id, prefixes.map(formatPrefix)]),
    subnets: subnets.map(formatPrefix),
  };
}

Deno.test("chooseWays() leads to networks by the range that the mesh knows them by", () => {
  const peers = [router(A, "a", "192.168.1.0/24 as 10.77.1.0/24", "fd07::/64")];
  assert.deepEqual(states({ peers }), {
    routes: ["a 192.168.1.0/24 used", "a fd07::/64 used"],
    byPeer: [[A, ["10.77.1.0/24", "fd07::/64"]]],
    subnets: ["10.77.1.0/24", "fd07::/64"],
  });
});

Deno.test("chooseWays() takes the first router by name that is online", () => {
  const peers = [router(B, "b", "10.5.0.0/16"), router(A, "a", "10.5.0.0/16")];
  assert.deepEqual(states({ peers }).routes, ["a 10.5.0.0/16 used", "b 10.5.0.0/16 standby"]);
  const away = peers.map((peer) => ({ ...peer, isOnline: peer.name !== "a" }));
  assert.deepEqual(states({ peers: away }).byPeer, [[B, ["10.5.0.0/16"]]]);
  // With nobody online the routes stay: who is away may be reached all the same.
  const none = peers.map((peer) => ({ ...peer, isOnline: false }));
  assert.deepEqual(states({ peers: none }).byPeer, [[A, ["10.5.0.0/16"]]]);
});

Deno.test("chooseWays() takes neither the mesh's addresses nor this machine's own network", () => {
  const peers = [
    router(A, "a", "172.30.9.0/24", "192.168.1.0/24", "192.168.0.0/16", "192.168.1.8/29"),
  ];
  assert.deepEqual(states({ peers }).routes, [
    "a 172.30.9.0/24 overlaps-mesh",
    "a 192.168.1.0/24 overlaps-local",
    // What is longer in the machine's own routes stays there.
    "a 192.168.0.0/16 used",
    "a 192.168.1.8/29 overlaps-local",
  ]);
});

Deno.test("chooseWays() asks the policy for each network", () => {
  const peers = [router(A, "a", "10.5.0.0/16", "10.6.0.0/16", "10.7.0.0/16")];
  const is = (prefix: Parameters<typeof formatPrefix>[0], text: string) =>
    formatPrefix(prefix) === text;
  const policy = {
    ...NO_POLICY,
    mayOfferRoute: (_: string, prefix: Parameters<typeof formatPrefix>[0]) =>
      !is(prefix, "10.6.0.0/16"),
    mayUseRoute: (from: string, _: string, prefix: Parameters<typeof formatPrefix>[0]) =>
      from === ME && !is(prefix, "10.7.0.0/16"),
  };
  assert.deepEqual(states({ peers, policy }), {
    routes: ["a 10.5.0.0/16 used", "a 10.6.0.0/16 denied", "a 10.7.0.0/16 denied"],
    byPeer: [[A, ["10.5.0.0/16"]]],
    subnets: ["10.5.0.0/16"],
  });
});

Deno.test("chooseWays() leads the internet to the exit, which may be a router too", () => {
  const exit = { ...router(A, "a", "10.5.0.0/16"), offers: { ...NO_OFFERS, isExit: true } };
  const { byPeer, subnets } = states({ peers: [exit, router(B, "b", "10.5.0.0/16")], exit: A });
  assert.deepEqual(subnets, ["10.5.0.0/16"]);
  const [first, second] = byPeer as [string, string[]][];
  assert.equal(first![0], A);
  assert.ok(first![1].includes("2000::/3") && !first![1].includes("10.0.0.0/8"));
  assert.deepEqual(second, [B, ["10.5.0.0/16"]]);
});
