import { strict as assert } from "node:assert";
import { parsePrefix } from "../ip.ts";
import { Change, type NamesChange, type RouteChange, undoOrder } from "./changes.ts";
import type { ClientExitSettings } from "./client_plan.ts";
import type { RoutesByFamily } from "./direct_routes.ts";
import {
  anchorName,
  flushAnchor,
  hasNames,
  holdsToken,
  isRoute,
  loadAnchor,
  otherExit,
  parseToken,
  planMacClient,
  planMacServer,
  releasePf,
  removeNames,
  routeAdd,
  routeDelete,
  routeGet,
  setNames,
  showNames,
  writeSysctl,
} from "./macos_plan.ts";
import type { ServerSettings } from "./server_plan.ts";

const SETTINGS: ClientExitSettings = {
  context: "default",
  interfaceName: "utun4",
  mark: 0x2174,
  table: 8564,
  priority: 4200,
  udpPorts: [51820],
  tcpPorts: [2222],
  endpoints: [
    { ip: "192.0.2.1", protocol: "tcp", port: 8443 },
    { ip: "192.0.2.1", protocol: "udp", port: 3478 },
    { ip: "192.168.1.7", protocol: "udp", port: 51820 },
    { ip: "2001:db8::1", protocol: "udp", port: 3478 },
  ],
  otherMeshes: [],
  lanPrefixes: [],
  ipv4: true,
  ipv6: true,
  onLoss: "block",
};
const ROUTES: RoutesByFamily = {
  4: {
    default: { gateway: "192.168.1.1", interface: "en0" },
    onLink: [parsePrefix("192.168.1.0/24")!],
  },
  6: { default: { gateway: "fe80::1%en0", interface: "en0" }, onLink: [] },
};
const MAIN = `scrub-anchor "com.apple/*" all fragment reassemble
anchor "com.apple/*" all
nat-anchor "com.apple/*" all
`;
const ANCHOR = "com.apple/000.tunnelmesh.exit.default";
const SERVER: ServerSettings = {
  context: "default",
  interfaceName: "utun4",
  meshPrefixes: [parsePrefix("172.30.0.0/16")!, parsePrefix("fd00:1::/48")!],
  isExit: true,
  routes: [],
};

function words(changes: readonly Change[]) {
  return changes.map((change) => routeAdd(change as RouteChange).argv.join(" "));
}

Deno.test("planMacClient() leads both halves into the tunnel and endpoints past it", () => {
  const { anchor, closing, opening } = planMacClient(SETTINGS, ROUTES, ANCHOR, null);
  assert.deepEqual(words(closing), [
    "/sbin/route -n add -inet 192.0.2.1 -gateway 192.168.1.1",
    "/sbin/route -n add -inet6 2001:db8::1 -gateway fe80::1%en0",
  ]);
  assert.deepEqual(words(opening), [
    "/sbin/route -n add -inet 0.0.0.0/1 -interface utun4",
    "/sbin/route -n add -inet 128.0.0.0/1 -interface utun4",
    "/sbin/route -n add -inet6 ::/1 -interface utun4",
    "/sbin/route -n add -inet6 8000::/1 -interface utun4",
  ]);
  assert.deepEqual(loadAnchor(anchor!), {
    argv: ["/sbin/pfctl", "-a", ANCHOR, "-f", "-"],
    input: `# TunnelMesh, context default: the kill switch of an exit
pass out quick on { lo0, utun4 } all no state
pass out quick proto udp from any port { 51820 } to any user root no state
pass out quick inet proto tcp from any to 192.0.2.1 port 8443 no state
pass out quick inet proto udp from any to 192.0.2.1 port 3478 no state
pass out quick inet proto udp from any to 192.168.1.7 port 51820 no state
pass out quick inet6 proto udp from any to 2001:db8::1 port 3478 no state
pass out quick inet proto udp from any port 68 to any port 67 no state
pass out quick inet6 proto udp from any port 546 to { fe80::/10, ff02::/16 } port 547 no state
pass out quick inet6 proto ipv6-icmp all icmp6-type { 133, 135, 136 } no state
pass out quick inet6 proto ipv6-icmp from any to ff02::/16 icmp6-type { 131, 132, 143 } no state allow-opts
block drop out quick proto { tcp, udp } from any to any port { 53, 853 }
block drop out quick all
`,
  });
});

Deno.test("planMacClient() passes the LAN and other meshes, but no DNS of the LAN, to the byte", () => {
  const settings: ClientExitSettings = {
    ...SETTINGS,
    udpPorts: [],
    endpoints: [],
    otherMeshes: [{ interfaceName: "utun7", prefixes: [parsePrefix("172.31.0.0/16")!] }],
    lanPrefixes: [parsePrefix("192.168.1.0/24")!, parsePrefix("2001:db8:1::/64")!],
  };
  assert.equal(
    planMacClient(settings, ROUTES, ANCHOR, null).anchor!.text,
    `# TunnelMesh, context default: the kill switch of an exit
pass out quick on { lo0, utun4, utun7 } all no state
pass out quick inet proto udp from any port 68 to any port 67 no state
pass out quick inet6 proto udp from any port 546 to { fe80::/10, ff02::/16 } port 547 no state
pass out quick inet6 proto ipv6-icmp all icmp6-type { 133, 135, 136 } no state
pass out quick inet6 proto ipv6-icmp from any to ff02::/16 icmp6-type { 131, 132, 143 } no state allow-opts
block drop out quick proto { tcp, udp } from any to any port { 53, 853 }
pass out quick inet from any to { 192.168.1.0/24, 224.0.0.0/24, 255.255.255.255/32 } no state
pass out quick inet6 from any to { 2001:db8:1::/64, fe80::/10, ff02::/16 } no state
block drop out quick all
`,
  );
});

Deno.test("planMacClient() refuses what the exit does not carry, and endpoints without a way", () => {
  const routes = { ...ROUTES, 6: { default: null, onLink: [] } };
  const { closing, opening } = planMacClient({ ...SETTINGS, ipv6: false }, routes, ANCHOR, null);
  assert.deepEqual(words(closing), [
    "/sbin/route -n add -inet 192.0.2.1 -gateway 192.168.1.1",
    "/sbin/route -n add -inet6 2001:db8::1 -gateway ::1 -reject",
    "/sbin/route -n add -inet6 ::/1 -gateway ::1 -reject",
    "/sbin/route -n add -inet6 8000::/1 -gateway ::1 -reject",
  ]);
  assert.equal(opening.length, 2);
});

Deno.test("planMacClient() leads endpoints to an interface where there is no router", () => {
  const way = { default: { gateway: null, interface: "ppp0" }, onLink: [] };
  const { closing } = planMacClient(SETTINGS, { ...ROUTES, 4: way }, null, null);
  assert.equal(words(closing)[0], "/sbin/route -n add -inet 192.0.2.1 -interface ppp0");
});

Deno.test("planMacClient() refuses names that could be read as anything else", () => {
  for (const interfaceName of ["-reject", "en0 all", "a\nb", ""]) {
    assert.throws(
      () => planMacClient({ ...SETTINGS, interfaceName }, ROUTES, ANCHOR, null),
      RangeError,
    );
  }
  const otherMeshes = [{ interfaceName: "lo0 }", prefixes: [] }];
  assert.throws(
    () => planMacClient({ ...SETTINGS, otherMeshes }, ROUTES, ANCHOR, null),
    RangeError,
  );
  assert.throws(() => anchorName(MAIN, "exit", "a/b"), RangeError);
});

Deno.test("planMacServer() translates members and narrows what is forwarded, to the byte", () => {
  const uplinks = { 4: ROUTES[4].default, 6: { gateway: null, interface: "en1" } };
  const { anchor, sysctls } = planMacServer(SERVER, uplinks, "tunnelmesh/gateway.default");
  assert.deepEqual(sysctls, ["net.inet.ip.forwarding", "net.inet6.ip6.forwarding"]);
  assert.deepEqual(loadAnchor(anchor), {
    argv: ["/sbin/pfctl", "-a", "tunnelmesh/gateway.default", "-f", "-"],
    input: `# TunnelMesh, context default: an exit
table <mesh4> const { 172.30.0.0/16 }
table <mesh6> const { fd00:1::/48 }
nat on en0 inet from <mesh4> to ! <mesh4> -> (en0:0)
nat on en1 inet6 from <mesh6> to ! <mesh6> -> (en1:0)
pass in quick on utun4 inet from <mesh4> to ! <mesh4> keep state
block drop in quick on utun4 inet from ! <mesh4> to any
block drop in quick on en0 inet from <mesh4> to any
block drop out quick on utun4 inet from ! <mesh4> to any
pass in quick on utun4 inet6 from <mesh6> to ! <mesh6> keep state
block drop in quick on utun4 inet6 from ! <mesh6> to any
block drop in quick on en1 inet6 from <mesh6> to any
block drop out quick on utun4 inet6 from ! <mesh6> to any
`,
  });
});

Deno.test("planMacServer() carries families that have a way out, and no networks", () => {
  const uplinks = { 4: ROUTES[4].default, 6: null };
  const { anchor, sysctls } = planMacServer(SERVER, uplinks, "tunnelmesh/gateway.default");
  assert.deepEqual(sysctls, ["net.inet.ip.forwarding"]);
  assert.ok(!anchor.text.includes("inet6"));
  const cannot = { name: "MeshError", message: /^Cannot be an exit: / };
  assert.throws(() => planMacServer(SERVER, { 4: null, 6: null }, "tunnelmesh/gateway.x"), cannot);
  const routes = [{ lan: parsePrefix("10.0.0.0/8")!, mapped: null, mayInitiate: false }];
  assert.throws(() => planMacServer({ ...SERVER, routes }, uplinks, "tunnelmesh/gateway.x"), {
    code: "unsupported",
    message: /^Cannot offer networks behind this node: /,
  });
});

Deno.test("anchorName() takes what the main rules call, an administrator's line first", () => {
  assert.equal(anchorName(MAIN, "exit", "default"), ANCHOR);
  const own = `anchor "tunnelmesh/*" all\n${MAIN}`;
  assert.equal(anchorName(own, "exit", "default"), "tunnelmesh/exit.default");
  // Rules of an exit are called twice, for translation and for filtering.
  assert.equal(anchorName(own, "gateway", "x"), "com.apple/000.tunnelmesh.gateway.x");
  for (const rules of ["", 'anchor "com.apple/*" in on en1 all', 'anchor "com.apple" all']) {
    assert.throws(() => anchorName(rules, "exit", "default"), {
      code: "unsupported",
      message: /^Cannot use the packet filter: /,
    });
  }
});

Deno.test("otherExit() tells another context's kill switch from everything else", () => {
  const listing = "  com.apple/000.tunnelmesh.gateway.home\n  com.apple/250.ApplicationFirewall\n";
  assert.equal(otherExit(listing, ANCHOR), null);
  assert.equal(otherExit(`${listing}  ${ANCHOR}\n`, ANCHOR), null);
  assert.equal(otherExit(`${listing}  com.apple/000.tunnelmesh.exit.work\n`, ANCHOR), "work");
  assert.equal(otherExit("  tunnelmesh/exit.work\n", "tunnelmesh/exit.home"), "work");
});

Deno.test("tokens of pf are read from what pfctl prints, whole", () => {
  assert.equal(parseToken("pf enabled\nToken : 17345217430129284301\n"), "17345217430129284301");
  assert.equal(parseToken("No ALTQ support in kernel\npf already enabled\n"), null);
  const listing = "TOKENS:\nPID Process Name TOKEN TIMESTAMP\n99 pfctl 123456 2 days 01:00:00\n";
  assert.ok(holdsToken(listing, "123456"));
  assert.ok(!holdsToken(listing, "12345"));
});

const HALF: RouteChange = {
  kind: "route",
  prefix: "0.0.0.0/1",
  gateway: null,
  interface: "utun4",
};
const HOST: RouteChange = {
  kind: "route",
  prefix: "192.0.2.1/32",
  gateway: "192.168.1.1",
  interface: "en0",
};

function answer(destination: string, mask: string | null, rest: string) {
  const masked = mask === null ? "" : `       mask: ${mask}\n`;
  return `   route to: x\ndestination: ${destination}\n${masked}${rest}`;
}

Deno.test("isRoute() knows our routes from those that cover them and those of others", () => {
  const gateway = "    gateway: 192.168.1.1\n  interface: en0\n      flags: <UP,GATEWAY,DONE>\n";
  const device = "  interface: utun4\n      flags: <UP,DONE,STATIC>\n";
  assert.ok(isRoute(answer("192.0.2.1", null, gateway), HOST));
  assert.ok(!isRoute(answer("192.0.2.1", null, gateway.replace("1.1", "1.2")), HOST));
  assert.ok(!isRoute(answer("default", "default", gateway), HOST));
  assert.ok(isRoute(answer("default", "128.0.0.0", device), HALF));
  assert.ok(isRoute(answer("0.0.0.0", "128.0.0.0", device), HALF));
  assert.ok(!isRoute(answer("default", "default", device), HALF));
  assert.ok(!isRoute(answer("default", "128.0.0.0", device.replace("utun4", "utun5")), HALF));
  assert.ok(!isRoute("", HALF));
  const nowhere: RouteChange = { ...HALF, prefix: "8000::/1", interface: null };
  const refusing = "    gateway: ::1\n  interface: lo0\n      flags: <UP,GATEWAY,REJECT,DONE>\n";
  assert.ok(isRoute(answer("8000::", "8000::", refusing), nowhere));
  assert.ok(!isRoute(answer("8000::", "8000::", device), nowhere));
});

Deno.test("undoing on a Mac: routes from the newest, rules, then the reference that enables them", () => {
  const changes: Change[] = [
    { kind: "anchor", name: ANCHOR },
    { kind: "pf", token: "7" },
    HOST,
    HALF,
  ];
  const { rest, guards } = undoOrder(changes);
  assert.deepEqual([...rest, ...guards], [HALF, HOST, changes[0], changes[1]]);
  assert.deepEqual(
    [
      routeGet(HALF),
      routeDelete(HALF),
      routeDelete(HOST),
      flushAnchor(ANCHOR),
      releasePf("7"),
      writeSysctl("net.inet.ip.forwarding", "0"),
    ].map(({ argv }) => argv.join(" ")),
    [
      "/sbin/route -n get -inet 0.0.0.0/1",
      "/sbin/route -n delete -inet 0.0.0.0/1",
      "/sbin/route -n delete -inet 192.0.2.1",
      `/sbin/pfctl -a ${ANCHOR} -F all`,
      "/sbin/pfctl -X 7",
      "/usr/sbin/sysctl -w net.inet.ip.forwarding=0",
    ],
  );
});

Deno.test("records take no words that a program could read as options or other rules", () => {
  const bad: unknown[] = [
    { ...HOST, gateway: "-interface" },
    { ...HOST, gateway: "fe80::1%en0 all" },
    { ...HOST, interface: "-reject" },
    { ...HOST, prefix: "default" },
    { kind: "anchor", name: "com.apple/250.ApplicationFirewall" },
    { kind: "anchor", name: "tunnelmesh/../x" },
    { kind: "pf", token: "7 -F all" },
    { kind: "sysctl", name: "kern.securelevel", value: "0" },
  ];
  for (const each of bad) assert.equal(Change.safeParse(each).success, false, JSON.stringify(each));
  for (const each of [HOST, HALF, { ...HOST, gateway: "fe80::1%en0" }]) Change.parse(each);
});

Deno.test("names are led to the node by a key of its own, to the byte", () => {
  const { closing } = planMacClient(SETTINGS, ROUTES, ANCHOR, "172.30.0.5");
  const names = closing.at(-1) as NamesChange;
  const key = "State:/Network/Service/tunnelmesh_exit_default/DNS";
  assert.deepEqual(
    [setNames(names), removeNames(names), showNames(names)],
    [
      `open
d.init
d.add ServerAddresses * 172.30.0.5
d.add SupplementalMatchDomains * ""
set ${key}
close
`,
      `open\nremove ${key}\nclose\n`,
      `open\nshow ${key}\nclose\n`,
    ].map((input) => ({ argv: ["/usr/sbin/scutil"], input })),
  );
  const shown = (server: string) =>
    `<dictionary> {
  ServerAddresses : <array> {
    0 : ${server}
  }
  SupplementalMatchDomains : <array> {
    0 :
  }
}
`;
  assert.ok(hasNames(shown("172.30.0.5"), names));
  assert.ok(!hasNames(shown("172.30.0.50"), names));
  assert.ok(!hasNames("  No such key\n", names));
});
