/**
 * What may a process with a node or a coordinator do, once its options are known?
 * @module
 */
import { fileURLToPath } from "node:url";
import type { AbsolutePath, CommandContext, Permissions } from "./command.ts";
import { directoryOf } from "./paths.ts";
import { keyFiles } from "./places.ts";
import type { CoordinatorRunOptions } from "./run_options.ts";
import { BACKUP_NAME, LOCK_NAME } from "../core/platform/linux/dns_backup.ts";
import { PROGRAM_FOLDERS } from "../core/platform/linux/dns_program.ts";
import { NODE_PERMISSIONS, type PreparedNode } from "./start.ts";

/** A coordinator's: its own folder, and the certificate that it was given. */
export function coordinatorPermissions(
  { dataDir, certificate }: CoordinatorRunOptions,
): Permissions {
  const files = certificate ? [certificate.certificatePath, certificate.keyPath] : [];
  return { read: absolute(dataDir, ...files), write: absolute(dataDir) };
}

/**
 * A node's: its own folders, and where the system's resolver and its programs are. It has `ffi`, so
 * this guards against mistakes only.
 */
export function nodePermissions(
  { node, coordinator, stateDirs }: PreparedNode,
  { host }: CommandContext,
): Permissions {
  const own = absolute(
    ...keyFiles(node.identityPath),
    node.stateDir,
    directoryOf(node.socketPath),
    ...(coordinator ? [coordinator.dataDir] : []),
    // Daemons mend what another one that was killed has left in resolv.conf.
    ...stateDirs.flatMap((folder) => [`${folder}/${BACKUP_NAME}`, `${folder}/${LOCK_NAME}`]),
  );
  const path = (host.env.PATH ?? "").split(":").filter((folder) => folder.startsWith("/"));
  const programs = absolute(...PROGRAM_FOLDERS, ...path);
  return {
    ...NODE_PERMISSIONS,
    read: ["$contexts", "$state", "$system", ...own, ...programs, ...program()],
    write: ["$contexts", "$state", "$system", ...own],
  };
}

/** Packet workers load the program's own modules anew. */
function program(): AbsolutePath[] {
  const main = new URL(".", Deno.mainModule);
  return main.protocol === "file:" ? absolute(fileURLToPath(main)) : [];
}

/** Options hold absolute paths only. */
function absolute(...paths: readonly string[]): AbsolutePath[] {
  return paths as AbsolutePath[];
}
