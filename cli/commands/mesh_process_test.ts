/**
 * The commands of users and policy as a user runs them: in a process that has given up what they do
 * not declare.
 */
import assert from "node:assert/strict";
import { FakeMeshDaemon } from "../fake_mesh_daemon.ts";
import { WIDE_FLAGS } from "../permissions.ts";
import { tempDir } from "../testing_host.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;
const POLICY = `rules:
  - { from: everyone, to: self, ports: any }
  - { from: user:bob, to: tag:server, ports: ssh }
tests:
  - { from: user:bob, allow: "nas:22", deny: "laptop:22" }
`;

/** Command lines in order, and what each must print first. */
const STEPS: [words: string[], code: number, stdout: RegExp][] = [
  [["policy", "check", "p"], 0, /^p\/policy\.yaml: nothing is wrong/],
  [["policy", "plan", "p", "--exit-code"], 5, /^user:bob gains tcp\/22 on tag:server|gains/],
  [["policy", "watch", "p", "--once", "--json"], 0, /^\{"at":\d+,"type":"applied"/],
  [["policy", "watch", "p", "--once"], 0, /in sync: the mesh has policy [0-9a-f]{12}/],
  [["policy", "diff", "p"], 0, /^Nothing differs/],
  [["policy", "test"], 0, /^2 passed/],
  [["policy", "explain"], 0, /^rules:\n/],
  [["policy", "explain", "desk -> nas:22"], 0, /allowed/],
  [["policy", "history"], 0, /policy\.yaml \+/],
  [["policy", "export", "copy"], 0, /^Wrote .*\/copy\/policy\.yaml/],
  [["group", "create", "dev", "bob", "--yes"], 0, /is applied, entry 7/],
  [["group", "members", "dev"], 0, /^Written {2}user:bob/],
  [["role", "list"], 0, /bucket-read/],
  [["bind", "create", "dev", "bucket-read", "--yes"], 0, /is applied, entry 8/],
  [["policy", "watch", "p", "--once"], 5, /drift: anna applied [0-9a-f]{12} by hand, entry 8/],
  [["policy", "rollback", "6", "--yes"], 0, /is applied, entry 9/],
  [["user", "promote", "bob", "--yes"], 0, /bob is an admin now/],
  [["node", "tag", "cam", "web", "--yes"], 0, /Node cam has tags untrusted, web/],
  [["node", "list"], 0, /laptop \(this\)/],
  [["audit", "--user", "anna"], 0, /admin-add/],
  [["user", "remove", "bob"], 2, /^user:bob.*loses?/],
];

Deno.test("users and policy are managed with the permissions that the commands declare", async () => {
  await using daemon = new FakeMeshDaemon(`${tempDir()}/d.sock`);
  const home = tempDir();
  Deno.mkdirSync(`${home}/p`);
  Deno.writeTextFileSync(`${home}/p/policy.yaml`, POLICY);
  const { DENO_DIR, HOME, PATH = "" } = Deno.env.toObject();
  for (const [words, code, stdout] of STEPS) {
    const result = await new Deno.Command(Deno.execPath(), {
      args: ["run", ...WIDE_FLAGS, "--no-prompt", "--quiet", "--no-check", MAIN, ...words],
      cwd: home,
      clearEnv: true,
      env: {
        HOME: home,
        PATH,
        DENO_DIR: DENO_DIR ?? `${HOME}/.cache/deno`,
        NO_COLOR: "1",
        TUNNELMESH_CONTROL_SOCKET: daemon.socketPath,
      },
    }).output();
    const [text, errors] = [result.stdout, result.stderr].map((bytes) =>
      new TextDecoder().decode(bytes)
    );
    assert.equal(result.code, code, `${words.join(" ")}\n${text}${errors}`);
    assert.match(text!, stdout, words.join(" "));
  }
});
