/**
 * Names through a real systemd-resolved with its own D-Bus, on a machine of the lab. The programs
 * come from the Debian package, unpacked into a temporary folder, because installing it would
 * change the resolver of the machine that runs the tests.
 * @module
 */
import { strict as assert } from "node:assert";
import { whySkip } from "../skip.ts";
import { Namespace } from "./lab/netns.ts";
import { type Process, run, waitFor } from "./lab/process.ts";

const ADDRESS = "172.30.0.5";
/** Of another context on the same machine. */
const WORK_ADDRESS = "172.29.0.5";
const UPSTREAM = "192.0.2.53";
const STATE = "/var/lib/tunnelmesh/dns";
const STUB = "../run/systemd/resolve/stub-resolv.conf";

/** Where systemd-resolved and resolvectl are on this machine, or could be had from its packages. */
async function findPrograms(folder: string): Promise<{ daemon: string; control: string } | null> {
  const at = (root: string) => ({
    daemon: `${root}/lib/systemd/systemd-resolved`,
    control: `${root}/usr/bin/resolvectl`,
  });
  const isUsable = async (root: string) =>
    (await run([at(root).daemon, "--version"]).catch(() => null))?.code === 0 &&
    (await run([at(root).control, "--version"]).catch(() => null))?.code === 0;
  if (await isUsable("")) return at("");
  if (Deno.env.get("TUNNELMESH_TEST_INSTALL") === "0") return null;
  const script = `cd ${folder} && apt-get download systemd-resolved && dpkg -x *.deb ${folder}`;
  await run(["sh", "-c", script]);
  return await isUsable(folder) ? at(folder) : null;
}

/** A machine with a mesh interface, a system bus and systemd-resolved, which asks UPSTREAM. */
class ResolvedMachine implements AsyncDisposable {
  readonly at: Namespace;
  readonly #control: string;
  readonly #daemon: string;
  readonly #processes: Process[] = [];
  #resolved: Process | null = null;

  private constructor(at: Namespace, programs: { daemon: string; control: string }) {
    this.at = at;
    this.#daemon = programs.daemon;
    this.#control = programs.control;
  }

  static async start(folder: string): Promise<ResolvedMachine | null> {
    const programs = await findPrograms(folder);
    if (programs === null) return null;
    const made = new ResolvedMachine(await Namespace.create("r"), programs);
    await made.#prepare(folder);
    return made;
  }

  async #prepare(folder: string): Promise<void> {
    const policy = `${folder}/usr/share/dbus-1/system.d/org.freedesktop.resolve1.conf`;
    await this.at.must([
      "sh",
      "-c",
      `
      grep -q ^systemd-resolve: /etc/passwd ||
        echo systemd-resolve:x:991:991::/:/bin/false >> /etc/passwd
      grep -q ^systemd-resolve: /etc/group ||
        echo systemd-resolve:x:991: >> /etc/group
      test ! -e ${policy} || cp ${policy} /etc/dbus-1/system.d/
      mkdir -p /run/dbus /run/systemd/resolve /etc/systemd
      chown systemd-resolve: /run/systemd/resolve
      echo 0123456789abcdef0123456789abcdef > /etc/machine-id
      printf '[Resolve]\\nDNS=${UPSTREAM}\\nLLMNR=no\\nMulticastDNS=no\\n' \\
        > /etc/systemd/resolved.conf
      ln -sf ${STUB} /etc/resolv.conf`,
    ]);
    await this.at.ipBatch([
      "link add tm0 type veth peer name tm0peer",
      "link set tm0peer up",
      "link set tm0 up",
      `address add ${ADDRESS}/16 dev tm0`,
      'link set tm0 alias "TunnelMesh context default"',
      "link add tm1 type veth peer name tm1peer",
      "link set tm1peer up",
      "link set tm1 up",
      `address add ${WORK_ADDRESS}/16 dev tm1`,
      'link set tm1 alias "TunnelMesh context work"',
      `address add ${UPSTREAM}/32 dev lo`,
      "link add eth0 type veth peer name eth0peer",
      "link set eth0peer up",
      "link set eth0 up",
      "address add 192.0.2.2/24 dev eth0",
      "route add default via 192.0.2.1 dev eth0",
    ]);
    const upstream = this.at.deno("tests/e2e/dns_upstream.ts", [UPSTREAM]);
    this.#processes.push(upstream);
    await upstream.waitForOutput(/ready/);
    this.#processes.push(this.at.spawn(["dbus-daemon", "--system", "--nofork", "--nopidfile"]));
    await waitFor("the system bus", () =>
      this.at.readFile("/run/dbus/system_bus_socket").then(
        () => true,
        (error) => !(error instanceof Deno.errors.NotFound) && error.code === "ENXIO",
      ));
    await this.startResolved();
  }

  async startResolved(): Promise<void> {
    this.#resolved = this.at.spawn([this.#daemon]);
    await waitFor("systemd-resolved", async () => (await this.control("status")).code === 0);
  }

  async stopResolved(): Promise<void> {
    await this.#resolved?.stop();
  }

  control(...args: string[]) {
    return this.at.run([this.#control, ...args], { timeoutMs: 5_000 });
  }

  /** Starts the resolver of the default context, or of another one on another interface. */
  async startDaemon(args: readonly string[] = [ADDRESS, STATE]): Promise<Process> {
    const folder = this.#control.slice(0, this.#control.lastIndexOf("/"));
    const env = { PATH: `${folder}:${Deno.env.get("PATH")}` };
    const daemon = this.at.deno("tests/e2e/dns_daemon.ts", args, { input: "", env });
    await daemon.waitForOutput(/ready resolved/);
    return daemon;
  }

  async lookUp(name: string): Promise<string | null> {
    const output = await this.at.run(["getent", "ahosts", name], { timeoutMs: 10_000 });
    return output.code === 0 ? output.stdout.split(/\s/)[0]! : null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resolved?.stop();
    for (const each of this.#processes) await each.stop();
    await this.at[Symbol.asyncDispose]();
  }
}

const NAME = "names resolve through a real systemd-resolved, and its settings are gone afterwards";
const reason = whySkip({ tools: ["dig", "dbus-daemon"] });

Deno.test({
  name: reason === null ? NAME : `${NAME} [skipped: ${reason}]`,
  ignore: reason !== null,
  fn: async (test) => {
    const folder = await Deno.makeTempDir({ prefix: "tunnelmesh-resolved-" });
    try {
      await using machine = await ResolvedMachine.start(folder);
      if (machine !== null) return await exercise(machine);
      const name = "skipped: systemd-resolved is neither installed nor to be had from apt-get";
      await test.step({ name, ignore: true, fn() {} });
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

async function exercise(machine: ResolvedMachine): Promise<void> {
  const { at } = machine;
  assert.equal(await machine.lookUp("www.example.org"), "198.51.100.1");
  assert.equal(await machine.lookUp("other.mesh"), null);
  await using daemon = await machine.startDaemon();

  const domains = (await machine.control("domain", "tm0")).stdout;
  for (const domain of ["~tunnelmesh", "~mesh", "~tm", "~30.172.in-addr.arpa"]) {
    assert.ok(domains.includes(domain), domains);
  }
  for (const name of ["other.mesh", "OTHER.tm", "www.shop.tunnelmesh"]) {
    assert.match(await at.must(["getent", "ahosts", name]), /^172\.30\.0\.77 /m, name);
  }
  assert.match(await at.must(["getent", "ahostsv6", "other.mesh"]), /^fd00::77 /m);
  assert.match(await at.must(["getent", "hosts", "172.30.0.77"]), /other\.tunnelmesh/);
  assert.equal(await at.must(["dig", "+short", "+tcp", "other.tm", "A"]), "172.30.0.77\n");
  assert.match(await at.must(["dig", "self.tm", "AAAA"]), /status: NOERROR.*\n.*ANSWER: 0/);
  assert.match(await at.must(["dig", "nobody.tm", "A"]), /status: NXDOMAIN/);
  assert.equal(await machine.lookUp("www.example.org"), "198.51.100.1");
  assert.equal(await Deno.readLink(at.hostPath("/etc/resolv.conf")), STUB);

  await daemon.write("doctor\n");
  const [line] = await daemon.waitForOutput(/\{.*\}\n/);
  const { findings } = JSON.parse(line);
  // deno-lint-ignore no-explicit-any
  assert.deepEqual(findings.filter((finding: any) => finding.level !== "ok"), []);

  // With an exit in use every name comes here; without it again only the mesh's.
  const linkOf = async (name: string) =>
    /-- link: (\w+)/.exec((await machine.control("query", name)).stdout)?.[1] ?? null;
  assert.notEqual(await linkOf("www.example.org"), "tm0");
  await daemon.write("all\n");
  await waitFor("all names", async () => await linkOf("www.example.org") === "tm0");
  assert.equal(await machine.lookUp("other.mesh"), "172.30.0.77");
  await daemon.write("mesh\n");
  await waitFor("mesh names alone", async () => await linkOf("www.example.org") !== "tm0");

  // The service restarts, as an upgrade makes it do.
  await machine.stopResolved();
  await machine.startResolved();
  await waitFor(
    "names after a restart of systemd-resolved",
    async () => await machine.lookUp("self.mesh") === ADDRESS,
    { timeoutMs: 3_000 },
  );

  // Another program takes resolv.conf away from systemd-resolved.
  await at.must([
    "sh",
    "-c",
    `rm /etc/resolv.conf; echo nameserver ${UPSTREAM} > /etc/resolv.conf`,
  ]);
  const start = performance.now();
  await waitFor("names after sabotage", async () => await machine.lookUp("self.tm") === ADDRESS);
  assert.ok(performance.now() - start < 2_500);
  assert.equal(await machine.lookUp("www.example.org"), "198.51.100.1");
  await at.must(["ln", "-sf", STUB, "/etc/resolv.conf"]);
  await waitFor("the link to stay", async () => {
    const target = await Deno.readLink(at.hostPath("/etc/resolv.conf")).catch(() => null);
    return target === STUB && await machine.lookUp("self.tm") === ADDRESS;
  });

  await exerciseTwo(machine, daemon);
  assert.doesNotMatch((await machine.control("domain", "tm0")).stdout, /~/);
  assert.equal(await machine.lookUp("other.mesh"), null);
  assert.equal(await Deno.readLink(at.hostPath("/etc/resolv.conf")), STUB);
  assert.equal(await machine.lookUp("www.example.org"), "198.51.100.1");
}

/** Another context comes and answers beside the first, which then stops and leaves it alone. */
async function exerciseTwo(machine: ResolvedMachine, first: Process): Promise<void> {
  const work = [WORK_ADDRESS, `${STATE}-work`, "tm1", "work"];
  await using second = await machine.startDaemon(work);
  const found = (name: string, ip: string | null) =>
    waitFor(`${name} at ${ip}`, async () => await machine.lookUp(name) === ip);
  await found("wiki.mesh", "172.29.0.78");
  await found("other.work.mesh", "172.29.0.77");
  // systemd-resolved asks both and takes the first answer: they have to agree.
  for (let i = 0; i < 5; i++) {
    await machine.control("flush-caches");
    assert.match(await machine.at.must(["getent", "ahostsv4", "other.mesh"]), /^172\.30\.0\.77 /m);
  }
  assert.equal((await first.stop()).code, 0);
  assert.match((await machine.control("domain", "tm1")).stdout, /~mesh/);
  await machine.control("flush-caches");
  await found("other.work.mesh", "172.29.0.77");
  assert.equal((await second.stop()).code, 0);
}
