/**
 * Nebula as a contender: two hosts of one certificate authority that know each other's address, no
 * lighthouse.
 * @module
 */
import { dirname, join } from "node:path";
import { must, type Process, waitFor } from "../../tests/e2e/lab/process.ts";
import type { Host } from "../../tests/e2e/lab/topology.ts";
import type { Pair } from "./pair.ts";
import { disposeAll, type End, type Tunnel, TUNNEL_MTU } from "./tunnel.ts";

const INTERFACE = "nebula0";
const PORT = 4242;
const ADDRESSES = { a: "10.98.0.1", b: "10.98.0.2" } as const;

/** Starts `nebula` on both machines; `nebula-cert` is expected beside it. */
export async function startNebula(program: string, pair: Pair): Promise<Tunnel> {
  await certify(join(dirname(program), "nebula-cert"), pair);
  const running: Process[] = [];
  try {
    for (const [own, other] of [["a", "b"], ["b", "a"]] as const) {
      const file = `${homeOf(pair[own])}/config.yml`;
      await Deno.writeTextFile(file, configOf(pair[own], ADDRESSES[other], pair[other].ip4));
      const process = pair[own].namespace.spawn([program, "-config", file]);
      running.push(process);
      await waitForInterface(pair[own], process);
    }
  } catch (error) {
    await disposeAll(running);
    throw error;
  }
  const end = (own: "a" | "b", process: Process): End => {
    return { machine: pair[own].namespace, ip: ADDRESSES[own], pid: process.pid };
  };
  return {
    a: end("a", running[0]!),
    b: end("b", running[1]!),
    [Symbol.asyncDispose]: () => disposeAll(running),
  };
}

/** Makes an authority on `a` and a certificate for each machine. */
async function certify(tool: string, pair: Pair): Promise<void> {
  const ca = homeOf(pair.a);
  const authority = ["-out-crt", `${ca}/ca.crt`, "-out-key", `${ca}/ca.key`];
  await must([tool, "ca", "-name", "benchmark", ...authority]);
  for (const label of ["a", "b"] as const) {
    const home = homeOf(pair[label]);
    const identity = ["-name", label, "-networks", `${ADDRESSES[label]}/24`];
    const files = ["-out-crt", `${home}/host.crt`, "-out-key", `${home}/host.key`];
    const signer = ["-ca-crt", `${ca}/ca.crt`, "-ca-key", `${ca}/ca.key`];
    await must([tool, "sign", ...identity, ...signer, ...files]);
  }
  await Deno.copyFile(`${ca}/ca.crt`, `${homeOf(pair.b)}/ca.crt`);
}

/** All settings that have a default keep it, but for the MTU, which is the same for all tunnels. */
function configOf(own: Host, otherAddress: string, otherHost: string): string {
  const home = homeOf(own);
  const anyone = [{ port: "any", proto: "any", host: "any" }];
  return JSON.stringify({
    pki: { ca: `${home}/ca.crt`, cert: `${home}/host.crt`, key: `${home}/host.key` },
    static_host_map: { [otherAddress]: [`${otherHost}:${PORT}`] },
    lighthouse: { am_lighthouse: false },
    listen: { host: "0.0.0.0", port: PORT },
    tun: { dev: INTERFACE, mtu: TUNNEL_MTU },
    firewall: { outbound: anyone, inbound: anyone },
  });
}

async function waitForInterface(host: Host, process: Process): Promise<void> {
  await waitFor("nebula's interface", async () => {
    if (!process.isRunning) throw new Error(process.report("ended early"));
    const { stdout } = await host.namespace.run(["ip", "-4", "address", "show", INTERFACE]);
    return stdout.includes("inet ");
  });
}

function homeOf(host: Host): string {
  return `${host.namespace.directory}/home`;
}
