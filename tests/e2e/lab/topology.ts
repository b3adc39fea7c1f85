/**
 * A local network of namespaces: machines on one Ethernet bridge, with IPv4 and IPv6.
 *
 * The bridge has a namespace of its own, so no packet ever touches the host's network. Machine
 * number n (from 1) has `10.99.0.n` and `fd99::n` on `eth0`; its default route leads to the bridge
 * (`.254`), which forwards nothing.
 * @module
 */
import { Namespace, type NamespaceOptions } from "./netns.ts";

/** A machine on a {@link Lan}. */
export interface Host {
  readonly namespace: Namespace;
  readonly label: string;
  readonly ip4: string;
  readonly ip6: string;
}

/** How to build a {@link Lan}. */
export interface LanOptions extends NamespaceOptions {
  /** Of all links, in bytes. Default 1500. */
  readonly mtu?: number;
}

/** The bridge and its machines; dispose of it to remove them all. */
export class Lan implements AsyncDisposable {
  readonly bridge: Namespace;
  readonly #hostsByLabel = new Map<string, Host>();
  readonly #options: LanOptions;

  private constructor(bridge: Namespace, options: LanOptions) {
    this.bridge = bridge;
    this.#options = options;
  }

  /** Builds the bridge and one machine per label, e.g. `["a", "b"]`. */
  static async create(labels: readonly string[], options: LanOptions = {}): Promise<Lan> {
    const lan = new Lan(await Namespace.create("lan"), options);
    try {
      await lan.bridge.ipBatch([
        `link add br0 type bridge forward_delay 0 mcast_snooping 0`,
        `link set br0 mtu ${options.mtu ?? 1500} up`,
        `address add 10.99.0.254/24 dev br0`,
        `address add fd99::fe/64 dev br0 nodad`,
      ]);
      for (const label of labels) await lan.add(label);
      return lan;
    } catch (error) {
      await lan[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Adds one machine. */
  async add(label: string): Promise<Host> {
    const number = this.#hostsByLabel.size + 1;
    const mtu = this.#options.mtu ?? 1500;
    const namespace = await Namespace.create(label, {
      resolvConfText: "nameserver 10.99.0.254\noptions timeout:1 attempts:1\n",
      ...this.#options,
    });
    const host = { namespace, label, ip4: `10.99.0.${number}`, ip6: `fd99::${number}` };
    this.#hostsByLabel.set(label, host);
    await namespace.ip("link", "add", "eth0", "type", "veth", "peer", "name", `v-${label}`);
    await namespace.ip("link", "set", `v-${label}`, "netns", this.bridge.name);
    await this.bridge.ip("link", "set", `v-${label}`, "mtu", `${mtu}`, "master", "br0", "up");
    await namespace.ipBatch([
      `link set eth0 mtu ${mtu} up`,
      `address add ${host.ip4}/24 dev eth0`,
      `address add ${host.ip6}/64 dev eth0 nodad`,
      `route add default via 10.99.0.254`,
      `route add default via fd99::fe`,
    ]);
    return host;
  }

  /** Whether there is a machine with that label. */
  has(label: string): boolean {
    return this.#hostsByLabel.has(label);
  }

  /** The machine with that label. */
  host(label: string): Host {
    const host = this.#hostsByLabel.get(label);
    if (!host) throw new RangeError(`No machine "${label}" in this network`);
    return host;
  }

  /** Pulls the plug of a machine's `eth0`, or puts it back in. */
  async setLink(label: string, state: "up" | "down"): Promise<void> {
    await this.bridge.ip("link", "set", `v-${label}`, state);
  }

  /** Adds a tap device on the bridge for a virtual machine run in the bridge's namespace. */
  async addTap(name: string): Promise<void> {
    const mtu = `${this.#options.mtu ?? 1500}`;
    await this.bridge.ip("tuntap", "add", name, "mode", "tap");
    await this.bridge.ip("link", "set", name, "mtu", mtu, "master", "br0", "up");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#hostsByLabel.values()].map((host) => host.namespace);
    for (const namespace of [...all, this.bridge]) await namespace[Symbol.asyncDispose]();
  }
}
