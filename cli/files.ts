/**
 * Reads and replaces the user's files: private ones are 0600, never half written, and belong to the
 * user even when root writes them.
 * @module
 */
import { errorMessage, MeshError } from "../core/errors.ts";
import { directoryOf } from "./paths.ts";
import type { FileOwner } from "./run_options.ts";

/** How a file is written. */
export interface WriteOptions {
  readonly owner: FileOwner | null;
  /** Permission bits; 0600 unless given. */
  readonly mode?: number;
  /** Refuse when the file exists. */
  readonly isNew?: boolean;
}

/** Text of a file, or null when there is none. @throws {MeshError} `system` when it is unreadable. */
export function readIfPresent(path: string): string | null {
  try {
    return Deno.readTextFileSync(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return null;
    throw new MeshError("system", `Cannot read ${path}: ${errorMessage(cause)}`, { cause });
  }
}

/** Whether something is at `path`. A path that may not be looked at counts as empty. */
export function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Ends the name of a file that is being written; one per process, so that it can be permitted. */
const PARTIAL = `.${crypto.randomUUID().slice(0, 8)}.partial`;

/** Where a new `path` is written before it takes that name. */
export function partialPath(path: string): string {
  return path + PARTIAL;
}

/** Whether others than the owner may read the file. */
export function isOpenToOthers(path: string): boolean {
  try {
    const { mode } = Deno.statSync(path);
    return mode !== null && (mode & 0o077) !== 0;
  } catch {
    return false;
  }
}

/**
 * Replaces a file as a whole: a reader sees the old text or the new, also after a crash. A link at
 * `path` is replaced, not followed.
 *
 * @throws {MeshError} `usage` when `isNew` and it exists, `system` when it cannot be written.
 */
export function replaceFile(path: string, text: string, options: WriteOptions): void {
  const partial = partialPath(path);
  try {
    using file = openNew(partial, options);
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
    file.syncSync();
    if (options.owner) Deno.chownSync(partial, options.owner.uid, options.owner.gid);
    // Taking the name first makes sure that no file of that name is lost.
    if (options.isNew) Deno.openSync(path, { write: true, createNew: true, mode: 0o600 }).close();
    Deno.renameSync(partial, path);
  } catch (cause) {
    try {
      Deno.removeSync(partial);
    } catch {
      // It was never made.
    }
    if (cause instanceof Deno.errors.AlreadyExists) {
      throw new MeshError("usage", `Cannot write ${path}: it exists`, { cause });
    }
    throw new MeshError("system", `Cannot write ${path}: ${errorMessage(cause)}`, { cause });
  }
}

/** Opens a file that is not there, in a folder that may not be there either. */
function openNew(path: string, { owner, mode = 0o600 }: WriteOptions): Deno.FsFile {
  const how = { write: true, createNew: true, mode };
  try {
    return Deno.openSync(path, how);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    makeDirectory(directoryOf(path), owner);
    return Deno.openSync(path, how);
  }
}

/** Makes a directory and those above it, each 0700; those that are made belong to `owner`. */
export function makeDirectory(path: string, owner: FileOwner | null): void {
  try {
    Deno.mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return;
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    makeDirectory(directoryOf(path), owner);
    Deno.mkdirSync(path, { mode: 0o700 });
  }
  if (owner) Deno.chownSync(path, owner.uid, owner.gid);
}
