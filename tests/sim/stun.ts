/**
 * A STUN server on the simulated internet: two ports of one address.
 * @module
 */
import { answerTo } from "../../coordinator/stun_server.ts";
import { type Endpoint, formatEndpoint, type Ip, parseEndpoint } from "../../core/ip.ts";
import type { Network } from "./network.ts";

const PORTS = [3478, 3479];

/** Answers at `ip`; returns its endpoints. */
export function startSimStun(network: Network, ip: Ip): Endpoint[] {
  const endpoints = PORTS.map((port) => formatEndpoint(ip, port));
  for (const [i, endpoint] of endpoints.entries()) {
    network.attach(endpoint, (from, bytes) => {
      const { ip: hostname, port } = parseEndpoint(from)!;
      const answer = answerTo(bytes, { hostname, port }, true);
      if (!answer) return;
      const source = answer.fromOther ? endpoints[1 - i]! : endpoint;
      network.send(source, from, answer.bytes);
    });
  }
  return endpoints;
}
