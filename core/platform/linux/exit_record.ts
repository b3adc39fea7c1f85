/**
 * What is written down of changes for exits on Linux (`../locked_record.ts`): tables of nftables,
 * routing tables with their rules, settings of the kernel.
 * @module
 */
import { z } from "zod";
import type { Sysctl } from "../../exit/server_plan.ts";
import { LockedRecord } from "../locked_record.ts";
import { readSysctl, writeSysctl } from "./exit_programs.ts";

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
const FORM = {
  schema: Record,
  hint: "Remove what it names by hand: nft list tables, ip rule, sysctl; then the file",
};

/** The record of one daemon; {@link close} it to let go of the lock. */
export class ExitJournal {
  readonly #record: LockedRecord<ExitRecord>;

  private constructor(record: LockedRecord<ExitRecord>) {
    this.#record = record;
  }

  /**
   * Takes the lock.
   * @param name Of the files, without extension.
   * @throws {MeshError} `already-running` when a live daemon has it.
   */
  static async open(folder: string, name: string): Promise<ExitJournal> {
    return new ExitJournal(await LockedRecord.open(folder, name, FORM));
  }

  /**
   * What was changed and not undone; null for nothing.
   * @throws {MeshError} `state-invalid` when the record cannot be understood.
   */
  read(): Promise<ExitRecord | null> {
    return this.#record.read();
  }

  /** Adds what is about to be changed, durable when the promise resolves. Former values stay. */
  async add(change: Omit<ExitRecord, "version">): Promise<void> {
    const old = await this.read() ?? EMPTY;
    const isNew = ({ path }: Sysctl) => !old.sysctls.some((each) => each.path === path);
    await this.#record.write({
      version: 1,
      filters: [...new Set([...old.filters, ...change.filters])],
      routing: distinct([...old.routing, ...change.routing]),
      sysctls: [...old.sysctls, ...change.sysctls.filter(isNew)],
    });
  }

  /** Says that no more than this is changed now. */
  async reduce(to: Omit<ExitRecord, "version" | "sysctls">): Promise<void> {
    const old = await this.read() ?? EMPTY;
    await this.#record.write({ ...old, ...to });
  }

  /** Says that everything is undone. */
  clear(): Promise<void> {
    return this.#record.clear();
  }

  /** Lets go of the lock; nothing is undone. */
  close(): void {
    this.#record.close();
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
