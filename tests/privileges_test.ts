/**
 * Can any command do what it did not declare? Each one's process tries, with what is left of its
 * permissions when it would begin its work, started as the executables start it.
 * @module
 */
import assert from "node:assert/strict";
import { allCommands, type CommandPath } from "../cli/commands.ts";
import { FakeDaemon, STATUS } from "../cli/fake_daemon.ts";
import { FakeMeshDaemon } from "../cli/fake_mesh_daemon.ts";
import { WIDE_FLAGS } from "../cli/permissions.ts";
import { tempDir } from "../cli/testing_host.ts";
import { formatPublicKey } from "../core/identity/openssh.ts";
import { policyHash } from "../core/state/bodies.ts";
import { actor } from "../core/state/fake_mesh.ts";
import type { Attempted, ProbeReport, ProbeTargets } from "./privileges_probe.ts";

const PROBE = new URL("privileges_probe.ts", import.meta.url).pathname;

/** Arguments of commands that take some, for the probe to get as far as their work. */
const ARGUMENTS: Readonly<Record<string, readonly string[]>> = {
  "bind create": ["bob", "bucket-read"],
  "bind delete": ["1"],
  "completion": ["bash"],
  "context create": ["work"],
  "context delete": ["default"],
  "context use": ["default"],
  "group add-member": ["admins", "bob"],
  "group create": ["dev", "bob"],
  "group delete": ["ops"],
  "group grant": ["everyone", "bucket-read"],
  "group members": ["everyone"],
  "group remove-member": ["ops", "bob"],
  "exit-node use": ["anna"],
  "init": ["--peer"],
  "filter trace": ["anna", "22"],
  "node admit": ["policy/carol.pub"],
  "node renew": ["nas"],
  "node revoke": ["nas"],
  "node tag": ["nas", "web"],
  "ping": ["anna"],
  "policy apply": ["policy"],
  "policy check": ["policy/policy.yaml"],
  "policy diff": ["policy"],
  "policy explain": ["nas -> cam:22"],
  "policy export": ["policy"],
  "policy plan": ["policy"],
  "policy rollback": ["first"],
  "policy test": ["policy"],
  "policy watch": ["policy"],
  "resolve": ["anna"],
  "role create": ["films", "bucket:films:read"],
  "role delete": ["music"],
  "route advertise": ["192.168.7.0/24"],
  "route withdraw": ["192.168.7.0/24"],
  "token revoke": ["3q2-7wAAAAA"],
  "transport": ["anna"],
  "user add": ["carol", "policy/carol.pub"],
  "user demote": ["anna"],
  "user promote": ["bob"],
  "user remove": ["bob"],
  "user rename": ["bob", "robert"],
  "user rotate-key": ["bob", "policy/carol.pub"],
  "why": ["anna"],
  "__complete": ["peers"],
};

/** The mesh's, and that of the user's files. */
const POLICY = `groups: { ops: user:bob }
roles: { music: [{ right: read, buckets: music }] }
bindings: [{ to: everyone, right: read, panels: map }]
`;

/** A home with two contexts and their keys, another user's, and a folder that anybody may write. */
function makeWorld(active: "default" | "work" = "default") {
  const root = tempDir();
  const home = `${root}/home`;
  const user = `${home}/.tunnelmesh`;
  const other = active === "work" ? "default" : "work";
  const keys = { default: `${user}/id_ed25519`, work: `${user}/id_ed25519-work` };
  const secrets = {
    system: "/etc/shadow",
    stranger: `${root}/stranger/id_ed25519`,
    context: `${user}/state/${other}/mesh.json`,
    contextKey: keys[other],
    identity: keys[active],
  };
  const { system: _, ...made } = secrets;
  for (const path of Object.values(made)) {
    Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    Deno.writeTextFileSync(path, "secret", { mode: 0o600 });
  }
  const contexts = { [active]: {}, [other]: { stateDir: `${user}/state/${other}` } };
  Deno.writeTextFileSync(
    `${user}/contexts.json`,
    JSON.stringify({ version: 1, active, contexts }),
    { mode: 0o600 },
  );
  Deno.mkdirSync(`${home}/policy`);
  Deno.writeTextFileSync(`${home}/policy/policy.yaml`, POLICY);
  Deno.writeTextFileSync(`${home}/policy/carol.pub`, formatPublicKey(actor(3).publicKey));
  const folder = `${root}/open`;
  Deno.mkdirSync(folder);
  Deno.mkdirSync(`${root}/run`);
  Deno.chmodSync(folder, 0o777);
  Deno.writeTextFileSync(`${folder}/module.js`, "globalThis.postMessage?.(0);");
  return { root, home, secrets, folder };
}

type World = ReturnType<typeof makeWorld>;

/** Runs the probe in the place of a command. */
async function probe(
  path: string,
  world: World,
  flags: readonly string[],
): Promise<ProbeReport> {
  const { root, home, secrets, folder } = world;
  const answer = () => ({ json: STATUS });
  await using daemon = new FakeMeshDaemon(`${root}/run/daemon.sock`);
  const documents = [{ file: "policy.yaml", text: POLICY }];
  daemon.mesh.say(actor(1), { type: "policy-set", documents, hash: policyHash(documents) });
  await using other = new FakeDaemon(`${root}/other.sock`, answer);
  const targets: ProbeTargets = {
    secrets: Object.values(secrets),
    folder,
    module: `file://${folder}/module.js`,
    socket: other.socketPath,
  };
  const words = path.split(" ").slice(1);
  const { DENO_DIR, PATH = "" } = Deno.env.toObject();
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "--no-prompt", "--no-check", ...flags, PROBE],
      ...[JSON.stringify(targets), ...words, ...ARGUMENTS[words.join(" ")] ?? []],
    ],
    cwd: home,
    clearEnv: true,
    env: {
      HOME: home,
      PATH,
      DENO_DIR: DENO_DIR ?? `${Deno.env.get("HOME")}/.cache/deno`,
      TUNNELMESH_CONTROL_SOCKET: daemon.socketPath,
      TUNNELMESH_PROBE_SECRET: "secret",
    },
  }).output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assert.equal(code, 0, `${path} takes arguments that this test lacks?\n${decode(stderr)}`);
  return JSON.parse(decode(stdout));
}

/** Attempts that succeeded although nothing declares them. */
function undeclared(
  attempted: Attempted,
  { command: { permissions } }: CommandPath,
  { secrets }: World,
): string[] {
  const declared: Record<string, unknown> = { ...permissions };
  const inPlaces = [
    ...permissions.read !== true && permissions.read?.includes("$system") ? [secrets.system] : [],
    ...permissions.read !== true && permissions.read?.includes("$identity")
      ? [secrets.identity]
      : [],
  ];
  return Object.entries(attempted).filter(([kind]) => declared[kind] !== true).flatMap(
    ([kind, attempts]) =>
      Object.entries(attempts)
        .filter(([name]) => !inPlaces.some((path) => name.endsWith(path)))
        .filter(([, result]) => result !== "refused")
        .map(([name, result]) => `${kind}: ${name}: ${result}`),
  );
}

for (const each of await allCommands()) {
  const { path, command } = each;
  Deno.test(`${path} is refused what it does not declare`, async () => {
    const world = makeWorld();
    const { attempted, daemon } = await probe(path, world, WIDE_FLAGS);
    assert.deepEqual(undeclared(attempted, each, world), []);
    // The probe sees what is allowed, and what is opened works without permission.
    for (const [kind, grant] of Object.entries(command.permissions)) {
      if (grant === true) assert.equal(attempted[kind]!.request, "allowed", kind);
    }
    assert.equal(daemon, command.permissions.opens?.includes("$control") ?? false);
    assert.equal(Deno.readTextFileSync(world.secrets.stranger), "secret");
  });
}

for (const path of ["tunnelmesh init", "tunnelmesh up"]) {
  Deno.test(`${path} has the key of the active context, not the other one's`, async () => {
    const each = (await allCommands()).find((other) => other.path === path)!;
    const world = makeWorld("work");
    const { attempted } = await probe(path, world, WIDE_FLAGS);
    assert.deepEqual(undeclared(attempted, each, world), []);
    assert.equal(attempted.read![`read ${world.secrets.identity}`], "allowed");
    assert.equal(attempted.read![`read ${world.secrets.contextKey}`], "refused");
  });
}

Deno.test("started with --allow-all, a command still loses every kind it does not declare", async () => {
  const world = makeWorld();
  const status = (await allCommands()).find(({ path }) => path === "tunnelmesh status")!;
  const { attempted, daemon } = await probe(status.path, world, ["-A"]);
  assert.deepEqual(undeclared(attempted, status, world), []);
  assert(daemon);
});

Deno.test("the program itself puts nothing in a command's place", () => {
  const main = Deno.readTextFileSync(new URL("../main.ts", import.meta.url));
  assert.match(main, /await run\(Deno\.args\)\)/);
});
