/**
 * Two machines, each a network namespace, joined by one cable (a veth pair).
 * @module
 */
import { Namespace } from "../../tests/e2e/lab/netns.ts";
import type { Host } from "../../tests/e2e/lab/topology.ts";

/** The machines `a` and `b`; dispose of them to end everything on them. */
export class Pair implements AsyncDisposable {
  readonly a: Host;
  readonly b: Host;

  private constructor(a: Host, b: Host) {
    this.a = a;
    this.b = b;
  }

  /** Makes both machines and plugs the cable in. */
  static async create(): Promise<Pair> {
    const [a, b] = await Promise.all([createHost("a", 1), createHost("b", 2)]);
    const pair = new Pair(a, b);
    try {
      const peer = ["peer", "name", "eth0", "netns", b.namespace.name];
      await a.namespace.ip("link", "add", "eth0", "type", "veth", ...peer);
      for (const { namespace, ip4, ip6 } of [a, b]) {
        await namespace.ipBatch([
          "link set eth0 mtu 1500 up",
          `address add ${ip4}/24 dev eth0`,
          `address add ${ip6}/64 dev eth0 nodad`,
        ]);
      }
      return pair;
    } catch (error) {
      await pair[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.a.namespace[Symbol.asyncDispose]();
    await this.b.namespace[Symbol.asyncDispose]();
  }
}

async function createHost(label: string, number: number): Promise<Host> {
  const namespace = await Namespace.create(label);
  return { namespace, label, ip4: `10.97.0.${number}`, ip6: `fd97::${number}` };
}
