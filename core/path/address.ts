/**
 * How is a path to a peer named? An opaque text that only the shell can send to:
 *
 * | text | path |
 * | --- | --- |
 * | `203.0.113.5:51820` | the node's UDP socket to that endpoint |
 * | `socket:7>203.0.113.5:51820` | another UDP socket, opened for hole punching |
 * | `ssh` | the SSH link |
 * | `node:0123456789abcdef` | another node of the mesh, which passes datagrams on |
 * | `relay:mesh.example.com:8443` | a WebSocket through a coordinator |
 * @module
 */
import type { PeerId } from "../ids.ts";
import { type Endpoint, parseEndpoint } from "../ip.ts";

/** What carries datagrams, in the order in which users want it. */
export const PATH_KINDS = ["udp", "ssh", "node", "relay"] as const;
export type PathKind = typeof PATH_KINDS[number];

/** See the module's doc. */
export type PathAddress = string;

/** What carries datagrams on a path. */
export function kindOf(address: PathAddress): PathKind {
  if (address.startsWith("relay:")) return "relay";
  if (address.startsWith("node:")) return "node";
  return address.startsWith("ssh") ? "ssh" : "udp";
}

/** Whether a path leads to the peer without a third machine. */
export function isDirect(address: PathAddress): boolean {
  const kind = kindOf(address);
  return kind === "udp" || kind === "ssh";
}

/** The path through another node. */
export function nodePath(relay: PeerId): PathAddress {
  return `node:${relay}`;
}

/** The node that a path leads through, or null for other paths. */
export function relayingNode(address: PathAddress): PeerId | null {
  return address.startsWith("node:") ? address.slice(5) : null;
}

/** The path to `endpoint` from extra socket `socket`. */
export function socketPath(socket: number, endpoint: Endpoint): PathAddress {
  return `socket:${socket}>${endpoint}`;
}

/** The parts of a {@link socketPath}, or null for other paths. */
export function extraSocket(
  address: PathAddress,
): { readonly socket: number; readonly endpoint: Endpoint } | null {
  const match = /^socket:(\d+)>(.*)$/.exec(address);
  return match ? { socket: Number(match[1]), endpoint: match[2]! } : null;
}

/** The remote UDP endpoint of a path, or null when it has none. */
export function udpEndpoint(address: PathAddress): Endpoint | null {
  if (kindOf(address) !== "udp") return null;
  return extraSocket(address)?.endpoint ?? address;
}

/** Bytes before each datagram that a node passes on: what it is, and whose. */
export const NODE_RELAY_HEADER = 9;

/**
 * Bytes of headers around a datagram on a path: IP and UDP; through a node, those inside of the
 * session with it. 0 for links, which have no limit.
 */
export function headerBytes(address: PathAddress): number {
  if (kindOf(address) === "node") return 28 + NODE_RELAY_HEADER;
  const endpoint = udpEndpoint(address);
  if (endpoint === null) return 0;
  return parseEndpoint(endpoint)?.ip.includes(":") ? 48 : 28;
}
