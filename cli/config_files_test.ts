/**
 * Is the right configuration file found, and what is wrong with it told once?
 * @module
 */
import assert from "node:assert/strict";
import { ConfigFiles } from "./config_files.ts";
import { Contexts } from "./contexts.ts";
import type { GlobalOptions } from "./globals.ts";
import type { Host } from "./host.ts";
import { NO_GLOBALS, tempDir, testHost, TestOutput } from "./testing_host.ts";

function filesOf(host: Host, globals: Partial<GlobalOptions> = {}) {
  const out = new TestOutput();
  const all = { ...NO_GLOBALS, ...globals };
  return {
    out,
    files: new ConfigFiles({ host, globals: all, contexts: Contexts.load(host), out }),
  };
}

function write(path: string, text = "{}", mode = 0o600) {
  Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  Deno.writeTextFileSync(path, text);
  Deno.chmodSync(path, mode);
}

Deno.test("findPeerFile() looks in the order of the documentation", () => {
  const host = testHost({ cwd: tempDir() });
  const { files } = filesOf(host);
  assert.equal(files.findPeerFile()?.startsWith(host.cwd) ?? false, false);
  write(`${host.cwd}/peer.yaml`);
  assert.equal(files.findPeerFile(), `${host.cwd}/peer.yaml`);
  write(`${host.cwd}/tunnelmesh.yaml`);
  assert.equal(files.findPeerFile(), `${host.cwd}/tunnelmesh.yaml`);
  write(`${host.home}/.tunnelmesh/config.yaml`);
  assert.equal(files.findPeerFile(), `${host.home}/.tunnelmesh/config.yaml`);
  write(`${host.home}/ctx.yaml`);
  Contexts.load(host).put("default", { config: `${host.home}/ctx.yaml` });
  assert.equal(filesOf(host).files.findPeerFile(), `${host.home}/ctx.yaml`);
  assert.equal(filesOf(host, { config: "x.yaml" }).files.findPeerFile(), `${host.cwd}/x.yaml`);
});

Deno.test("findPeerFile() of another context ignores the files of the default one", () => {
  const host = testHost();
  write(`${host.home}/.tunnelmesh/config.yaml`);
  const { files } = filesOf(host, { context: "work" });
  assert.equal(files.findPeerFile(), null);
  write(`${host.home}/.tunnelmesh/config-work.yaml`);
  assert.equal(files.findPeerFile(), `${host.home}/.tunnelmesh/config-work.yaml`);
});

Deno.test("findServerFile() looks in the working directory", () => {
  const host = testHost();
  const { files } = filesOf(host);
  write(`${host.cwd}/tunnelmesh-server.yaml`);
  assert.equal(files.findServerFile(), `${host.cwd}/tunnelmesh-server.yaml`);
  write(`${host.cwd}/server.yaml`);
  assert.equal(files.findServerFile(), `${host.cwd}/server.yaml`);
});

Deno.test("loadPeer() names the file, line and column of a mistake", async () => {
  const host = testHost();
  write(`${host.cwd}/peer.yaml`, "name: anna\nudp_prot: 1\n");
  await assert.rejects(
    filesOf(host).files.loadPeer({}),
    /Cannot use configuration: peer.yaml:2:1: unknown key "udp_prot"; did you mean "udp_port"\?/,
  );
});

Deno.test("loadPeer() refuses a file that was named but is not there", async () => {
  const { files } = filesOf(testHost(), { config: "gone.yaml" });
  await assert.rejects(files.loadPeer({}), /Cannot read configuration: .*gone.yaml does not exist/);
});

Deno.test("loadPeer() lets global options win, paths starting at the working directory", async () => {
  const host = testHost();
  write(`${host.home}/etc/peer.yaml`, "identity: file\nlog_level: warn\n");
  const globals = { config: "etc/peer.yaml", identity: "key", stateDir: "../s", logLevel: "debug" };
  const { config, base } = await filesOf(host, globals).files.loadPeer({});
  assert.equal(config.identity, `${host.cwd}/key`);
  assert.equal(config.stateDir, `${host.cwd.slice(0, host.cwd.lastIndexOf("/"))}/s`);
  assert.equal(config.logLevel, "debug");
  assert.equal(base, `${host.home}/etc`);
});

Deno.test("loadPeer() warns once of a file with a secret that others may read", async () => {
  const host = testHost();
  write(`${host.cwd}/peer.yaml`, "auth_token: tm2_x\nwireguard: { enabled: true }\n", 0o644);
  const { files, out } = filesOf(host);
  await files.loadPeer({});
  await files.loadPeer({});
  assert.equal(out.errors.join("").match(/holds auth_token and others/g)?.length, 1);
  assert.equal(out.errors.join("").match(/wireguard.enabled has no effect/g)?.length, 1);
  assert.match(out.errors.join(""), /hint: Run `chmod 600 .*peer.yaml`/);
});

Deno.test("readSecret() gives the text and warns when others may read it", () => {
  const host = testHost();
  const { files, out } = filesOf(host);
  write(`${host.home}/token`, "tm2_x\n");
  assert.equal(files.readSecret(`${host.home}/token`), "tm2_x");
  assert.deepEqual(out.errors, []);
  Deno.chmodSync(`${host.home}/token`, 0o644);
  files.readSecret(`${host.home}/token`);
  assert.match(out.errors.join(""), /holds a secret/);
  assert.throws(() => files.readSecret(`${host.home}/gone`), /there is no file/);
});
