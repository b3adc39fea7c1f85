/**
 * Which routers are in front of this machine, for IPv4 and for IPv6? From the kernel's
 * tables under `/proc/net`.
 * @module
 */
import { readProcFile } from "../../core/platform/linux/trim.ts";
import { formatIp, type Ip, maskBytes, parseIp, prefixContains } from "../../core/ip.ts";
import type { FirewallRoute } from "./events.ts";
import { parseFirewallRoute } from "./route6.ts";

const UP = 1;
const GATEWAY = 2;

/** The default gateway and the interface to it in the text of `/proc/net/route`, or null. */
export function parseRoutes(
  text: string,
): { readonly gateway: Ip; readonly interfaceName: string } | null {
  const rows = text.split("\n").slice(1).map((line) => line.split(/\s+/));
  const defaults = rows.filter(([, destination, , flags, , , , mask]) =>
    destination === "00000000" && mask === "00000000" &&
    (Number.parseInt(flags ?? "0", 16) & (UP | GATEWAY)) === (UP | GATEWAY)
  );
  defaults.sort((a, b) => Number(a[6]) - Number(b[6]));
  const [name, , hex] = defaults[0] ?? [];
  if (name === undefined || !/^[0-9A-F]{8}$/i.test(hex ?? "")) return null;
  // The kernel prints the word as it lies in memory.
  const bytes = Uint8Array.fromHex(hex!).reverse();
  return { gateway: formatIp(bytes), interfaceName: name };
}

/** The router and the address of this machine on the way to it, or null. */
export function defaultRoute(): { gateway: Ip; localIp: Ip } | null {
  const found = parseRoutes(readProcFile("/proc/net/route"));
  if (!found) return null;
  const gateway = parseIp(found.gateway)!;
  const own = Deno.networkInterfaces().filter(({ name, family }) =>
    name === found.interfaceName && family === "IPv4"
  );
  const near = own.find(({ cidr }) => {
    const [address, bits] = cidr.split("/");
    const length = Number(bits);
    const bytes = maskBytes(parseIp(address!)!, length);
    return prefixContains({ bytes, bits: length }, gateway);
  });
  const localIp = (near ?? own[0])?.address;
  return localIp === undefined ? null : { gateway: found.gateway, localIp };
}

/** The same for IPv6. */
export function firewallRoute(): FirewallRoute | null {
  return parseFirewallRoute(
    readProcFile("/proc/net/ipv6_route"),
    readProcFile("/proc/net/if_inet6"),
  );
}
