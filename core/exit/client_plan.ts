/**
 * What does this machine's kernel have to be told so that everything leaves by an exit node, and
 * nothing leaves otherwise?
 *
 * ```
 * rule  (first to last)                                  packets
 * marked                                    -> main      of the node's own sockets
 * to a direct endpoint, protocol and port   -> main      of sockets that carry no mark
 * to prefixes of other meshes               -> main
 * to port 53 or 853, with LAN access        -> own       DNS, also to a server in the LAN
 * to prefixes of the LAN, but by no default -> main
 * all                                       -> own       0/1 and 128/1: into the tunnel
 * ```
 *
 * The own table ends in an unreachable route: when the tunnel's interface goes, and its routes with
 * it, programs get an error at once. The kill switch is a table of nftables that sees every packet
 * about to leave, forwarded ones too, after all routing: what goes neither into the tunnel nor where
 * the rules say is dropped, however it came there (a socket bound to an interface, a rule that
 * somebody removed). Both belong to the kernel, so they stay when this program dies.
 * @module
 */
import { formatPrefix, type Ip, parseIp, type Prefix } from "../ip.ts";
import { anySet, type NftChain, type NftSet, type NftTable, quoted } from "./nft.ts";
import { type Family, MAIN_TABLE, type PolicyRule, type Route, type RuleMatch } from "./routing.ts";

/** What happens when the exit is lost. */
export const ON_EXIT_LOSS = ["block", "direct", "next"] as const;
export type OnExitLoss = typeof ON_EXIT_LOSS[number];

/** Whom the machine reaches without the tunnel although the socket carries no mark. */
export interface DirectEndpoint {
  readonly ip: Ip;
  readonly protocol: "tcp" | "udp";
  readonly port: number;
}

/** Everything that decides how the plan looks. */
export interface ClientExitSettings {
  /** Name of the context, for the table's name. */
  readonly context: string;
  readonly interfaceName: string;
  /** Of the node's own sockets, the whole of it. */
  readonly mark: number;
  /** Number of the routing table that belongs to this alone. */
  readonly table: number;
  /** The first of {@link RULE_PRIORITIES} priorities. */
  readonly priority: number;
  /** Ports of the node's own sockets: packets to them pass a strict reverse path filter. */
  readonly udpPorts: readonly number[];
  /** Ports on which the node accepts connections: what they answer goes the way it came. */
  readonly tcpPorts: readonly number[];
  /** Coordinators, relays, SSH links. */
  readonly endpoints: readonly DirectEndpoint[];
  /** Interfaces of other contexts with their meshes' prefixes. */
  readonly otherMeshes: readonly {
    readonly interfaceName: string;
    readonly prefixes: readonly Prefix[];
  }[];
  /**
   * Prefixes reached without the tunnel: those of the LAN with access to it, and of bridges to
   * containers. Empty for none.
   */
  readonly lanPrefixes: readonly Prefix[];
  /** Whether mesh and exit carry it; what they do not carry is unreachable. */
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  readonly onLoss: OnExitLoss;
}

/** What to tell the kernel. */
export interface ClientPlan {
  readonly settings: ClientExitSettings;
  readonly rules: readonly PolicyRule[];
  readonly routes: readonly Route[];
  readonly filter: NftTable;
}

/** How many priorities in a row the rules take. */
export const RULE_PRIORITIES = 6;
/** Plain DNS, and DNS over TLS or QUIC (RFC 7858, RFC 9250). */
const DNS_PORTS = [53, 853];
/** Two halves: more specific than a default route, wherever one stands. */
const HALVES = { 4: ["0.0.0.0/1", "128.0.0.0/1"], 6: ["::/1", "8000::/1"] };
const DEFAULT = { 4: "0.0.0.0/0", 6: "::/0" };
/** What neighbours say to all at once: link-local multicast and broadcast, IPv6 on the link. */
const LINK_SCOPE = { 4: ["224.0.0.0/24", "255.255.255.255/32"], 6: ["fe80::/10", "ff02::/16"] };
const FAMILIES: readonly Family[] = [4, 6];

/** What the names of kill switches begin with, before the context's. */
export const KILL_SWITCH = "tunnelmesh_exit_";

/** Name of the table of nftables. */
export function killSwitchName(context: string): string {
  return KILL_SWITCH + identifier(context);
}

/** A context's name as part of a name in nftables. */
export function identifier(context: string): string {
  if (!/^[A-Za-z0-9_.-]{1,64}$/.test(context)) {
    throw new RangeError(`"${context}" cannot be part of a table's name`);
  }
  return context;
}

/** Makes the plan. */
export function planClient(settings: ClientExitSettings): ClientPlan {
  return {
    settings,
    rules: FAMILIES.flatMap((family) => rulesOf(settings, family)),
    routes: FAMILIES.flatMap((family) => routesOf(settings, family)),
    filter: filterOf(settings),
  };
}

function rulesOf(settings: ClientExitSettings, family: Family): PolicyRule[] {
  const { mark, table, endpoints, otherMeshes } = settings;
  const lan = settings.lanPrefixes.filter(isOf(family)).map(formatPrefix);
  const others = otherMeshes.flatMap(({ prefixes }) => prefixes.filter(isOf(family)));
  const rule = (at: number, match: RuleMatch, lookup = MAIN_TABLE): PolicyRule => {
    return { family, priority: settings.priority + at, match, table: lookup };
  };
  const direct = endpoints.filter(({ ip }) => familyOf(ip) === family).map((endpoint) => {
    const { ip, protocol, port } = endpoint;
    return rule(1, { to: `${ip}/${family === 4 ? 32 : 128}`, protocol, port });
  });
  const dns = (["udp", "tcp"] as const).flatMap((protocol) =>
    DNS_PORTS.map((port) => rule(3, { protocol, port }, table))
  );
  return [
    rule(0, { mark }),
    ...direct,
    ...others.map((prefix) => rule(2, { to: formatPrefix(prefix) })),
    ...lan.length > 0 ? dns : [],
    // Where the LAN has gone the default route must not lead there.
    ...lan.map((to) => ({ ...rule(4, { to }), suppressLength: 0 })),
    rule(5, {}, table),
  ];
}

function routesOf(settings: ClientExitSettings, family: Family): Route[] {
  const { table, interfaceName, onLoss } = settings;
  const isCarried = family === 4 ? settings.ipv4 : settings.ipv6;
  const halves = isCarried
    ? HALVES[family].map((prefix) => ({ family, prefix, table, device: interfaceName }))
    : [];
  // Without it packets fall through to the default route once the tunnel's interface is gone.
  const end = { family, prefix: DEFAULT[family], table, device: null };
  return isCarried && onLoss === "direct" ? halves : [...halves, end];
}

function filterOf(settings: ClientExitSettings): NftTable {
  const chains = settings.onLoss === "direct"
    ? [marking(settings), remembering(settings)]
    : [marking(settings), killSwitch(settings)];
  return { name: killSwitchName(settings.context), sets: setsOf(settings), chains };
}

function setsOf(settings: ClientExitSettings): NftSet[] {
  return FAMILIES.flatMap((family) => {
    const lan = settings.lanPrefixes.filter(isOf(family)).map(formatPrefix);
    const endpoints = settings.endpoints.filter(({ ip }) => familyOf(ip) === family)
      .map(({ ip, protocol, port }) => `${ip} . ${protocol} . ${port}`);
    const type = `ipv${family}_addr`;
    return [{
      name: `direct${family}`,
      type: `${type} . inet_proto . inet_service`,
      isInterval: false,
      elements: endpoints,
    }, {
      name: `lan${family}`,
      type,
      isInterval: true,
      elements: lan.length > 0 ? [...lan, ...LINK_SCOPE[family]] : [],
    }];
  });
}

/**
 * Marks what comes in for the node's sockets; one that is accepted by TCP inherits the mark
 * (`tcp_fwmark_accept`). A strict reverse path filter (`rp_filter`) asks which
 * way an answer would go, and drops the packet when that is the tunnel.
 */
function marking({ mark, interfaceName, udpPorts, tcpPorts }: ClientExitSettings): NftChain {
  const own = (protocol: "udp" | "tcp", ports: readonly number[]) =>
    ports.length === 0 ? [] : [
      `iifname != ${quoted(interfaceName)} ${protocol} dport ${anySet(ports)} ` +
      `fib daddr type local meta mark set ${hex(mark)}`,
    ];
  return {
    name: "marking",
    type: "filter",
    hook: "prerouting",
    priority: "mangle",
    policy: "accept",
    rules: [
      // What comes late for an address that the machine had is not passed on past the tunnel.
      `ct mark ${hex(mark)} fib daddr type local meta mark set ${hex(mark)}`,
      ...own("udp", udpPorts),
      ...own("tcp", tcpPorts),
    ],
  };
}

/** Rules by which {@link marking} knows answers again; another program's mark is left alone. */
function rememberingRules({ mark }: ClientExitSettings): string[] {
  const remember = `ct mark 0 ct mark set ${hex(mark)}`;
  return [
    `meta mark ${hex(mark)} ${remember}`,
    `ip daddr . meta l4proto . th dport @direct4 ${remember}`,
    `ip6 daddr . meta l4proto . th dport @direct6 ${remember}`,
  ];
}

/** The least that `direct` needs: nothing is dropped. */
function remembering(settings: ClientExitSettings): NftChain {
  return {
    name: "leaving",
    type: "filter",
    hook: "postrouting",
    priority: "300",
    policy: "accept",
    rules: rememberingRules(settings),
  };
}

function killSwitch(settings: ClientExitSettings): NftChain {
  const { mark, interfaceName, otherMeshes } = settings;
  const inside = ["lo", interfaceName, ...otherMeshes.map((mesh) => mesh.interfaceName)];
  return {
    ...remembering(settings),
    policy: "drop",
    rules: [
      `oifname ${anySet(inside.map(quoted))} accept`,
      ...rememberingRules(settings),
      `meta mark ${hex(mark)} accept`,
      "ip daddr . meta l4proto . th dport @direct4 accept",
      "ip6 daddr . meta l4proto . th dport @direct6 accept",
      "udp sport 68 udp dport 67 accept",
      `ip6 daddr ${anySet(LINK_SCOPE[6])} udp sport 546 udp dport 547 accept`,
      // Routers do not forward these, and neighbours ignore them with any other hop limit.
      "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } " +
      "ip6 hoplimit 255 accept",
      // Switches deliver neighbour discovery to those alone that asked for it.
      "ip6 daddr ff02::/16 icmpv6 type { mld-listener-report, mld-listener-done, " +
      "mld2-listener-report } accept",
      // A server in the LAN would ask others, outside the tunnel.
      `meta l4proto { tcp, udp } th dport ${anySet(DNS_PORTS)} counter drop`,
      "ip daddr @lan4 accept",
      "ip6 daddr @lan6 accept",
      "counter drop",
    ],
  };
}

function isOf(family: Family): (prefix: Prefix) => boolean {
  return (prefix) => prefix.bytes.length === (family === 4 ? 4 : 16);
}

function familyOf(ip: Ip): Family {
  return parseIp(ip)!.length === 4 ? 4 : 6;
}

function hex(mark: number): string {
  return `0x${mark.toString(16)}`;
}
