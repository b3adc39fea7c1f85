/**
 * Where does the daemon that a command means listen?
 * @module
 */
import type { PeerConfig } from "../core/config/config.ts";
import { readOnlySocketPath } from "../core/daemon/socket_path.ts";
import type { GlobalOptions } from "./globals.ts";
import type { LoadedConfig } from "./config_files.ts";
import type { Contexts } from "./contexts.ts";
import { exists } from "./files.ts";
import type { Host } from "./host.ts";
import { absolutePath, socketPath, stateDir, systemSocketPath } from "./paths.ts";

/**
 * The daemon's socket: named by environment, file or context, else the first of the known places
 * where there is one. A user's own daemon comes before the system's.
 *
 * @throws {MeshError} `context-unknown` when a context was named that has neither entry nor daemon.
 */
export function findSocket(
  host: Host,
  globals: GlobalOptions,
  contexts: Contexts,
  file: LoadedConfig<PeerConfig> | null,
): string {
  const named = host.env.TUNNELMESH_CONTROL_SOCKET || file?.config.controlSocket;
  if (named) return absolutePath(host, named, file?.base);
  const context = contexts.current(globals.context);
  const entry = contexts.entry(context);
  if (entry.socket !== null) return entry.socket;
  const stateOption = globals.stateDir ?? file?.config.stateDir ?? null;
  const state = stateOption === null
    ? entry.stateDir ?? stateDir(host, context)
    : absolutePath(host, stateOption, globals.stateDir === null ? file?.base : host.cwd);
  const places = [socketPath(host, context, state), systemSocketPath(context)];
  const found = places.find(exists);
  if (found === undefined && globals.context !== null && contexts.list().length > 0) {
    contexts.get(context);
  }
  return found ?? places[0]!;
}

/**
 * The socket that this user may open: the daemon's own, or for root's daemon and another user the
 * one beside it that only tells.
 */
export function usableSocket(host: Host, path: string): string {
  const readOnly = readOnlySocketPath(path);
  return host.isRoot || !isOfRoot(path) || !exists(readOnly) ? path : readOnly;
}

function isOfRoot(path: string): boolean {
  try {
    return Deno.lstatSync(path).uid === 0;
  } catch {
    return false;
  }
}
