/**
 * Do configuration, context and machine become whole options?
 * @module
 */
import assert from "node:assert/strict";
import { ConfigFiles } from "./config_files.ts";
import { Contexts } from "./contexts.ts";
import type { GlobalOptions } from "./globals.ts";
import type { Host } from "./host.ts";
import { createProgress } from "./progress.ts";
import { resolveCoordinator, resolveNode } from "./resolve_options.ts";
import { NO_GLOBALS, testHost, TestOutput } from "./testing_host.ts";

async function resolve(host: Host, text: string, globals: Partial<GlobalOptions> = {}) {
  const path = `${host.home}/conf/peer.yaml`;
  Deno.mkdirSync(`${host.home}/conf`, { recursive: true });
  Deno.writeTextFileSync(path, text);
  const out = new TestOutput();
  const all = { ...NO_GLOBALS, config: path, ...globals };
  const contexts = Contexts.load(host);
  const files = new ConfigFiles({ host, globals: all, contexts, out });
  const surroundings = { host, globals: all, contexts, files, progress: createProgress(out) };
  const loaded = await files.loadPeer({});
  const coordinator = { ...loaded, config: loaded.config.coordinator };
  return {
    node: () => resolveNode(loaded, surroundings),
    coordinator: () => resolveCoordinator(coordinator, "info", surroundings),
  };
}

Deno.test("resolveNode() fills in what the machine and the context say", async () => {
  const host = testHost();
  const node = (await resolve(host, "{}")).node();
  assert.deepEqual(
    {
      context: node.context,
      identityPath: node.identityPath,
      stateDir: node.stateDir,
      socketPath: node.socketPath,
      interfaceName: node.interfaceName,
      coordinatorUrls: node.coordinatorUrls,
      token: node.token,
      name: node.name,
      dns: node.dns,
    },
    {
      context: "default",
      identityPath: `${host.home}/.tunnelmesh/id_ed25519`,
      stateDir: `${host.home}/.tunnelmesh/state/default`,
      socketPath: `${host.home}/.tunnelmesh/state/default/daemon.sock`,
      interfaceName: "tun-mesh0",
      coordinatorUrls: [],
      token: null,
      name: null,
      dns: { isEnabled: true, listen: null, ttlSeconds: 5 },
    },
  );
});

Deno.test("resolveNode() starts a file's relative paths at the file", async () => {
  const host = testHost();
  Deno.mkdirSync(`${host.home}/conf`);
  Deno.writeTextFileSync(`${host.home}/conf/token`, "tm2_x\n", { mode: 0o600 });
  const text = "identity: id\nstate_dir: ~/s\ncontrol_socket: /c.sock\nauth_token_file: token\n";
  const node = (await resolve(host, text)).node();
  assert.equal(node.identityPath, `${host.home}/conf/id`);
  assert.equal(node.stateDir, `${host.home}/s`);
  assert.equal(node.socketPath, "/c.sock");
  assert.equal(node.token, "tm2_x");
});

Deno.test("resolveNode() takes from a context what the file does not say", async () => {
  const host = testHost();
  Contexts.load(host).put("office", { identity: "/office/id", stateDir: "/office/state" });
  const node = (await resolve(host, "{}", { context: "office" })).node();
  assert.equal(node.identityPath, "/office/id");
  assert.equal(node.stateDir, "/office/state");
  assert.equal(node.interfaceName, "tun-office");
});

Deno.test("resolveNode() reads preshared keys from files", async () => {
  const host = testHost();
  const key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
  const text = "wireguard_peers:\n" +
    `  - {name: a, public_key: ${key}, allowed_ips: ["::/0"], preshared_key_file: psk}\n`;
  const resolved = await resolve(host, text);
  assert.throws(resolved.node, /Cannot read the secret/);
  Deno.writeTextFileSync(`${host.home}/conf/psk`, `${key}\n`, { mode: 0o600 });
  const [peer] = resolved.node().wireguardPeers;
  assert.equal(peer?.presharedKey?.length, 32);
  assert(!Object.hasOwn(peer!, "presharedKeyFile"));
  Deno.writeTextFileSync(`${host.home}/conf/psk`, "hunter2");
  assert.throws(resolved.node, /it is no key/);
});

Deno.test("resolveNode() refuses a token and a file for it", async () => {
  const resolved = await resolve(testHost(), "auth_token: a\nauth_token_file: b\n");
  assert.throws(resolved.node, /Cannot choose a token/);
});

Deno.test("the passphrase cannot be asked for without a terminal", async () => {
  const node = (await resolve(testHost(), "{}")).node();
  await assert.rejects(node.passphrase(), /nobody to ask/);
});

Deno.test("resolveCoordinator() wants certificate and key together", async () => {
  const host = testHost();
  const whole = await resolve(host, "coordinator: {certificate: c.pem, certificate_key: /k.pem}\n");
  assert.deepEqual(whole.coordinator().certificate, {
    certificatePath: `${host.home}/conf/c.pem`,
    keyPath: "/k.pem",
  });
  const half = await resolve(host, "coordinator: {certificate: c.pem}\n");
  assert.throws(half.coordinator, /certificate_key is not set/);
  const none = (await resolve(host, "coordinator: {public_hosts: [A.example]}\n")).coordinator();
  assert.equal(none.certificate, null);
  assert.deepEqual(none.publicHosts, ["a.example"]);
  assert.equal(none.dataDir, `${host.home}/.tunnelmesh/coordinator`);
});
