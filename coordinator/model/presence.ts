/**
 * Where a member is, as far as its connection tells: not kept on disk, told anew within seconds.
 * @module
 */
import { isLoopback, usableEndpoints } from "../../core/control/candidates.ts";
import { MAX_ENDPOINTS, type NodeLinks } from "../../core/control/messages.ts";
import { type Endpoint, formatEndpoint, type Ip } from "../../core/ip.ts";

/** Number of one socket, never used twice. */
export type ConnectionId = number;

/** What is known of one member. */
export interface Presence {
  /** The live connection, or null while offline. */
  connection: ConnectionId | null;
  claimed: readonly Endpoint[];
  links: NodeLinks | undefined;
  udpPort: number;
  remote: Ip;
  bootId: string;
  lastSeen: number;
}

/**
 * What the peer claims, then where its connection comes from with the UDP port it claims.
 * @param publicIps Where this machine is reached, for a node on it that connects by loopback.
 */
export function endpointsOf(
  { claimed, udpPort, remote }: Presence,
  publicIps: readonly Ip[],
  mesh: { readonly cidr4: string; readonly prefix6: string },
): Endpoint[] {
  const observed = isLoopback(remote) ? publicIps : [remote];
  const seen = udpPort === 0 ? [] : observed.map((ip) => formatEndpoint(ip, udpPort));
  const proper = usableEndpoints(seen, mesh);
  const own = usableEndpoints(claimed, mesh).slice(0, MAX_ENDPOINTS - proper.length);
  return usableEndpoints([...own, ...proper], mesh);
}
