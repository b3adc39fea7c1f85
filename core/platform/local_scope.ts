/**
 * Which addresses mean nothing beyond this machine or its link? What happens to them does not change
 * how a peer elsewhere is reached.
 * @module
 */
import { parsePrefix, prefixContains } from "../ip.ts";

/** Loopback, link-local, multicast and broadcast (RFC 6890). */
const LOCAL = [
  "127.0.0.0/8",
  "169.254.0.0/16",
  "224.0.0.0/4",
  "255.255.255.255/32",
  "::1/128",
  "fe80::/10",
  "ff00::/8",
].map((text) => parsePrefix(text)!);

/** Whether the 4 or 16 bytes of an address, or the first one of a route, are of such a range. */
export function isOfLocalScope(address: Uint8Array): boolean {
  return LOCAL.some((prefix) => prefixContains(prefix, address));
}
