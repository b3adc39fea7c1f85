/**
 * Keeps a state as the commands that made it: an append-only log with snapshots, in SQLite.
 *
 * The log knows nothing of what commands mean; they are text. What {@link StateLog.append} returned
 * from survives the end of the process and of the machine's power: WAL with `synchronous = FULL`
 * syncs the log at each commit. NORMAL would be seventeen times faster and could lose the last
 * commits with the power; an address that was told to a node and then forgotten could be given to
 * another one, and commands are rare (a few per node and day), so speed is not wanted here.
 *
 * `locking_mode = EXCLUSIVE` keeps a second process out for as long as the file is open, and lets
 * the WAL live without a shared-memory file.
 * @module
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { errorMessage, MeshError } from "../../core/errors.ts";
import { migrate } from "./migrations.ts";
import { touchPrivateFile } from "./private_file.ts";

/** Snapshots kept; commands older than the oldest one are deleted. */
const SNAPSHOTS_KEPT = 2;

/** What a log holds: a state to start from and the commands after it. */
export interface Stored {
  readonly snapshot: string | null;
  readonly commands: readonly string[];
}

/** An open state file; `using` closes it. */
export class StateLog implements Disposable {
  readonly #db: DatabaseSync;
  readonly #insert: StatementSync;
  #sinceSnapshot = 0;

  private constructor(db: DatabaseSync) {
    this.#db = db;
    this.#insert = db.prepare("INSERT INTO commands (body) VALUES (?)");
  }

  /**
   * Opens a state file, or makes one of mode 0600.
   * @throws {MeshError} "already-running" when another process has it open, "state-invalid" when
   *   it is damaged or of a newer program.
   */
  static async open(path: string): Promise<StateLog> {
    await touchPrivateFile(path);
    let db: DatabaseSync | null = null;
    try {
      db = new DatabaseSync(path);
      db.exec("PRAGMA locking_mode = EXCLUSIVE");
      db.exec("PRAGMA journal_mode = WAL");
      db.exec("PRAGMA synchronous = FULL");
      const check = db.prepare("PRAGMA quick_check(1)").get()!.quick_check;
      if (check !== "ok") throw new Error(String(check));
      migrate(db);
      return new StateLog(db);
    } catch (error) {
      db?.close();
      throw error instanceof MeshError ? error : describe(path, error);
    }
  }

  /** Reads everything; called once after {@link open}. */
  load(): Stored {
    const newest = this.#db.prepare("SELECT seq, body FROM snapshots ORDER BY seq DESC LIMIT 1")
      .get();
    const commands = this.#db.prepare("SELECT body FROM commands WHERE seq > ? ORDER BY seq")
      .all(newest?.seq ?? 0).map((row) => String(row.body));
    this.#sinceSnapshot = commands.length;
    return { snapshot: newest ? String(newest.body) : null, commands };
  }

  /** Commands after the newest snapshot. */
  get sinceSnapshot(): number {
    return this.#sinceSnapshot;
  }

  /** Keeps a command; it is on disk when this returns. */
  append(command: string): void {
    this.#insert.run(command);
    this.#sinceSnapshot++;
  }

  /** Keeps the state after the last command, and lets go of commands long covered. */
  saveSnapshot(state: string): void {
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      this.#db.prepare(
        "INSERT OR REPLACE INTO snapshots (seq, body) SELECT coalesce(max(seq), 0), ? FROM commands",
      ).run(state);
      this.#db.prepare(
        "DELETE FROM snapshots WHERE seq NOT IN (SELECT seq FROM snapshots ORDER BY seq DESC LIMIT ?)",
      ).run(SNAPSHOTS_KEPT);
      this.#db.exec("DELETE FROM commands WHERE seq < (SELECT min(seq) FROM snapshots)");
      this.#db.exec("COMMIT");
    } catch (error) {
      this.#db.exec("ROLLBACK");
      throw error;
    }
    this.#sinceSnapshot = 0;
  }

  /** A value kept beside the log, or null. */
  meta(key: string): string | null {
    const row = this.#db.prepare("SELECT value FROM meta WHERE key = ?").get(key);
    return row ? String(row.value) : null;
  }

  /** Sets several values in one transaction. */
  setMeta(values: Readonly<Record<string, string>>): void {
    this.#db.exec("BEGIN IMMEDIATE");
    const put = this.#db.prepare("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)");
    for (const [key, value] of Object.entries(values)) put.run(key, value);
    this.#db.exec("COMMIT");
  }

  close(): void {
    this.#db.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function describe(path: string, error: unknown): MeshError {
  const text = errorMessage(error);
  if (/locked|busy/i.test(text)) {
    return new MeshError("already-running", `Cannot open ${path}: another process uses it`, {
      cause: error,
      hint: "Stop the other coordinator, or give this one its own data directory",
    });
  }
  return new MeshError("state-invalid", `Cannot open ${path}: ${text}`, {
    cause: error,
    hint: "Restore the coordinator's data directory from a backup",
  });
}
