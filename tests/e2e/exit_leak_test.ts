/**
 * What leaves a machine whose node uses an exit, over the whole life of real daemons: nothing but
 * the mesh's own packets to the mesh's own endpoints.
 * @module
 */
import { strict as assert } from "node:assert";
import { labTest } from "../skip.ts";
import { type ExitMesh, exitsOf, withExitMesh } from "./lab/exit_mesh.ts";
import { address, CLIENT4, CLIENT6, EXIT4, HOME4, LAN_ROUTER4, WORLD4 } from "./lab/exit_world.ts";
import { Watched } from "./lab/exit_watched.ts";
import type { Namespace } from "./lab/netns.ts";
import type { Node } from "./lab/node.ts";
import { waitFor } from "./lab/process.ts";

const needs = { tools: ["tcpdump", "ping"] };
/** Of the world, where a resolver answers that only the exit knows. */
const RESOLVER4 = "203.0.113.53";
/** Where its answer leads. */
const ANSWER4 = "198.51.100.1";

/** Everything about routes, packet filters and settings that a program could leave behind. */
async function dump(machine: Namespace): Promise<string> {
  const script = `nft -s list ruleset; ip rule; ip -6 rule; ip route show table all | sort;
    ip -6 route show table all | sort; cat /etc/resolv.conf; cd /proc/sys/net;
    grep -r . ipv4/conf ipv6/conf ipv4/ip_forward 2>/dev/null`;
  const { stdout } = await machine.run(["sh", "-c", script]);
  return stdout.split("\n").filter((line) => !/expires|^multicast|tun-mesh/.test(line)).join("\n");
}

/** A resolver in the world; the exit asks it, and the client's own is its LAN's router. */
async function startResolver(mesh: ExitMesh): Promise<void> {
  const { world, exit, client } = mesh.world;
  await world.ip("address", "add", `${RESOLVER4}/24`, "dev", "eth0");
  const process = mesh.use(world.deno("tests/e2e/dns_upstream.ts", [RESOLVER4]));
  await process.waitForOutput(/^ready/m);
  await Deno.writeTextFile(exit.hostPath("/etc/resolv.conf"), `nameserver ${RESOLVER4}\n`);
  await Deno.writeTextFile(client.hostPath("/etc/resolv.conf"), `nameserver ${LAN_ROUTER4}\n`);
}

function isBlocked(node: Node) {
  return async () => (await exitsOf(node))?.state === "blocked";
}

labTest({
  name: "nothing leaves past an exit: start, DNS, roaming, kill -9, loss of the exit, stop",
  needs,
  run: () =>
    withExitMesh(async (mesh) => {
      const { client: machine } = mesh.world;
      await startResolver(mesh);
      const exit = await mesh.joinExit("--allow-exit-traffic");
      await exit.stop();
      const watched = await Watched.start(mesh);
      const { probe } = watched;
      const before = await dump(machine);
      assert.ok((await watched.leaks()).length > 10, "the probe talks");

      // Start, while there is no exit: closed from the moment the daemon answers.
      const client = await mesh.joinClient("--exit-node", "exit");
      await watched.leaks();
      await watched.mustBeBlocked("start without an exit");
      assert.equal((await exitsOf(client))?.state, "blocked");
      await exit.start();
      await watched.mustWork("the exit");
      assert.equal((await exitsOf(client))?.exit, "exit");

      // Names of the internet are asked for at the exit; a resolver of the LAN is not.
      const found = await machine.must(["getent", "ahostsv4", "www.example.com"]);
      assert.ok(found.startsWith(ANSWER4), found);
      assert.equal(await probe.ask("udp", `${LAN_ROUTER4}:53`), "none");
      for (const transport of ["udp", "tcp"] as const) {
        assert.equal(await probe.ask(transport, `${WORLD4}:53`), EXIT4);
      }
      await watched.mustBeQuiet("DNS");

      // Roaming.
      await machine.ip("address", "flush", "dev", "eth0", "scope", "global");
      await machine.ip("link", "set", "eth0", "down");
      await machine.ip("link", "set", "eth0", "up");
      await machine.ip("address", "replace", "fe80::2/64", "dev", "eth0", "nodad");
      await machine.ipBatch(
        address("192.168.1.77", LAN_ROUTER4, "2001:db8:1::77", "2001:db8:1::1"),
      );
      await watched.mustWork("roaming");
      await machine.ip("address", "flush", "dev", "eth0", "scope", "global");
      await machine.ipBatch(address(CLIENT4, LAN_ROUTER4, CLIENT6, "2001:db8:1::1"));
      await watched.mustWork("roaming back");

      // A crash: the kernel goes on without the daemon, and the next one goes on from there.
      await client.killHard();
      await watched.mustBeBlocked("kill -9");
      await client.start();
      await watched.mustWork("the start after kill -9");

      // The exit dies.
      await exit.killHard();
      await waitFor("the loss", isBlocked(client), { timeoutMs: 20_000 });
      await watched.mustBeBlocked("loss of the exit");
      await exit.start();
      await watched.mustWork("the exit's return");

      // Somebody empties the packet filter: the routes lead into the tunnel until it is back.
      await machine.must(["nft", "flush", "ruleset"]);
      await waitFor("the kill switch", async () =>
        (await machine.must(["nft", "list", "tables"])).includes("tunnelmesh_exit_default"));
      await watched.leaks();
      await watched.mustWork("the kill switch put back");

      // The user ends it: everything is as before.
      assert.equal(await client.stop(), 0);
      assert.equal(await probe.ask("udp", `${WORLD4}:9999`), HOME4);
      assert.equal(await dump(machine), before);

      // A crash that nobody recovers from is undone by the next start without an exit.
      await client.start();
      await watched.leaks();
      await watched.mustWork("another start");
      await client.killHard();
      await watched.mustBeBlocked("another kill -9");
      const off = await client.cli("exit-node", "off");
      assert.equal(off.code, 0, off.stderr);
      assert.equal(await probe.ask("tcp", `${WORLD4}:9999`), HOME4);
    }),
});
