/**
 * A STUN server on the simulated internet: two ports of one address, or of two.
 * @module
 */
import { answerTo } from "../../coordinator/stun_server.ts";
import { type Endpoint, formatEndpoint, type Ip, parseEndpoint } from "../../core/ip.ts";
import type { Network } from "./network.ts";

const PORTS = [3478, 3479];

/** Answers at `ip`, and at `otherIp` if there is one; returns the endpoints of `ip`. */
export function startSimStun(network: Network, ip: Ip, otherIp: Ip | null = null): Endpoint[] {
  const endpointsOf = (address: Ip) => PORTS.map((port) => formatEndpoint(address, port));
  const first = endpointsOf(ip);
  const second = otherIp === null ? [] : endpointsOf(otherIp);
  for (const [own, others] of [[first, second], [second, []]]) {
    for (const [i, endpoint] of own!.entries()) {
      network.attach(endpoint, (from, bytes) => {
        const { ip: hostname, port } = parseEndpoint(from)!;
        const other = others![1 - i] ?? null;
        const answer = answerTo(bytes, { hostname, port }, { hasOtherPort: true, other });
        if (!answer) return;
        const source = { same: endpoint, port: own![1 - i]!, address: other! }[answer.by];
        network.send(source, from, answer.bytes);
      });
    }
  }
  return first;
}
