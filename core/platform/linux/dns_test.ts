/**
 * Which way names take, with systemd-resolved played by a script.
 * @module
 */
import { strict as assert } from "node:assert";
import { Machine, until } from "./_dns_machine.ts";

/** Plays `resolvectl`: notes its arguments, and fails for verbs named in the file `fail`. */
async function fakeResolved(machine: Machine): Promise<() => string[]> {
  const calls = `${machine.root}/calls`;
  Deno.mkdirSync(`${machine.root}/run/resolve`);
  Deno.writeTextFileSync(`${machine.root}/run/resolve/resolv.conf`, "nameserver 192.0.2.1\n");
  Deno.writeTextFileSync(machine.resolvConf, "nameserver 127.0.0.53\noptions edns0 trust-ad\n");
  await Deno.writeTextFile(
    `${machine.root}/bin/resolvectl`,
    `#!/bin/sh
echo "$*" >> ${calls}
if grep -qx "$1" ${machine.root}/fail 2>/dev/null; then echo "no such verb" >&2; exit 1; fi
if [ "$*" = "domain tm0" ]; then cat ${machine.root}/domains; fi
`,
    { mode: 0o755 },
  );
  Deno.writeTextFileSync(`${machine.root}/domains`, "Link 9 (tm0): ~tunnelmesh ~mesh ~tm\n");
  return () => {
    const lines = Deno.readTextFileSync(calls).trim().split("\n");
    Deno.writeTextFileSync(calls, "");
    return lines.filter((line) => line !== "");
  };
}

Deno.test("systemd-resolved gets all domains in one call, and is reverted", async () => {
  await using machine = new Machine();
  const calls = await fakeResolved(machine);
  const dns = await machine.create();
  assert.deepEqual(calls(), ["status"]);
  await dns.apply();
  assert.equal(dns.mode, "resolved");
  assert.deepEqual(dns.upstreams(), ["192.0.2.1"]);
  assert.deepEqual(calls(), [
    "dns tm0 172.30.0.5 fd00::5",
    "domain tm0 ~tunnelmesh ~mesh ~tm ~30.172.in-addr.arpa",
    "default-route tm0 no",
    "dnssec tm0 no",
    "dnsovertls tm0 no",
    "llmnr tm0 no",
    "mdns tm0 no",
    "flush-caches",
  ]);
  assert.match(machine.text(), /^nameserver 127\.0\.0\.53$/m, "the file is left alone");
  await dns.restore();
  assert.deepEqual(calls(), ["revert tm0", "flush-caches"]);
});

Deno.test("systemd-resolved can be given another port", async () => {
  await using machine = new Machine();
  const calls = await fakeResolved(machine);
  const dns = await machine.create({ port: 5353 });
  await dns.apply();
  assert.equal(dns.mode, "resolved");
  assert.equal(calls()[1], "dns tm0 172.30.0.5:5353 [fd00::5]:5353");
});

Deno.test("verbs that an old resolvectl lacks do not matter", async () => {
  await using machine = new Machine();
  await fakeResolved(machine);
  Deno.writeTextFileSync(
    `${machine.root}/fail`,
    "default-route\nllmnr\nmdns\ndnssec\ndnsovertls\n",
  );
  const dns = await machine.create();
  await dns.apply();
  assert.equal(dns.mode, "resolved");
});

Deno.test("a systemd-resolved that refuses is replaced by the file", async () => {
  await using machine = new Machine();
  await fakeResolved(machine);
  Deno.writeTextFileSync(`${machine.root}/fail`, "domain\n");
  const dns = await machine.create();
  await dns.apply();
  assert.equal(dns.mode, "resolv.conf");
  assert.ok(machine.isOurs());
  assert.deepEqual(dns.upstreams(), ["192.0.2.1"]);
  assert.match(
    machine.logged.join(),
    /Cannot set "domain" of tm0 in systemd-resolved: no such verb/,
  );
});

Deno.test("a systemd-resolved that does not answer is not used", async () => {
  await using machine = new Machine();
  await fakeResolved(machine);
  Deno.writeTextFileSync(`${machine.root}/fail`, "status\n");
  const dns = await machine.create();
  await dns.apply();
  assert.equal(dns.mode, "resolv.conf");
});

Deno.test("a restarted systemd-resolved that lost our settings gets them again", async () => {
  await using machine = new Machine();
  const calls = await fakeResolved(machine);
  const dns = await machine.create();
  await dns.apply();
  calls();
  Deno.writeTextFileSync(`${machine.root}/domains`, "Link 9 (tm0):\n");
  Deno.writeTextFileSync(`${machine.root}/run/resolve/resolv.conf`, "nameserver 192.0.2.2\n");
  await until(() => dns.report().repairs.length > 0);
  assert.match(dns.report().repairs[0]!.what, /^systemd-resolved had lost the settings of tm0/);
  assert.ok(calls().includes("domain tm0 ~tunnelmesh ~mesh ~tm ~30.172.in-addr.arpa"));
  assert.deepEqual(dns.upstreams(), ["192.0.2.2"]);
});

Deno.test("resolv.conf turned away from systemd-resolved is taken until turned back", async () => {
  await using machine = new Machine();
  await fakeResolved(machine);
  const dns = await machine.create();
  await dns.apply();
  Deno.writeTextFileSync(machine.resolvConf, "# dhclient\nnameserver 192.0.2.40\n");
  await machine.repaired();
  assert.equal(dns.mode, "resolv.conf");
  assert.deepEqual(dns.upstreams(), ["192.0.2.40"]);
  Deno.writeTextFileSync(machine.resolvConf, "nameserver 127.0.0.53\n");
  await until(() => dns.report().mode === "resolved");
  assert.equal(dns.report().mode, "resolved");
  assert.equal(machine.text(), "nameserver 127.0.0.53\n");
  await dns.restore();
  assert.equal(machine.text(), "nameserver 127.0.0.53\n");
});
