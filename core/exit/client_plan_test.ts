import { strict as assert } from "node:assert";
import { parsePrefix } from "../ip.ts";
import { type ClientExitSettings, killSwitchName, planClient } from "./client_plan.ts";
import { renderTable } from "./nft.ts";
import { routeWords, ruleWords } from "./routing.ts";

const SETTINGS: ClientExitSettings = {
  context: "default",
  interfaceName: "tm0",
  mark: 0x2174,
  table: 8564,
  priority: 4200,
  udpPorts: [51820],
  tcpPorts: [],
  endpoints: [
    { ip: "192.0.2.1", protocol: "tcp", port: 8443 },
    { ip: "2001:db8::1", protocol: "udp", port: 3478 },
  ],
  otherMeshes: [],
  lanPrefixes: [],
  ipv4: true,
  ipv6: true,
  onLoss: "block",
};

function words(settings: ClientExitSettings, family: 4 | 6) {
  const plan = planClient(settings);
  return {
    rules: plan.rules.filter((rule) => rule.family === family).map(ruleWords),
    routes: plan.routes.filter((route) => route.family === family).map(routeWords),
  };
}

Deno.test("planClient() leads everything but marked packets and direct endpoints into the tunnel", () => {
  assert.deepEqual(words(SETTINGS, 4), {
    rules: [
      "priority 4200 fwmark 0x2174 lookup main protocol 84",
      "priority 4201 to 192.0.2.1/32 ipproto tcp dport 8443 lookup main protocol 84",
      "priority 4205 lookup 8564 protocol 84",
    ],
    routes: [
      "0.0.0.0/1 dev tm0 table 8564 proto 84",
      "128.0.0.0/1 dev tm0 table 8564 proto 84",
      "unreachable 0.0.0.0/0 metric 4278198272 table 8564 proto 84",
    ],
  });
  assert.deepEqual(words(SETTINGS, 6), {
    rules: [
      "priority 4200 fwmark 0x2174 lookup main protocol 84",
      "priority 4201 to 2001:db8::1/128 ipproto udp dport 3478 lookup main protocol 84",
      "priority 4205 lookup 8564 protocol 84",
    ],
    routes: [
      "::/1 dev tm0 table 8564 proto 84",
      "8000::/1 dev tm0 table 8564 proto 84",
      "unreachable ::/0 metric 4278198272 table 8564 proto 84",
    ],
  });
});

Deno.test("planClient() leads to the LAN but never by its default route, and never DNS", () => {
  const lanPrefixes = [parsePrefix("192.168.1.0/24")!];
  assert.deepEqual(words({ ...SETTINGS, endpoints: [], lanPrefixes }, 4).rules, [
    "priority 4200 fwmark 0x2174 lookup main protocol 84",
    "priority 4203 ipproto udp dport 53 lookup 8564 protocol 84",
    "priority 4203 ipproto udp dport 853 lookup 8564 protocol 84",
    "priority 4203 ipproto tcp dport 53 lookup 8564 protocol 84",
    "priority 4203 ipproto tcp dport 853 lookup 8564 protocol 84",
    "priority 4204 to 192.168.1.0/24 lookup main suppress_prefixlength 0 protocol 84",
    "priority 4205 lookup 8564 protocol 84",
  ]);
});

Deno.test("planClient() makes IPv6 unreachable when the exit does not carry it", () => {
  for (const onLoss of ["block", "direct", "next"] as const) {
    assert.deepEqual(words({ ...SETTINGS, ipv6: false, onLoss }, 6).routes, [
      "unreachable ::/0 metric 4278198272 table 8564 proto 84",
    ]);
  }
});

Deno.test("planClient() drops nothing and falls through when a lost exit means direct", () => {
  const plan = planClient({ ...SETTINGS, onLoss: "direct" });
  assert.deepEqual(words(plan.settings, 4).routes.length, 2);
  assert.ok(plan.filter.chains.every((chain) => chain.policy === "accept"));
  assert.ok(!renderTable(plan.filter).includes("drop"));
});

Deno.test("planClient() marks connections to the node's ports, so that answers go back past the exit", () => {
  const text = renderTable(planClient({ ...SETTINGS, tcpPorts: [2222, 8443] }).filter);
  const rule =
    'iifname != "tm0" tcp dport { 2222, 8443 } fib daddr type local meta mark set 0x2174';
  assert.ok(text.includes(rule));
});

Deno.test("planClient() lets other meshes' prefixes out by their own interfaces", () => {
  const prefixes = [parsePrefix("172.31.0.0/16")!, parsePrefix("fd01::/48")!];
  const settings = { ...SETTINGS, otherMeshes: [{ interfaceName: "tm1", prefixes }] };
  assert.equal(
    words(settings, 4).rules[2],
    "priority 4202 to 172.31.0.0/16 lookup main protocol 84",
  );
  assert.equal(words(settings, 6).rules[2], "priority 4202 to fd01::/48 lookup main protocol 84");
  const text = renderTable(planClient(settings).filter);
  assert.ok(text.includes('oifname { "lo", "tm0", "tm1" } accept'));
});

Deno.test("planClient() makes this table for nftables, to the byte", () => {
  const lanPrefixes = [parsePrefix("192.168.1.0/24")!];
  const { filter } = planClient({ ...SETTINGS, lanPrefixes });
  assert.equal(
    renderTable(filter),
    `table inet tunnelmesh_exit_default
delete table inet tunnelmesh_exit_default
table inet tunnelmesh_exit_default {
  set direct4 {
    type ipv4_addr . inet_proto . inet_service
    elements = { 192.0.2.1 . tcp . 8443 }
  }

  set lan4 {
    type ipv4_addr
    flags interval
    auto-merge
    elements = { 192.168.1.0/24, 224.0.0.0/24, 255.255.255.255/32 }
  }

  set direct6 {
    type ipv6_addr . inet_proto . inet_service
    elements = { 2001:db8::1 . udp . 3478 }
  }

  set lan6 {
    type ipv6_addr
    flags interval
    auto-merge
  }

  chain marking {
    type filter hook prerouting priority mangle; policy accept;
    ct mark 0x2174 fib daddr type local meta mark set 0x2174
    iifname != "tm0" udp dport { 51820 } fib daddr type local meta mark set 0x2174
  }

  chain leaving {
    type filter hook postrouting priority 300; policy drop;
    oifname { "lo", "tm0" } accept
    meta mark 0x2174 ct mark 0 ct mark set 0x2174
    ip daddr . meta l4proto . th dport @direct4 ct mark 0 ct mark set 0x2174
    ip6 daddr . meta l4proto . th dport @direct6 ct mark 0 ct mark set 0x2174
    meta mark 0x2174 accept
    ip daddr . meta l4proto . th dport @direct4 accept
    ip6 daddr . meta l4proto . th dport @direct6 accept
    udp sport 68 udp dport 67 accept
    ip6 daddr { fe80::/10, ff02::/16 } udp sport 546 udp dport 547 accept
    icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept
    ip6 daddr ff02::/16 icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } accept
    meta l4proto { tcp, udp } th dport { 53, 853 } counter drop
    ip daddr @lan4 accept
    ip6 daddr @lan6 accept
    counter drop
  }
}
`,
  );
});

Deno.test("killSwitchName() refuses a context that nftables would read as something else", () => {
  assert.equal(killSwitchName("work-2"), "tunnelmesh_exit_work-2");
  for (const name of ["", "a b", "a;flush ruleset", "a\n", "é"]) {
    assert.throws(() => killSwitchName(name), RangeError);
  }
  assert.throws(() => planClient({ ...SETTINGS, interfaceName: 'a"b' }), RangeError);
});
