/**
 * A site: a router, or two in a row, and the machines behind it.
 * @module
 */
import type { Namespace } from "../lab/netns.ts";
import type { Host } from "../lab/topology.ts";
import { type Passes, routerRules, type RouterState } from "./router.ts";
import { SITE_KINDS, type SiteKind } from "./kinds.ts";
import { type Direction, GATEWAY6, type Uplink } from "./uplink.ts";

/** How a {@link Site} departs from its kind. */
export interface SiteOptions {
  /** Whether machines inside reach one another by external endpoints. Default false. */
  readonly hairpin?: boolean;
  /** Gives the machines IPv6 behind a stateful firewall (none for `public`). Default false. */
  readonly ipv6?: boolean;
  /** `address:port` that `proxy-only` lets through. */
  readonly proxy?: string;
  /** A `cgnat` site whose carrier serves this one too. */
  readonly carrierOf?: Site;
  /** Life of a silent UDP mapping. Default 30 s, as many home routers have it. */
  readonly udpTimeoutSeconds?: number;
}

/** What the internet gives to a site. */
export interface SiteSupplies {
  /** Makes a namespace that ends with the internet. */
  machine(label: string): Promise<Namespace>;
  /** Plugs a router's `wan` into the internet. */
  plug(router: Namespace): Promise<Uplink>;
}

const UDP_TIMEOUT_SECONDS = 30;

const PASSES: Partial<Record<SiteKind, Passes>> = {
  "udp-blocked": "no-udp",
  "only-443": "only-443",
  "proxy-only": "proxy-only",
};

/** One machine that routes between its `wan` and a bridge `lan`. */
class Router {
  readonly namespace: Namespace;
  /** The first three bytes of its inside addresses. */
  readonly network: string;
  #state: RouterState;

  private constructor(namespace: Namespace, network: string, state: RouterState) {
    this.namespace = namespace;
    this.network = network;
    this.#state = state;
  }

  static async create(namespace: Namespace, network: string, state: RouterState): Promise<Router> {
    const settings = {
      "ipv4/ip_forward": 1,
      "ipv6/conf/all/forwarding": 1,
      // What is turned round inside shall go on coming here.
      "ipv4/conf/all/send_redirects": 0,
      "ipv4/conf/default/send_redirects": 0,
      "netfilter/nf_conntrack_udp_timeout": state.udpTimeoutSeconds,
      "netfilter/nf_conntrack_udp_timeout_stream": state.udpTimeoutSeconds,
    };
    const script = Object.entries(settings)
      .map(([name, value]) => `echo ${value} > /proc/sys/net/${name}`).join(" && ");
    await namespace.must(["sh", "-c", script]);
    await namespace.ipBatch([
      "link add lan type bridge forward_delay 0 mcast_snooping 0",
      "link set lan up",
      `address add ${network}.1/24 dev lan`,
      `address add ${GATEWAY6}/64 dev lan nodad`,
    ]);
    return new Router(namespace, network, state);
  }

  get state(): RouterState {
    return this.#state;
  }

  /** Connects a machine inside; returns its address. */
  async connect(machine: Namespace, device: string): Promise<string> {
    const number = this.#state.machines.length + 2;
    const ip = `${this.network}.${number}`;
    this.#state = { ...this.#state, machines: [...this.#state.machines, ip] };
    const peer = ["peer", "name", device, "netns", machine.name];
    await this.namespace.ip("link", "add", `lan${number}`, "type", "veth", ...peer);
    await this.namespace.ip("link", "set", `lan${number}`, "master", "lan", "up");
    await machine.ipBatch([
      `link set ${device} up`,
      `address add ${ip}/24 dev ${device}`,
      `route add default via ${this.network}.1 dev ${device}`,
    ]);
    return ip;
  }

  async apply(change: Partial<RouterState> = {}): Promise<void> {
    this.#state = { ...this.#state, ...change };
    const input = routerRules(this.#state, change.boots !== undefined);
    await this.namespace.must(["nft", "-f", "-"], { input });
  }

  /** Forgets all flows: what comes in for an old mapping is nobody's. */
  async forgetFlows(): Promise<void> {
    await using flush = this.namespace.deno("tests/e2e/nat/flush_conntrack.ts");
    const { success } = await flush.waitForExit();
    await flush.drained;
    if (!success) throw new Error(flush.report("failed"));
  }

  async reboot(): Promise<void> {
    await this.apply({ boots: this.#state.boots + 1 });
    await this.forgetFlows();
  }
}

/** The router that customers share, and its link. */
interface Carrier {
  readonly outer: Router;
  readonly uplink: Uplink;
}

/** A site; it ends with its internet. */
export class Site {
  readonly kind: SiteKind;
  readonly hosts: readonly Host[];
  readonly #home: Router;
  /** The router on the internet: the carrier's, or the home's. */
  readonly #outer: Router;
  readonly #uplink: Uplink;

  private constructor(
    kind: SiteKind,
    hosts: readonly Host[],
    routers: { home: Router; outer: Router },
    uplink: Uplink,
  ) {
    this.kind = kind;
    this.hosts = hosts;
    this.#home = routers.home;
    this.#outer = routers.outer;
    this.#uplink = uplink;
  }

  /** Builds a site; `number` (1 to 250) tells its addresses from those of others. */
  static async create(
    supplies: SiteSupplies,
    number: number,
    kind: SiteKind,
    labels: readonly string[],
    options: SiteOptions = {},
  ): Promise<Site> {
    const network = SITE_KINDS[kind].mapping === "none" ? `198.18.${number}` : `10.${number}.0`;
    const namespace = await supplies.machine(`r${number}`);
    const carrier = kind === "cgnat" ? await carrierFor(supplies, number, options) : null;
    const uplink = carrier?.uplink ?? await supplies.plug(namespace);
    const wan = await carrier?.outer.connect(namespace, "wan") ?? uplink.ip4;
    const home = await Router.create(namespace, network, initialState(kind, wan, options));
    const prefix6 = options.ipv6 ? `2001:db8:1:${number}::` : null;
    if (network.startsWith("198.18.")) await uplink.addRoute(`${network}.0/24`);
    if (prefix6) await addPrefix6(uplink, home, prefix6);
    const hosts: Host[] = [];
    for (const label of labels) hosts.push(await addHost(supplies, home, label, prefix6));
    for (const router of new Set([home, carrier?.outer ?? home])) await router.apply();
    return new Site(kind, hosts, { home, outer: carrier?.outer ?? home }, uplink);
  }

  /** The machine with that label. */
  host(label: string): Host {
    const host = this.hosts.find((each) => each.label === label);
    if (!host) throw new RangeError(`No machine "${label}" at this site`);
    return host;
  }

  /** Its router's present address on the internet. */
  get wan(): string {
    return this.#uplink.ip4;
  }

  /** The router next to the machines. */
  get router(): Namespace {
    return this.#home.namespace;
  }

  /** Stops all UDP, that of established flows included. */
  async blockUdp(): Promise<void> {
    await this.#home.apply({ passes: "no-udp" });
  }

  /** Lets UDP through again, also where the kind did not. */
  async unblockUdp(): Promise<void> {
    await this.#home.apply({ passes: "all" });
  }

  /** The routers forget everything, and give other ports than before (static mappings stay). */
  async reboot(): Promise<void> {
    for (const router of new Set([this.#home, this.#outer])) await router.reboot();
  }

  /** The provider gives another address, see {@link Internet.freeAddress}: all flows end. */
  async setWanAddress(ip: string): Promise<void> {
    if (SITE_KINDS[this.kind].mapping === "none") {
      throw new RangeError(`Cannot change the address of a ${this.kind} site: machines own theirs`);
    }
    await this.#uplink.setAddress(ip);
    await this.#outer.apply({ wan: ip });
    await this.#outer.forgetFlows();
  }

  /** MTU of the link to the internet; a black hole never says that a packet was too big. */
  async setMtu(bytes: number, { isBlackHole = false } = {}): Promise<void> {
    await this.#outer.apply({ isBlackHole });
    await this.#uplink.setMtu(bytes, isBlackHole);
  }

  /** Loses that share (0 to 1) of the packets from the site, to it, or either; 1 cuts the link. */
  async setLoss(share: number, direction: Direction = "both"): Promise<void> {
    await this.#uplink.setLoss(share, direction);
  }

  /** For another customer of the same carrier. */
  get carrier(): Carrier {
    if (this.kind !== "cgnat") throw new RangeError(`No carrier's router at a ${this.kind} site`);
    return { outer: this.#outer, uplink: this.#uplink };
  }
}

function initialState(kind: SiteKind, wan: string, options: SiteOptions): RouterState {
  const { mapping, filtering } = SITE_KINDS[kind];
  const isPortMapped = kind === "port-mapped";
  return {
    mapping,
    filtering: isPortMapped ? "address-and-port-dependent" : filtering,
    hairpin: options.hairpin ?? false,
    passes: PASSES[kind] ?? "all",
    wan,
    machines: [],
    preservesPorts: true,
    isPortMapped,
    proxy: options.proxy ?? null,
    boots: 0,
    isBlackHole: false,
    udpTimeoutSeconds: options.udpTimeoutSeconds ?? UDP_TIMEOUT_SECONDS,
  };
}

async function carrierFor(
  supplies: SiteSupplies,
  number: number,
  options: SiteOptions,
): Promise<Carrier> {
  if (options.ipv6) throw new RangeError("Cannot give a cgnat site IPv6: its carrier has none");
  return options.carrierOf?.carrier ?? await makeCarrier(supplies, number, options);
}

/** A carrier-grade NAT as RFC 6888 wants it: mapping independent of endpoints, and hairpinning. */
async function makeCarrier(
  supplies: SiteSupplies,
  number: number,
  options: SiteOptions,
): Promise<Carrier> {
  const namespace = await supplies.machine(`g${number}`);
  const uplink = await supplies.plug(namespace);
  const own = initialState("cgnat", uplink.ip4, options);
  const state = { ...own, hairpin: true, preservesPorts: false };
  return { outer: await Router.create(namespace, `100.64.${number}`, state), uplink };
}

async function addPrefix6(uplink: Uplink, home: Router, prefix: string): Promise<void> {
  await uplink.addRoute(`${prefix}/64`);
  await home.namespace.ip("address", "add", `${prefix}1/64`, "dev", "lan", "nodad");
}

async function addHost(
  supplies: SiteSupplies,
  home: Router,
  label: string,
  prefix6: string | null,
): Promise<Host> {
  const namespace = await supplies.machine(label);
  const ip4 = await home.connect(namespace, "eth0");
  if (prefix6 === null) return { namespace, label, ip4, ip6: "" };
  const ip6 = prefix6 + ip4.split(".").at(-1);
  await namespace.ipBatch([
    `address add ${ip6}/64 dev eth0 nodad`,
    `route add default via ${GATEWAY6} dev eth0`,
  ]);
  return { namespace, label, ip4, ip6 };
}
