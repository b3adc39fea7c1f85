/**
 * How does a file get its contents so that a crash leaves either the old or the new ones?
 *
 * Write beside it, fsync, rename over it, fsync the folder. Readers never see half a file, and once
 * the call has returned the contents survive a power failure.
 * @module
 */
import { dirname } from "node:path";

/** What the files that {@link writeFileAtomic} leaves behind when it is killed look like. */
export const TEMPORARY_FILE = /^\..+\.[0-9a-f]{16}\.tmp$/;

/** How a file is put in place. */
export interface AtomicWriteOptions {
  /** Permission bits; 0600 when not given. */
  readonly mode?: number;
  /** Leave an existing file as it is and throw `Deno.errors.AlreadyExists`. */
  readonly createNew?: boolean;
}

/**
 * Replaces the contents of `path`; the folder must exist.
 * @throws {Deno.errors.AlreadyExists} with `createNew`, when the file exists.
 */
export async function writeFileAtomic(
  path: string,
  contents: string | Uint8Array,
  options: AtomicWriteOptions = {},
): Promise<void> {
  const mode = options.mode ?? 0o600;
  const bytes = typeof contents === "string" ? new TextEncoder().encode(contents) : contents;
  const temporary = temporaryPath(path);
  try {
    await writeAndSync(temporary, bytes, mode);
    if (options.createNew) await Deno.link(temporary, path);
    else await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
  if (options.createNew) await Deno.remove(temporary);
  await syncDirectory(dirname(path));
}

/** Makes names in a folder (creations, renames, removals) survive a power failure. */
export async function syncDirectory(path: string): Promise<void> {
  // Windows cannot open a folder as a file; NTFS journals names by itself.
  if (Deno.build.os === "windows") return;
  using directory = await Deno.open(path, { read: true });
  await directory.sync();
}

async function writeAndSync(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true, mode });
  // The umask may have taken bits away; it never adds any, so the file was not open meanwhile.
  if (Deno.build.os !== "windows") await Deno.chmod(path, mode);
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  await file.sync();
}

function temporaryPath(path: string): string {
  const name = path.slice(dirname(path).length).replace(/^[/\\]/, "");
  const suffix = crypto.getRandomValues(new Uint8Array(8)).toHex();
  return `${dirname(path)}/.${name}.${suffix}.tmp`;
}
