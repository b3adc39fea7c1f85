/**
 * The main job on real kernels: two machines join with one command each and reach each other by
 * name, and what the commands say about it is true.
 * @module
 */
import { strict as assert } from "node:assert";
import type { ResolveReport, StatusReport } from "../../core/daemon/api_types.ts";
import type { MeshReport } from "../../core/daemon/mesh_report.ts";
import { SUFFIXES } from "../../core/ids.ts";
import { meshTest } from "./lab/mesh.ts";
import { waitFor } from "./lab/process.ts";
import { mustPing, ping, waitForPing } from "./lab/traffic.ts";

meshTest({
  name: "every node pings every other by name over IPv4 and IPv6, under each suffix",
  run: async (mesh) => {
    for (const from of mesh.nodes) {
      for (const to of mesh.nodes.filter((node) => node !== from)) {
        for (const family of [4, 6] as const) {
          await mustPing(from.machine, `${to.name}.mesh`, { family, count: 2 });
        }
      }
    }
    const { ip4, ip6 } = await mesh.node("b").addresses();
    for (const suffix of SUFFIXES) {
      const names = await mesh.node("a").machine.must(["getent", "ahosts", `b.${suffix}`]);
      assert.match(names, new RegExp(`^${ip4.replaceAll(".", "\\.")}\\s`, "m"));
      assert.match(names, new RegExp(`^${ip6}\\s`, "m"));
      await mustPing(mesh.node("a").machine, `b.${suffix}`, { count: 1 });
    }
    const coordinator = await mesh.coordinator.addresses();
    const found = await ping(mesh.node("b").machine, "this.tm", { family: 4 });
    assert.equal(found.received, 3);
    assert.ok(found.output.includes(coordinator.ip4), found.output);
  },
});

meshTest({
  name: "status, peers, resolve and ping tell the truth about the mesh",
  run: async (mesh) => {
    const [a, b] = [mesh.node("a"), mesh.node("b")];
    await mustPing(a.machine, "b.mesh");
    const { ip4, ip6 } = await b.addresses();

    const status = await a.cliJson<StatusReport>("status");
    assert.equal(status.name, "a");
    assert.equal(status.coordinator.state, "connected");
    assert.deepEqual(status.warnings, []);
    const peer = status.peers.find((one) => one.name === "b")!;
    assert.equal(peer.wireguardKey, await b.wireguardKey());
    assert.deepEqual([...peer.addresses].sort(), [ip4, ip6].sort());
    assert.deepEqual([peer.session, peer.link, peer.online], ["up", "udp", true]);
    // The first path that answers is taken, and one is as good as the other.
    const endpoints = [`${b.host.ip4}:51820`, `[${b.host.ip6}]:51820`];
    assert.ok(endpoints.includes(peer.endpoint!), `${peer.endpoint}`);
    assert.ok(peer.rtt!.value > 0 && peer.rtt!.value < 1_000, `rtt ${peer.rtt!.value}`);
    assert.ok(peer.lastHandshakeAgeMs! < 60_000);
    assert.ok(peer.bytesSent >= 3 * 84 && peer.bytesReceived >= 3 * 84);

    const resolved = await a.cliJson<ResolveReport>("resolve", "b");
    assert.deepEqual([...resolved.addresses].sort(), [ip4, ip6].sort());
    const pinged = await a.cli("ping", "b", "--count", "2");
    assert.equal(pinged.code, 0, pinged.stderr);
    const isNamed = endpoints.some((endpoint) => pinged.stdout.includes(endpoint));
    assert.ok(isNamed, `names the path: ${pinged.stdout}`);
    assert.match((await a.cli("status")).stdout, /\bb\b/);
    assert.match((await a.cli("peers")).stdout, /\bb\b/);
    assert.equal((await a.cli("resolve", "nobody")).code, 1);
  },
});

meshTest({
  name: "leave takes a node's names and address away, and its interface; a token brings it back",
  run: async (mesh) => {
    const [a, b] = [mesh.node("a"), mesh.node("b")];
    await mustPing(a.machine, "b.mesh");
    const { ip4 } = await b.addresses();
    const left = await b.cli("leave");
    assert.equal(left.code, 0, left.stderr);
    await b.process.waitForExit();
    await a.waitForStatus("no peer b", (status) => !status.peers.some((one) => one.name === "b"));
    assert.equal((await ping(a.machine, "b.mesh", { count: 1 })).sent, 0);
    await waitFor("no answer from b's address", async () => {
      return (await ping(a.machine, ip4, { count: 1, timeoutMs: 500 })).received === 0;
    });
    assert.doesNotMatch(await b.machine.must(["ip", "link"]), /tun-mesh/);
    assert.doesNotMatch(await mesh.coordinator.machine.must(["ip", "route"]), new RegExp(ip4));
    const { nodes } = await mesh.coordinator.api<MeshReport>("/v1/mesh");
    assert.deepEqual(nodes.map(({ name }) => name).sort(), ["a", "c"], "the log has it no more");
    await b.start();
    await waitForPing(a.machine, "b.mesh");
  },
});

meshTest({
  name: "a second node of the same name gets -2, and both can be reached",
  mesh: { nodes: ["a"], start: { d: { name: "a" } } },
  run: async (mesh) => {
    const second = await mesh.join("d");
    const status = await second.mustStatus();
    assert.equal(status.name, "a-2");
    await waitForPing(mesh.coordinator.machine, "a-2.mesh");
    await waitForPing(mesh.coordinator.machine, "a.mesh");
    const first = await mesh.node("a").addresses();
    assert.notEqual(status.addresses[0], first.ip4);
  },
});

meshTest({
  name: "a node whose clock is an hour off joins, works and is warned",
  mesh: {
    nodes: ["a"],
    start: { d: { env: { TUNNELMESH_TEST_CLOCK_OFFSET_MS: "3600000" } } },
  },
  run: async (mesh) => {
    const late = await mesh.join("d");
    await waitForPing(late.machine, "a.mesh");
    await waitForPing(mesh.node("a").machine, "d.mesh");
    const status = await late.waitForStatus("a clock warning", (one) => one.warnings.length > 0);
    assert.match(status.warnings.join("\n"), /clock/i);
    assert.ok(Math.abs(status.coordinator.clockOffsetMs! - 3_600_000) < 60_000);
  },
});
