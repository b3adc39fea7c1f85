/**
 * Keeps a port of the router, in a namespace of the lab: a line of JSON for each change, until its
 * standard input ends. What comes to the port is told too.
 * @module
 */
import { systemRandom } from "../../core/daemon/system_random.ts";
import { defaultRoute } from "../../transports/portmap/route.ts";
import { PortMapper } from "../../transports/portmap/shell.ts";

const port = Number(Deno.args[0]);
const socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port });
const mapper: PortMapper = new PortMapper({
  port,
  random: systemRandom,
  clock: () => performance.now(),
  route: defaultRoute,
  onChange: () => tell(mapper.report),
});
const receiving = (async () => {
  for await (const [bytes] of socket) tell({ received: new TextDecoder().decode(bytes) });
})();
for await (const _ of Deno.stdin.readable);
await mapper.close();
socket.close();
await receiving.catch(() => {});
tell({ closed: true });

function tell(facts: unknown): void {
  console.log(JSON.stringify(facts));
}
