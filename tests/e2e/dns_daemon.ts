/**
 * The resolver part of a node alone, run by tests inside a machine of the lab: an interface with a
 * mesh address, the DNS server, the system's settings.
 *
 * Usage: dns_daemon.ts ADDRESS STATE_DIR [INTERFACE CONTEXT]. ADDRESS is in a /16, in which `self` is
 * it and `other` ends in .0.77; only another context has `wiki`. Prints `ready MODE`, then a line of JSON (`{ report,
 * findings }`) for each line that it reads: `report`, `doctor`, or `all` and `mesh` to take all names or
 * only the mesh's. Puts everything back on SIGTERM.
 * @module
 */
import { ContextNames } from "../../core/daemon/dns_contexts.ts";
import { examineDns } from "../../core/daemon/dns_doctor.ts";
import { startDnsServer } from "../../core/daemon/dns_server.ts";
import { Zone } from "../../core/dns/zone.ts";
import { parsePrefix } from "../../core/ip.ts";
import { createSystemDns } from "../../core/platform/linux/dns.ts";

const [address, stateDir, interfaceName = "tm0", context = "default"] = Deno.args as [
  string,
  string,
  ...string[],
];
const network = address.split(".").slice(0, 2).join(".");
const addresses = [address];

const zone = new Zone(5, context);
zone.setRanges([parsePrefix(`${network}.0.0/16`)!]);
zone.setNodes([
  { name: "self", aliases: [], addresses: [address] },
  { name: "other", aliases: ["www.shop"], addresses: [`${network}.0.77`, "fd00::77"] },
  ...context === "default" ? [] : [{ name: "wiki", aliases: [], addresses: [`${network}.0.78`] }],
], ["self"]);

function log(message: string): void {
  console.error(message);
}

await Deno.mkdir(stateDir, { recursive: true });
const { reverseZones } = zone;
const system = await createSystemDns({ interfaceName, addresses, reverseZones, stateDir, log });
const contexts = new ContextNames({ context, zone, active: () => null });
const server = startDnsServer({
  zone,
  addresses,
  contexts,
  upstreams: () => contexts.withoutContexts(system.upstreams()),
  log,
});
await system.apply();
console.log(`ready ${system.mode}`);

Deno.addSignalListener("SIGTERM", async () => {
  await system.restore();
  await server.close();
  Deno.exit(0);
});

const decoder = new TextDecoder();
for await (const chunk of Deno.stdin.readable) {
  for (const line of decoder.decode(chunk).trim().split("\n")) {
    if (line === "all" || line === "mesh") await system.takeAll(line === "all");
    const report = system.report();
    const findings = line === "doctor"
      ? await examineDns({ name: "self", addresses, interfaceName, server, system: report })
      : [];
    console.log(JSON.stringify({ report, findings }));
  }
}
