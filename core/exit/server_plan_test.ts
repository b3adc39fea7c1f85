import { strict as assert } from "node:assert";
import { parsePrefix } from "../ip.ts";
import { renderRemoval, renderTable } from "./nft.ts";
import { forwardingSysctls, planServer, type ServerSettings, sideEffects } from "./server_plan.ts";

const SETTINGS: ServerSettings = {
  context: "default",
  interfaceName: "tm0",
  meshPrefixes: [parsePrefix("172.30.0.0/16")!, parsePrefix("fd00:1::/48")!],
  isExit: true,
  routes: [],
};
const SITE = {
  lan: parsePrefix("192.168.1.0/24")!,
  mapped: parsePrefix("10.201.0.0/24")!,
  mayInitiate: true,
};

Deno.test("planServer() makes this table for an exit with a mapped network, to the byte", () => {
  const { filter, families } = planServer({ ...SETTINGS, routes: [SITE] });
  assert.deepEqual(families, [4, 6]);
  assert.equal(
    renderTable(filter),
    `table inet tunnelmesh_gateway_default
delete table inet tunnelmesh_gateway_default
table inet tunnelmesh_gateway_default {
  set mesh4 {
    type ipv4_addr
    flags interval
    auto-merge
    elements = { 172.30.0.0/16 }
  }

  set lan4 {
    type ipv4_addr
    flags interval
    auto-merge
    elements = { 192.168.1.0/24 }
  }

  set initiating4 {
    type ipv4_addr
    flags interval
    auto-merge
    elements = { 192.168.1.0/24 }
  }

  set mesh6 {
    type ipv6_addr
    flags interval
    auto-merge
    elements = { fd00:1::/48 }
  }

  set lan6 {
    type ipv6_addr
    flags interval
    auto-merge
  }

  set initiating6 {
    type ipv6_addr
    flags interval
    auto-merge
  }

  chain inwards {
    type nat hook prerouting priority dstnat - 5; policy accept;
    iifname "tm0" dnat ip prefix to ip daddr map { 10.201.0.0/24 : 192.168.1.0/24 }
  }

  chain through {
    type filter hook forward priority filter - 5; policy accept;
    iifname != "tm0" oifname != "tm0" accept
    ct state established,related accept
    iifname "tm0" oifname != "tm0" ip saddr @mesh4 ip daddr != @mesh4 accept
    oifname "tm0" ip saddr @initiating4 ip daddr @mesh4 accept
    iifname "tm0" oifname != "tm0" ip6 saddr @mesh6 ip6 daddr != @mesh6 accept
    oifname "tm0" ip6 saddr @initiating6 ip6 daddr @mesh6 accept
    counter drop
  }

  chain outwards {
    type nat hook postrouting priority srcnat - 5; policy accept;
    oifname "tm0" snat ip prefix to ip saddr map { 192.168.1.0/24 : 10.201.0.0/24 }
    iifname "tm0" oifname != { "tm0", "lo" } ip saddr @mesh4 masquerade
    iifname "tm0" oifname != { "tm0", "lo" } ip6 saddr @mesh6 masquerade
  }
}
`,
  );
});

Deno.test("planServer() leads a router that is no exit to its networks alone", () => {
  const { filter, families } = planServer({ ...SETTINGS, isExit: false, routes: [SITE] });
  assert.deepEqual(families, [4]);
  const text = renderTable(filter);
  assert.ok(text.includes("ip saddr @mesh4 ip daddr @lan4 accept"));
  assert.ok(!text.includes("daddr != @mesh"));
});

Deno.test("planServer() refuses to map prefixes of different lengths", () => {
  const routes = [{ ...SITE, mapped: parsePrefix("10.201.0.0/16")! }];
  assert.throws(() => planServer({ ...SETTINGS, routes }), RangeError);
});

Deno.test("forwardingSysctls() keeps a host's way out by router advertisements", () => {
  const acceptRa = new Map([["all", "1"], ["eth0", "1"], ["eth1", "0"], ["eth2", "2"]]);
  assert.deepEqual(forwardingSysctls([4, 6], acceptRa), [
    { path: "net/ipv4/ip_forward", value: "1" },
    { path: "net/ipv6/conf/all/accept_ra", value: "2" },
    { path: "net/ipv6/conf/eth0/accept_ra", value: "2" },
    { path: "net/ipv6/conf/all/forwarding", value: "1" },
  ]);
  assert.deepEqual(forwardingSysctls([4], acceptRa).length, 1);
});

Deno.test("sideEffects() names what the kernel changes with forwarding", () => {
  assert.deepEqual(sideEffects("net/ipv4/ip_forward", ["all", "eth0"]), [
    "net/ipv4/conf/all/accept_redirects",
    "net/ipv4/conf/all/forwarding",
    "net/ipv4/conf/eth0/forwarding",
  ]);
  assert.deepEqual(sideEffects("net/ipv6/conf/all/forwarding", ["eth0"]), [
    "net/ipv6/conf/eth0/forwarding",
  ]);
  assert.deepEqual(sideEffects("net/ipv6/conf/eth0/accept_ra", ["eth0"]), []);
});

Deno.test("renderRemoval() works whether the table is there or not", () => {
  assert.equal(renderRemoval("x"), "table inet x\ndelete table inet x\n");
});
