/**
 * What other daemons, killed or alive, left in resolv.conf.
 * @module
 */
import { strict as assert } from "node:assert";
import { Machine, ORIGINAL, until } from "./_dns_machine.ts";

/** Starts a daemon's settings in another process; resolves when they are in place. */
async function otherProcess(machine: Machine, state: string, address: string) {
  const module = new URL("./dns.ts", import.meta.url).href;
  const code = `
    import { createSystemDns } from "${module}";
    const dns = await createSystemDns({
      interfaceName: "tm1", addresses: ["${address}"], log: () => {},
      stateDir: "${machine.root}/${state}",
    }, { resolvConf: "${machine.resolvConf}", resolvedDirectory: "/nonexistent" });
    await dns.apply();
    console.log("applied");
    await Deno.stdin.read(new Uint8Array(1));
    await dns.restore();
  `;
  const args = ["eval", "--quiet", code];
  const child = new Deno.Command(Deno.execPath(), {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  assert.match(new TextDecoder().decode(value), /applied/);
  const finish = async (how: "kill" | "exit") => {
    if (how === "kill") child.kill("SIGKILL");
    await child.stdin.close().catch(() => {});
    await child.status;
    await reader.cancel();
  };
  return finish;
}

Deno.test("what a killed daemon left is put back at the next start", async () => {
  await using machine = new Machine();
  const finish = await otherProcess(machine, "state-a", "172.30.0.5");
  assert.ok(machine.isOurs());
  await finish("kill");
  assert.ok(machine.isOurs(), "nobody has put it back yet");
  const dns = await machine.create();
  assert.equal(machine.text(), ORIGINAL);
  assert.deepEqual(dns.upstreams(), ["192.0.2.1", "2001:db8::1"]);
  await dns.apply();
  assert.ok(machine.isOurs());
  await dns.restore();
  assert.equal(machine.text(), ORIGINAL);
});

Deno.test("what a killed daemon of another context left is put back too", async () => {
  await using machine = new Machine();
  const finish = await otherProcess(machine, "state-b", "172.30.0.9");
  await finish("kill");
  const dns = await machine.create({ state: "state-a" });
  assert.equal(machine.text(), ORIGINAL);
  assert.deepEqual(dns.upstreams(), ["192.0.2.1", "2001:db8::1"]);
});

Deno.test("a killed daemon's copy never replaces what was written after it", async () => {
  await using machine = new Machine();
  const finish = await otherProcess(machine, "state-a", "172.30.0.5");
  await finish("kill");
  Deno.writeTextFileSync(machine.resolvConf, "nameserver 192.0.2.30\n");
  const dns = await machine.create();
  assert.equal(machine.text(), "nameserver 192.0.2.30\n");
  assert.deepEqual(dns.upstreams(), ["192.0.2.30"]);
});

Deno.test("without its copy our file is replaced by the resolvers in its head", async () => {
  await using machine = new Machine();
  const finish = await otherProcess(machine, "state-b", "172.30.0.5");
  await finish("kill");
  Deno.removeSync(`${machine.root}/state-b`, { recursive: true });
  const dns = await machine.create({ state: "state-a" });
  assert.deepEqual(machine.servers(), ["192.0.2.1", "2001:db8::1"]);
  assert.deepEqual(dns.upstreams(), ["192.0.2.1", "2001:db8::1"]);
});

Deno.test("a live daemon keeps the file; the next takes it when it is let go", async () => {
  await using machine = new Machine();
  const finish = await otherProcess(machine, "state-b", "172.30.0.9");
  const theirs = machine.text();
  const dns = await machine.create({ state: "state-a" });
  assert.equal(machine.text(), theirs);
  await dns.apply();
  assert.equal(machine.text(), theirs);
  assert.equal(dns.mode, "off");
  assert.match(dns.report().problem!, /Another TunnelMesh daemon has /);
  await finish("exit");
  await machine.repaired();
  await until(() => dns.report().problem === null);
  assert.equal(dns.report().mode, "resolv.conf");
  await dns.restore();
  assert.equal(machine.text(), ORIGINAL);
});

Deno.test("a file that another context of this machine has serves this one too", async () => {
  await using machine = new Machine();
  const finish = await otherProcess(machine, "state-b", "172.30.0.9");
  const dns = await machine.create({ state: "state-a", otherContext: "172.30.0.9" });
  await dns.apply();
  const { mode, problem } = dns.report();
  assert.deepEqual([mode, problem], ["shared", null]);
  await finish("exit");
  await machine.repaired();
  await until(() => dns.report().mode === "resolv.conf");
});
