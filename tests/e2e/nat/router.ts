/**
 * The nftables rulesets that make a Linux machine a router of a given behaviour.
 *
 * Linux maps a port per flow but keeps to one as long as the inside socket has a flow through it
 * and the port is not asked to be random: mapping independent of endpoints. Its filter is connection
 * tracking, which admits only what answers: dependent on address and port. What admits more learns
 * from the packets that leave, after their translation, which outside port is whose (`mapped`) and
 * to whom it has sent (`contacted`), and translates what comes in for such a port.
 * @module
 */
import { MAPPED_PORT, type SiteTraits } from "./kinds.ts";

/** What a router lets through, before anything else. */
export type Passes = "all" | "no-udp" | "only-443" | "proxy-only";

/** Everything a ruleset depends on. The interfaces are `wan` and `lan`. */
export interface RouterState {
  readonly mapping: SiteTraits["mapping"];
  readonly filtering: SiteTraits["filtering"];
  /** Whether machines inside reach one another by external endpoints (RFC 4787 section 6). */
  readonly hairpin: boolean;
  readonly passes: Passes;
  /** Its address outside. */
  readonly wan: string;
  /** The machines inside. */
  readonly machines: readonly string[];
  /** Ports of the first machine stay what they are, as most home routers do. */
  readonly preservesPorts: boolean;
  /** The {@link MAPPED_PORT} is the first machine's, for everyone. */
  readonly isPortMapped: boolean;
  /** `address:port`, for `proxy-only`. */
  readonly proxy: string | null;
  /** How often it was restarted; each time brings other ports. */
  readonly boots: number;
  /** It never says that a packet was too big. */
  readonly isBlackHole: boolean;
  readonly udpTimeoutSeconds: number;
}

/** Outside the range of ephemeral ports, so that no port looks preserved that is not. */
const FIRST_PORT = 10_000;
/** One such range for each machine and boot. */
const PORTS_PER_RANGE = 1_000;
const RANGES = 20;
const MAX_MAPPINGS = 65_535;

/** The text for `nft -f` that makes it so. What was learnt stays, unless `forgets`. */
export function routerRules(state: RouterState, forgets: boolean): string {
  return [
    "table inet lab",
    `${forgets ? "delete" : "flush"} table inet lab`,
    "table inet lab {",
    ...(state.mapping === "none" ? [] : translation(state)),
    chain("forward", "filter hook forward priority filter; policy drop", forwardRules(state)),
    chain("input", "filter hook input priority filter", inputRules),
    chain("output", "filter hook output priority filter", state.isBlackHole ? SILENCE : []),
    "}\n",
  ].join("\n");
}

/** Rules for an `output` chain that say nothing about packets that are too big. */
const SILENCE = [
  "icmp type destination-unreachable icmp code frag-needed drop",
  "icmpv6 type packet-too-big drop",
];

/** Dropped before it is tracked: else it would hold the port against a later flow to its sender. */
const inputRules = [
  'iifname "wan" ct state established,related accept',
  'iifname "wan" icmp type echo-request accept',
  "meta l4proto udp drop",
  'iifname "wan" meta l4proto tcp drop',
];

function forwardRules(state: RouterState): string[] {
  const isOpen = state.mapping === "none" && state.filtering === "endpoint-independent";
  return [
    ...passRules(state),
    "ct state established,related accept",
    "ct status dnat accept",
    `oifname "wan" accept`,
    ...(isOpen ? ['iifname "wan" accept'] : []),
  ];
}

function passRules({ passes, proxy }: RouterState): string[] {
  switch (passes) {
    case "all":
      return [];
    case "no-udp":
      return ["meta l4proto udp drop"];
    case "only-443":
      return [
        ...bothWays("tcp", "{ 53, 443 }"),
        ...bothWays("udp", "53"),
        "drop",
      ];
    case "proxy-only": {
      if (proxy === null) throw new RangeError("Cannot route proxy-only: no proxy was given");
      const [address, port] = proxy.split(":") as [string, string];
      return [...bothWays("tcp", port, address), "drop"];
    }
  }
}

/** Lets through what goes to those ports, and the answers. */
function bothWays(protocol: "tcp" | "udp", ports: string, address?: string): string[] {
  const [to, from] = address ? [`ip daddr ${address}`, `ip saddr ${address}`] : ["", ""];
  return [
    `iifname "lan" oifname "wan" ${to} ${protocol} dport ${ports} accept`,
    `iifname "wan" ${from} ${protocol} sport ${ports} ct state established accept`,
  ];
}

function translation(state: RouterState): string[] {
  const { wan, udpTimeoutSeconds } = state;
  const options = `flags dynamic,timeout; timeout ${udpTimeoutSeconds}s; size ${MAX_MAPPINGS};`;
  const sent = `ip saddr ${wan} meta l4proto udp`;
  return [
    `map mapped { type inet_service : ipv4_addr . inet_service; ${options} }`,
    `set contacted { type inet_service . ipv4_addr; ${options} }`,
    chain("prerouting", "nat hook prerouting priority dstnat", inwards(state)),
    chain("postrouting", "nat hook postrouting priority srcnat", outwards(state)),
    chain("learn", "filter hook postrouting priority srcnat + 50", [
      `${sent} ct direction original ` +
      "update @mapped { udp sport : ct original ip saddr . ct original proto-src }",
      `${sent} ct direction reply ` +
      "update @mapped { udp sport : ct reply ip saddr . ct reply proto-src }",
      `${sent} update @contacted { udp sport . ip daddr }`,
    ]),
  ];
}

function inwards(state: RouterState): string[] {
  const { wan, filtering, hairpin, isPortMapped, machines } = state;
  const toMapped = "meta l4proto udp dnat ip to udp dport map @mapped";
  const rules: string[] = [];
  if (isPortMapped) {
    const from = hairpin ? "" : 'iifname "wan"';
    rules.push(`${from} ip daddr ${wan} udp dport ${MAPPED_PORT} dnat ip to ${machines[0]}`);
  }
  if (filtering === "endpoint-independent") {
    rules.push(`iifname "wan" ip daddr ${wan} ${toMapped}`);
  } else if (filtering === "address-dependent") {
    rules.push(`iifname "wan" ip daddr ${wan} udp dport . ip saddr @contacted ${toMapped}`);
  }
  if (hairpin) rules.push(`iifname "lan" ip daddr ${wan} ${toMapped}`);
  return rules;
}

function outwards(state: RouterState): string[] {
  const { wan, machines, isPortMapped } = state;
  const fixed = isPortMapped
    ? [`ip saddr ${machines[0]} udp sport ${MAPPED_PORT} snat ip to ${wan}:${MAPPED_PORT}`]
    : [];
  return [
    ...fixed,
    ...machines.flatMap((machine, index) => [
      `ip saddr ${machine} meta l4proto { tcp, udp } snat ip to ${wan}${ports(state, index)}`,
      `ip saddr ${machine} snat ip to ${wan}`,
    ]),
  ];
}

/** How the ports of a machine's mappings are chosen. */
function ports(state: RouterState, index: number): string {
  if (state.mapping === "address-and-port-dependent") return " fully-random";
  if (state.preservesPorts && index === 0 && state.boots === 0) return "";
  // Two boots apart never share a range while a site has fewer machines than this step.
  const first = FIRST_PORT + PORTS_PER_RANGE * ((state.boots * 7 + index) % RANGES);
  return `:${first}-${first + PORTS_PER_RANGE - 1}`;
}

function chain(name: string, hook: string, rules: readonly string[]): string {
  return `chain ${name} {\ntype ${hook};\n${rules.join("\n")}\n}`;
}

/** What is wrong with the link between the internet and a site. */
export interface UplinkFaults {
  /** Share of the packets that are lost on the way from the site, 0 to 1. */
  readonly lossUp: number;
  /** The same on the way to it. */
  readonly lossDown: number;
  readonly isBlackHole: boolean;
}

/** Where a link begins in the core, and what lies behind it. */
export interface UplinkPlace {
  readonly table: string;
  readonly device: string;
  /** IPv4 addresses and /24 prefixes; of IPv6 the /64 counts. */
  readonly targets: readonly string[];
}

/** The text for `nft -f` with which the internet's core treats one link. */
export function uplinkRules(place: UplinkPlace, faults: UplinkFaults): string {
  const { table, device } = place;
  return [
    `table inet ${table}`,
    `delete table inet ${table}`,
    `table inet ${table} {`,
    chain("forward", "filter hook forward priority filter", [
      ...loss(`iifname "${device}"`, faults.lossUp),
      ...loss(`oifname "${device}"`, faults.lossDown),
    ]),
    chain(
      "output",
      "filter hook output priority filter",
      faults.isBlackHole ? place.targets.map(silenceAbout) : [],
    ),
    "}\n",
  ].join("\n");
}

function loss(match: string, share: number): string[] {
  if (share <= 0) return [];
  const chance = share >= 1 ? "" : `numgen random mod 10000 < ${Math.round(share * 10_000)}`;
  return [`${match} ${chance} counter drop`];
}

/**
 * Keeps back the word that a packet for this address or prefix was too big. The message holds the
 * packet's own header after its first 8 bytes; the destination is at byte 16 of IPv4, 24 of IPv6.
 */
function silenceAbout(target: string): string {
  if (target.includes(":")) {
    const [prefix] = target.split("::") as [string];
    const digits = prefix.split(":").map((group) => group.padStart(4, "0")).join("");
    return `icmpv6 type packet-too-big @th,256,64 0x${digits} drop`;
  }
  const [address, bits = "32"] = target.split("/") as [string, string?];
  const bytes = address.split(".").slice(0, Number(bits) / 8);
  const digits = bytes.map((byte) => Number(byte).toString(16).padStart(2, "0")).join("");
  return "icmp type destination-unreachable icmp code frag-needed " +
    `@th,192,${bits} 0x${digits} drop`;
}
