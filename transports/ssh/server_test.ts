import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import type { Identity } from "../../core/identity/keys.ts";
import { formatPublicKey } from "../../core/identity/openssh.ts";
import { isInstalled } from "../../scripts/system_packages.ts";
import { identityOf, Membership, openLink, until, Witness } from "./_pair.ts";
import { privateKeyPem, SSH_USER } from "./keys.ts";
import type { SshLink } from "./link.ts";
import { type ClientConfig, loadSsh2 } from "./ssh2.ts";

const [ALICE, BOB, EVE] = [identityOf(1), identityOf(2), identityOf(3)];
const REFUSED = /open failed: (administratively prohibited|connect failed)/;
const DENIED = /Permission denied \(publickey\)/;

/** Bob's server, with keys and options for OpenSSH's programs; and a service next to it. */
class Scene {
  readonly toBob = new Witness();
  bob!: SshLink;
  folder!: string;
  /** Connections to a service that nobody should reach. */
  reached = 0;
  readonly #service = createServer((socket) => {
    this.reached++;
    socket.destroy();
  });

  static async set(): Promise<Scene> {
    const scene = new Scene();
    scene.bob = await openLink(BOB, new Membership([ALICE, BOB]), scene.toBob);
    scene.folder = await Deno.makeTempDir();
    await Deno.writeTextFile(
      join(scene.folder, "known_hosts"),
      `[127.0.0.1]:${scene.bob.port} ${formatPublicKey(BOB.publicKey)}\n`,
    );
    const { promise, resolve } = Promise.withResolvers<void>();
    scene.#service.listen(0, "127.0.0.1", () => resolve());
    await promise;
    return scene;
  }

  /** Where the service is. */
  get service(): string {
    return `127.0.0.1:${(this.#service.address() as { port: number }).port}`;
  }

  /** Starts OpenSSH's client as someone, at Bob's. */
  ssh(who: Identity, args: readonly string[], user = SSH_USER): Deno.ChildProcess {
    const key = join(this.folder, who.peerId);
    Deno.writeTextFileSync(key, privateKeyPem(who), { mode: 0o600 });
    const options = [
      "IdentitiesOnly=yes",
      "StrictHostKeyChecking=yes",
      `UserKnownHostsFile=${join(this.folder, "known_hosts")}`,
      "ConnectTimeout=5",
    ].flatMap((option) => ["-o", option]);
    return new Deno.Command("ssh", {
      args: ["-F", "none", "-v", "-i", key, ...options, "-p", `${this.bob.port}`, ...args].map(
        (each) => each === "HOST" ? `${user}@127.0.0.1` : each,
      ),
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  }

  /** Runs it to its end, which has to be a failure. */
  async fails(who: Identity, args: readonly string[], user?: string) {
    const { code, stdout, stderr } = await this.ssh(who, args, user).output();
    assert.notEqual(code, 0);
    assert.equal(stdout.length, 0);
    return new TextDecoder().decode(stderr);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bob.close();
    await new Promise<void>((resolve) => this.#service.close(() => resolve()));
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** A test with OpenSSH's programs, skipped where there are none. */
function opensshTest(name: string, run: (scene: Scene) => Promise<void>): void {
  const hasIt = isInstalled("ssh");
  Deno.test({
    name: hasIt ? name : `${name} [skipped: needs: apt-get install openssh-client]`,
    ignore: !hasIt,
    async fn() {
      await using scene = await Scene.set();
      await run(scene);
      assert.equal(scene.reached, 0);
      assert.deepEqual(scene.toBob.changes, []);
    },
  });
}

const SESSIONS: [what: string, args: string[]][] = [
  ["command", ["HOST", "id"]],
  ["shell", ["HOST"]],
  ["terminal", ["-tt", "HOST"]],
  ["subsystem", ["-s", "HOST", "sftp"]],
];

for (const [what, args] of SESSIONS) {
  opensshTest(
    `the SSH server lets OpenSSH in with a member's key, but gives it no ${what}`,
    async (scene) => {
      const said = await scene.fails(ALICE, args);
      assert.match(said, /Authenticated to 127\.0\.0\.1/);
      assert.match(said, REFUSED);
    },
  );
}

opensshTest("the SSH server forwards nothing for ssh -W", async (scene) => {
  assert.match(await scene.fails(ALICE, ["-W", scene.service, "HOST"]), REFUSED);
});

opensshTest("the SSH server listens nowhere for ssh -R", async (scene) => {
  const args = ["-N", "-o", "ExitOnForwardFailure=yes", "-R", `0:${scene.service}`, "HOST"];
  assert.match(await scene.fails(ALICE, args), /remote port forwarding failed/);
});

/** SOCKS 5 (RFC 1928): no authentication; connect to 127.0.0.1 port 1. */
const SOCKS = Uint8Array.of(5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, 0, 1);

const FORWARDS: [what: string, option: (local: number, scene: Scene) => string[]][] = [
  ["-L to a port", (local, { service }) => ["-L", `${local}:${service}`]],
  ["-L to a socket file", (local) => ["-L", `${local}:/run/any.sock`]],
  ["-D", (local) => ["-D", `${local}`]],
];

for (const [what, option] of FORWARDS) {
  opensshTest(`the SSH server forwards nothing for ssh ${what}`, async (scene) => {
    const local = await freePort();
    const child = scene.ssh(ALICE, ["-N", ...option(local, scene), "HOST"]);
    const { promise: refused, resolve } = Promise.withResolvers<void>();
    let said = "";
    const reading = (async () => {
      for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
        said += text;
        if (REFUSED.test(said)) resolve();
      }
      resolve();
    })();
    await until(() => /pledge|Entering interactive session/.test(said), "logged in");
    const socket = connect({ host: "127.0.0.1", port: local });
    socket.on("error", () => {}).resume().write(SOCKS);
    await refused;
    await until(() => socket.destroyed, "the forwarded connection ended");
    child.kill();
    await Promise.all([reading, child.status, child.stdout.cancel()]);
    assert.match(said, REFUSED);
  });
}

opensshTest("the SSH server refuses a stranger's key", async (scene) => {
  assert.match(await scene.fails(EVE, ["HOST", "id"]), DENIED);
});

opensshTest("the SSH server refuses every other user", async (scene) => {
  assert.match(await scene.fails(ALICE, ["HOST", "id"], "root"), DENIED);
});

opensshTest("the SSH server refuses passwords", async (scene) => {
  const methods = "PreferredAuthentications=password,keyboard-interactive";
  assert.match(await scene.fails(ALICE, ["-o", methods, "HOST", "id"]), DENIED);
});

const METHODS: [method: string, config: Record<string, unknown>][] = [
  ["none", { authHandler: ["none"] }],
  ["password", { authHandler: ["password"], password: "secret" }],
  ["keyboard-interactive", { authHandler: ["keyboard-interactive"], tryKeyboard: true }],
  ["hostbased", {
    authHandler: ["hostbased"],
    privateKey: privateKeyPem(ALICE),
    localHostname: "localhost",
    localUsername: SSH_USER,
  }],
];

for (const [method, config] of METHODS) {
  Deno.test(`the SSH server refuses the method ${method} even when a client insists`, async () => {
    await using scene = await Scene.set();
    const ssh2 = await loadSsh2();
    const client = new ssh2.Client();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const socket = connect({ host: "127.0.0.1", port: scene.bob.port! });
    let why = "";
    client.on("ready", () => reject(new Error("was let in")));
    client.on("error", (error) => why = error.message);
    client.on("close", () => resolve());
    const whole = { sock: socket, username: SSH_USER, readyTimeout: 0, ...config };
    client.connect(whole as unknown as ClientConfig);
    await promise;
    assert.match(why, /authentication methods failed/);
    assert.deepEqual(scene.toBob.changes, []);
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const { port } = server.address() as { port: number };
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}
