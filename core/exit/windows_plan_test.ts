import { strict as assert } from "node:assert";
import fc from "fast-check";
import { parsePrefix } from "../ip.ts";
import { Change, type RouteChange, undoOrder } from "./changes.ts";
import type { ClientExitSettings } from "./client_plan.ts";
import { addRule, deleteRule, firewallObstacle, showRule } from "./windows_firewall.ts";
import { addNames, planWindowsClient, removeNames, type WindowsFacts } from "./windows_plan.ts";
import {
  addRoute,
  deleteRoute,
  hasRoute,
  machineRoutes,
  parseInterfaces,
  parseRoutes,
} from "./windows_routes.ts";

const SETTINGS: ClientExitSettings = {
  context: "default",
  interfaceName: "tunnelmesh",
  mark: 0,
  table: 0,
  priority: 0,
  udpPorts: [51820],
  tcpPorts: [],
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
const FACTS: WindowsFacts = {
  routes: {
    4: {
      default: { gateway: "192.168.1.1", interface: "12" },
      onLink: [parsePrefix("192.168.1.0/24")!],
    },
    6: { default: { gateway: "fe80::1", interface: "12" }, onLink: [] },
  },
  families: [4, 6],
  addresses: ["172.30.0.5", "fd00::5"],
  resolver: "172.30.0.5",
};
const INDEXES = new Map([["tunnelmesh", "21"], ["Ethernet", "12"]]);
const ALL_6 = "ffff:ffff:ffff:ffff:ffff:ffff:ffff";
const LOCAL_4 = "localip=0.0.0.0-126.255.255.255,128.0.0.0-172.30.0.4,172.30.0.6-255.255.255.255";
const LOCAL_6 = `localip=::,::2-fd00::4,fd00::6-ffff:${ALL_6}`;

function words(settings: ClientExitSettings, facts = FACTS) {
  return planWindowsClient(settings, facts).rules.map(({ words }) => words.join(" "));
}

function added(changes: readonly Change[]) {
  return changes.filter((change): change is RouteChange => change.kind === "route")
    .map((route) => addRoute(route, INDEXES).argv.slice(2).join(" "));
}

Deno.test("planWindowsClient() refuses everything but endpoints' ports, to the byte", () => {
  assert.deepEqual(words(SETTINGS), [
    `${LOCAL_4} remoteip=0.0.0.0-126.255.255.255,128.0.0.0-192.0.2.0,192.0.2.2-192.168.1.6,` +
    "192.168.1.8-255.255.255.254 protocol=any",
    `${LOCAL_4} remoteip=255.255.255.255/32 protocol=tcp remoteport=0-65535`,
    `${LOCAL_4} remoteip=255.255.255.255/32 protocol=udp remoteport=0-66,68-65535`,
    `${LOCAL_4} remoteip=255.255.255.255/32 protocol=icmpv4`,
    `${LOCAL_4} remoteip=192.0.2.1/32 protocol=tcp remoteport=0-8442,8444-65535`,
    `${LOCAL_4} remoteip=192.0.2.1/32 protocol=udp remoteport=0-3477,3479-65535`,
    `${LOCAL_4} remoteip=192.0.2.1/32 protocol=icmpv4`,
    `${LOCAL_4} remoteip=192.168.1.7/32 protocol=tcp remoteport=0-65535`,
    `${LOCAL_4} remoteip=192.168.1.7/32 protocol=udp remoteport=0-51819,51821-65535`,
    `${LOCAL_4} remoteip=192.168.1.7/32 protocol=icmpv4`,
    `${LOCAL_6} remoteip=::,::2-2001:db8::,2001:db8::2-fe7f:${ALL_6},` +
    `fec0::-ff01:${ALL_6},ff03::-ffff:${ALL_6} protocol=any`,
    `${LOCAL_6} remoteip=fe80::/10,ff02::/16 protocol=tcp remoteport=0-65535`,
    `${LOCAL_6} remoteip=fe80::/10,ff02::/16 protocol=udp remoteport=0-546,548-65535`,
    `${LOCAL_6} remoteip=2001:db8::1/128 protocol=tcp remoteport=0-65535`,
    `${LOCAL_6} remoteip=2001:db8::1/128 protocol=udp remoteport=0-3477,3479-65535`,
    `${LOCAL_6} remoteip=2001:db8::1/128 protocol=icmpv6`,
  ]);
});

Deno.test("planWindowsClient() leaves the LAN within reach, but no DNS of it, to the byte", () => {
  const settings: ClientExitSettings = {
    ...SETTINGS,
    endpoints: SETTINGS.endpoints.slice(2, 3),
    lanPrefixes: [parsePrefix("192.168.1.0/24")!],
    otherMeshes: [{ interfaceName: "tm1", prefixes: [parsePrefix("172.31.0.0/16")!] }],
  };
  const local = "localip=0.0.0.0-126.255.255.255,128.0.0.0-172.30.0.4,172.30.0.6-172.30.255.255," +
    "172.32.0.0-255.255.255.255";
  const lan = "remoteip=192.168.1.0/24,224.0.0.0/24,255.255.255.255/32";
  assert.deepEqual(words(settings).slice(0, 3), [
    `${local} remoteip=0.0.0.0-126.255.255.255,128.0.0.0-192.168.0.255,` +
    "192.168.2.0-223.255.255.255,224.0.1.0-255.255.255.254 protocol=any",
    `${local} ${lan} protocol=tcp remoteport=53,853`,
    `${local} ${lan} protocol=udp remoteport=53,853`,
  ]);
  assert.ok(words(settings)[3]!.startsWith("localip=::,"), "no rule for the endpoint in the LAN");
});

Deno.test("planWindowsClient() leads both halves into the tunnel, endpoints past it, and names", () => {
  const { closing, opening } = planWindowsClient(SETTINGS, FACTS);
  assert.deepEqual(added(closing), [
    "ipv4 add route prefix=192.0.2.1/32 interface=12 nexthop=192.168.1.1 metric=0 store=active",
    "ipv6 add route prefix=2001:db8::1/128 interface=12 nexthop=fe80::1 metric=0 store=active",
  ]);
  assert.deepEqual(added(opening), [
    "ipv4 add route prefix=0.0.0.0/1 interface=21 metric=0 store=active",
    "ipv4 add route prefix=128.0.0.0/1 interface=21 metric=0 store=active",
    "ipv6 add route prefix=::/1 interface=21 metric=0 store=active",
    "ipv6 add route prefix=8000::/1 interface=21 metric=0 store=active",
  ]);
  const names = { kind: "names", comment: "tunnelmesh_exit_default", servers: ["172.30.0.5"] };
  assert.deepEqual(closing.at(-1), names);
});

Deno.test("planWindowsClient() leads nowhere what the exit does not carry, and tells no absent family", () => {
  const { closing, opening } = planWindowsClient({ ...SETTINGS, ipv6: false }, {
    ...FACTS,
    routes: { ...FACTS.routes, 6: { default: null, onLink: [] } },
    resolver: null,
  });
  assert.deepEqual(added(closing).slice(1), [
    "ipv6 add route prefix=2001:db8::1/128 interface=1 metric=0 store=active",
    "ipv6 add route prefix=::/1 interface=1 metric=0 store=active",
    "ipv6 add route prefix=8000::/1 interface=1 metric=0 store=active",
  ]);
  assert.equal(opening.length, 2);
  const alone = planWindowsClient(SETTINGS, { ...FACTS, families: [4] });
  const ipv6 = added([...alone.closing, ...alone.opening]).filter((each) => each.includes("ipv6"));
  assert.deepEqual(ipv6, []);
});

Deno.test("planWindowsClient() refuses nothing when a loss means direct", () => {
  assert.deepEqual(words({ ...SETTINGS, onLoss: "direct" }), []);
});

Deno.test("planWindowsClient() refuses names that could be read as anything else", () => {
  for (const interfaceName of ["a b", "x\nnexthop=1.2.3.4", '"', ""]) {
    assert.throws(() => planWindowsClient({ ...SETTINGS, interfaceName }, FACTS), RangeError);
  }
  assert.throws(() => planWindowsClient({ ...SETTINGS, context: "a b" }, FACTS), RangeError);
});

Deno.test("rules of the firewall are known by what they say", () => {
  const { rules } = planWindowsClient(SETTINGS, FACTS);
  assert.equal(new Set(rules.map(({ name }) => name)).size, rules.length);
  const again = planWindowsClient({ ...SETTINGS, endpoints: [] }, FACTS).rules;
  assert.ok(
    rules.every(({ name, words }) =>
      again.every((each) => (each.name === name) === (each.words.join() === words.join()))
    ),
  );
  for (const { name } of rules) Change.parse({ kind: "block", name });
  const [, rule] = rules;
  assert.deepEqual(addRule(rule!).argv, [
    "netsh.exe",
    "advfirewall",
    "firewall",
    "add",
    "rule",
    `name=${rule!.name}`,
    "dir=out",
    "action=block",
    "enable=yes",
    "profile=any",
    ...rule!.words,
  ]);
  assert.match(showRule("x").argv.join(" "), /^netsh\.exe advfirewall firewall show rule name=x$/);
  assert.match(deleteRule("x").argv.join(" "), / firewall delete rule name=x$/);
});

Deno.test("firewallObstacle() tells a firewall that would not obey", () => {
  const profile = (Enabled: number, AllowLocalFirewallRules: number) => ({
    Name: "Public",
    Enabled,
    AllowLocalFirewallRules,
  });
  const cases: [unknown, RegExp | null][] = [
    [[profile(1, 2), profile(1, 1)], null],
    [[profile(1, 2), profile(0, 2)], /^it is off in the profile Public$/],
    [[profile(1, 0)], /^a group policy ignores/],
    [[], /^it has no profiles$/],
    [{}, /^it has no profiles$/],
  ];
  for (const [profiles, expected] of cases) {
    const obstacle = firewallObstacle(JSON.stringify(profiles));
    if (expected === null) assert.equal(obstacle, null);
    else assert.match(obstacle!, expected);
  }
  assert.match(firewallObstacle("not JSON")!, /cannot be read/);
});

Deno.test("names are led by scripts that say nothing of whom they are about", () => {
  const change = { kind: "names" as const, comment: "tunnelmesh_exit_x", servers: ["fd00::5"] };
  const [add, remove] = [addNames(change), removeNames(change)];
  for (const { argv } of [add, remove]) {
    assert.equal(argv[0], "powershell.exe");
    assert.ok(!/tunnelmesh|fd00/.test(argv.join(" ")));
  }
  assert.deepEqual(JSON.parse(add.input), { comment: change.comment, servers: ["fd00::5"] });
  assert.deepEqual(JSON.parse(remove.input), { comment: change.comment });
});

const INTERFACES = `
Idx     Met         MTU          State                Name
---  ----------  ----------  ------------  ---------------------------
  1          75  4294967295  connected     Loopback Pseudo-Interface 1
 12          25        1500  connected     Ethernet
 14          50        1500  connected     WLAN 2
 21           5        1400  connected     tunnelmesh
`;
/** In German, as far as netsh translates it. */
const ROUTES = `
Veröff.  Typ       Met  Präfix                    Idx  Gateway/Schnittstelle
-------  --------  ---  ------------------------  ---  ------------------------
Nein     Manuell   0    0.0.0.0/0                  14  10.0.0.1
Nein     Manuell   0    0.0.0.0/0                  12  192.168.1.1
Nein     Manuell   0    0.0.0.0/1                  21  tunnelmesh
Nein     System    256  127.0.0.0/8                 1  Loopback Pseudo-Interface 1
Nein     System    256  192.168.1.0/24             12  Ethernet
Nein     Manuell   0    192.0.2.1/32               12  192.168.1.1
`;

Deno.test("routes of Windows are read whatever language netsh speaks", () => {
  const routes = parseRoutes(ROUTES), interfaces = parseInterfaces(INTERFACES);
  assert.deepEqual(interfaces.map(({ index, name }) => [index, name]), [
    ["1", "Loopback Pseudo-Interface 1"],
    ["12", "Ethernet"],
    ["14", "WLAN 2"],
    ["21", "tunnelmesh"],
  ]);
  const { default: way, onLink } = machineRoutes(routes, interfaces, "tunnelmesh");
  assert.deepEqual(way, { gateway: "192.168.1.1", interface: "12" });
  assert.deepEqual(onLink, [parsePrefix("127.0.0.0/8"), parsePrefix("192.168.1.0/24")]);
  const { closing, opening } = planWindowsClient(SETTINGS, FACTS);
  const isThere = (change: Change | undefined) => hasRoute(routes, change as RouteChange, INDEXES);
  assert.deepEqual([isThere(closing[0]), isThere(opening[0]), isThere(opening[1])], [
    true,
    true,
    false,
  ]);
  assert.ok(!hasRoute(routes, { ...closing[0] as RouteChange, gateway: "192.168.1.2" }, INDEXES));
});

Deno.test("listings of Windows are read without an error whatever is in them", () => {
  fc.assert(fc.property(fc.string({ unit: "grapheme" }), fc.nat(ROUTES.length), (noise, at) => {
    for (const text of [noise, ROUTES.slice(0, at) + noise + ROUTES.slice(at)]) {
      machineRoutes(parseRoutes(text), parseInterfaces(text), "tunnelmesh");
    }
  }));
});

Deno.test("undoing on Windows: the newest first, rules of the firewall last", () => {
  const { rules, closing, opening } = planWindowsClient(SETTINGS, FACTS);
  const blocks = rules.map(({ name }): Change => ({ kind: "block", name }));
  const { rest, guards } = undoOrder([...blocks, ...closing, ...opening]);
  assert.deepEqual(rest, [...closing, ...opening].reverse());
  assert.deepEqual(guards, blocks);
  assert.equal(
    deleteRoute(opening[0]!, INDEXES).argv.join(" "),
    "netsh.exe interface ipv4 delete route prefix=0.0.0.0/1 interface=21 store=active",
  );
});
