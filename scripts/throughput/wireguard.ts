/**
 * Programs that speak WireGuard and are set up by `wg`: wireguard-go and boringtun.
 * @module
 */
import { waitFor } from "../../tests/e2e/lab/process.ts";
import type { Process } from "../../tests/e2e/lab/process.ts";
import type { Host } from "../../tests/e2e/lab/topology.ts";
import {
  formatAddressing,
  formatSetconf,
  generateKeyPair,
  type StockDevice,
} from "../../tests/interop/wireguard.ts";
import type { Pair } from "./pair.ts";
import { disposeAll, type End, type Tunnel, TUNNEL_MTU } from "./tunnel.ts";

const INTERFACE = "wg0";
const PORT = 51820;
const ADDRESSES = { a: "10.98.0.1", b: "10.98.0.2" } as const;

/**
 * wireguard-go refuses to run where the kernel could do it, unless asked twice; boringtun gives up
 * the rights that its control socket needs.
 */
const ENVIRONMENT = { WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD: "1", WG_SUDO: "true" };

/** Starts the program on both machines and connects them. */
export async function startWireguard(program: string, pair: Pair): Promise<Tunnel> {
  const keys = { a: generateKeyPair(), b: generateKeyPair() };
  const device = (own: "a" | "b", other: "a" | "b"): StockDevice => ({
    privateKey: keys[own].privateKey,
    listenPort: PORT,
    addresses: [`${ADDRESSES[own]}/24`],
    mtu: TUNNEL_MTU,
    peers: [{
      publicKey: keys[other].publicKey,
      allowedIps: [`${ADDRESSES[other]}/32`],
      endpoint: `${pair[other].ip4}:${PORT}`,
    }],
  });
  const running: Process[] = [];
  try {
    for (const [own, other] of [["a", "b"], ["b", "a"]] as const) {
      const process = pair[own].namespace.spawn([program, "-f", INTERFACE], { env: ENVIRONMENT });
      running.push(process);
      await configure(pair[own], process, device(own, other));
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

async function configure(host: Host, process: Process, device: StockDevice): Promise<void> {
  const machine = host.namespace;
  await waitFor("the program's control socket", async () => {
    if (!process.isRunning) throw new Error(process.report("ended early"));
    return (await machine.run(["wg", "show", INTERFACE])).code === 0;
  });
  const file = `${machine.directory}/home/${INTERFACE}.conf`;
  await Deno.writeTextFile(file, formatSetconf(device), { mode: 0o600 });
  await machine.must(["wg", "setconf", INTERFACE, file]);
  await machine.must(["sh", "-c", formatAddressing(device, INTERFACE)]);
}
