/**
 * What survives when processes die: the coordinator's, a node's, and the settings both leave behind.
 * @module
 */
import { strict as assert } from "node:assert";
import { meshTest } from "./lab/mesh.ts";
import { Node } from "./lab/node.ts";
import { isAlive, waitFor } from "./lab/process.ts";
import { mustPing, ping, PingStream, waitForPing } from "./lab/traffic.ts";

meshTest({
  name:
    "traffic and names go on without the coordinator; it finds all nodes <= 2 s after it listens",
  run: async (mesh) => {
    const [a, b] = [mesh.node("a"), mesh.node("b")];
    await using stream = await PingStream.start(a.machine, (await b.addresses()).ip4);
    await mesh.coordinator.killHard();
    await a.waitForStatus("the loss noticed", (one) => one.coordinator.state !== "connected");
    await mustPing(a.machine, "b.mesh");
    await mustPing(b.machine, "a.tm", { family: 6 });
    await stream.waitForReply();
    assert.equal(stream.lost(), 0);

    // A node that restarts meanwhile comes back from its cached netmap.
    await b.killHard();
    await b.start();
    await stream.waitForReply();
    await mustPing(b.machine, "a.mesh");

    mesh.coordinator.spawn();
    await waitFor("the coordinator listening", () => isListening(mesh.coordinator), {
      timeoutMs: 30_000,
      everyMs: 10,
    });
    const start = performance.now();
    await Promise.all([a, b].map((node) => node.waitUntilConnected(10_000)));
    const ms = performance.now() - start;
    assert.ok(ms <= 2_000, `reconnected ${ms} ms after it listened`);
    await mesh.coordinator.waitUntilReady();
    await mesh.waitUntilDirect();
    await mustPing(mesh.coordinator.machine, "b.mesh");
  },
});

meshTest({
  name: "a node killed by SIGKILL returns with its address, and traffic within 3 s",
  run: async (mesh) => {
    const [a, b] = [mesh.node("a"), mesh.node("b")];
    const before = await b.addresses();
    await using stream = await PingStream.start(a.machine, before.ip4);
    await b.killHard();
    b.spawn();
    const ms = await stream.waitForReply(15_000);
    assert.ok(ms <= 3_000, `traffic back after ${ms} ms`);
    await b.waitUntilReady();
    assert.deepEqual(await b.addresses(), before);
    await mustPing(b.machine, "a.mesh");
  },
});

meshTest({
  name: "SIGTERM undoes interface, routes, resolver and socket, and tells the others",
  run: async (mesh) => {
    const [a, b] = [mesh.node("a"), mesh.node("b")];
    const { pid } = await b.mustStatus();
    assert.match(await b.machine.readFile("/etc/resolv.conf") ?? "", /172\.30\.|fd/);
    assert.equal(await b.stop(), 0);
    await assertNoTraces(b);
    assert.equal(isAlive(pid), false);
    assert.deepEqual(await b.machine.pids(), []);
    await a.waitForStatus("b offline", (status) => {
      return status.peers.find((peer) => peer.name === "b")?.online === false;
    });
  },
});

meshTest({
  name: "SIGTERM in the middle of a start undoes what it has changed by then",
  mesh: { nodes: ["b"] },
  run: async (mesh) => {
    const b = mesh.node("b");
    assert.equal(await b.stop(), 0);
    b.spawn();
    await waitFor("the interface", async () => {
      return (await b.machine.must(["ip", "-o", "link"])).includes("tun-mesh");
    }, { timeoutMs: 20_000, everyMs: 5 });
    assert.equal(await b.stop(), 0);
    await assertNoTraces(b);
    assert.deepEqual(await b.machine.pids(), []);
  },
});

meshTest({
  name: "what a SIGKILL left behind is undone by the next start, and gone after its end",
  run: async (mesh) => {
    const b = mesh.node("b");
    await b.killHard();
    assert.equal(b.machine.hostPath("/run/tunnelmesh/x").startsWith(b.machine.directory), true);
    await b.start();
    await mesh.waitUntilDirect();
    await mustPing(b.machine, "a.mesh");
    const links = await b.machine.must(["ip", "-o", "link"]);
    assert.equal(links.match(/tun-mesh/g)?.length, 1, links);
    assert.equal(await b.stop(), 0);
    await assertNoTraces(b);
  },
});

meshTest({
  name: "the mesh recovers when a cable is pulled and put back",
  run: async (mesh) => {
    const [a, b] = [mesh.node("a"), mesh.node("b")];
    await using stream = await PingStream.start(a.machine, (await b.addresses()).ip4);
    await mesh.lan.setLink("b", "down");
    await waitFor("the interruption", () => stream.longestGapMs() > 1_000);
    await mesh.lan.setLink("b", "up");
    await stream.waitForReply(5_000);
    await Promise.all([a, b].map((node) => node.waitUntilConnected(30_000)));
  },
});

/** Whether the coordinator's port accepts connections. */
async function isListening(coordinator: Node): Promise<boolean> {
  const sockets = await coordinator.machine.must(["cat", "/proc/net/tcp", "/proc/net/tcp6"]);
  // Local address ends in port 8443 (20FB), state 0A is LISTEN (proc(5)).
  return /^\s*\d+: [0-9A-F]+:20FB [0-9A-F]+:0000 0A /m.test(sockets);
}

/** Everything that a node changes on its machine must be as it was before. */
async function assertNoTraces(node: Node): Promise<void> {
  const { machine } = node;
  assert.doesNotMatch(await machine.must(["ip", "-o", "link"]), /tun/);
  assert.doesNotMatch(await machine.must(["ip", "route", "show", "table", "all"]), /172\.30\./);
  assert.equal(
    await machine.readFile("/etc/resolv.conf"),
    "nameserver 10.99.0.254\noptions timeout:1 attempts:1\n",
  );
  assert.equal(await machine.must(["nft", "list", "ruleset"]), "");
  assert.equal(await node.status(), null);
  assert.deepEqual([...Deno.readDirSync(machine.hostPath("/run/tunnelmesh/"))], []);
  assert.equal((await ping(machine, "a.mesh", { count: 1 })).sent, 0);
}

meshTest({
  name: "a coordinator that was set up anew takes its nodes back with a fresh token",
  mesh: { nodes: ["a"] },
  run: async (mesh) => {
    const [c, a] = [mesh.coordinator, mesh.node("a")];
    const before = (await a.mustStatus()).meshId;
    await c.stop();
    await a.stop();
    await Deno.remove(c.machine.hostPath("/var/lib/tunnelmesh/coordinator"), { recursive: true });
    c.invitation = null;
    await c.start();
    await using back = await Node.join(a.host, c.invitation!, { name: "a" });
    await back.waitUntilConnected();
    assert.notEqual((await back.mustStatus()).meshId, before);
    await waitForPing(a.machine, "c.mesh");
  },
});
