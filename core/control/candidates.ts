/**
 * Can an endpoint that somebody claims be a peer's? Keeps out those that would harm: addresses of
 * this machine, of no machine, of many machines, and of the mesh itself (a tunnel in the tunnel).
 * @module
 */
import {
  type Endpoint,
  type Ip,
  parseEndpoint,
  parseIp,
  parsePrefix,
  prefixContains,
} from "../ip.ts";
import { MAX_ENDPOINTS } from "./messages.ts";
import type { MeshFacts } from "./netmap.ts";

/** RFC 6890: this network, loopback, multicast, reserved and broadcast; link-local IPv6 needs a zone. */
const NEVER_A_PEER = [
  "0.0.0.0/8",
  "127.0.0.0/8",
  "224.0.0.0/3",
  "::/127",
  "::ffff:0:0/96",
  "fe80::/10",
  "ff00::/8",
].map((text) => parsePrefix(text)!);

/** Whether `ip` is this machine's own loopback. */
export function isLoopback(ip: Ip): boolean {
  return ip.startsWith("127.") || ip === "::1";
}

/** Whether a peer outside this machine can have `ip` on the underlying network. */
export function isCandidateIp(ip: Ip, facts: Pick<MeshFacts, "cidr4" | "prefix6">): boolean {
  const bytes = parseIp(ip);
  if (!bytes) return false;
  const own = [parsePrefix(facts.cidr4)!, parsePrefix(facts.prefix6)!];
  return ![...NEVER_A_PEER, ...own].some((prefix) => prefixContains(prefix, bytes));
}

/** The endpoints of `claimed` worth trying: proper, each once, at most {@link MAX_ENDPOINTS}. */
export function usableEndpoints(
  claimed: readonly Endpoint[],
  facts: Pick<MeshFacts, "cidr4" | "prefix6">,
): Endpoint[] {
  const usable = [...new Set(claimed)].filter((endpoint) => {
    const parts = parseEndpoint(endpoint);
    return parts !== null && isCandidateIp(parts.ip, facts);
  });
  return usable.slice(0, MAX_ENDPOINTS);
}
