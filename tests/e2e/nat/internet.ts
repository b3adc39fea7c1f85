/**
 * An internet of namespaces: public machines, and sites behind routers of every kind.
 *
 * One namespace is the core, which routes between the links of all others and loses what is for
 * addresses that nobody has, private ones included. Number n (from 1) on the internet has
 * `203.0.113.n` and `2001:db8:0:n::1`. Site number n has `10.n.0.0/24` inside, or `198.18.n.0/24`
 * where nothing is translated; a carrier has `100.64.n.0/24` between its router and its customers'.
 * @module
 */
import { Namespace, type NamespaceOptions } from "../lab/netns.ts";
import type { Host } from "../lab/topology.ts";
import type { SiteKind } from "./kinds.ts";
import { Site, type SiteOptions } from "./site.ts";
import { type Direction, GATEWAY4, Uplink } from "./uplink.ts";

/** A machine on the internet without any router of its own. */
export interface PublicHost extends Host {
  /** All its IPv4 addresses; the first is `ip4`. */
  readonly ip4s: readonly string[];
}

const MAX_NUMBER = 250;

/** The internet; dispose of it to remove everything on it. */
export class Internet implements AsyncDisposable {
  readonly core: Namespace;
  readonly #namespaces: Namespace[];
  readonly #options: NamespaceOptions;
  readonly #hostsByLabel = new Map<string, Host>();
  readonly #uplinksByLabel = new Map<string, Uplink>();
  #lastNumber = 0;
  #lastSite = 0;

  private constructor(core: Namespace, options: NamespaceOptions) {
    this.core = core;
    this.#namespaces = [core];
    this.#options = options;
  }

  /** Builds an internet with nobody on it. */
  static async create(options: NamespaceOptions = {}): Promise<Internet> {
    const net = new Internet(await Namespace.create("core"), options);
    try {
      const settings = ["ipv4/ip_forward", "ipv6/conf/all/forwarding"]
        .map((name) => `echo 1 > /proc/sys/net/${name}`);
      await net.core.must(["sh", "-c", settings.join(" && ")]);
      await net.core.ipBatch([
        `address add ${GATEWAY4}/32 dev lo`,
        "route add blackhole default",
        "route add blackhole ::/0",
      ]);
      return net;
    } catch (error) {
      await net[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Adds a machine with that many public IPv4 addresses. */
  async addPublic(label: string, addresses = 1): Promise<PublicHost> {
    const namespace = await this.#machine(label);
    const uplink = await this.#plug(namespace, "eth0");
    const ip4s = [uplink.ip4];
    while (ip4s.length < addresses) {
      const ip = this.freeAddress();
      await uplink.addAddress(ip);
      ip4s.push(ip);
    }
    const host = { namespace, label, ip4: uplink.ip4, ip4s, ip6: uplink.ip6 };
    this.#hostsByLabel.set(label, host);
    this.#uplinksByLabel.set(label, uplink);
    return host;
  }

  /** Adds a router of that kind with one machine for each label. */
  async addSite(
    kind: SiteKind,
    labels: readonly string[],
    options: SiteOptions = {},
  ): Promise<Site> {
    const supplies = {
      machine: (label: string) => this.#machine(label),
      plug: (router: Namespace) => this.#plug(router, "wan"),
    };
    const site = await Site.create(supplies, ++this.#lastSite, kind, labels, options);
    for (const host of site.hosts) this.#hostsByLabel.set(host.label, host);
    return site;
  }

  /** The machine with that label, wherever it is. */
  host(label: string): Host {
    const host = this.#hostsByLabel.get(label);
    if (!host) throw new RangeError(`No machine "${label}" on this internet`);
    return host;
  }

  /** A public IPv4 address that nobody has had. */
  freeAddress(): string {
    return `203.0.113.${this.#nextNumber()}`;
  }

  /** Loses that share (0 to 1) of a public machine's packets; 1 cuts its link. */
  async setLoss(label: string, share: number, direction: Direction = "both"): Promise<void> {
    const uplink = this.#uplinksByLabel.get(label);
    if (!uplink) throw new RangeError(`No public machine "${label}" on this internet`);
    await uplink.setLoss(share, direction);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#namespaces.map((each) => each[Symbol.asyncDispose]()));
  }

  async #machine(label: string): Promise<Namespace> {
    const namespace = await Namespace.create(label, {
      resolvConfText: `nameserver ${GATEWAY4}\noptions timeout:1 attempts:1\n`,
      ...this.#options,
    });
    this.#namespaces.push(namespace);
    return namespace;
  }

  #plug(far: Namespace, device: string): Promise<Uplink> {
    return Uplink.plug({ core: this.core, far, device, number: this.#nextNumber() });
  }

  #nextNumber(): number {
    if (this.#lastNumber === MAX_NUMBER) throw new RangeError("Cannot add: this internet is full");
    return ++this.#lastNumber;
  }
}
