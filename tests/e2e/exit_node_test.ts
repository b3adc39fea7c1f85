/**
 * A node reaches the internet through another one, by the command line alone.
 * @module
 */
import { strict as assert } from "node:assert";
import { labTest } from "../skip.ts";
import { Probe } from "./lab/exit_control.ts";
import { type ExitMesh, exitsOf, withExitMesh } from "./lab/exit_mesh.ts";
import { Watched } from "./lab/exit_watched.ts";
import { CLIENT4, EXIT4, EXIT6, HOME4, LAN_ROUTER4, WORLD4, WORLD6 } from "./lab/exit_world.ts";
import type { Node } from "./lab/node.ts";
import { waitFor } from "./lab/process.ts";

labTest({
  name: "a client reaches the internet through an exit, as long as both want it",
  needs: { tools: ["ping"] },
  run: () =>
    withExitMesh(async (mesh) => {
      const exit = await mesh.joinExit("--allow-exit-traffic");
      const client = await mesh.joinClient();
      const probe = new Probe(await mesh.world.script(mesh.world.client, "exit_probe", []));
      assert.equal(await probe.ask("tcp", `${WORLD4}:9999`), HOME4);
      await client.waitUntilDirect(["exit"]);
      const used = await client.cli("exit-node", "use", "exit");
      assert.equal(used.code, 0, used.stderr);
      await waitFor("the exit in use", async () => (await exitsOf(client))?.state === "in-use");
      for (const transport of ["udp", "tcp"] as const) {
        assert.equal(await probe.ask(transport, `${WORLD4}:9999`), EXIT4);
        assert.equal(await probe.ask(transport, `[${WORLD6}]:9999`), EXIT6);
      }
      const off = await client.cli("exit-node", "off");
      assert.equal(off.code, 0, off.stderr);
      assert.equal(await probe.ask("tcp", `${WORLD4}:9999`), HOME4);
      await exit.stop();
    }),
});

const SECOND4 = "198.51.101.7";

/** A second machine that can be an exit or a router. */
async function joinSecond(mesh: ExitMesh, ...args: string[]): Promise<Node> {
  const namespace = await mesh.world.addPublic("second", SECOND4);
  const host = { namespace, label: "second", ip4: SECOND4, ip6: "" };
  return await mesh.join(host, { name: "second", args });
}

/** Waits until the world sees the client at an address. */
function seenAs(probe: Probe, ip: string): Promise<true> {
  return waitFor(`traffic from ${ip}`, async () => {
    return await probe.ask("tcp", `${WORLD4}:9999`) === ip ? true : null;
  }, { timeoutMs: 20_000 });
}

labTest({
  name: "an exit that is lost gives way to the next or to no exit, as its user said",
  needs: { tools: ["tcpdump", "ping"] },
  run: () =>
    withExitMesh(async (mesh) => {
      const exit = await mesh.joinExit("--allow-exit-traffic");
      const second = await joinSecond(mesh, "--allow-exit-traffic");
      const watched = await Watched.start(mesh);
      const { probe } = watched;
      const wanted = ["--exit-node", "exit", "--exit-node", "second"];
      const client = await mesh.joinClient(...wanted, "--on-exit-loss", "next", "--exit-lan");
      await seenAs(probe, EXIT4);
      await watched.leaks();

      // The LAN is there, but for its resolver; and connections from it get their answers.
      assert.equal(await probe.ask("tcp", `${LAN_ROUTER4}:9999`), CLIENT4);
      assert.equal(await probe.ask("udp", `${LAN_ROUTER4}:53`), "none");
      const greet = `exec 3<>/dev/tcp/${CLIENT4}/2222; head -c 4 <&3`;
      const greeting = ["timeout", "5", "bash", "-c", greet];
      assert.equal(await mesh.world.router.must(greeting), "SSH-");
      // And for the port mapping that the node asks the router for.
      const isLan = (line: string) =>
        /> (192\.168\.1\.1|2001:db8:1::1|ff02::c)\.\d{4,5}: /.test(line);
      const past = async () => (await watched.leaks()).filter((line) => !isLan(line));
      assert.deepEqual(await past(), []);

      await exit.killHard();
      await seenAs(probe, SECOND4);
      assert.deepEqual(await past(), [], "the change to the next exit");
      const status = await client.cli("exit-node", "status");
      assert.match(status.stdout, /through second/);

      const direct = ["exit-node", "use", "second", "--on-exit-loss", "direct", "--no-exit-lan"];
      assert.equal((await client.cli(...direct)).code, 0);
      await seenAs(probe, SECOND4);
      await second.killHard();
      await seenAs(probe, HOME4);
      assert.equal((await exitsOf(client))?.state, "direct");
      await second.start();
      await seenAs(probe, SECOND4);

      // What a command chose outlives the daemon; the command line of its start is the same.
      await client.killHard();
      await client.start();
      await seenAs(probe, SECOND4);
      assert.deepEqual((await exitsOf(client))?.wanted, ["second"]);
      const refused = await client.cli("exit-node", "use", "client");
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /no peer has that name/);
    }),
});

labTest({
  name: "two sites with the range of the client's own LAN are reached by other ranges",
  run: () =>
    withExitMesh(async (mesh) => {
      const { world } = mesh;
      const one = await mesh.joinExit("--advertise-route", "192.168.1.0/24 as 10.77.1.0/24");
      const two = await joinSecond(mesh);
      await world.addSite();
      await world.addSite(two.machine, "192.168.1.254");
      const client = await mesh.joinClient();
      const probe = new Probe(await world.script(world.client, "exit_probe", []));
      const reached = (endpoint: string, by: string) =>
        waitFor(`${endpoint} by ${by}`, async () => {
          return await probe.ask("tcp", endpoint) === by ? true : null;
        });
      await reached("10.77.1.9:9999", "192.168.1.1");
      assert.equal(await probe.ask("udp", "10.77.1.9:9999"), "192.168.1.1");

      // Without another range it would be the client's own LAN.
      const plain = await two.cli("route", "advertise", "192.168.1.0/24");
      assert.equal(plain.code, 0, plain.stderr);
      await waitFor("the route refused", async () => {
        return /192\.168\.1\.0\/24 +second .*own network/.test(
          (await client.cli("route", "list")).stdout,
        );
      });
      assert.equal(await probe.ask("tcp", `${LAN_ROUTER4}:9999`), CLIENT4);
      const mapped = await two.cli("route", "advertise", "192.168.1.0/24 as 10.77.2.0/24");
      assert.equal(mapped.code, 0, mapped.stderr);
      await reached("10.77.2.9:9999", "192.168.1.254");
      assert.equal(await probe.ask("tcp", "10.77.1.9:9999"), "192.168.1.1");
      assert.equal(await probe.ask("tcp", `${LAN_ROUTER4}:9999`), CLIENT4);
      // A router is no exit.
      const noExit = await client.cli("exit-node", "use", "second");
      assert.match(noExit.stderr, /does not offer to be one/);

      const withdrawn = await two.cli("route", "withdraw", "192.168.1.0/24");
      assert.equal(withdrawn.code, 0, withdrawn.stderr);
      await reached("10.77.2.9:9999", "none");
      assert.equal(await two.machine.must(["nft", "list", "ruleset"]), "");
      await one.stop();
      assert.equal(await client.stop(), 0);
      assert.doesNotMatch(await client.machine.must(["ip", "rule"]), /proto 84/);
    }),
});
