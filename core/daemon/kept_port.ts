/**
 * Which port did this node get when the one it wanted was taken? It is tried again at the next
 * start, so that peers and firewalls still find the node there.
 * @module
 */
import { z } from "zod";
import type { StateDir } from "./state_dir.ts";

const KeptPort = z.strictObject({
  wanted: z.int().min(0).max(65_535),
  bound: z.int().min(1).max(65_535),
});

/** The port to try first. @param file Name of the state file. */
export async function portToTry(state: StateDir, file: string, wanted: number): Promise<number> {
  const kept = await state.readJson(file, KeptPort);
  return kept?.wanted === wanted ? kept.bound : wanted;
}

/** Keeps the port that was bound, where it is not the one wanted. */
export async function keepPort(
  state: StateDir,
  file: string,
  ports: { readonly wanted: number; readonly bound: number },
): Promise<void> {
  if (ports.bound === await portToTry(state, file, ports.wanted)) return;
  await state.writeJson(file, { wanted: ports.wanted, bound: ports.bound });
}
