/**
 * Where may peers reach this machine? Its own addresses, as endpoint candidates.
 * @module
 */
import { canonicalIp, type Endpoint, formatEndpoint, parseIp } from "../ip.ts";

/** Interfaces that lead nowhere for others: bridges of containers and virtual machines. */
const LOCAL_ONLY = /^(lo|docker|br-|veth|virbr|vmnet|cni|flannel)/;

/** An interface address as the system lists it. */
export interface InterfaceAddress {
  readonly name: string;
  readonly address: string;
}

/**
 * Candidates from the machine's addresses, IPv4 first; without loopback, link-local and the
 * interfaces of meshes, through which a peer would be asked to reach the mesh by a mesh.
 */
export function localEndpoints(
  addresses: readonly InterfaceAddress[],
  meshInterfaces: readonly string[],
  port: number,
): Endpoint[] {
  const usable = addresses.flatMap(({ name, address }) => {
    const ip = canonicalIp(address.split("%")[0]!);
    if (!ip || meshInterfaces.includes(name) || LOCAL_ONLY.test(name) || isLocal(ip)) return [];
    return [ip];
  });
  const families = [
    usable.filter((ip) => !ip.includes(":")),
    usable.filter((ip) => ip.includes(":")),
  ];
  return [...new Set(families.flat())].map((ip) => formatEndpoint(ip, port));
}

function isLocal(ip: string): boolean {
  const bytes = parseIp(ip)!;
  if (bytes.length === 4) return bytes[0] === 127 || (bytes[0] === 169 && bytes[1] === 254);
  return ip === "::1" || (bytes[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80);
}
