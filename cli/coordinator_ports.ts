/**
 * Where does the coordinator of a new mesh listen when another one on this machine has the usual
 * ports? On the next free ones, which it keeps: nodes know them from then on.
 * @module
 */
import { z } from "zod";
import type { StateDir } from "../core/daemon/state_dir.ts";
import { exists } from "./files.ts";
import type { CoordinatorRunOptions } from "./run_options.ts";

const FILE = "coordinator.json";
const Ports = z.strictObject({ listen: z.int(), stun: z.int() });
const KeptPorts = z.strictObject({ wanted: Ports, chosen: Ports });

/** Ports tried after one that is taken. */
const MAX_TRIES = 50;

/** The options with ports that are free, or that the mesh has had since it was made. */
export async function withFreePorts(
  state: StateDir,
  options: CoordinatorRunOptions,
): Promise<CoordinatorRunOptions> {
  const { listen, stunPort, dataDir, progress } = options;
  const wanted = { listen: listen.port, stun: stunPort };
  const use = (ports: z.infer<typeof Ports>) => ({
    ...options,
    listen: { ...listen, port: ports.listen },
    stunPort: ports.stun,
  });
  const kept = await state.readJson(FILE, KeptPorts);
  const isKept = kept?.wanted.listen === wanted.listen && kept.wanted.stun === wanted.stun;
  if (exists(`${dataDir}/state.db`)) return isKept ? use(kept.chosen) : options;
  const hostname = listen.host ?? "0.0.0.0";
  const chosen = {
    listen: firstFree(listen.port, 1, (port) => isTcpFree(hostname, port)),
    stun: firstFree(
      stunPort,
      2,
      (port) => isUdpFree(hostname, port) && isUdpFree(hostname, port + 1),
    ),
  };
  if (chosen.listen !== wanted.listen) {
    const other = `the coordinator of this mesh listens on ${chosen.listen}`;
    progress.warning(`Port ${wanted.listen} is in use: ${other}`);
  }
  await state.writeJson(FILE, { wanted, chosen });
  return use(chosen);
}

/** The first port from `wanted` on that is free; `wanted` itself when none is, whose error tells. */
function firstFree(wanted: number, step: number, isFree: (port: number) => boolean): number {
  if (wanted === 0) return wanted;
  for (let i = 0; i < MAX_TRIES; i++) {
    const port = wanted + i * step;
    if (port + step > 65_535) break;
    if (isFree(port)) return port;
  }
  return wanted;
}

function isTcpFree(hostname: string, port: number): boolean {
  return isFree(() => Deno.listen({ hostname, port }));
}

function isUdpFree(hostname: string, port: number): boolean {
  return isFree(() => Deno.listenDatagram({ transport: "udp", hostname, port }));
}

function isFree(open: () => { close(): void }): boolean {
  try {
    open().close();
    return true;
  } catch {
    return false;
  }
}
