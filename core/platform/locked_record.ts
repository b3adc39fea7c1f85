/**
 * How does anyone know what was changed on the system, after a crash too?
 *
 * A record in the state folder is written before the first change and removed after the last one is
 * undone. A lock beside it is held as long as the daemon runs; the kernel frees it however that
 * ends.
 * @module
 */
import { dirname } from "node:path";
import type { z } from "zod";
import { errorMessage, MeshError } from "../errors.ts";

const MODE = 0o600;

/** What a record holds, and what to do by hand when it cannot be read. */
export interface RecordForm<T> {
  readonly schema: z.ZodType<T>;
  readonly hint: string;
}

/** The record of one daemon; {@link close} it to let go of the lock. */
export class LockedRecord<T> implements Disposable {
  readonly #path: string;
  readonly #lock: Deno.FsFile;
  readonly #form: RecordForm<T>;

  private constructor(path: string, lock: Deno.FsFile, form: RecordForm<T>) {
    this.#path = path;
    this.#lock = lock;
    this.#form = form;
  }

  /**
   * Takes the lock.
   * @param name Of the files, without extension.
   * @throws {MeshError} `already-running` when a live daemon has it.
   */
  static async open<T>(
    folder: string,
    name: string,
    form: RecordForm<T>,
  ): Promise<LockedRecord<T>> {
    const path = `${folder}/${name}.lock`;
    let lock: Deno.FsFile;
    try {
      lock = await Deno.open(path, { read: true, write: true, create: true, mode: MODE });
    } catch (error) {
      const message = `Cannot open ${path}: ${errorMessage(error)}`;
      throw new MeshError("system", message, { cause: error });
    }
    if (await lock.tryLock(true)) return new LockedRecord(`${folder}/${name}.json`, lock, form);
    lock.close();
    throw new MeshError(
      "already-running",
      `Cannot change ${name}: a running daemon looks after it`,
    );
  }

  /**
   * What was changed and not undone; null for nothing.
   * @throws {MeshError} `state-invalid` when the record cannot be understood.
   */
  async read(): Promise<T | null> {
    try {
      return this.#form.schema.parse(JSON.parse(await Deno.readTextFile(this.#path)));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw new MeshError("state-invalid", `Cannot read ${this.#path}: ${errorMessage(error)}`, {
        cause: error,
        hint: this.#form.hint,
      });
    }
  }

  /** Puts a record in place of the former one, durable when the promise resolves. */
  async write(record: T): Promise<void> {
    try {
      await replaceText(this.#path, JSON.stringify(record, null, 2) + "\n");
    } catch (error) {
      const message = `Cannot write ${this.#path}: ${errorMessage(error)}`;
      throw new MeshError("system", message, { cause: error });
    }
  }

  /** Says that everything is undone. */
  async clear(): Promise<void> {
    await Deno.remove(this.#path).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
  }

  /** Lets go of the lock; nothing is undone. */
  close(): void {
    this.#lock.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

async function replaceText(path: string, text: string): Promise<void> {
  const temporary = `${path}.${crypto.getRandomValues(new Uint8Array(8)).toHex()}.tmp`;
  try {
    await writeNew(temporary, new TextEncoder().encode(text));
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
  // Windows opens no folders.
  if (Deno.build.os === "windows") return;
  using directory = await Deno.open(dirname(path), { read: true });
  await directory.sync();
}

async function writeNew(path: string, bytes: Uint8Array): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true, mode: MODE });
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  await file.sync();
}
