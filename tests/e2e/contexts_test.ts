/**
 * Several meshes on one machine at once: what each has of its own, and that what happens to one
 * leaves the other alone.
 * @module
 */
import { strict as assert } from "node:assert";
import type { ResolveReport } from "../../core/daemon/api_types.ts";
import { labTest } from "../skip.ts";
import type { Namespace } from "./lab/netns.ts";
import { Node, prefetch } from "./lab/node.ts";
import { waitFor } from "./lab/process.ts";
import { Lan } from "./lab/topology.ts";
import { mustPing, PingStream } from "./lab/traffic.ts";

const RESOLV_CONF = "nameserver 10.99.0.254\noptions timeout:1 attempts:1\n";

/** Two meshes with a node `nas` each, and a machine `m` that is in both. */
async function withTwoMeshes(
  run: (lab: { home: Node; work: Node; inHome: Node; inWork: Node; m: Namespace }) => Promise<void>,
): Promise<void> {
  await prefetch();
  await using lan = await Lan.create(["c", "d", "m"]);
  await using home = await Node.up(lan.host("c"), { name: "nas" });
  const cidr = ["--cidr", "172.29.0.0/16"];
  await using work = await Node.up(lan.host("d"), { name: "nas", args: cidr });
  await using inHome = await Node.join(lan.host("m"), home.invitation!);
  await using inWork = await Node.join(lan.host("m"), work.invitation!, { context: "work" });
  const nodes = { home, work, inHome, inWork };
  try {
    await Promise.all([inHome, inWork].map((node) => node.waitUntilDirect(["nas"])));
    await run({ ...nodes, m: lan.host("m").namespace });
  } catch (error) {
    const logs = Object.entries(nodes).map(([label, node]) => `=== ${label}\n${node.log}`);
    throw new Error(`${error}\n${logs.join("\n")}`, { cause: error });
  }
}

/** The IPv4 address that programs on a machine find for a name. */
async function lookUp(machine: Namespace, name: string): Promise<string | null> {
  const { stdout } = await machine.run(["getent", "ahostsv4", name]);
  return /^\S+/.exec(stdout)?.[0] ?? null;
}

/** What a restart must not change. */
async function ownFacts(node: Node) {
  const { id, interfaceName, udpPort, addresses } = await node.mustStatus();
  const { links } = await node.cliJson<{ links: { sshPort: number } }>("netcheck");
  return { id, interfaceName, udpPort, addresses, sshPort: links.sshPort };
}

labTest({
  name: "a machine in two meshes has an interface, a key, ports, traffic and names of each",
  run: () =>
    withTwoMeshes(async ({ home, work, inHome, inWork, m }) => {
      const [first, second] = [await ownFacts(inHome), await ownFacts(inWork)];
      assert.deepEqual([first.interfaceName, second.interfaceName], ["tun-mesh0", "tun-work"]);
      for (const key of ["id", "udpPort", "sshPort"] as const) {
        assert.notEqual(first[key], second[key], key);
      }
      const nasAtHome = (await home.addresses()).ip4;
      const nasAtWork = await work.addresses();
      await mustPing(m, nasAtHome);
      await mustPing(m, nasAtWork.ip4);
      await mustPing(m, nasAtWork.ip6, { family: 6 });

      // The first context is the active one: its names come first.
      assert.equal(await lookUp(m, "nas.mesh"), nasAtHome);
      assert.equal(await lookUp(m, "nas.default.mesh"), nasAtHome);
      assert.equal(await lookUp(m, "nas.work.mesh"), nasAtWork.ip4);
      assert.equal(await lookUp(m, "nobody.mesh"), null);
      const [, back] = (await m.must(["getent", "hosts", nasAtWork.ip4])).trim().split(/\s+/);
      assert.equal(back, "nas.tunnelmesh");
      for (const node of [inHome, inWork]) assert.deepEqual((await node.mustStatus()).warnings, []);
      const doctor = await inWork.cli("dns", "doctor");
      assert.match(doctor.stdout, /find m\.work\.mesh/);
      assert.doesNotMatch(doctor.stdout, /^error/m);
      // The second one's coming is no change of the network that the first one is carried by.
      assert.doesNotMatch(inHome.log, /The network changed/);

      // `context use` changes what commands and names mean; --context is for one command.
      const resolve = () => inHome.cliJson<ResolveReport>("resolve", "nas");
      assert.ok((await resolve()).addresses.includes(nasAtHome));
      assert.equal((await inHome.cli("context", "use", "work")).code, 0);
      assert.ok((await resolve()).addresses.includes(nasAtWork.ip4));
      assert.equal(await lookUp(m, "nas.mesh"), nasAtWork.ip4);
      assert.equal(await lookUp(m, "nas.default.mesh"), nasAtHome);
    }),
});

labTest({
  name: "stopping, killing, restarting and leaving one mesh leaves the other one alone",
  run: () =>
    withTwoMeshes(async ({ home, work, inHome, inWork, m }) => {
      const nasAtHome = (await home.addresses()).ip4;
      const nasAtWork = (await work.addresses()).ip4;
      const before = [await ownFacts(inHome), await ownFacts(inWork)];
      const found = (name: string, ip: string) =>
        waitFor(`${name} at ${ip}`, async () => await lookUp(m, name) === ip, {
          timeoutMs: 10_000,
        });
      {
        // The first one has /etc/resolv.conf; the other takes it over and gives it back.
        await using stream = await PingStream.start(m, nasAtWork);
        assert.equal(await inHome.stop(), 0);
        await found("nas.mesh", nasAtWork);
        await inHome.start();
        await found("nas.mesh", nasAtHome);
        await found("nas.work.mesh", nasAtWork);
        await stream.waitForReply();
        assert.equal(stream.lost(), 0);
      }
      {
        await using stream = await PingStream.start(m, nasAtHome);
        await inWork.killHard();
        await found("nas.mesh", nasAtHome);
        await inWork.start();
        await found("nas.work.mesh", nasAtWork);
        await stream.waitForReply();
        assert.equal(stream.lost(), 0);
        await Promise.all([inHome, inWork].map((node) => node.waitUntilDirect(["nas"])));
        assert.deepEqual([await ownFacts(inHome), await ownFacts(inWork)], before);

        assert.equal((await inWork.cli("leave")).code, 0);
        await inWork.process.waitForExit();
        await found("nas.mesh", nasAtHome);
        assert.equal(await lookUp(m, "nas.work.mesh"), null);
        await stream.waitForReply();
        assert.equal(stream.lost(), 0);
      }
      assert.doesNotMatch(await m.must(["ip", "link"]), /tun-work/);
      assert.equal(await inHome.stop(), 0);
      assert.equal(await m.readFile("/etc/resolv.conf"), RESOLV_CONF);
      assert.doesNotMatch(await m.must(["ip", "link"]), /tun-/);
    }),
});

labTest({
  name: "two coordinators on one machine take other ranges and ports, the same after a restart",
  run: async () => {
    await prefetch();
    await using lan = await Lan.create(["c", "a"]);
    await using first = await Node.up(lan.host("c"));
    await using second = await Node.up(lan.host("c"), { context: "lab" });
    const port = (node: Node) => new URL(node.invitation!.url).port;
    assert.deepEqual([port(first), port(second)], ["8443", "8444"]);
    const cidrs = await Promise.all([first, second].map(async (n) => (await n.mustStatus()).cidr4));
    assert.deepEqual(cidrs, ["172.30.0.0/16", "172.29.0.0/16"]);
    assert.doesNotMatch(second.log, /Cannot answer STUN/);
    await using a = await Node.join(lan.host("a"), second.invitation!);
    await a.waitUntilDirect(["c"]);
    const before = await ownFacts(second);
    // The other one is down meanwhile: its ports are not taken.
    await first.stop();
    await second.stop();
    await second.start();
    await a.waitUntilConnected(20_000);
    assert.deepEqual(await ownFacts(second), before);
    await first.start();
    await mustPing(a.machine, (await second.addresses()).ip4);
  },
});

labTest({
  name: "a mesh whose addresses another one has in use is refused, and works when that one stops",
  run: async () => {
    await prefetch();
    await using lan = await Lan.create(["c", "d", "m"]);
    await using home = await Node.up(lan.host("c"));
    await using work = await Node.up(lan.host("d"));
    await using inHome = await Node.join(lan.host("m"), home.invitation!);
    await inHome.waitUntilDirect(["c"]);
    const context = { context: "work" };
    await assert.rejects(Node.join(lan.host("m"), work.invitation!, context), (error) => {
      assert.match(String(error), /context "default" \(tun-mesh0\) has the addresses/);
      return true;
    });
    await mustPing(inHome.machine, (await home.addresses()).ip4);
    await inHome.stop();
    await using inWork = await Node.join(lan.host("m"), work.invitation!, context);
    await inWork.waitUntilDirect(["d"]);
    await mustPing(inWork.machine, "d.mesh");
  },
});

labTest({
  name: "an interface that the user chose is refused while another context has it",
  run: async () => {
    await prefetch();
    await using lan = await Lan.create(["c"]);
    // With several queues the kernel would let a second daemon have one of them.
    const config = "tun:\n  name: tun-x\ndata_plane:\n  workers: 2\n";
    await using first = await Node.up(lan.host("c"), { config });
    await assert.rejects(
      Node.up(lan.host("c"), { config, context: "work" }),
      /Cannot create interface tun-x: it is in use/,
    );
    assert.equal((await first.mustStatus()).interfaceName, "tun-x");
  },
});
