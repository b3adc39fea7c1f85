/**
 * Writes a file that only its owner may read, so that after a crash there is either the old content
 * or the new one, never a part.
 * @module
 */
import { dirname } from "node:path";

/** Makes a directory and its parents, for its owner only; one that exists keeps its mode. */
export async function makePrivateDir(path: string): Promise<void> {
  await Deno.mkdir(path, { recursive: true, mode: 0o700 });
}

/** Replaces `path` by a file of mode 0600: temporary file, fsync, rename, fsync of the directory. */
export async function writePrivateFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  try {
    using file = await Deno.open(temporary, { write: true, createNew: true, mode: 0o600 });
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
    await file.sync();
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
  using directory = await Deno.open(dirname(path));
  // Windows cannot sync a directory; there a rename is durable by itself.
  await directory.sync().catch(() => {});
}

/** Creates an empty file of mode 0600 unless there is one. */
export async function touchPrivateFile(path: string): Promise<void> {
  using _file = await Deno.open(path, { write: true, create: true, mode: 0o600 });
}

/** The text of a file, or null when there is none. */
export async function readFileIfPresent(path: string): Promise<string | null> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
