/**
 * Which router is in front of this machine for IPv6, and what is this machine's address for the
 * internet? From the text of the kernel's tables `/proc/net/ipv6_route` and `/proc/net/if_inet6`.
 * @module
 */
import {
  formatIp,
  type Ip,
  maskBytes,
  parseIp,
  parsePrefix,
  type Prefix,
  prefixContains,
} from "../../core/ip.ts";
import type { FirewallRoute } from "./events.ts";

/** Flags of a route (linux/route.h). */
const UP = 1;
const GATEWAY = 2;
const REJECT = 0x200;
/** Flags of an address (linux/if_addr.h). */
const TEMPORARY = 0x01;
/** Not yet to be used, or no longer: optimistic, duplicate, deprecated, tentative. */
const UNUSABLE = 0x04 | 0x08 | 0x20 | 0x40;
const HEX16 = /^[0-9a-f]{32}$/i;
/** What is routed in the internet (RFC 4291 section 2.4, as far as it was given out). */
const GLOBAL6 = parsePrefix("2000::/3")!;

/** Whether others in the internet may reach this IPv6 address, if firewalls let them. */
export function isGlobal6(ip: Ip): boolean {
  const bytes = parseIp(ip);
  return bytes !== null && prefixContains(GLOBAL6, bytes);
}

/**
 * The default router in the text of `/proc/net/ipv6_route`, and the address of this machine on the
 * way to it in that of `/proc/net/if_inet6`; null without either.
 *
 * A lasting address goes before one that changes by the day (RFC 8981): the pinhole is for it alone.
 */
export function parseFirewallRoute(routes: string, addresses: string): FirewallRoute | null {
  const rows = routes.split("\n").map(parseRoute6).filter((row) => row !== null);
  const defaults = rows.filter(({ prefix, flags }) =>
    prefix.bits === 0 && (flags & (GATEWAY | REJECT)) === GATEWAY
  );
  const [found] = defaults.sort((a, b) => a.metric - b.metric);
  if (!found) return null;
  const { gateway, interfaceName } = found;
  const own = addresses.split("\n").map(parseAddress6).filter((each) =>
    each !== null && each.interfaceName === interfaceName && isGlobal6(each.ip) &&
    (each.flags & UNUSABLE) === 0
  ).map((each) => each!);
  own.sort((a, b) => (a.flags & TEMPORARY) - (b.flags & TEMPORARY));
  const [first] = own;
  if (!first) return null;
  const onLink = rows.filter(({ prefix, flags, interfaceName: name }) =>
    name === interfaceName && (flags & (GATEWAY | REJECT)) === 0 && prefix.bits > 0 &&
    isUnicast(prefix.bytes)
  ).map(({ prefix }) => prefix);
  return { gateway, interfaceName, localIp: first.ip, onLink };
}

interface Route6 {
  readonly prefix: Prefix;
  readonly gateway: Ip;
  readonly metric: number;
  readonly flags: number;
  readonly interfaceName: string;
}

/** Columns: destination, its length, source, its length, gateway, metric, uses twice, flags, name. */
function parseRoute6(line: string): Route6 | null {
  const [destination, length, , , gateway, metric, , , flags, name] = line.trim().split(/\s+/);
  if (name === undefined || !HEX16.test(destination!) || !HEX16.test(gateway!)) return null;
  const bits = Number.parseInt(length!, 16);
  const route = {
    prefix: { bytes: maskBytes(Uint8Array.fromHex(destination!), bits), bits },
    gateway: formatIp(Uint8Array.fromHex(gateway!)),
    metric: Number.parseInt(metric!, 16),
    flags: Number.parseInt(flags!, 16),
    interfaceName: name,
  };
  return bits <= 128 && (route.flags & UP) !== 0 ? route : null;
}

/** Columns: address, index of the interface, length, scope, flags, name. */
function parseAddress6(line: string): { ip: Ip; flags: number; interfaceName: string } | null {
  const [address, , , , flags, interfaceName] = line.trim().split(/\s+/);
  if (interfaceName === undefined || !HEX16.test(address!)) return null;
  const ip = formatIp(Uint8Array.fromHex(address!));
  return { ip, flags: Number.parseInt(flags!, 16), interfaceName };
}

/** Neither multicast nor link-local. */
function isUnicast(bytes: Uint8Array): boolean {
  return bytes[0] !== 0xff && !(bytes[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80);
}
