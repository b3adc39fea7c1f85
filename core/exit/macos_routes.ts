/**
 * What routes does a Mac have? Reads the listing of netstat(1).
 *
 * ```
 * Destination        Gateway            Flags               Netif Expire
 * default            192.168.1.1        UGScg                 en0
 * 192.168.1          link#6             UCS                   en0      !
 * ```
 * @module
 */
import { formatIp, maskBytes, parseIp, parsePrefix, type Prefix } from "../ip.ts";
import { type Command, command } from "./changes.ts";
import type { DefaultRoute, MachineRoutes } from "./direct_routes.ts";
import type { Family } from "./routing.ts";

/** Lists the routes of a family. */
export function listRoutes(family: Family): Command {
  return command("/usr/sbin/netstat", "-rn", "-f", family === 4 ? "inet" : "inet6");
}

/**
 * Reads the listing; lines that are not understood say nothing.
 * @param own The tunnel's interface, whose routes do not count.
 */
export function parseMacRoutes(listing: string, own: string): MachineRoutes {
  const lines = listing.split("\n").map((line) => line.trim().split(/\s+/));
  const at = lines.find(([first]) => first === "Destination")?.indexOf("Netif") ?? -1;
  let way: DefaultRoute | null = null;
  const onLink: Prefix[] = [];
  for (const words of lines) {
    const [destination, gateway, flags] = words, device = words[at];
    if (!destination || !gateway || !flags || !device || device === own) continue;
    if (destination === "default") {
      // One of an interface (flag I) counts for sockets bound to it alone.
      if (!flags.includes("I")) way ??= { gateway: gatewayOf(gateway), interface: device };
    } else if (gateway.startsWith("link#")) {
      const prefix = parseDestination(destination);
      if (prefix !== null) onLink.push(prefix);
    }
  }
  return { default: way, onLink };
}

/** An address, with its interface where it is one of the link; null for an interface alone. */
function gatewayOf(text: string): string | null {
  return parseIp(text.split("%")[0]!) === null ? null : text;
}

/** A network as netstat(1) shortens it: `192.168.1`, `10.1/16`, `fe80::%en0/64`. */
function parseDestination(text: string): Prefix | null {
  const [shown, length] = text.split("/");
  const address = shown!.split("%")[0]!;
  if (address.includes(":")) return prefixOf(parseIp(address), Number(length ?? 128));
  const parts = address.split(".");
  if (parts.length > 4) return null;
  const bytes = parseIp([...parts, "0", "0", "0"].slice(0, 4).join("."));
  return prefixOf(bytes, Number(length ?? 8 * parts.length));
}

function prefixOf(bytes: Uint8Array | null, bits: number): Prefix | null {
  if (bytes === null || !Number.isInteger(bits) || bits < 1 || bits > bytes.length * 8) return null;
  return parsePrefix(`${formatIp(maskBytes(bytes, bits))}/${bits}`);
}
