/**
 * Which paths are the places that permissions name, for this user and this command line?
 * @module
 */
import type { AbsolutePath, Place } from "./command.ts";
import type { Contexts } from "./contexts.ts";
import { exists, partialPath } from "./files.ts";
import type { GlobalOptions } from "./globals.ts";
import type { Host } from "./host.ts";
import {
  absolutePath,
  contextsPath,
  dataDir,
  directoryOf,
  identityPath,
  peerFiles,
  serverFiles,
  stateDir,
} from "./paths.ts";
import type { PathsOf } from "./permissions.ts";

/**
 * What a node changes in the system, and where it looks at what others do there: the resolver's
 * files, their folders watched and synced. Kernel tables and devices are the C library's matter.
 */
const SYSTEM = ["/etc", "/run", "/usr/lib/systemd", "/var/run"];

/** Folders of root's daemons, one per context: one of them mends what another has left behind. */
const SYSTEM_STATE = "/var/lib/tunnelmesh";

/** Paths by place, those of the context that is meant; asked before permissions are given up. */
export function pathsOf(
  host: Host,
  globals: GlobalOptions,
  contexts: () => Promise<Contexts>,
): PathsOf {
  const current = async () => (await contexts()).current(globals.context);
  const chosen = (path: string | null, fallback: string) =>
    path === null ? fallback : absolutePath(host, path);
  const paths: Readonly<Record<Place, () => ReturnType<PathsOf>>> = {
    "$config": async () =>
      globals.config === null
        ? [...peerFiles(host, await current()), ...serverFiles(host)]
        : [absolutePath(host, globals.config)],
    "$contexts": () => replaceable(contextsPath(host)),
    "$data": async () => [dataDir(host, await current())],
    "$identity": async () =>
      keyFiles(chosen(globals.identity, identityPath(host, await current()))),
    "$state": async () => [
      ...host.isRoot ? [SYSTEM_STATE] : [],
      chosen(globals.stateDir, stateDir(host, await current())),
    ],
    "$system": () => SYSTEM,
  };
  return (place) => paths[place]();
}

/** A key and its public half; where there is none yet, the folder in which it is made and synced. */
export function keyFiles(path: string): readonly AbsolutePath[] {
  const paths = exists(path) ? [path, `${path}.pub`] : [toMake(directoryOf(path))];
  return paths as AbsolutePath[];
}

/** What replacing a file takes: the file and its other name, or the folder that is not there yet. */
export function replaceable(path: string): readonly AbsolutePath[] {
  const folder = directoryOf(path);
  const paths = exists(folder) ? [path, partialPath(path)] : [toMake(folder)];
  return paths as AbsolutePath[];
}

/** The folder, or the first above it that has to be made too. */
function toMake(folder: string): string {
  const above = directoryOf(folder);
  return above === "/" || exists(above) ? folder : toMake(above);
}
