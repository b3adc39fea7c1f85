import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { MeshError } from "../../core/errors.ts";
import { migrate, MIGRATIONS } from "./migrations.ts";
import { StateLog } from "./state_log.ts";

async function withDir(run: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await run(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("StateLog gives back commands in order after it was closed", () =>
  withDir(async (dir) => {
    const path = `${dir}/state.db`;
    {
      using log = await StateLog.open(path);
      assert.deepEqual(log.load(), { snapshot: null, commands: [] });
      for (const command of ["a", "b", "c"]) log.append(command);
      log.setMeta({ mesh: "1", pin: "2" });
    }
    using log = await StateLog.open(path);
    assert.deepEqual(log.load(), { snapshot: null, commands: ["a", "b", "c"] });
    assert.equal(log.meta("pin"), "2");
    assert.equal(log.meta("other"), null);
  }));

Deno.test("StateLog gives back the newest snapshot and what came after it", () =>
  withDir(async (dir) => {
    const path = `${dir}/state.db`;
    {
      using log = await StateLog.open(path);
      for (let round = 0; round < 5; round++) {
        log.append(`first ${round}`);
        log.append(`second ${round}`);
        log.saveSnapshot(`state ${round}`);
        assert.equal(log.sinceSnapshot, 0);
      }
      log.append("last");
    }
    {
      using log = await StateLog.open(path);
      assert.deepEqual(log.load(), { snapshot: "state 4", commands: ["last"] });
      assert.equal(log.sinceSnapshot, 1);
    }
    const db = new DatabaseSync(path);
    assert.equal(db.prepare("SELECT count(*) AS n FROM snapshots").get()!.n, 2);
    assert.equal(db.prepare("SELECT count(*) AS n FROM commands").get()!.n, 4);
    db.close();
  }));

Deno.test("StateLog files are for their owner only", () =>
  withDir(async (dir) => {
    using log = await StateLog.open(`${dir}/state.db`);
    log.append("a");
    for await (const { name } of Deno.readDir(dir)) {
      const { mode } = await Deno.stat(`${dir}/${name}`);
      assert.equal(mode! & 0o777, 0o600, name);
    }
  }));

Deno.test("StateLog.open() refuses a second process's place", () =>
  withDir(async (dir) => {
    using _log = await StateLog.open(`${dir}/state.db`);
    await assert.rejects(
      StateLog.open(`${dir}/state.db`),
      (error) => error instanceof MeshError && error.code === "already-running",
    );
  }));

Deno.test("StateLog.open() refuses a damaged file and one of a newer program", () =>
  withDir(async (dir) => {
    await Deno.writeTextFile(`${dir}/damaged.db`, "not a database".repeat(1000));
    const db = new DatabaseSync(`${dir}/newer.db`);
    db.exec(`PRAGMA user_version = ${MIGRATIONS.length + 1}`);
    db.close();
    for (const name of ["damaged", "newer"]) {
      await assert.rejects(
        StateLog.open(`${dir}/${name}.db`),
        (error) => error instanceof MeshError && error.code === "state-invalid",
        name,
      );
    }
  }));

Deno.test("migrate() applies only what is missing and nothing of a step that fails", () => {
  const db = new DatabaseSync(":memory:");
  migrate(db, ["CREATE TABLE a (x)"]);
  migrate(db, ["CREATE TABLE a (x)", "CREATE TABLE b (x)"]);
  assert.throws(() => migrate(db, ["", "", "CREATE TABLE c (x); CREATE TABLE b (x)"]), /exists/);
  assert.equal(db.prepare("PRAGMA user_version").get()!.user_version, 2);
  const names = db.prepare("SELECT name FROM sqlite_master ORDER BY name").all();
  assert.deepEqual(names.map((row) => row.name), ["a", "b"]);
  db.close();
});

Deno.test("StateLog loses nothing acknowledged when its process is killed", () =>
  withDir(async (dir) => {
    const path = `${dir}/state.db`;
    for (let round = 0; round < 3; round++) {
      const acknowledged = await writeUntilKilled(path, 200 + 150 * round);
      using log = await StateLog.open(path);
      const { snapshot, commands } = log.load();
      const last = Number(commands.at(-1) ?? snapshot);
      assert.ok(acknowledged > 0, "the writer wrote something");
      assert.ok(last >= acknowledged, `${last} on disk, ${acknowledged} acknowledged`);
      const first = snapshot === null ? 1 : Number(snapshot) + 1;
      assert.deepEqual(commands.map(Number), commands.map((_, i) => first + i));
    }
  }));

/** Runs a writer of growing numbers, kills it with SIGKILL, returns the last it acknowledged. */
async function writeUntilKilled(path: string, afterMs: number): Promise<number> {
  const script = new URL("./testdata/writer.ts", import.meta.url).pathname;
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--no-prompt", `--config=${config}`, "-R", "-W", script, path],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let text = "";
  let isStopping = false;
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (isStopping) continue;
    isStopping = true;
    setTimeout(() => child.kill("SIGKILL"), afterMs);
  }
  await child.status;
  return Number(text.slice(0, text.lastIndexOf("\n")).split("\n").at(-1));
}
