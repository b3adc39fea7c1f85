/**
 * The rules of pf (pf.conf(5) of macOS) for exits: the kill switch of who uses one, and translation
 * of addresses at the exit. Each is the whole text of an anchor of our own, which pfctl puts in place
 * of the former one in one transaction.
 *
 * `quick` decides a packet at once, so the order below is the order of decisions. Nothing that the kill
 * switch passes makes a state: pf looks for states before it looks at rules, and one would go on
 * passing packets of an endpoint that is no longer in the rules.
 * @module
 */
import { formatPrefix, type Prefix } from "../ip.ts";
import { interfaceWord } from "./changes.ts";
import { type ClientExitSettings, identifier } from "./client_plan.ts";
import type { DefaultRoute } from "./direct_routes.ts";
import type { Family } from "./routing.ts";
import type { ServerSettings } from "./server_plan.ts";

/** Plain DNS, and DNS over TLS or QUIC. */
const DNS_PORTS = "{ 53, 853 }";
const LINK_SCOPE = { 4: ["224.0.0.0/24", "255.255.255.255/32"], 6: ["fe80::/10", "ff02::/16"] };
const FAMILIES: readonly Family[] = [4, 6];
const AF = { 4: "inet", 6: "inet6" };

/** The kill switch: nothing leaves but into the tunnel and where the mesh itself is. */
export function killSwitchText(settings: ClientExitSettings): string {
  const { context, interfaceName, otherMeshes, endpoints, udpPorts, lanPrefixes } = settings;
  const inside = ["lo0", interfaceName, ...otherMeshes.map((mesh) => mesh.interfaceName)];
  const direct = endpoints.map(({ ip, protocol, port }) =>
    `pass out quick ${ip.includes(":") ? "inet6" : "inet"} proto ${protocol} ` +
    `from any to ${ip} port ${port} no state`
  );
  return text([
    `# TunnelMesh, context ${identifier(context)}: the kill switch of an exit`,
    `pass out quick on ${list(inside.map(interfaceWord))} all no state`,
    // Of local sockets of root alone: what is forwarded has no user.
    ...udpPorts.length === 0 ? [] : [
      `pass out quick proto udp from any port ${list(udpPorts)} to any user root no state`,
    ],
    ...direct,
    "pass out quick inet proto udp from any port 68 to any port 67 no state",
    `pass out quick inet6 proto udp from any port 546 to ${list(LINK_SCOPE[6])} port 547 no state`,
    // Solicitations of routers and neighbours, advertisements of neighbours.
    "pass out quick inet6 proto ipv6-icmp all icmp6-type { 133, 135, 136 } no state",
    // Reports and ends of membership, which carry an option: switches deliver neighbour discovery to
    // those alone that asked for it.
    "pass out quick inet6 proto ipv6-icmp from any to ff02::/16 " +
    "icmp6-type { 131, 132, 143 } no state allow-opts",
    // A server in the LAN would ask others, outside the tunnel.
    `block drop out quick proto { tcp, udp } from any to any port ${DNS_PORTS}`,
    ...FAMILIES.flatMap((family) => {
      const lan = lanPrefixes.filter(isOf(family)).map(formatPrefix);
      if (lan.length === 0) return [];
      const reached = list([...lan, ...LINK_SCOPE[family]]);
      return [`pass out quick ${AF[family]} from any to ${reached} no state`];
    }),
    "block drop out quick all",
  ]);
}

/**
 * Translation for members that leave by this exit; for IPv6 too, since the internet knows no way
 * back to a mesh's addresses. What comes from elsewhere is not led into the mesh unless it is an
 * answer: those have states, made by the first rule.
 */
export function gatewayText(
  { context, interfaceName, meshPrefixes }: ServerSettings,
  uplinks: Readonly<Record<Family, DefaultRoute | null>>,
): string {
  const mesh = interfaceWord(interfaceName);
  const families = FAMILIES.flatMap((family) => {
    const prefixes = meshPrefixes.filter(isOf(family)).map(formatPrefix);
    const uplink = uplinks[family]?.interface;
    return prefixes.length === 0 || uplink === undefined
      ? []
      : [{ family, table: `<mesh${family}>`, prefixes, uplink: interfaceWord(uplink) }];
  });
  return text([
    `# TunnelMesh, context ${identifier(context)}: an exit`,
    ...families.map(({ table, prefixes }) => `table ${table} const ${list(prefixes)}`),
    // Without aliases: of IPv6 these would include the address of the link.
    ...families.map(({ family, table, uplink }) =>
      `nat on ${uplink} ${AF[family]} from ${table} to ! ${table} -> (${uplink}:0)`
    ),
    ...families.flatMap(({ family, table, uplink }) => [
      `pass in quick on ${mesh} ${AF[family]} from ${table} to ! ${table} keep state`,
      `block drop in quick on ${mesh} ${AF[family]} from ! ${table} to any`,
      `block drop in quick on ${uplink} ${AF[family]} from ${table} to any`,
      `block drop out quick on ${mesh} ${AF[family]} from ! ${table} to any`,
    ]),
  ]);
}

/** Families that an exit carries: of the mesh, and with a way out. */
export function gatewayFamilies(
  { meshPrefixes }: ServerSettings,
  uplinks: Readonly<Record<Family, DefaultRoute | null>>,
): Family[] {
  return FAMILIES.filter((family) => meshPrefixes.some(isOf(family)) && uplinks[family] !== null);
}

function isOf(family: Family): (prefix: Prefix) => boolean {
  return (prefix) => prefix.bytes.length === (family === 4 ? 4 : 16);
}

function list(items: readonly (string | number)[]): string {
  return `{ ${items.join(", ")} }`;
}

function text(lines: readonly string[]): string {
  return lines.join("\n") + "\n";
}
