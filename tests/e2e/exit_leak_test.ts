/**
 * What leaves a machine whose node uses an exit, over the whole life of real daemons: nothing but
 * the mesh's own packets to the mesh's own endpoints.
 * @module
 */
import { strict as assert } from "node:assert";
import { labTest } from "../skip.ts";
import { Probe } from "./lab/exit_control.ts";
import { type ExitMesh, exitsOf, withExitMesh } from "./lab/exit_mesh.ts";
import {
  address,
  Capture,
  CLIENT4,
  CLIENT6,
  EXIT4,
  EXIT6,
  HOME4,
  LAN_ROUTER4,
  WORLD4,
  WORLD6,
} from "./lab/exit_world.ts";
import type { Namespace } from "./lab/netns.ts";
import type { Node } from "./lab/node.ts";
import { waitFor } from "./lab/process.ts";

const needs = { tools: ["tcpdump", "ping"] };
/** Long enough for every kind of packet of the probe, several times. */
const CHATTER_MS = 500;
/** Of the world, where a resolver answers that only the exit knows. */
const RESOLVER4 = "203.0.113.53";
/** Where its answer leads. */
const ANSWER4 = "198.51.100.1";

/** Machines of the mesh: the coordinator's and the exit, and where one was seen from outside. */
const MEMBERS = String
  .raw`(203\.0\.113\.(1|10|20|53)|2001:db8:9::(10|20)|198\.51\.100\.7|2001:db8:7::7)`;
/** The control connection and the relay, STUN, SSH links, sessions; and hole punching. */
const OWN = [
  new RegExp(`> ${MEMBERS}\\.(51820|8443|3478|3479|2222): `),
  new RegExp(`\\.51820 > ${MEMBERS}\\.\\d+: UDP`),
];

/** Everything about routes, packet filters and settings that a program could leave behind. */
async function dump(machine: Namespace): Promise<string> {
  const script = `nft -s list ruleset; ip rule; ip -6 rule; ip route show table all | sort;
    ip -6 route show table all | sort; cat /etc/resolv.conf; cd /proc/sys/net;
    grep -r . ipv4/conf ipv6/conf ipv4/ip_forward 2>/dev/null`;
  const { stdout } = await machine.run(["sh", "-c", script]);
  return stdout.split("\n").filter((line) => !/expires|^multicast|tun-mesh/.test(line)).join("\n");
}

/** The client's machine with programs that talk all the time, and what of them leaves it. */
class Watched {
  readonly #mesh: ExitMesh;
  readonly #capture: Capture;
  readonly probe: Probe;

  private constructor(mesh: ExitMesh, capture: Capture, probe: Probe) {
    this.#mesh = mesh;
    this.#capture = capture;
    this.probe = probe;
  }

  static async start(mesh: ExitMesh): Promise<Watched> {
    const { client } = mesh.world;
    const targets = [WORLD4, `[${WORLD6}]`].flatMap((host) => [`${host}:9999`, `${host}:53`]);
    const args = [...targets, `${LAN_ROUTER4}:53`, `${LAN_ROUTER4}:9999`];
    const probe = new Probe(await mesh.world.script(client, "exit_probe", args));
    for (const target of [WORLD4, WORLD6]) {
      for (const bound of [[], ["-I", "eth0"]]) {
        mesh.use(client.spawn(["ping", "-n", "-i", "0.1", ...bound, target]));
      }
    }
    const guest = await mesh.world.addGuest();
    mesh.use(guest.spawn(["ping", "-n", "-i", "0.1", WORLD4]));
    return new Watched(mesh, mesh.use(await Capture.start(mesh.world)), probe);
  }

  /** What left since the last call and was not the mesh's. */
  async leaks(): Promise<string[]> {
    return (await this.#capture.leaks()).filter((line) => !OWN.some((own) => own.test(line)));
  }

  /** Waits a while, in which nothing may leave. */
  async mustBeQuiet(what: string): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, CHATTER_MS));
    assert.deepEqual(await this.leaks(), [], what);
  }

  /** Waits until everything goes through the exit, and nothing past it meanwhile. */
  async mustWork(what: string): Promise<void> {
    const seen = await waitFor(what, async () => {
      const answers = (await this.probe.askAll()).sort();
      return answers.includes("none") ? null : answers;
    }, { timeoutMs: 20_000 });
    assert.deepEqual(seen, [EXIT4, EXIT6].sort(), what);
    await this.mustBeQuiet(what);
  }

  /** Nobody answers, and nothing leaves. */
  async mustBeBlocked(what: string): Promise<void> {
    assert.deepEqual(await this.probe.askAll(), ["none"], what);
    await this.mustBeQuiet(what);
  }
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
