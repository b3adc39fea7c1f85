/**
 * Keeps a port of the router, in a namespace of the lab: a line of JSON for each change, until its
 * standard input ends and the port is given back. What comes to the port is told too, until it is
 * "end".
 * @module
 */
import { systemRandom } from "../../core/daemon/system_random.ts";
import { defaultRoute, firewallRoute } from "../../transports/portmap/route.ts";
import { PortMapper } from "../../transports/portmap/shell.ts";

const port = Number(Deno.args[0]);
const socket = Deno.listenDatagram({ transport: "udp", hostname: "::", port });
const mapper: PortMapper = new PortMapper({
  port,
  random: systemRandom,
  clock: () => performance.now(),
  route: defaultRoute,
  firewallRoute,
  onChange: () => tell({ ...mapper.report, pinhole: mapper.pinhole }),
});
const receiving = (async () => {
  for await (const [bytes] of socket) {
    const received = new TextDecoder().decode(bytes);
    tell({ received });
    if (received === "end") return;
  }
})();
for await (const _ of Deno.stdin.readable);
await mapper.close();
tell({ closed: true });
await receiving;
socket.close();

function tell(facts: unknown): void {
  console.log(JSON.stringify(facts));
}
