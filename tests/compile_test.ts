/**
 * The single-file form: its shell header with a fake runtime, then the whole thing with the real one.
 * @module
 */
import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import { bundle } from "../scripts/bundle.ts";
import { buildPortable, HEADER_BYTES } from "../scripts/portable.ts";
import { fetchRuntime, hostTarget } from "../scripts/runtimes.ts";
import { readTarFile } from "../scripts/tar.ts";

const decoder = new TextDecoder();

/** As root the runtime goes to a fixed folder, so root runs these tests as this user (nobody). */
const NOBODY = 65534;

/** A folder that `nobody` may use, with a file in it and a way to run that. */
class Installation {
  readonly folder: string;
  readonly path: string;

  constructor(contents: Uint8Array) {
    this.folder = Deno.makeTempDirSync({ prefix: "tunnelmesh-portable-", dir: "/tmp" });
    this.path = `${this.folder}/tunnelmesh`;
    Deno.writeFileSync(this.path, contents, { mode: 0o755 });
    Deno.chmodSync(this.path, 0o755);
    Deno.mkdirSync(this.home);
    for (const path of [this.folder, this.home]) {
      if (Deno.uid() === 0) Deno.chownSync(path, NOBODY, NOBODY);
    }
  }

  get home(): string {
    return `${this.folder}/home`;
  }

  get runtimes(): string {
    return `${this.home}/.cache/tunnelmesh/runtime`;
  }

  command(...args: string[]): Deno.Command {
    return new Deno.Command(this.path, {
      args,
      cwd: this.folder,
      clearEnv: true,
      env: { HOME: this.home, PATH: Deno.env.get("PATH")!, NO_COLOR: "1" },
      ...(Deno.uid() === 0 ? { uid: NOBODY, gid: NOBODY } : {}),
      stdout: "piped",
      stderr: "piped",
    });
  }

  async run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const { code, stdout, stderr } = await this.command(...args).output();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  }

  /** What lies unpacked, or is being unpacked. */
  unpacked(): string[] {
    try {
      return [...Deno.readDirSync(this.runtimes)].map((entry) => entry.name);
    } catch {
      return [];
    }
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder, { recursive: true });
  }
}

/** Instead of Deno: says its own number and what it was started with. */
const FAKE_RUNTIME = `#!/bin/sh
echo "pid $$"
for each in "$@"; do echo "<$each>"; done
exit 7
`;

function fakePortable(): Uint8Array {
  return buildPortable({
    version: "1.2.3",
    runtime: new TextEncoder().encode(FAKE_RUNTIME),
    files: [{ name: "app.js", text: "app" }, { name: "worker.js", text: "worker" }],
  });
}

const isUnix = Deno.build.os !== "windows";

Deno.test("buildPortable() gives the same bytes for the same parts", () => {
  const file = fakePortable();
  assert.deepEqual(file, fakePortable());
  const archive = gunzipSync(file.subarray(HEADER_BYTES));
  assert.equal(decoder.decode(readTarFile(archive, "worker.js")!), "worker");
  assert.equal(readTarFile(archive, "other"), null);
});

Deno.test("the portable file replaces itself by the runtime and passes arguments on", {
  ignore: !isUnix,
}, async () => {
  using installation = new Installation(fakePortable());
  const child = installation.command("a b", "*", "", "-x").spawn();
  const { pid } = child;
  const { code, stdout } = await child.output();
  const lines = decoder.decode(stdout).trim().split("\n");
  assert.equal(code, 7);
  assert.equal(lines[0], `pid ${pid}`);
  assert.equal(lines[1], "<run>");
  assert.deepEqual(lines.slice(-4), ["<a b>", "<*>", "<>", "<-x>"]);
  assert.match(lines.at(-5)!, /\/app\.js>$/);
  assert.equal(installation.unpacked().length, 1);
});

Deno.test("the portable file unpacks once, even when many first starts meet", {
  ignore: !isUnix,
}, async () => {
  using installation = new Installation(fakePortable());
  const codes = await Promise.all(
    Array.from({ length: 12 }, async () => (await installation.run()).code),
  );
  assert.deepEqual(new Set(codes), new Set([7]));
  const [folder, ...others] = installation.unpacked();
  assert.deepEqual(others, []);
  const inside = [...Deno.readDirSync(`${installation.runtimes}/${folder}`)];
  assert.deepEqual(inside.map((entry) => entry.name).sort(), ["app.js", "deno", "worker.js"]);
  const before = Deno.statSync(`${installation.runtimes}/${folder}`).ino;
  await installation.run();
  assert.equal(Deno.statSync(`${installation.runtimes}/${folder}`).ino, before);
});

Deno.test("the portable file leaves nothing behind when it is cut short", {
  ignore: !isUnix,
}, async () => {
  const whole = fakePortable();
  using installation = new Installation(whole.subarray(0, whole.length - 40));
  const { code, stderr } = await installation.run();
  assert.equal(code, 1);
  assert.match(stderr, /Cannot unpack .*: damaged or no room/);
  assert.deepEqual(installation.unpacked(), []);
});

Deno.test("the portable file runs nothing out of a folder that others may write", {
  ignore: !isUnix,
}, async () => {
  using installation = new Installation(fakePortable());
  assert.equal((await installation.run()).code, 7);
  const [folder] = installation.unpacked();
  const paths = [
    `${installation.home}/.cache/tunnelmesh`,
    installation.runtimes,
    `${installation.runtimes}/${folder}`,
  ];
  for (const path of paths) {
    const { mode } = Deno.statSync(path);
    for (const bits of [0o020, 0o002]) {
      Deno.chmodSync(path, mode! & 0o777 | bits);
      const { code, stdout, stderr } = await installation.run();
      assert.equal(code, 1, path);
      assert.equal(stdout, "");
      assert.match(stderr, /other users may write/);
    }
    Deno.chmodSync(path, mode! & 0o777);
  }
  assert.equal((await installation.run()).code, 7);
});

Deno.test("the portable file keeps root's runtime in /var/lib, which only root may write", {
  ignore: Deno.build.os !== "linux" || Deno.uid() !== 0,
}, async () => {
  using installation = new Installation(fakePortable());
  // A mount namespace of its own with an empty /var/lib: the machine's is left alone.
  const script = `mount -t tmpfs tmpfs /var/lib
    "$0"; echo "status $?"; ls -1 /var/lib/tunnelmesh/runtime; ls -A "$HOME"
    chown ${NOBODY} /var/lib/tunnelmesh/runtime; "$0"; echo "status $?"`;
  const { stdout, stderr } = await new Deno.Command("unshare", {
    args: ["--mount", "sh", "-c", script, installation.path],
    env: { HOME: installation.home },
  }).output();
  const lines = decoder.decode(stdout).trim().split("\n");
  assert.match(lines.join("\n"), /^pid \d+\n(<.*>\n)+status 7\n[0-9a-f]{32}\nstatus 1$/);
  assert.match(decoder.decode(stderr), /other users may write/);
});

/** A program that does what ours needs of the runtime: a worker beside it, SQLite, a lazy package. */
const APP = `
import { DatabaseSync } from "node:sqlite";
const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
const said = await new Promise((resolve) => worker.onmessage = (event) => resolve(event.data));
worker.terminate();
const { default: ssh2 } = await import("ssh2");
const sum = new DatabaseSync(":memory:").prepare("select 1 + 1 as sum").get().sum;
console.log(JSON.stringify({ said, sum, key: typeof ssh2.utils.parseKey, pid: Deno.pid,
  args: Deno.args, datagrams: typeof Deno.listenDatagram,
  executable: Deno.env.get("TUNNELMESH_EXECUTABLE") }));
`;

Deno.test("the portable file runs worker, SQLite and packages with the real runtime", {
  ignore: hostTarget() === null || !isUnix,
}, async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/app.ts`, APP);
    await Deno.writeTextFile(`${folder}/worker.ts`, 'self.postMessage("here");');
    const [runtime, files] = await Promise.all([
      fetchRuntime(hostTarget()!),
      bundle({ app: `${folder}/app.ts`, worker: `${folder}/worker.ts` }),
    ]);
    for (const { text } of files) assert.doesNotMatch(text, /\.cache\/deno/, "no machine paths");
    using installation = new Installation(
      buildPortable({ version: "1.2.3", runtime, files, level: 1 }),
    );
    const child = installation.command("x").spawn();
    const { pid } = child;
    const { code, stdout, stderr } = await child.output();
    assert.equal(code, 0, decoder.decode(stderr));
    assert.deepEqual(JSON.parse(decoder.decode(stdout)), {
      said: "here",
      sum: 2,
      key: "function",
      pid,
      args: ["x"],
      datagrams: "function",
      executable: installation.path,
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("the portable tunnelmesh answers --help and version", {
  ignore: hostTarget() === null || !isUnix,
}, async () => {
  const [runtime, files] = await Promise.all([fetchRuntime(hostTarget()!), bundle()]);
  using installation = new Installation(
    buildPortable({ version: "1.2.3", runtime, files, level: 1 }),
  );
  const help = await installation.run("--help");
  assert.equal(help.code, 0, help.stderr);
  assert.match(help.stdout, /tunnelmesh up/);
  const started = performance.now();
  const version = await installation.run("version");
  assert.equal(version.code, 0, version.stderr);
  assert.match(version.stdout, /\d+\.\d+\.\d+/);
  assert.ok(performance.now() - started < 5_000, "a later start does not unpack");
});
