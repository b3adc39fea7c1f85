/**
 * Plain WireGuard peers of a node's configuration, as the node takes them.
 * @module
 */
import { MeshError } from "../core/errors.ts";
import { type Endpoint, formatEndpoint, parseEndpoint, parsePrefix } from "../core/ip.ts";
import type { StaticPeer } from "../core/node.ts";
import type { WireguardPeerOptions } from "./run_options.ts";

/** Looks up the address of its endpoint. @throws {MeshError} `config-invalid` when it has none */
export async function staticPeer(peer: WireguardPeerOptions): Promise<StaticPeer> {
  return {
    name: peer.name,
    publicKey: peer.publicKey,
    presharedKey: peer.presharedKey,
    allowedIps: peer.allowedIps.map((text) => parsePrefix(text)!),
    endpoint: peer.endpoint === null ? null : await resolveEndpoint(peer.endpoint),
    persistentKeepaliveMs: peer.persistentKeepaliveMs,
  };
}

/** @throws {MeshError} `config-invalid` when the host has no address. */
async function resolveEndpoint(text: string): Promise<Endpoint> {
  const literal = parseEndpoint(text);
  if (literal) return formatEndpoint(literal.ip, literal.port);
  const at = text.lastIndexOf(":");
  const [host, port] = [text.slice(0, at), Number(text.slice(at + 1))];
  for (const type of ["A", "AAAA"] as const) {
    const found = await Deno.resolveDns(host, type).catch(() => []);
    if (found[0]) return formatEndpoint(found[0], port);
  }
  throw new MeshError("config-invalid", `Cannot use endpoint "${text}": its name has no address`);
}
