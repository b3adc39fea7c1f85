/**
 * The system's resolver settings on files in a temporary folder, and systemd-resolved played by a script.
 * @module
 */
import { strict as assert } from "node:assert";
import type { SystemDns } from "../types_dns.ts";
import { createSystemDns } from "./dns.ts";
import { parseMarker, parseResolvConf } from "./resolv_conf.ts";

const ORIGINAL =
  "# mine\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch example.org\noptions edns0\n";

/** A machine's files in a temporary folder. */
class Machine implements AsyncDisposable {
  readonly root = Deno.makeTempDirSync({ prefix: "tunnelmesh-dns-" });
  readonly etc = `${this.root}/etc`;
  readonly resolvConf = `${this.etc}/resolv.conf`;
  readonly logged: string[] = [];
  readonly #made: SystemDns[] = [];

  constructor(text: string | null = ORIGINAL) {
    for (const folder of ["etc", "state-a", "state-b", "run", "bin"]) {
      Deno.mkdirSync(`${this.root}/${folder}`);
    }
    if (text !== null) Deno.writeTextFileSync(this.resolvConf, text);
  }

  async create(options: { state?: string; port?: number; addresses?: string[] } = {}) {
    const dns = await createSystemDns({
      interfaceName: "tm0",
      addresses: options.addresses ?? ["172.30.0.5", "fd00::5"],
      reverseZones: ["30.172.in-addr.arpa"],
      stateDir: `${this.root}/${options.state ?? "state-a"}`,
      log: (message) => this.logged.push(message),
      ...(options.port === undefined ? {} : { port: options.port }),
    }, {
      resolvConf: this.resolvConf,
      resolvedDirectory: `${this.root}/run/resolve`,
      searchPath: `${this.root}/bin`,
    });
    this.#made.push(dns);
    return dns;
  }

  text(): string {
    return Deno.readTextFileSync(this.resolvConf);
  }

  isOurs(): boolean {
    try {
      return parseMarker(this.text()) !== null && this.servers()[0] === "172.30.0.5";
    } catch {
      return false;
    }
  }

  servers(): readonly string[] {
    return parseResolvConf(this.text()).nameservers;
  }

  /** Milliseconds until the file is ours; fails after two seconds, the promise of the product. */
  async repaired(): Promise<number> {
    const start = performance.now();
    while (!this.isOurs()) {
      const elapsed = performance.now() - start;
      assert.ok(elapsed < 2_000, `not repaired; log: ${this.logged.join("; ")}`);
      await sleep(5);
    }
    return performance.now() - start;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const dns of this.#made) await dns.restore();
    Deno.removeSync(this.root, { recursive: true });
  }
}

/** Waits up to two seconds for what follows a repair by a moment. */
async function until(probe: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !probe(); i++) await sleep(10);
  assert.ok(probe(), probe.toString());
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

Deno.test("apply() puts our resolver in, restore() puts the file back to the letter", async () => {
  await using machine = new Machine();
  const dns = await machine.create();
  assert.equal(dns.mode, "off");
  assert.deepEqual(dns.upstreams(), ["192.0.2.1", "2001:db8::1"]);
  assert.equal(machine.text(), ORIGINAL, "creating changes nothing");

  await dns.apply();
  assert.equal(dns.mode, "resolv.conf");
  assert.deepEqual(parseResolvConf(machine.text()), {
    nameservers: ["172.30.0.5", "fd00::5"],
    settings: ["search example.org", "options edns0"],
  });
  assert.equal(Deno.statSync(machine.resolvConf).mode! & 0o777, 0o644);
  assert.deepEqual([...Deno.readDirSync(machine.etc)].map((entry) => entry.name), ["resolv.conf"]);

  await dns.restore();
  assert.equal(machine.text(), ORIGINAL);
  assert.equal(dns.mode, "off");
  await dns.restore();
  assert.equal(machine.text(), ORIGINAL);
});

Deno.test("apply() and restore() can be repeated", async () => {
  await using machine = new Machine();
  const dns = await machine.create();
  for (let round = 0; round < 2; round++) {
    await dns.apply();
    await dns.apply();
    assert.ok(machine.isOurs());
    await dns.restore();
    assert.equal(machine.text(), ORIGINAL);
  }
  assert.deepEqual(dns.report().repairs, []);
});

Deno.test("a file that did not exist is removed again", async () => {
  await using machine = new Machine(null);
  const dns = await machine.create();
  await dns.apply();
  assert.ok(machine.isOurs());
  await dns.restore();
  assert.throws(() => machine.text(), Deno.errors.NotFound);
});

Deno.test("a symbolic link is replaced and comes back, its target untouched and followed", async () => {
  await using machine = new Machine(null);
  const target = `${machine.root}/run/managed.conf`;
  Deno.writeTextFileSync(target, "nameserver 192.0.2.1\n");
  Deno.symlinkSync("../run/managed.conf", machine.resolvConf);
  const dns = await machine.create();
  await dns.apply();
  assert.ok(machine.isOurs());
  assert.ok(Deno.lstatSync(machine.resolvConf).isFile);
  assert.equal(Deno.readTextFileSync(target), "nameserver 192.0.2.1\n");

  // The machine moves to another network: whoever manages the target writes it anew.
  Deno.writeTextFileSync(target, "nameserver 192.0.2.2\nsearch other.example\n");
  await until(() => /^search other\.example$/m.test(machine.text()));
  assert.deepEqual(dns.upstreams(), ["192.0.2.2"]);
  assert.ok(machine.isOurs());
  assert.deepEqual(dns.report().repairs, []);

  await dns.restore();
  assert.equal(Deno.readLinkSync(machine.resolvConf), "../run/managed.conf");
  assert.equal(Deno.readTextFileSync(target), "nameserver 192.0.2.2\nsearch other.example\n");
});

Deno.test("what another program writes becomes the upstream and the copy, and is put right", async () => {
  await using machine = new Machine();
  const dns = await machine.create();
  const repairs: string[] = [];
  dns.onRepair(({ what }) => repairs.push(what));
  await dns.apply();

  const inPlace = "# Generated by NetworkManager\nnameserver 192.0.2.7\n";
  Deno.writeTextFileSync(machine.resolvConf, inPlace);
  const first = await machine.repaired();
  assert.deepEqual(dns.upstreams(), ["192.0.2.7"]);

  const renamed = "nameserver 192.0.2.8\nsearch corp.example\n";
  Deno.writeTextFileSync(`${machine.etc}/new`, renamed);
  Deno.renameSync(`${machine.etc}/new`, machine.resolvConf);
  const second = await machine.repaired();
  assert.deepEqual(dns.upstreams(), ["192.0.2.8"]);
  assert.match(machine.text(), /^search corp\.example$/m);
  assert.ok(first < 1_000 && second < 1_000, `${first} ms, ${second} ms`);

  await until(() => repairs.length === 2);
  assert.match(repairs[0]!, /^NetworkManager changed /);
  assert.match(repairs[1]!, /^Another program changed /);
  assert.equal(dns.report().repairs.length, 2);
  await dns.restore();
  assert.equal(machine.text(), renamed);
});

Deno.test("a link put in place of our file is put right and comes back at the end", async () => {
  await using machine = new Machine();
  const dns = await machine.create();
  await dns.apply();
  Deno.writeTextFileSync(`${machine.root}/run/other.conf`, "nameserver 192.0.2.9\n");
  Deno.removeSync(machine.resolvConf);
  Deno.symlinkSync("../run/other.conf", machine.resolvConf);
  await machine.repaired();
  assert.deepEqual(dns.upstreams(), ["192.0.2.9"]);
  await dns.restore();
  assert.equal(Deno.readLinkSync(machine.resolvConf), "../run/other.conf");
});

Deno.test("an emptied or removed file is put right without forgetting the upstreams", async () => {
  await using machine = new Machine();
  const dns = await machine.create();
  await dns.apply();
  Deno.writeTextFileSync(machine.resolvConf, "");
  await machine.repaired();
  Deno.removeSync(machine.resolvConf);
  await machine.repaired();
  assert.deepEqual(dns.upstreams(), ["192.0.2.1", "2001:db8::1"]);
  await until(() => / removed /.test(dns.report().repairs.at(-1)!.what));
  await dns.restore();
  assert.equal(machine.text(), ORIGINAL);
});

Deno.test("a nameserver added to our file is kept as an upstream", async () => {
  await using machine = new Machine();
  const dns = await machine.create();
  await dns.apply();
  Deno.writeTextFileSync(machine.resolvConf, "nameserver 192.0.2.50\n", { append: true });
  await until(() => dns.upstreams().length === 3);
  await until(() => dns.report().repairs.length === 1);
  assert.ok(machine.isOurs());
  assert.equal(dns.upstreams()[2], "192.0.2.50");
  await dns.restore();
  assert.equal(machine.text(), `${ORIGINAL}nameserver 192.0.2.50\n`);
});

Deno.test("a program that writes in steps is read when it is done", async () => {
  await using machine = new Machine();
  const dns = await machine.create();
  await dns.apply();
  const file = await Deno.open(machine.resolvConf, { write: true, truncate: true });
  for (const line of ["# slow\n", "search slow.example\n", "nameserver 192.0.2.20\n"]) {
    await sleep(60);
    await file.write(new TextEncoder().encode(line));
  }
  file.close();
  await machine.repaired();
  await until(() => dns.upstreams()[0] === "192.0.2.20");
  assert.deepEqual(dns.upstreams(), ["192.0.2.20"]);
  assert.match(machine.text(), /slow\.example/);
});

Deno.test("systemd-resolved's stub is replaced by the resolvers behind it", async () => {
  await using machine = new Machine("nameserver 127.0.0.53\n");
  Deno.mkdirSync(`${machine.root}/run/resolve`);
  const uplink = "nameserver 192.0.2.1\nnameserver 172.30.0.5\n";
  Deno.writeTextFileSync(`${machine.root}/run/resolve/resolv.conf`, uplink);
  const dns = await machine.create();
  assert.deepEqual(dns.upstreams(), ["192.0.2.1"]);
});

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

Deno.test("a file that cannot be written is an error with a hint", async () => {
  await using machine = new Machine();
  Deno.removeSync(machine.etc, { recursive: true });
  const dns = await machine.create();
  await assert.rejects(dns.apply(), /Cannot write .*resolv\.conf: /);
});

Deno.test("another port than 53 cannot be set in resolv.conf", async () => {
  await using machine = new Machine();
  const dns = await machine.create({ port: 5353 });
  await dns.apply();
  assert.equal(machine.text(), ORIGINAL);
  assert.equal(dns.mode, "off");
  assert.match(dns.report().problem!, /only name resolvers on port 53/);
});

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

Deno.test("systemd-resolved gets all domains in one call, and its settings are reverted", async () => {
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

Deno.test("resolv.conf turned away from systemd-resolved is taken, and let go when turned back", async () => {
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
