/**
 * What leaves a machine that uses an exit node, and what an exit node lets through.
 * @module
 */
import { strict as assert } from "node:assert";
import { labTest } from "../skip.ts";
import { CLIENT, Probe, SERVER, tell } from "./lab/exit_control.ts";
import type { Namespace } from "./lab/netns.ts";
import { waitFor } from "./lab/process.ts";
import {
  address,
  Capture,
  CLIENT4,
  CLIENT6,
  COORDINATOR4,
  COORDINATOR6,
  EXIT4,
  EXIT6,
  ExitWorld,
  HOME4,
  LAN_ROUTER4,
  WORLD4,
  WORLD6,
} from "./lab/exit_world.ts";

const needs = { tools: ["tcpdump", "ping"] };
/** Long enough for every kind of packet of the probe, several times. */
const CHATTER_MS = 400;

/** Everything about routes, packet filters and settings that a program could leave behind. */
async function dump(machine: Namespace): Promise<string> {
  const script = `nft -s list ruleset; ip rule; ip -6 rule; ip route show table all | sort;
    ip -6 route show table all | sort; cd /proc/sys/net;
    grep -r . ipv4/conf ipv6/conf ipv4/ip_forward 2>/dev/null`;
  const { stdout } = await machine.run(["sh", "-c", script]);
  // Routes that the kernel makes and refreshes by itself.
  return stdout.split("\n").filter((line) => !/\btm0\b|expires|^multicast/.test(line)).join("\n");
}

function chat(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, CHATTER_MS));
}

/** A world with an exit at work and a client that talks all the time. */
async function start(stack: AsyncDisposableStack) {
  const world = stack.use(await ExitWorld.create());
  await world.startExit();
  const server = await world.script(world.exit, "exit_driver", ["server", "/run"]);
  const targets = [WORLD4, `[${WORLD6}]`].flatMap((host) => [`${host}:9999`, `${host}:53`]);
  const probe = await world.script(world.client, "exit_probe", [...targets, `${LAN_ROUTER4}:53`]);
  for (const target of [WORLD4, WORLD6]) {
    for (const bound of [[], ["-I", "eth0"]]) {
      const ping = ["ping", "-n", "-i", "0.1", ...bound, target];
      stack.use(world.client.spawn(ping));
    }
  }
  const guest = await world.addGuest();
  stack.use(guest.spawn(["ping", "-n", "-i", "0.1", WORLD4]));
  return { world, server, probe: new Probe(probe) };
}

labTest({
  name: "an exit node's client lets nothing out but marked packets, whatever happens",
  needs,
  run: async () => {
    await using stack = new AsyncDisposableStack();
    const { world, server, probe } = await start(stack);
    const { client } = world;
    // The strictest reverse path filter there is.
    const strict = "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 > $f; done";
    await client.must(["sh", "-c", strict]);
    const before = await dump(client);
    const capture = stack.use(await Capture.start(world));
    await chat();
    const unprotected = await capture.leaks();
    // The capture and the probe are worth something.
    const kinds = ["203.0.113.10.53: Flags", "203.0.113.10.53:", "192.168.1.1.53:"];
    for (
      const kind of [
        "10.88.0.2 >",
        ...kinds,
        "2001:db8:9::10.53: Flags",
        "ICMP echo",
        "ICMP6, echo",
      ]
    ) {
      assert.ok(unprotected.some((line) => line.includes(kind)), kind);
    }
    assert.equal(await tell(server, SERVER), "done fully");

    // Start, before there is a tunnel.
    let driver = await world.script(client, "exit_driver", ["client", "/run"]);
    assert.match(
      await tell(driver, CLIENT),
      /^done Cannot change routes: Cannot find device "tm0"/,
    );
    await capture.leaks();
    const quiet = async (what: string) => {
      await chat();
      assert.deepEqual(await capture.leaks(), [], what);
    };
    await quiet("before the tunnel");
    assert.deepEqual(await probe.askAll(), ["none"]);
    let tunnel = await world.startTunnel();
    assert.equal(await tell(driver, CLIENT), "done fully");
    const works = async (what: string) => {
      const seen = await waitFor(what, async () => {
        const answers = (await probe.askAll()).sort();
        return answers.includes("none") ? null : answers;
      });
      assert.deepEqual(seen, [EXIT4, EXIT6].sort(), what);
    };
    await works("the way through the tunnel");
    await quiet("with the tunnel");
    // The LAN's resolver is asked through the tunnel too; the coordinator directly.
    assert.equal(await probe.ask("udp", `${LAN_ROUTER4}:53`), EXIT4);
    await quiet("DNS of the LAN");
    assert.equal(await probe.ask("tcp", `${COORDINATOR4}:9999`), HOME4);
    assert.equal(await probe.ask("tcp", `[${COORDINATOR6}]:9999`), CLIENT6);
    assert.equal(await probe.ask("udp", `${COORDINATOR4}:9999`), EXIT4);
    const direct = await capture.leaks();
    assert.ok(direct.length > 0);
    assert.deepEqual(
      direct.filter((line) => !/(203.0.113.20|2001:db8:9::20)\.9999: Flags/.test(line)),
      [],
    );

    // Roaming: the plug is pulled, and there are other addresses afterwards.
    await client.ip("address", "flush", "dev", "eth0", "scope", "global");
    await client.ip("link", "set", "eth0", "down");
    await client.ip("link", "set", "eth0", "up");
    await client.ip("address", "replace", "fe80::2/64", "dev", "eth0", "nodad");
    await client.ipBatch(address("192.168.1.77", "192.168.1.1", "2001:db8:1::77", "2001:db8:1::1"));
    await works("the way after roaming");
    await quiet("roaming");
    await client.ip("address", "flush", "dev", "eth0", "scope", "global");
    await client.ipBatch(address(CLIENT4, "192.168.1.1", CLIENT6, "2001:db8:1::1"));

    // The process that applied it dies; the next one finds that, and may do it again.
    driver.killTree("SIGKILL");
    await driver.exited;
    await works("the way after the daemon's death");
    await quiet("the daemon's death");
    driver = await world.script(client, "exit_driver", ["client", "/run"]);
    assert.match(driver.stdout, /^ready true$/m);
    assert.equal(await tell(driver, CLIENT), "done fully");
    await works("the way after it was adopted");
    await quiet("adoption");

    // The tunnel's interface goes, with its routes; and the daemon too.
    tunnel.killTree("SIGKILL");
    await tunnel.exited;
    await quiet("loss of the tunnel");
    assert.deepEqual(await probe.askAll(), ["none"]);
    driver.killTree("SIGKILL");
    await driver.exited;
    await quiet("loss of tunnel and daemon");
    driver = await world.script(client, "exit_driver", ["client", "/run"]);
    tunnel = await world.startTunnel();
    await quiet("the tunnel before its routes");
    assert.equal(await tell(driver, CLIENT), "done fully");
    await works("the way after the tunnel came back");

    // Another program removes our rules and routes; applying them has not looked like that.
    assert.equal(await tell(driver, CLIENT), "done fully");
    assert.equal(driver.stderr, "");
    for (const family of ["-4", "-6"]) {
      for (const priority of [4200, 4201, 4205]) {
        await client.ip(family, "rule", "delete", "priority", `${priority}`);
      }
      await client.ip(family, "route", "flush", "table", "8564");
    }
    await driver.waitForOutput(/lost/);
    await quiet("rules removed by others");
    assert.equal(await tell(driver, CLIENT), "done fully");
    await works("the way after repair");
    await quiet("repair");

    // Somebody empties the packet filter, as a reload of the system's own does.
    const losses = () => driver.stderr.split("lost").length;
    const lossesBefore = losses();
    await client.must(["nft", "flush", "ruleset"]);
    await waitFor("the loss", () => losses() > lossesBefore);
    assert.equal(await tell(driver, CLIENT), "done fully");
    await capture.leaks();
    await works("the way after the kill switch was put back");
    await quiet("the kill switch put back");
    assert.equal(losses(), lossesBefore + 1);

    // Other numbers, of which one stays the same.
    assert.equal(await tell(driver, { ...CLIENT, priority: 4300 }), "done fully");
    await works("the way by other rules");
    await quiet("other rules");
    assert.doesNotMatch(await client.ip("rule"), /^42/m);

    // An exit that does not carry IPv6.
    assert.equal(await tell(driver, { ...CLIENT, ipv6: false }), "done fully");
    assert.equal(await probe.ask("tcp", `${WORLD4}:9999`), EXIT4);
    assert.equal(await probe.ask("tcp", `[${WORLD6}]:9999`), "none");
    await quiet("IPv6 without an exit for it");

    // LAN access: the LAN and its neighbours, never its resolver.
    assert.equal(await tell(driver, { ...CLIENT, lanPrefixes: ["192.168.1.0/24"] }), "done fully");
    assert.equal(await probe.ask("tcp", `${LAN_ROUTER4}:9999`), CLIENT4);
    assert.equal(await probe.ask("udp", `${LAN_ROUTER4}:53`), EXIT4);
    assert.equal(await probe.ask("tcp", `${LAN_ROUTER4}:53`), EXIT4);
    await works("the way with LAN access");
    const inLan = (await capture.leaks()).filter((line) =>
      !line.includes("192.168.1.1.9999: Flags")
    );
    assert.deepEqual(inLan, []);
    assert.equal(await tell(driver, CLIENT), "done fully");
    await quiet("LAN access taken away");

    // Stop: closed to the last moment, and then as before.
    assert.equal(await tell(driver, "remove"), "opening");
    await quiet("stop");
    assert.equal(await tell(driver, "go on"), "done fully");
    assert.equal(await probe.ask("udp", `${WORLD4}:9999`), HOME4);
    assert.equal(await probe.ask("tcp", `[${WORLD6}]:9999`), CLIENT6);
    assert.equal(await dump(client), before);

    // Whoever prefers that goes on without the exit.
    assert.equal(await tell(driver, { ...CLIENT, onLoss: "direct" }), "done fully");
    await works("the way that may be left");
    tunnel.killTree("SIGKILL");
    await tunnel.exited;
    assert.equal(await probe.ask("udp", `${WORLD4}:9999`), HOME4);
    assert.equal(await tell(driver, "remove"), "opening");
    assert.equal(await tell(driver, "go on"), "done fully");
    assert.equal(await dump(client), before);
  },
});

labTest({
  name: "an exit node forwards for members alone, and is undone to the letter",
  needs,
  run: async () => {
    await using world = await ExitWorld.create();
    const { exit } = world;
    await exit.must(["sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_ra"]);
    await world.startExit();
    await world.startTunnel();
    const before = await dump(exit);
    let driver = await world.script(exit, "exit_driver", ["server", "/run"]);
    assert.equal(await tell(driver, SERVER), "done fully");
    assert.notEqual(await dump(exit), before);
    const setting = (path: string) => exit.must(["cat", `/proc/sys/net/${path}`]);
    assert.equal(await setting("ipv6/conf/eth0/accept_ra"), "2\n");
    const client = await world.script(world.client, "exit_driver", ["client", "/run"]);
    assert.equal(await tell(client, CLIENT), "done fully");
    const probe = new Probe(await world.script(world.client, "exit_probe", []));
    assert.deepEqual((await probe.askAll()).sort(), [EXIT4, EXIT6].sort());

    // Others, who send a packet to the exit to be forwarded into the mesh, get nowhere.
    await world.world.ipBatch([`route add 172.30.0.0/16 via 203.0.113.1`]);
    await world.router.ipBatch([`route add 172.30.0.0/16 via ${EXIT4}`]);
    const ping = await world.world.run(["ping", "-n", "-c", "1", "-W", "1", "172.30.0.2"]);
    assert.notEqual(ping.code, 0);

    // Dies; the next one may do it again without forgetting how it was, and undoes it.
    driver.killTree("SIGKILL");
    await driver.exited;
    assert.deepEqual((await probe.askAll()).sort(), [EXIT4, EXIT6].sort());
    driver = await world.script(exit, "exit_driver", ["server", "/run"]);
    assert.match(driver.stdout, /^ready true$/m);
    assert.equal(await tell(driver, SERVER), "done fully");
    assert.equal(await tell(driver, "remove"), "done fully");
    assert.equal(await dump(exit), before);
    assert.deepEqual(await probe.askAll(), ["none"]);

    // Where something has been undone already, the rest is.
    assert.equal(await tell(driver, SERVER), "done fully");
    await exit.must(["nft", "flush", "ruleset"]);
    await exit.must(["sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"]);
    assert.equal(await tell(driver, "remove"), "done fully");
    assert.equal(await dump(exit), before);
  },
});

labTest({
  name: "a network behind a node is reached by another prefix where the ranges are the same",
  needs,
  run: async () => {
    await using world = await ExitWorld.create();
    const site = await world.addSite();
    await world.startExit();
    await world.startTunnel();
    const route = { lan: "192.168.1.0/24", mapped: "10.201.0.0/24", mayInitiate: true };
    const before = await dump(world.exit);
    const driver = await world.script(world.exit, "exit_driver", ["server", "/run"]);
    assert.equal(await tell(driver, { ...SERVER, isExit: false, routes: [route] }), "done fully");
    const probe = new Probe(await world.script(world.client, "exit_probe", []));
    // The machine behind the node sees the node; the client's own LAN is where it was.
    assert.equal(await probe.ask("tcp", "10.201.0.9:9999"), "192.168.1.1");
    assert.equal(await probe.ask("udp", "10.201.0.9:9999"), "192.168.1.1");
    assert.equal(await probe.ask("tcp", `${LAN_ROUTER4}:9999`), CLIENT4);

    // The other way round the member sees the prefix by which it knows the network.
    await world.script(world.client, "echo_address", ["172.30.0.2:9998"]);
    const inside = new Probe(await world.script(site, "exit_probe", []));
    assert.equal(await inside.ask("tcp", "172.30.0.2:9998"), "10.201.0.9");
    // It is no exit.
    await world.client.ip("route", "add", `${WORLD4}/32`, "dev", "tm0");
    assert.equal(await probe.ask("udp", `${WORLD4}:9999`), "none");
    assert.equal(await tell(driver, "remove"), "done fully");
    assert.equal(await dump(world.exit), before);
  },
});
