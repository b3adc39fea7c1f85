/**
 * Tests of the state directory: modes, the lock across processes, and writers killed at any moment.
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { z } from "zod";
import { TEMPORARY_FILE } from "./atomic_file.ts";
import { StateDir } from "./state_dir.ts";

const Facts = z.strictObject({ n: z.number(), text: z.string() });

async function withFolder(work: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir({ prefix: "tunnelmesh-state-" });
  try {
    await work(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

async function modeOf(path: string): Promise<number> {
  return (await Deno.stat(path)).mode! & 0o777;
}

/** Runs `body` in a process of its own, with StateDir imported and the folder's path as `path`. */
function spawn(body: string, path: string): Deno.ChildProcess {
  const source = `
    import { StateDir } from ${JSON.stringify(new URL("./state_dir.ts", import.meta.url).href)};
    const path = ${JSON.stringify(path)};
    ${body}`;
  return new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      "--config",
      new URL("../../deno.json", import.meta.url).pathname,
      `data:application/typescript,${encodeURIComponent(source)}`,
    ],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
}

async function firstLine(child: Deno.ChildProcess): Promise<string> {
  const reader = child.stdout.getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) break;
    text += new TextDecoder().decode(value);
  }
  await reader.cancel();
  return text.trim();
}

Deno.test("StateDir.readJson() returns what writeJson() was given, null before", async () => {
  await withFolder(async (folder) => {
    using dir = await StateDir.open(join(folder, "a/b"));
    assert.equal(await dir.readJson("mesh.json", Facts), null);
    await dir.writeJson("mesh.json", { n: 1, text: "x" });
    assert.deepEqual(await dir.readJson("mesh.json", Facts), { n: 1, text: "x" });
    await dir.remove("mesh.json");
    await dir.remove("mesh.json");
    assert.equal(await dir.readJson("mesh.json", Facts), null);
  });
});

Deno.test("StateDir keeps folders at 0700 and files at 0600, whatever the umask", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "state");
    await Deno.mkdir(path, { mode: 0o755 });
    using dir = await StateDir.open(path, { exclusive: true });
    const umask = Deno.umask(0);
    try {
      await dir.writeJson("mesh.json", {});
      await dir.writeText("tls/key.pem", "secret");
      await dir.writeText("tls/key.pem", "secret 2");
    } finally {
      Deno.umask(umask);
    }
    assert.equal(await modeOf(path), 0o700);
    assert.equal(await modeOf(join(path, "tls")), 0o700);
    assert.equal(await modeOf(join(path, "mesh.json")), 0o600);
    assert.equal(await modeOf(join(path, "tls/key.pem")), 0o600);
    assert.equal(await modeOf(join(path, "lock")), 0o600);
    assert.equal(await dir.readText("tls/key.pem"), "secret 2");
  });
});

Deno.test("StateDir.readJson() reports a corrupt file as state-invalid with a way out", async () => {
  await withFolder(async (folder) => {
    using dir = await StateDir.open(folder);
    for (const text of ["", "{", '{"n":1}', '{"n":1,"text":"","more":1}', "null", "\0\0\0"]) {
      await Deno.writeTextFile(join(folder, "mesh.json"), text);
      const error = await dir.readJson("mesh.json", Facts).catch((error) => error);
      assert.equal(error.code, "state-invalid", text);
      assert.match(error.hint, /mesh\.json\.bad/);
    }
  });
});

Deno.test("StateDir refuses names that lead out of it", async () => {
  await withFolder(async (folder) => {
    using dir = await StateDir.open(folder);
    for (const name of ["../x", "/etc/passwd", "a/b/c", "", ".hidden", "a/../b", "A"]) {
      assert.throws(() => dir.pathOf(name), TypeError, name);
    }
  });
});

Deno.test("StateDir.writeJson() keeps the order of calls that were not awaited", async () => {
  await withFolder(async (folder) => {
    using dir = await StateDir.open(folder);
    const writes = Array.from({ length: 20 }, (_, n) => dir.writeJson("n.json", n));
    await Promise.all(writes);
    assert.equal(await dir.readJson("n.json", z.number()), 19);
  });
});

Deno.test("StateDir.open() says what is wrong with a path that cannot be a folder", async () => {
  await withFolder(async (folder) => {
    const file = join(folder, "file");
    await Deno.writeTextFile(file, "");
    await assert.rejects(StateDir.open(file), { code: "state-invalid" });
    await assert.rejects(StateDir.open(join(file, "inner")), { code: "state-invalid" });
  });
});

Deno.test("StateDir.open() refuses a second exclusive holder until the first is gone", async () => {
  await withFolder(async (folder) => {
    const holder = spawn(
      `using dir = await StateDir.open(path, { exclusive: true });
       console.log("held"); await new Promise((r) => setTimeout(r, 60_000));`,
      folder,
    );
    try {
      assert.equal(await firstLine(holder), "held");
      const error = await StateDir.open(folder, { exclusive: true }).catch((error) => error);
      assert.equal(error.code, "already-running");
      assert.match(error.message, new RegExp(`process ${holder.pid} holds it`));
      using reader = await StateDir.open(folder);
      assert.equal(reader.isExclusive, false);
    } finally {
      holder.kill("SIGKILL");
      await holder.status;
    }
    using dir = await StateDir.open(folder, { exclusive: true });
    assert.equal(dir.isExclusive, true);
    await assert.rejects(StateDir.open(folder, { exclusive: true }), { code: "already-running" });
  });
});

Deno.test("StateDir.writeJson() leaves whole files when its process is killed at any time", async () => {
  await withFolder(async (folder) => {
    const Big = z.strictObject({ n: z.number(), filler: z.string() });
    let last = -1;
    for (let round = 0; round < 8; round++) {
      const writer = spawn(
        `using dir = await StateDir.open(path, { exclusive: true });
         console.log("ready");
         for (let n = ${last + 1};; n++) {
           await dir.writeJson("state.json", { n, filler: String(n).repeat(40_000) });
         }`,
        folder,
      );
      await firstLine(writer);
      await new Promise((resolve) => setTimeout(resolve, 15 + 11 * round));
      writer.kill("SIGKILL");
      await writer.status;
      using dir = await StateDir.open(folder, { exclusive: true });
      const state = await dir.readJson("state.json", Big);
      if (state) {
        assert.ok(state.n >= last, "never older than what was there before");
        assert.equal(state.filler, String(state.n).repeat(40_000));
        last = state.n;
      }
      for await (const entry of Deno.readDir(folder)) {
        assert.ok(!TEMPORARY_FILE.test(entry.name), `${entry.name} is left`);
      }
    }
    assert.ok(last >= 0, "at least one write was completed");
  });
});
