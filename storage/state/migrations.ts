/**
 * Which tables does a state file have, and how does one of an older program get there?
 *
 * `PRAGMA user_version` counts the migrations applied. A migration is never edited once released;
 * a change is a further entry.
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { MeshError } from "../../core/errors.ts";

/** SQL of each step; step `i` leads from version `i` to `i + 1`. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  -- AUTOINCREMENT: a number is never given twice, even after old commands were deleted.
  CREATE TABLE commands (seq INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL) STRICT;
  -- The state after the command of that number.
  CREATE TABLE snapshots (seq INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
  `,
];

/**
 * Brings `db` to the newest version, each step in a transaction.
 * @throws {MeshError} "state-invalid" when a newer program wrote the file.
 */
export function migrate(db: DatabaseSync, migrations: readonly string[] = MIGRATIONS): void {
  const version = Number(db.prepare("PRAGMA user_version").get()!.user_version);
  if (version > migrations.length) {
    const state = `it has version ${version}, this program knows ${migrations.length}`;
    throw new MeshError("state-invalid", `Cannot open the state file: ${state}`, {
      hint: "Use the newer program, or restore a backup made before the update",
    });
  }
  for (let at = version; at < migrations.length; at++) {
    db.exec("BEGIN IMMEDIATE");
    try {
      db.exec(migrations[at]!);
      db.exec(`PRAGMA user_version = ${at + 1}`);
      db.exec("COMMIT");
    } catch (error) {
      db.exec("ROLLBACK");
      throw error;
    }
  }
}
