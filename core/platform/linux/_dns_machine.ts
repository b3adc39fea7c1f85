/**
 * A machine for tests of the resolver's settings: its files in a temporary folder.
 * @module
 */
import { strict as assert } from "node:assert";
import type { SystemDns } from "../types_dns.ts";
import { createSystemDns } from "./dns.ts";
import { parseMarker, parseResolvConf } from "./resolv_conf.ts";

/** The file that a machine starts with. */
export const ORIGINAL =
  "# mine\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch example.org\noptions edns0\n";

/** What {@link Machine.create} starts. */
export interface MachineDns {
  readonly state?: string;
  readonly port?: number;
  readonly addresses?: string[];
  /** Where another context's resolver is. */
  readonly otherContext?: string;
}

/** A machine's files in a temporary folder. */
export class Machine implements AsyncDisposable {
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

  async create(options: MachineDns = {}) {
    const dns = await createSystemDns({
      interfaceName: "tm0",
      addresses: options.addresses ?? ["172.30.0.5", "fd00::5"],
      reverseZones: ["30.172.in-addr.arpa"],
      stateDir: `${this.root}/${options.state ?? "state-a"}`,
      log: (message) => this.logged.push(message),
      isContextResolver: (ip) => options.otherContext === ip,
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
export async function until(probe: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !probe(); i++) await sleep(10);
  assert.ok(probe(), probe.toString());
}

/** Waits. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
