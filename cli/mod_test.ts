/**
 * The program as its users call it: another process, its exit status, what it prints where.
 * @module
 */
import assert from "node:assert/strict";
import { PeerFile } from "../core/config/schema.ts";
import { parsePeerConfig } from "../core/config/parse.ts";
import { MeshError } from "../core/errors.ts";
import { FakeDaemon, type FakeReply, PEER, type SeenRequest, STATUS } from "./fake_daemon.ts";
import { WIDE_FLAGS } from "./permissions.ts";
import { tempDir } from "./testing_host.ts";
import { yamlSource } from "../core/daemon/yaml_source.ts";

const MAIN = new URL("../main.ts", import.meta.url).pathname;

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface RunOptions {
  readonly home?: string;
  readonly env?: Record<string, string>;
  readonly permissions?: readonly string[];
}

/** Runs the program with nothing of this machine's settings. */
async function tunnelmesh(args: readonly string[], options: RunOptions = {}): Promise<Result> {
  const { home = tempDir(), env = {}, permissions = WIDE_FLAGS } = options;
  const { DENO_DIR, PATH = "" } = Deno.env.toObject();
  const cache = DENO_DIR ?? `${Deno.env.get("HOME")}/.cache/deno`;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", ...permissions, "--no-prompt", "--quiet", "--no-check", MAIN, ...args],
    cwd: home,
    clearEnv: true,
    env: { HOME: home, PATH, DENO_DIR: cache, NO_COLOR: "1", ...env },
  }).output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: decode(stdout), stderr: decode(stderr) };
}

/** Runs the program against a daemon that answers so. */
async function withDaemon(
  answer: (request: SeenRequest) => FakeReply,
  ...args: string[]
): Promise<Result & { seen: SeenRequest[] }> {
  await using daemon = new FakeDaemon(`${tempDir()}/d.sock`, answer);
  const env = { TUNNELMESH_CONTROL_SOCKET: daemon.socketPath };
  return { ...await tunnelmesh(args, { env }), seen: daemon.seen };
}

const STATUS_CASES: [args: string[], code: number, stderr: RegExp][] = [
  [["version"], 0, /^$/],
  [["--version"], 0, /^$/],
  [[], 0, /^$/],
  [["help", "token", "create"], 0, /^$/],
  [["stauts"], 2, /^error: .*no such command\nhint: Did you mean `tunnelmesh status`\?\n$/],
  [["token"], 2, /a command is missing/],
  [["token", "crate"], 2, /Did you mean `tunnelmesh token create`\?/],
  [["ping"], 2, /PEER is missing/],
  [["ping", "a", "--count", "0"], 2, /--count must be at least 1, not 0/],
  [["status", "--xyzzy"], 2, /unknown option --xyzzy/],
  [["completion", "tcsh"], 2, /SHELL must be one of bash, zsh, fish, not "tcsh"/],
  [["join", "http://a", "--token", "tm2_x"], 2, /plain http/],
  [["join", "a", "--server", "b"], 2, /the coordinator is given twice/],
  [["join", "a", "--token", "x", "--token-file", "y"], 2, /the token is given twice/],
  [["join", "--token", "tm2_x"], 2, /a token is given, but no coordinator/],
  [["join", "--config", "gone.yaml"], 2, /gone.yaml does not exist/],
  [["up", "--mtu", "30"], 2, /--mtu must be at least 1280, not 30/],
  [["serve", "--cert", "c.pem"], 2, /certificate_key is not set/],
  [["context", "use", "work"], 2, /Cannot find context "work"/],
  [["status"], 3, /daemon.*is not running\nhint: Start it with/],
  [["status", "--context", "../x"], 2, /not a valid name/],
];

for (const [args, code, stderr] of STATUS_CASES) {
  Deno.test(`tunnelmesh ${args.join(" ")} exits with ${code}`, async () => {
    const env = { TUNNELMESH_STATE_DIR: tempDir() };
    const result = await tunnelmesh(args, { env });
    assert.match(result.stderr, stderr);
    assert.equal(result.code, code);
    assert.equal(result.stdout === "", code !== 0);
  });
}

Deno.test("tunnelmesh exits with 4 for what policy refuses", async () => {
  const error = new MeshError("forbidden", "Cannot manage tokens: no admin", { hint: "Ask one" });
  const answer = ({ path }: SeenRequest) => path === "/v1/status" ? { json: STATUS } : { error };
  const { code, stderr } = await withDaemon(answer, "token", "list");
  assert.equal(code, 4);
  assert.equal(stderr, "error: Cannot manage tokens: no admin\nhint: Ask one\n");
});

Deno.test("with --json an error is one object on standard error", async () => {
  const { code, stdout, stderr } = await tunnelmesh(["--json", "stauts"]);
  assert.equal(code, 2);
  assert.equal(stdout, "");
  assert.deepEqual(JSON.parse(stderr), {
    error: {
      code: "usage",
      message: "Cannot run `tunnelmesh stauts`: there is no such command",
      hint: "Did you mean `tunnelmesh status`?",
    },
  });
});

Deno.test("status and peers print the daemon's report as JSON", async () => {
  const answer = () => ({ json: { ...STATUS, peers: [PEER, { ...PEER, name: "bob" }] } });
  const status = await withDaemon(answer, "status", "--json");
  assert.equal(JSON.parse(status.stdout).peers.length, 2);
  const peers = await withDaemon(answer, "peers", "--json");
  assert.deepEqual(peers.stdout.trim().split("\n").map((line) => JSON.parse(line).name), [
    "anna",
    "bob",
  ]);
  const one = await withDaemon(answer, "peers", "ann");
  assert.equal(one.code, 1);
  assert.match(one.stderr, /Did you mean "anna"\?/);
});

Deno.test("ping prints each reply and fails when there is none", async () => {
  const reply = { peer: "anna", address: "172.30.0.2", link: "udp", endpoint: "192.0.2.1:51820" };
  const lines = [{ sequence: 1, rttMs: 12.5, ...reply }, { sequence: 2, rttMs: null, ...reply }];
  const good = await withDaemon(() => ({ lines }), "ping", "anna", "-c", "2");
  assert.equal(good.code, 0);
  assert.equal(
    good.stdout,
    `Pinging anna at 172.30.0.2
  1   12.5 ms  by udp 192.0.2.1:51820
  2  no reply

2 sent, 1 received, 50% lost; round trip 12.5 ms to 12.5 ms, mean 12.5 ms
`,
  );
  assert.deepEqual(good.seen[0]?.body, {
    peer: "anna",
    count: 2,
    intervalMs: 1000,
    timeoutMs: 1000,
  });
  const bad = await withDaemon(() => ({ lines: [lines[1]] }), "ping", "anna", "--json");
  assert.equal(bad.code, 1);
  assert.equal(JSON.parse(bad.stdout).rttMs, null);
});

Deno.test("token create prints the line to paste", async () => {
  const made = {
    id: "3q2-7wAAAAA",
    token: "tm2_secret",
    expiresAt: Date.UTC(2026, 7, 2),
    reusable: true,
    note: "ci",
  };
  const answer = ({ path }: SeenRequest) => ({ json: path === "/v1/status" ? STATUS : made });
  const args = ["token", "create", "--reusable", "--expires", "7d", "--note", "ci", "--tag", "ci"];
  const { stdout, seen } = await withDaemon(answer, ...args);
  assert.match(stdout, /3q2-7wAAAAA admits any number of machines, until 2026-08-02 00:00 UTC/);
  assert.match(
    stdout,
    /\n {2}sudo tunnelmesh join https:\/\/a.example.com:8443 --token tm2_secret\n/,
  );
  assert.deepEqual(seen.at(-1), {
    method: "POST",
    path: "/v1/tokens",
    body: {
      reusable: true,
      note: "ci",
      tags: ["ci"],
      isCoordinator: false,
      expiresInMs: 604_800_000,
    },
  });
  const both = await withDaemon(answer, "token", "create", "--new-user", "bob", "--reusable");
  assert.equal(both.code, 2);
  assert.match(both.stderr, /--new-user goes with neither/);
  const never = await withDaemon(answer, "token", "create", "--expires", "never");
  assert.equal((never.seen.at(-1)!.body as { expiresInMs: unknown }).expiresInMs, null);
});

Deno.test("token list shows the rights of the mesh's log, newest first", async () => {
  const right = {
    note: "",
    uses: 0,
    maxNodes: 1,
    expiresAt: null,
    user: "anna",
    tags: [],
    createdAt: 1,
    createdBy: "anna",
    withdrawnAt: null,
  };
  const authorities = [
    { ...right, id: "used", uses: 1 },
    { ...right, id: "valid", createdAt: 2, maxNodes: 9, uses: 3, user: null, tags: ["web"] },
    { ...right, id: "revoked", createdAt: 3, withdrawnAt: 4, uses: 1 },
    { ...right, id: "expired", createdAt: 4, expiresAt: 5 },
  ];
  const { stdout } = await withDaemon(() => ({ json: { authorities } }), "token", "list");
  const rows = stdout.trimEnd().split("\n").slice(1).map((line) => line.split(/ +/).slice(0, 5));
  assert.deepEqual(rows, [
    ["expired", "expired", "one", "0", "anna"],
    ["revoked", "revoked", "one", "1", "anna"],
    ["valid", "valid", "many", "3", "tag:web"],
    ["used", "used", "one", "1", "anna"],
  ]);
});

Deno.test("resolve, leave and dns doctor say what the daemon says", async () => {
  const report = { name: "anna.tunnelmesh", addresses: ["172.30.0.2", "fd00::2"], peer: "anna" };
  const resolved = await withDaemon(() => ({ json: report }), "resolve", "anna");
  assert.equal(resolved.stdout, "anna.tunnelmesh -> 172.30.0.2\nanna.tunnelmesh -> fd00::2\n");

  const left = await withDaemon(
    ({ path }) => ({ json: path === "/v1/leave" ? {} : STATUS }),
    "leave",
  );
  assert.equal(left.stdout, "hub has left mesh 6f1d2c3b4a596877\n");

  const finding = { level: "error", what: "Names do not resolve", culprit: "dhclient", hint: null };
  const doctor = await withDaemon(() => ({ json: [finding] }), "dns", "doctor");
  assert.equal(doctor.code, 1);
  assert.match(
    doctor.stdout,
    /^error {4}Names do not resolve\n +by dhclient\n\n1 error, 0 warnings/,
  );
});

Deno.test("__complete prints names and is silent without a daemon", async () => {
  const names = await withDaemon(() => ({ json: STATUS }), "__complete", "peers");
  assert.equal(names.stdout, "anna\nwww\n");
  const none = await tunnelmesh(["__complete", "peers"]);
  assert.deepEqual(none, { code: 0, stdout: "", stderr: "" });
});

Deno.test("init makes a key and files that are read back", async () => {
  const home = tempDir();
  const only = await tunnelmesh(["init", "--json"], { home });
  const { identity, file } = JSON.parse(only.stdout);
  assert.equal(file, null);
  assert.equal(identity.isNew, true);
  assert.match(identity.peerId, /^[0-9a-f]{16}$/);
  const key = `${home}/.tunnelmesh/id_ed25519`;
  assert.equal(Deno.statSync(key).mode! & 0o777, 0o600);
  assert.match(Deno.readTextFileSync(`${key}.pub`), /^ssh-ed25519 /);

  const peer = await tunnelmesh(["init", "--peer"], { home });
  assert.match(peer.stdout, /is there\n.*SHA256:/);
  assert.equal(Deno.statSync(`${home}/peer.yaml`).mode! & 0o777, 0o600);
  const text = Deno.readTextFileSync(`${home}/peer.yaml`);
  const sources = { file: yamlSource({ name: "peer.yaml", text }), env: {}, flags: {} };
  assert.deepEqual(parsePeerConfig(sources).warnings, []);
  assert(Object.keys(PeerFile.shape).length > 20);

  const again = await tunnelmesh(["init", "--peer"], { home });
  assert.equal(again.code, 2);
  assert.match(again.stderr, /it exists\nhint: Add --force/);
  assert.equal((await tunnelmesh(["init", "--peer", "--force"], { home })).code, 0);

  const server = await tunnelmesh(["init", "--server", "--peer", "-o", "hub.yaml"], { home });
  assert.match(server.stdout, /Next: `sudo tunnelmesh serve --config .*hub.yaml`/);
  assert.match(
    Deno.readTextFileSync(`${home}/hub.yaml`),
    /^join_mesh:\n(.*\n)* {4}enabled: true$/m,
  );
});

Deno.test("contexts are made, listed, used and deleted", async () => {
  const home = tempDir();
  const context = (...args: string[]) => tunnelmesh(["context", ...args], { home });
  assert.equal((await context("create", "work", "--server", "a")).code, 0);
  assert.match(
    (await context("create", "work", "--server", "a")).stderr,
    /exists\nhint: .*--force/,
  );
  assert.equal((await context("create", "home", "--server", "b:1")).code, 0);
  assert.match((await context("ls")).stdout, /\n {3}home .*https:\/\/b:1.*\n\* {2}work /);
  await context("switch", "home");
  assert.equal(JSON.parse((await context("info", "--json")).stdout).name, "home");
  assert.equal((await context("rm", "home")).code, 0);
  assert.match((await context("show", "home")).stderr, /Cannot find context "home"/);
});

Deno.test("a configuration file tells where the daemon is", async () => {
  await using daemon = new FakeDaemon(`${tempDir()}/d.sock`, () => ({ json: STATUS }));
  const home = tempDir();
  Deno.writeTextFileSync(`${home}/p.yaml`, `control_socket: ${daemon.socketPath}\n`);
  const { code, stdout } = await tunnelmesh(["status", "-c", "p.yaml"], { home });
  assert.equal(code, 0);
  assert.match(stdout, /^hub {2}172\.30\.0\.3/);
});

Deno.test("a permission that the process lacks is named", async () => {
  const permissions = ["--allow-read", "--allow-env", "--allow-sys"];
  const { code, stderr } = await tunnelmesh(["status"], { permissions });
  assert.equal(code, 1);
  assert.match(stderr, /^error: Cannot go on: Requires .* access/);
});
