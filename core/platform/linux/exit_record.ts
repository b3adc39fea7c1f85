/**
 * How does anyone know what was changed for exits, after a crash too?
 *
 * A record in the state folder is written before the first change and removed after the last one is
 * undone. A lock beside it is held as long as the daemon runs; the kernel frees it however that
 * ends.
 * @module
 */
import { z } from "zod";
import { errorMessage, MeshError } from "../../errors.ts";
import type { Sysctl } from "../../exit/server_plan.ts";
import { readSysctl, writeSysctl } from "./exit_programs.ts";
import { readText, replaceFile } from "./resolv_conf_file.ts";

const Settings = z.array(z.strictObject({
  path: z.string().regex(/^net\/[\w@.:/-]+$/).refine((path) => !path.includes("..")),
  value: z.string(),
}));

const Record = z.strictObject({
  version: z.literal(1),
  /** Tables of nftables. */
  filters: z.array(z.string().regex(/^tunnelmesh_\w[\w.-]*$/)),
  /** Tables of routes, and the first priorities of rules that lead there. */
  routing: z.array(z.strictObject({ table: z.int(), priority: z.int() })),
  /** Settings as they were. */
  sysctls: Settings,
});

/** What has been or is about to be changed. */
export type ExitRecord = z.infer<typeof Record>;

const EMPTY: ExitRecord = { version: 1, filters: [], routing: [], sysctls: [] };

/** The record of one daemon; {@link close} it to let go of the lock. */
export class ExitJournal {
  readonly #path: string;
  readonly #lock: Deno.FsFile;

  private constructor(path: string, lock: Deno.FsFile) {
    this.#path = path;
    this.#lock = lock;
  }

  /**
   * Takes the lock.
   * @param name Of the files, without extension.
   * @throws {MeshError} `already-running` when a live daemon has it.
   */
  static async open(folder: string, name: string): Promise<ExitJournal> {
    const path = `${folder}/${name}.lock`;
    let lock: Deno.FsFile;
    try {
      lock = await Deno.open(path, { read: true, write: true, create: true, mode: 0o600 });
    } catch (error) {
      const message = `Cannot open ${path}: ${errorMessage(error)}`;
      throw new MeshError("system", message, { cause: error });
    }
    if (await lock.tryLock(true)) return new ExitJournal(`${folder}/${name}.json`, lock);
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
  async read(): Promise<ExitRecord | null> {
    const text = await readText(this.#path);
    if (text === null) return null;
    try {
      return Record.parse(JSON.parse(text));
    } catch (error) {
      throw new MeshError("state-invalid", `Cannot read ${this.#path}: ${errorMessage(error)}`, {
        cause: error,
        hint: "Remove what it names by hand: nft list tables, ip rule, sysctl; then the file",
      });
    }
  }

  /** Adds what is about to be changed, durable when the promise resolves. Former values stay. */
  async add(change: Omit<ExitRecord, "version">): Promise<void> {
    const old = await this.read() ?? EMPTY;
    const isNew = ({ path }: Sysctl) => !old.sysctls.some((each) => each.path === path);
    await this.#write({
      version: 1,
      filters: [...new Set([...old.filters, ...change.filters])],
      routing: distinct([...old.routing, ...change.routing]),
      sysctls: [...old.sysctls, ...change.sysctls.filter(isNew)],
    });
  }

  /** Says that no more than this is changed now. */
  async reduce(to: Omit<ExitRecord, "version" | "sysctls">): Promise<void> {
    const old = await this.read() ?? EMPTY;
    await this.#write({ ...old, ...to });
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

  async #write(record: ExitRecord): Promise<void> {
    try {
      const text = JSON.stringify(record, null, 2) + "\n";
      await replaceFile(this.#path, { kind: "file", text }, 0o600);
    } catch (error) {
      const message = `Cannot write ${this.#path}: ${errorMessage(error)}`;
      throw new MeshError("system", message, { cause: error });
    }
  }
}

/** The present values of settings that the kernel has. */
export async function valuesOf(paths: readonly string[]): Promise<Sysctl[]> {
  const values = await Promise.all(paths.map(async (path) => {
    const value = await readSysctl(path);
    return value === null ? [] : [{ path, value }];
  }));
  return values.flat();
}

/** Puts settings back in their order; those of interfaces that are gone are left out. */
export async function restoreSysctls(former: readonly Sysctl[]): Promise<void> {
  for (const setting of former) {
    const present = await readSysctl(setting.path);
    if (present !== null && present !== setting.value) await writeSysctl(setting);
  }
}

function distinct<T>(values: readonly T[]): T[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
}
