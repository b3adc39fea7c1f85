/**
 * Exits beside the firewalls of other programs.
 * @module
 */
import { strict as assert } from "node:assert";
import { labTest } from "../skip.ts";
import { CLIENT, Probe, SERVER, tell } from "./lab/exit_control.ts";
import { EXIT4, EXIT6, ExitWorld } from "./lab/exit_world.ts";
import { type Firewall, FIREWALLS } from "./lab/firewalls.ts";
import type { Namespace } from "./lab/netns.ts";

/** All rules of a machine but those of tables of ours, counters left out. */
async function rulesOfOthers(machine: Namespace): Promise<string> {
  const script = `
    nft list tables | grep -v tunnelmesh | while read -r _ table; do nft -s list table $table; done
    iptables-legacy-save; ip6tables-legacy-save; iptables-nft-save; ip6tables-nft-save`;
  const text = await machine.must(["sh", "-c", script]);
  return text.split("\n").filter((line) => !line.startsWith("#")).join("\n")
    .replace(/\[\d+:\d+\]/g, "");
}

async function load(machine: Namespace, firewall: Firewall): Promise<void> {
  for (const [program, input] of firewall.rules) await machine.must([program], { input });
}

async function unload(machine: Namespace): Promise<void> {
  const legacy = ["iptables-legacy", "ip6tables-legacy"].flatMap((program) => [
    ...["INPUT", "FORWARD"].map((chain) => `${program} -P ${chain} ACCEPT`),
    ...["filter", "nat"].flatMap((table) =>
      ["-F", "-X"].map((op) => `${program} -t ${table} ${op}`)
    ),
  ]);
  await machine.must(["sh", "-c", ["nft flush ruleset", ...legacy].join(" && ")]);
}

/** What the administrator does who was told of what is in the way. */
async function allow(machine: Namespace, firewall: Firewall, answer: string): Promise<void> {
  const obstacles = JSON.parse(answer.replace(/^done /, "")) as { chain: string; allow: string }[];
  assert.ok(obstacles.length > 0);
  for (const { chain, allow } of obstacles) {
    assert.match(chain, /filter FORWARD$/);
    const isIpv6 = chain.startsWith("ip6");
    const ufw = `ip${isIpv6 ? "6" : ""}tables-nft -A ${
      isIpv6 ? "ufw6" : "ufw"
    }-user-forward -i tm0 -j ACCEPT`;
    // Not every machine has ufw; this is what the command comes to.
    if (firewall.name === "ufw") assert.equal(allow, "ufw route allow in on tm0");
    else assert.ok(allow.includes(firewall.chainToAllow!));
    const command = firewall.name === "ufw"
      ? ufw
      : allow.replaceAll("iptables -I", "iptables-nft -I");
    await machine.must(["sh", "-c", command]);
  }
}

async function check(world: ExitWorld, probe: Probe, firewall: Firewall): Promise<void> {
  const { client, exit } = world;
  for (const machine of [client, exit]) await load(machine, firewall);
  const beforeClient = await rulesOfOthers(client);
  const before = await rulesOfOthers(exit);
  const server = await world.script(exit, "exit_driver", ["server", "/run"]);
  const driver = await world.script(client, "exit_driver", ["client", "/run"]);
  const answer = await tell(server, SERVER);
  assert.equal(await tell(driver, CLIENT), "done fully");
  assert.equal(await rulesOfOthers(exit), before, "the exit's rules while it is one");
  let expected = before;
  if (firewall.chainToAllow === null) assert.equal(answer, "done fully");
  else {
    assert.ok((await probe.askAll()).includes("none"), "nothing gets past their rules");
    await allow(exit, firewall, answer);
    expected = await rulesOfOthers(exit);
    assert.notEqual(expected, before);
  }
  assert.deepEqual((await probe.askAll()).sort(), [EXIT4, EXIT6].sort());
  assert.equal(await rulesOfOthers(client), beforeClient, "the client's rules while it is one");
  assert.equal(await tell(driver, "remove"), "opening");
  assert.equal(await tell(driver, "go on"), "done fully");
  assert.equal(await tell(server, "remove"), "done fully");
  assert.equal(await rulesOfOthers(exit), expected, "the exit's rules afterwards");
  assert.equal(await rulesOfOthers(client), beforeClient, "the client's rules afterwards");
  for (const [machine, process] of [[client, driver], [exit, server]] as const) {
    assert.doesNotMatch(await machine.must(["nft", "list", "tables"]), /tunnelmesh/);
    await process.closeInput();
    await process.waitForExit();
    await unload(machine);
  }
}

labTest({
  name: "exits work beside other programs' firewalls and change nothing of theirs",
  needs: { tools: ["iptables-legacy"] },
  run: async () => {
    await using world = await ExitWorld.create();
    await world.startExit();
    await world.startTunnel();
    const probe = new Probe(await world.script(world.client, "exit_probe", []));
    for (const firewall of FIREWALLS) {
      try {
        await check(world, probe, firewall);
      } catch (error) {
        throw new Error(`Beside ${firewall.name}`, { cause: error });
      }
    }
  },
});
