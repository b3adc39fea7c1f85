/**
 * Are the files that commands write their owner's alone, whatever the umask is?
 * @module
 */
import assert from "node:assert/strict";
import { WIDE_FLAGS } from "../cli/permissions.ts";
import { tempDir } from "../cli/testing_host.ts";
import { TextLineStream } from "../cli/text_lines.ts";
import { openToOthers, withOpenUmask } from "./file_modes.ts";

const MAIN = new URL("../main.ts", import.meta.url).pathname;

/** The program with an empty home and umask 0. */
function spawn(home: string, ...args: string[]): Deno.ChildProcess {
  const { DENO_DIR, PATH = "" } = Deno.env.toObject();
  const run = ["run", "--quiet", "--no-prompt", "--no-check", ...WIDE_FLAGS, MAIN, ...args];
  const [program, ...rest] = withOpenUmask([Deno.execPath(), ...run]);
  return new Deno.Command(program!, {
    args: rest,
    cwd: home,
    clearEnv: true,
    env: {
      HOME: home,
      PATH,
      DENO_DIR: DENO_DIR ?? `${Deno.env.get("HOME")}/.cache/deno`,
      NO_COLOR: "1",
    },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

async function mustRun(home: string, ...args: string[]): Promise<void> {
  const { code, stderr } = await spawn(home, ...args).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
}

Deno.test("init and context write 0600 in folders of 0700 under umask 0", async () => {
  const home = tempDir();
  await mustRun(home, "init", "--peer");
  await mustRun(home, "init", "--server", "--output", ".tunnelmesh/server.yaml");
  await mustRun(home, "init", "--identity", "keys/of/job/id");
  await mustRun(home, "context", "create", "work");
  await mustRun(home, "context", "create", "other");
  await mustRun(home, "context", "use", "other");
  await mustRun(home, "context", "delete", "other");
  const names = [...Deno.readDirSync(`${home}/.tunnelmesh`)].map(({ name }) => name).sort();
  assert.deepEqual(names, ["contexts.json", "id_ed25519", "id_ed25519.pub", "server.yaml"]);
  assert.deepEqual(openToOthers(home), []);
});

Deno.test("serve writes 0600 in folders of 0700 under umask 0", async () => {
  const home = tempDir();
  const listen = ["--listen", `127.0.0.1:${freePort()}`, "--stun-port", `${freePort()}`];
  const child = spawn(home, "serve", "--data-dir", "a/mesh", "--log-level", "error", ...listen);
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
  let seen = "";
  for await (const line of lines) {
    seen += `${line}\n`;
    if (line.includes("--token")) {
      const names = [...Deno.readDirSync(`${home}/a/mesh`)].map(({ name }) => name);
      assert(names.includes("state.db"), names.join());
      assert(names.some((name) => name.endsWith(".key")), names.join());
      assert.deepEqual(openToOthers(home), []);
      child.kill("SIGTERM");
    }
  }
  const stderr = await new Response(child.stderr).text();
  assert.equal((await child.status).code, 0, seen + stderr);
  assert.match(seen, /--token/, stderr);
  assert.deepEqual(openToOthers(home), []);
});
