/**
 * Path MTU probes on real interfaces: a - router - b, where the second link is narrower.
 * @module
 */
import { strict as assert } from "node:assert";
import { labTest } from "../skip.ts";
import type { Counts } from "./lab/df_probe.ts";
import { Namespace } from "./lab/netns.ts";
import type { Process } from "./lab/process.ts";
import { waitForPing } from "./lab/traffic.ts";

const PORT = 51_820;
const NEAR_MTU = 1500, FAR_MTU = 1400;
/** Headers of IP and UDP. */
const OVERHEAD = { 4: 28, 6: 48 } as const;
const A = { 4: "10.1.0.1", 6: "fd01::1" } as const;
const B = { 4: "10.2.0.1", 6: "fd02::1" } as const;

/** Two machines and a router, on each machine a node's sockets. */
class Narrow implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  router!: Namespace;
  a!: Probe;
  b!: Probe;

  static async create(sockets: number): Promise<Narrow> {
    const lab = new Narrow();
    try {
      lab.router = await lab.#machine("router");
      const forwarding = ["ipv4/ip_forward", "ipv6/conf/all/forwarding"];
      const enable = forwarding.map((name) => `echo 1 > /proc/sys/net/${name}`).join(" && ");
      await lab.router.must(["sh", "-c", enable]);
      lab.a = await lab.#host("a", 1, NEAR_MTU, sockets);
      lab.b = await lab.#host("b", 2, FAR_MTU, sockets);
      // A link just made may lose the first packets of IPv6.
      for (const ip of [B[4], B[6]]) await waitForPing(lab.a.machine, ip);
      return lab;
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** How many fragments the router made. */
  async fragments(): Promise<number> {
    const lines = (await this.router.must(["cat", "/proc/net/snmp"])).split("\n");
    const [names, values] = lines.filter((line) => line.startsWith("Ip: "))
      .map((line) => line.split(" "));
    return Number(values![names!.indexOf("FragCreates")]);
  }

  async #machine(label: string): Promise<Namespace> {
    return this.#stack.use(await Namespace.create(label));
  }

  async #host(label: string, number: number, mtu: number, sockets: number): Promise<Probe> {
    const machine = await this.#machine(label);
    await machine.ip("link", "add", "eth0", "type", "veth", "peer", "name", `v-${label}`);
    await machine.ip("link", "set", `v-${label}`, "netns", this.router.name);
    await this.router.ipBatch([
      `link set v-${label} mtu ${mtu} up`,
      `address add 10.${number}.0.254/24 dev v-${label}`,
      `address add fd0${number}::fe/64 dev v-${label} nodad`,
    ]);
    await machine.ipBatch([
      `link set eth0 mtu ${mtu} up`,
      `address add 10.${number}.0.1/24 dev eth0`,
      `address add fd0${number}::1/64 dev eth0 nodad`,
      `route add default via 10.${number}.0.254`,
      `route add default via fd0${number}::fe`,
    ]);
    const args = [`${PORT}`, `${sockets}`];
    const process = machine.deno("tests/e2e/lab/df_probe.ts", args, { input: "" });
    this.#stack.use(process);
    await process.waitForOutput(/^ready$/m);
    return new Probe(machine, process);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** The program on one machine. */
class Probe {
  readonly machine: Namespace;
  readonly #process: Process;
  #asked = 0;

  constructor(machine: Namespace, process: Process) {
    this.machine = machine;
    this.#process = process;
  }

  async ask(command: string): Promise<unknown> {
    await this.#process.write(`${command}\n`);
    const answers = ++this.#asked;
    const output = await this.#process.waitForOutput(new RegExp(`^ready\n(.* = .*\n){${answers}}`));
    return JSON.parse(output[1]!.split(" = ")[1]!);
  }

  async counts(): Promise<Counts> {
    return await this.ask("counts") as Counts;
  }
}

for (const family of [4, 6] as const) {
  const overhead = OVERHEAD[family];
  const [near, far] = [NEAR_MTU - overhead, FAR_MTU - overhead];

  labTest({
    name: `path MTU probes over IPv${family} are never fragmented, and leave from the node's port`,
    run: async () => {
      await using lab = await Narrow.create(1);
      const to = `${B[family]} ${PORT}`;
      assert.equal(await lab.a.ask(`plain 100 ${to}`), true);
      assert.equal(await lab.a.ask(`df ${far} ${to}`), true);
      assert.equal(await lab.a.ask(`df ${far + 1} ${to}`), true);
      const fragmentsBefore = await lab.fragments();
      const received = await lab.b.counts();
      assert.deepEqual(received.byLength, { 100: 1, [far]: 1 });
      const from = family === 4 ? A[4] : `[${A[6]}]`;
      assert.equal(received.lastFrom, `${from}:${PORT}`);
      assert.equal(fragmentsBefore, 0);

      assert.equal(await lab.a.ask(`df ${near + 1} ${to}`), "too-big");
      // Other datagrams are fragmented as before.
      assert.equal(await lab.a.ask(`plain ${far + 1} ${to}`), true);
      assert.deepEqual((await lab.b.counts()).byLength, { [far + 1]: 1 });
    },
  });

  for (const sockets of [1, 2]) {
    labTest({
      name: `beside path MTU probes all IPv${family} arrives at the node's ${sockets} socket(s)`,
      run: async () => {
        await using lab = await Narrow.create(sockets);
        const count = 3_000;
        await lab.b.ask(`flood ${count} ${A[family]} ${PORT}`);
        assert.deepEqual((await lab.a.counts()).byLength, { 32: count });
        // What is answered to a probe arrives, too.
        await lab.a.ask(`df 200 ${B[family]} ${PORT}`);
        await lab.b.ask(`df 300 ${A[family]} ${PORT}`);
        assert.deepEqual((await lab.a.counts()).byLength, { 300: 1 });
      },
    });
  }
}
