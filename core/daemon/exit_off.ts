/**
 * Opens a kill switch that a daemon left closed when it was killed, without a daemon.
 * @module
 */
import { ExitClient } from "../platform/linux/exit_client.ts";
import { ExitServer } from "../platform/linux/exit_server.ts";
import { ExitWishesFile } from "./exit_wishes.ts";
import { StateDir } from "./state_dir.ts";

/**
 * Undoes what a daemon changed in the kernel for exits, and forgets an exit that a command chose;
 * true when there was something to undo.
 *
 * @param folder State folder of the context.
 * @throws {MeshError} `already-running` when a daemon looks after it.
 */
export async function openExit(folder: string): Promise<boolean> {
  using state = await StateDir.open(folder, { exclusive: true });
  await ExitWishesFile.forgetUse(state);
  using client = await ExitClient.open(folder);
  using server = await ExitServer.open(folder);
  const wasClosed = await client.isApplied();
  await client.remove();
  await server.remove();
  return wasClosed;
}
