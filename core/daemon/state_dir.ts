/**
 * Where does a node keep what must survive a restart, and who may write it?
 *
 * A folder of mode 0700 with small files of mode 0600, each replaced as a whole
 * ({@link writeFileAtomic}). One process at a time holds it exclusively; others may read.
 * @module
 */
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { errorMessage, MeshError } from "../errors.ts";
import { syncDirectory, TEMPORARY_FILE, writeFileAtomic } from "./atomic_file.ts";

/** How a state directory is opened. */
export interface StateDirOptions {
  /**
   * Take the lock, for a daemon; it lasts until the directory is disposed of or the process ends,
   * however it ends. Without it only a reader's rights are assumed.
   */
  readonly exclusive?: boolean;
}

const LOCK = "lock";
const NAME = /^[a-z0-9][a-z0-9._-]*(\/[a-z0-9][a-z0-9._-]*)?$/;

/** The files of one node. Names are `file` or `folder/file`, lower case. */
export class StateDir {
  /** The directory as given. */
  readonly path: string;
  readonly #lock: Deno.FsFile | null;
  /** Ends when the last write begun so far has; keeps writes in the order of the calls. */
  #writes: Promise<unknown> = Promise.resolve();

  private constructor(path: string, lock: Deno.FsFile | null) {
    this.path = path;
    this.#lock = lock;
  }

  /**
   * Opens a state directory, making it when it does not exist.
   * @throws {MeshError} "already-running" when another process holds it exclusively,
   *   "privilege-missing" when this user may not use it, "state-invalid" when it is no directory.
   */
  static async open(path: string, options: StateDirOptions = {}): Promise<StateDir> {
    try {
      await makePrivateDirectory(path);
      if (!options.exclusive) return new StateDir(path, null);
      const lock = await takeLock(path);
      await removeTemporaryFiles(path);
      return new StateDir(path, lock);
    } catch (error) {
      throw explain(error, `Cannot open state directory "${path}"`);
    }
  }

  /** Whether this process holds the directory. */
  get isExclusive(): boolean {
    return this.#lock !== null;
  }

  /**
   * Reads a JSON file; null when there is none.
   * @throws {MeshError} "state-invalid" when it is not JSON or does not match `schema`.
   */
  async readJson<T>(name: string, schema: z.ZodType<T>): Promise<T | null> {
    const text = await this.readText(name);
    if (text === null) return null;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw this.#invalid(name, "it is not JSON", error);
    }
    const parsed = schema.safeParse(value);
    if (!parsed.success) throw this.#invalid(name, z.prettifyError(parsed.error), parsed.error);
    return parsed.data;
  }

  /** Replaces a JSON file; on disk when the promise resolves. */
  async writeJson(name: string, value: unknown): Promise<void> {
    await this.writeText(name, JSON.stringify(value, null, 2) + "\n");
  }

  /** Reads a text file; null when there is none. */
  async readText(name: string): Promise<string | null> {
    const path = this.pathOf(name);
    try {
      return await Deno.readTextFile(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw explain(error, `Cannot read state file "${path}"`);
    }
  }

  /** Replaces a text file; on disk when the promise resolves. */
  async writeText(name: string, text: string): Promise<void> {
    const path = this.pathOf(name);
    await this.#inOrder(async () => {
      if (name.includes("/")) await makePrivateDirectory(dirname(path));
      await writeFileAtomic(path, text);
    }, `Cannot write state file "${path}"`);
  }

  /** Removes a file; it need not exist. */
  async remove(name: string): Promise<void> {
    const path = this.pathOf(name);
    await this.#inOrder(async () => {
      try {
        await Deno.remove(path);
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return;
        throw error;
      }
      await syncDirectory(dirname(path));
    }, `Cannot remove state file "${path}"`);
  }

  /**
   * The path of a file, for tools that want one.
   * @throws {TypeError} when `name` is not `file` or `folder/file`.
   */
  pathOf(name: string): string {
    if (!NAME.test(name)) throw new TypeError(`Cannot use "${name}" as the name of a state file`);
    return join(this.path, name);
  }

  /** Gives the lock back. */
  [Symbol.dispose](): void {
    this.#lock?.close();
  }

  async #inOrder(work: () => Promise<void>, what: string): Promise<void> {
    const turn = this.#writes.then(work);
    this.#writes = turn.catch(() => {});
    try {
      await turn;
    } catch (error) {
      throw explain(error, what);
    }
  }

  #invalid(name: string, why: string, cause: unknown): MeshError {
    const path = this.pathOf(name);
    return new MeshError("state-invalid", `Cannot use state file "${path}": ${why}`, {
      cause,
      hint: `Move it away (mv ${path} ${path}.bad) and join the mesh again; the identity stays`,
    });
  }
}

async function makePrivateDirectory(path: string): Promise<void> {
  await Deno.mkdir(path, { recursive: true, mode: 0o700 });
  const { mode, uid } = await Deno.stat(path);
  const isOurs = mode !== null && (uid === Deno.uid() || Deno.uid() === 0);
  if (isOurs && (mode & 0o077) !== 0) await Deno.chmod(path, 0o700);
}

async function takeLock(path: string): Promise<Deno.FsFile> {
  const file = await Deno.open(join(path, LOCK), {
    read: true,
    write: true,
    create: true,
    mode: 0o600,
  });
  try {
    if (!await file.tryLock(true)) {
      throw alreadyRunning(path, await Deno.readTextFile(join(path, LOCK)));
    }
    await file.truncate(0);
    await file.write(new TextEncoder().encode(`${Deno.pid}\n`));
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}

function alreadyRunning(path: string, holder: string): MeshError {
  const who = /^\d+$/.test(holder.trim()) ? `process ${holder.trim()}` : "another process";
  return new MeshError("already-running", `Cannot use state directory "${path}": ${who} holds it`, {
    hint: `See what it does with: tunnelmesh status --context ${basename(path)}; ` +
      "to be in another mesh beside that one, add --context NAME",
  });
}

async function removeTemporaryFiles(path: string): Promise<void> {
  for await (const entry of Deno.readDir(path)) {
    const inner = join(path, entry.name);
    if (entry.isDirectory) await removeTemporaryFiles(inner);
    else if (entry.isFile && TEMPORARY_FILE.test(entry.name)) await Deno.remove(inner);
  }
}

function explain(error: unknown, what: string): Error {
  if (error instanceof MeshError || error instanceof TypeError) return error;
  const message = `${what}: ${errorMessage(error)}`;
  if (error instanceof Deno.errors.PermissionDenied) {
    return new MeshError("privilege-missing", message, {
      cause: error,
      hint: "Run it as root (sudo), or name another folder with --state-dir",
    });
  }
  if (error instanceof Deno.errors.NotADirectory || error instanceof Deno.errors.AlreadyExists) {
    return new MeshError("state-invalid", message, {
      cause: error,
      hint: "Name another folder with --state-dir",
    });
  }
  return new MeshError("system", message, { cause: error });
}
