/**
 * How does the next daemon know what a killed one replaced, and that it is dead?
 *
 * The copy of the former resolv.conf is in the state folder of the daemon that replaced it, its
 * path is in the head of the file that the daemon wrote, and a lock beside the copy is held as long
 * as that daemon runs: the kernel frees it however the process ends, in whatever namespace it ran.
 * @module
 */
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { errorMessage, MeshError } from "../../errors.ts";
import type { Ip } from "../../ip.ts";
import { parseMarker, parseResolvConf } from "./resolv_conf.ts";
import {
  readText,
  replaceFile,
  type ResolvConfFile,
  type ResolvConfState,
} from "./resolv_conf_file.ts";

/** File name of the copy in a state folder. */
export const BACKUP_NAME = "resolv.conf.backup";
/** File name beside it of the lock that a living daemon holds. */
export const LOCK_NAME = "resolv.conf.lock";

const Backup = z.strictObject({
  path: z.string(),
  state: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("missing") }),
    z.strictObject({ kind: z.literal("file"), text: z.string() }),
    z.strictObject({ kind: z.literal("symlink"), target: z.string(), text: z.string() }),
  ]),
});

/** A copy of what stood at `path`. */
export interface ResolvConfBackup {
  readonly path: string;
  readonly state: ResolvConfState;
}

/** Writes a copy, durable when the promise resolves. */
export async function saveBackup(file: string, backup: ResolvConfBackup): Promise<void> {
  const text = JSON.stringify(backup, null, 2) + "\n";
  try {
    await replaceFile(file, { kind: "file", text }, 0o600);
  } catch (error) {
    throw new MeshError("system", `Cannot write ${file}: ${errorMessage(error)}`, { cause: error });
  }
}

/** Reads a copy; null when there is none that can be read. */
export async function loadBackup(file: string): Promise<ResolvConfBackup | null> {
  const text = await readText(file);
  if (text === null) return null;
  try {
    return Backup.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

/**
 * Takes the lock of a copy; close the file to let go. `held`: a live daemon has it, or one whose
 * folder this process may not look into, which is left alone likewise. Null: there is no lock file.
 * @throws {MeshError} `system` with `create`, when the lock file cannot be made.
 */
export async function lockBackup(
  backupPath: string,
  options: { readonly create: boolean },
): Promise<Deno.FsFile | "held" | null> {
  const path = join(dirname(backupPath), LOCK_NAME);
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path, { read: true, write: true, mode: 0o600, ...options });
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable && !options.create) return "held";
    if (!options.create) return null;
    throw new MeshError("system", `Cannot open ${path}: ${errorMessage(error)}`, { cause: error });
  }
  if (await file.tryLock(true)) return file;
  file.close();
  return "held";
}

/**
 * Puts back what dead daemons left in the file: the one named in its head, and the one whose copy
 * is given.
 * @param addresses This node's resolver: a file that names it without a copy is a leftover too.
 * @throws {MeshError} `system` when the file cannot be written.
 */
export async function recoverFrom(
  file: ResolvConfFile,
  backupPath: string,
  addresses: readonly Ip[],
): Promise<"held" | "done"> {
  const named = parseMarker(await file.text())?.backup ?? backupPath;
  for (const path of new Set([named, backupPath])) {
    if (!path.startsWith("/") || basename(path) !== BACKUP_NAME) continue;
    const lock = await lockBackup(path, { create: false });
    if (lock === "held") return "held";
    try {
      await restoreBackup(file, path, addresses);
    } finally {
      lock?.close();
    }
  }
  return "done";
}

/** Puts the copy back where the file is the one that belongs to it, and removes the copy. */
export async function restoreBackup(
  file: ResolvConfFile,
  backupPath: string,
  addresses: readonly Ip[] = [],
): Promise<void> {
  const text = await file.text();
  const marker = parseMarker(text);
  const backup = await loadBackup(backupPath);
  if (marker !== null && (marker.backup === backupPath || marker.backup === "")) {
    if (backup?.path === file.path) {
      await file.write(backup.state);
    } else {
      // The copy is lost. A file from another machine (a container's) is none of our business.
      const isLocal = parseResolvConf(text).nameservers.some((ip) => addresses.includes(ip)) ||
        await Deno.stat(dirname(backupPath)).then(() => true, () => false);
      if (isLocal) await file.write({ kind: "file", text: nameserverLines(marker.upstreams) });
    }
  }
  await Deno.remove(backupPath).catch(() => {});
}

function nameserverLines(addresses: readonly Ip[]): string {
  return addresses.map((ip) => `nameserver ${ip}\n`).join("");
}
