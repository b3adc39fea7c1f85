/**
 * The kill switch of Windows: rules of Windows Firewall that refuse what would leave past the tunnel.
 *
 * There a rule that refuses wins over every rule that permits, so nothing of other programs opens a
 * way; but exceptions cannot be permitted either, they have to be left out of what is refused:
 *
 * ```
 * from any address but this machine's own in a mesh, to any address but direct ones: everything
 * from the same, to a direct address: everything but its ports (of TCP and UDP), and ICMP
 * ```
 *
 * By the local address, because the firewall knows no single interface by name; Windows sends with an
 * address by its own interface alone (the strong host model). Rules cannot name "all protocols but
 * TCP and UDP": other ones than those and ICMP reach direct addresses.
 *
 * Nothing in it opens for a process, so sockets of the node need their endpoints in the settings.
 * @module
 */
import { formatPrefix, type Ip, parseIp, parsePrefix, type Prefix, prefixContains } from "../ip.ts";
import { portsWithout, rangesWithout } from "./address_ranges.ts";
import { type Command, command } from "./changes.ts";
import { type ClientExitSettings, identifier } from "./client_plan.ts";
import type { Family } from "./routing.ts";

/** A rule that refuses packets. */
export interface FirewallRule {
  /** Says by its last part what the rule is, so that one that is there need not be made again. */
  readonly name: string;
  /** Words of `netsh advfirewall firewall add rule` behind the name. */
  readonly words: readonly string[];
}

/** Addresses that are reached past the tunnel, and how. */
interface Target {
  readonly prefixes: readonly Prefix[];
  /** Ports that are refused, as netsh takes them; empty for none. */
  readonly refusedTcp: readonly string[];
  readonly refusedUdp: readonly string[];
  readonly allowsIcmp: boolean;
}

const FAMILIES: readonly Family[] = [4, 6];
const DNS_PORTS = ["53", "853"];
const LOOPBACK = { 4: prefixOf("127.0.0.0/8"), 6: prefixOf("::1/128") };
const LINK_SCOPE = {
  4: [prefixOf("224.0.0.0/24"), prefixOf("255.255.255.255/32")],
  6: [prefixOf("fe80::/10"), prefixOf("ff02::/16")],
};
/** Whom a machine asks for its address: broadcast for IPv4, neighbours for IPv6. */
const DHCP_PORT = { 4: 67, 6: 547 };
const ICMP = { 4: "icmpv4", 6: "icmpv6" };

/**
 * All rules.
 * @param addresses This machine's own in the mesh.
 */
export function firewallRules(
  settings: ClientExitSettings,
  addresses: readonly Ip[],
): FirewallRule[] {
  return FAMILIES.flatMap((family) => {
    const targets = targetsOf(settings, family);
    const meshes = settings.otherMeshes.flatMap(({ prefixes }) => prefixes);
    const own = [...addresses.map(prefixOf), ...meshes, LOOPBACK[family]];
    const local = `localip=${rangesWithout(family, own).join(",")}`;
    const direct = [...targets.flatMap(({ prefixes }) => prefixes), LOOPBACK[family]];
    const everything = [
      local,
      `remoteip=${rangesWithout(family, direct).join(",")}`,
      "protocol=any",
    ];
    return [everything, ...targets.flatMap((target) => refusals(target, family, local))];
  }).map((words) => ruleOf(settings.context, words));
}

export function addRule({ name, words }: FirewallRule): Command {
  const common = ["dir=out", "action=block", "enable=yes", "profile=any"];
  return netshRule("add", name, ...common, ...words);
}

/** Succeeds when the rule is there. */
export function showRule(name: string): Command {
  return netshRule("show", name);
}

/** Fails where there is none. */
export function deleteRule(name: string): Command {
  return netshRule("delete", name);
}

/** Asks whether the firewall is on and obeys rules of the machine, in all profiles. */
export const LIST_PROFILES = command(
  "powershell.exe",
  "-NoProfile",
  "-NonInteractive",
  "-Command",
  "$ErrorActionPreference = 'Stop'; Get-NetFirewallProfile -PolicyStore ActiveStore | " +
    "Select-Object Name, Enabled, AllowLocalFirewallRules | ConvertTo-Json -Compress",
);

/** Why rules of ours would not count, by what {@link LIST_PROFILES} prints; null: they do. */
export function firewallObstacle(listing: string): string | null {
  let profiles: unknown;
  try {
    profiles = JSON.parse(listing);
  } catch {
    return "its profiles cannot be read";
  }
  if (!Array.isArray(profiles) || profiles.length === 0) return "it has no profiles";
  for (const { Name, Enabled, AllowLocalFirewallRules } of profiles) {
    // GpoBoolean: 0 is false, 1 true, 2 not configured.
    if (Number(Enabled) !== 1) return `it is off in the profile ${Name}`;
    if (Number(AllowLocalFirewallRules) === 0) {
      return `a group policy ignores the machine's own rules in the profile ${Name}`;
    }
  }
  return null;
}

function netshRule(verb: string, name: string, ...words: string[]): Command {
  return command("netsh.exe", "advfirewall", "firewall", verb, "rule", `name=${name}`, ...words);
}

function targetsOf(settings: ClientExitSettings, family: Family): Target[] {
  const lan = settings.lanPrefixes.filter(isOf(family));
  const neighbours = lan.length > 0 ? [...lan, ...LINK_SCOPE[family]] : [];
  const reached: Target = {
    prefixes: neighbours,
    refusedTcp: DNS_PORTS,
    refusedUdp: DNS_PORTS,
    allowsIcmp: true,
  };
  const link: Target = {
    prefixes: family === 4 ? [LINK_SCOPE[4][1]!] : LINK_SCOPE[6],
    refusedTcp: portsWithout([]),
    refusedUdp: portsWithout([DHCP_PORT[family]]),
    // Neighbour discovery of IPv6.
    allowsIcmp: family === 6,
  };
  const ips = new Set(
    settings.endpoints.map(({ ip }) => ip).filter((ip) => isOf(family)(prefixOf(ip))),
  );
  const isApart = (ip: Ip) => !neighbours.some((prefix) => prefixContains(prefix, parseIp(ip)!));
  return [
    ...lan.length > 0 ? [reached] : [link],
    // What the LAN's rules say of a neighbour is enough.
    ...[...ips].filter(isApart).map((ip) => endpointTarget(settings, ip)),
  ];
}

function endpointTarget({ endpoints }: ClientExitSettings, ip: Ip): Target {
  const refused = (wanted: "tcp" | "udp") =>
    portsWithout(
      endpoints.filter((each) => each.ip === ip && each.protocol === wanted)
        .map(({ port }) => port),
    );
  return {
    prefixes: [prefixOf(ip)],
    refusedTcp: refused("tcp"),
    refusedUdp: refused("udp"),
    allowsIcmp: false,
  };
}

function refusals(target: Target, family: Family, local: string): string[][] {
  const remote = `remoteip=${target.prefixes.map(formatPrefix).join(",")}`;
  const ports = (protocol: string, refused: readonly string[]) =>
    refused.length === 0
      ? []
      : [[local, remote, `protocol=${protocol}`, `remoteport=${refused.join(",")}`]];
  return [
    ...ports("tcp", target.refusedTcp),
    ...ports("udp", target.refusedUdp),
    ...target.allowsIcmp ? [] : [[local, remote, `protocol=${ICMP[family]}`]],
  ];
}

function ruleOf(context: string, words: readonly string[]): FirewallRule {
  return { name: `tunnelmesh_exit_${identifier(context)}_${hash(words.join(" "))}`, words };
}

/** FNV-1a, 64 bits. */
function hash(text: string): string {
  let value = 0xcbf29ce484222325n;
  for (const letter of text) {
    value = BigInt.asUintN(64, (value ^ BigInt(letter.codePointAt(0)!)) * 0x100000001b3n);
  }
  return value.toString(16).padStart(16, "0");
}

function prefixOf(text: string): Prefix {
  const prefix = parsePrefix(text);
  if (prefix === null) throw new RangeError(`"${text}" is no address`);
  return prefix;
}

function isOf(family: Family): (prefix: Prefix) => boolean {
  return (prefix) => prefix.bytes.length === (family === 4 ? 4 : 16);
}
