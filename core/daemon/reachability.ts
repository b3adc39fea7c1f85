/**
 * Where may this node be reached, and what is between it and the internet? Brings together its own
 * addresses, what STUN and peers see of it, and what the router was asked for; notices when the
 * network changes or the machine wakes up.
 * @module
 */
import type { NodeLinks } from "../control/messages.ts";
import { MAX_ENDPOINTS } from "../control/messages.ts";
import { type Endpoint, formatEndpoint, type Ip, parseEndpoint } from "../ip.ts";
import { type Millis, NEVER } from "../machine.ts";
import type { NodeEvent } from "../node.ts";
import { describeNat, type NatReport } from "../path/nat.ts";
import { NatDiscovery, type StunServer } from "../path/nat_discovery.ts";
import type { Random } from "../random.ts";
import { isLoopback } from "../control/candidates.ts";
import type { NetcheckReport, PinholeReport, PortMapReport } from "./api_types.ts";
import { localEndpoints } from "./endpoints.ts";
import type { Log } from "./log.ts";

/** Asks the router for a port, and its IPv6 firewall to let datagrams in to this machine's. */
export interface PortMapper {
  readonly report: PortMapReport;
  /** Of an address that is a candidate already. */
  readonly pinhole: PinholeReport;
  networkChanged(): void;
  close(): Promise<void>;
}

export interface ReachabilityOptions {
  readonly clock: () => Millis;
  readonly random: Random;
  readonly udpPort: number;
  /** Names of this mesh's interface and of those of other contexts. */
  readonly meshInterfaces: () => readonly string[];
  readonly links: () => NodeLinks;
  /** Sends from the node's UDP socket. */
  readonly transmit: (to: Endpoint, bytes: Uint8Array) => void;
  readonly emit: (event: NodeEvent) => void;
  /** Opens the port mapper; null where users do not want it. */
  readonly openPortMapper: ((onChange: () => void) => PortMapper) | null;
  readonly log: Log;
}

/** Endpoints that peers saw this node at, newest first, beyond what STUN says. */
const MAX_OBSERVED = 2;
/** Servers that are asked at once. */
const MAX_STUN_SERVERS = 4;
/** Events of the network that come together are one change. */
const SETTLE_MS = 100;

type Timer = ReturnType<typeof setTimeout>;

/** See the module's doc. */
export class Reachability {
  readonly #options: ReachabilityOptions;
  readonly #nat: NatDiscovery;
  #portMapper: PortMapper | null = null;
  #local: readonly Endpoint[] = [];
  #observed: readonly Endpoint[] = [];
  #stun: readonly StunServer[] = [];
  #told = "";
  #timer: Timer | undefined;
  #settleTimer: Timer | undefined;
  #isClosed = false;

  constructor(options: ReachabilityOptions) {
    this.#options = options;
    this.#nat = new NatDiscovery({ random: options.random });
  }

  /** Begins; what is found out is told from here on. */
  start(): void {
    this.#local = this.#addresses();
    this.#portMapper = this.#options.openPortMapper?.(() => this.#tell()) ?? null;
    this.#tell();
  }

  get report(): Omit<NetcheckReport, "relays"> {
    return {
      local: this.#local,
      nat: this.#natReport(),
      natText: describeNat(this.#natReport()),
      portMap: this.#portMapper?.report ?? null,
      pinhole: this.#portMapper?.pinhole ?? null,
      observed: this.#observed,
      links: this.#options.links(),
    };
  }

  /** Addresses of coordinators, and their STUN ports, once they are known. */
  setStun(ips: readonly Ip[], ports: readonly number[]): void {
    // From this machine itself a coordinator sees nothing of a NAT.
    const own = new Set(this.#local.map((endpoint) => parseEndpoint(endpoint)?.ip));
    const useful = ips.filter((ip) => !isLoopback(ip) && !own.has(ip)).slice(0, MAX_STUN_SERVERS);
    const servers = ports.length === 0 ? [] : useful.map((ip) => ({
      endpoints: ports.map((port) => formatEndpoint(ip, port)),
    }));
    if (JSON.stringify(servers) === JSON.stringify(this.#stun)) return;
    this.#stun = servers;
    this.#discover();
  }

  /** Takes a STUN message that came to the node's socket. */
  datagram(from: Endpoint, bytes: Uint8Array): void {
    this.#run({ type: "datagram", from, bytes });
  }

  /** A peer saw this node there. */
  observed(endpoint: Endpoint): void {
    if (this.#observed.includes(endpoint)) return;
    this.#observed = [endpoint, ...this.#observed].slice(0, MAX_OBSERVED);
    this.#tell();
  }

  /** A direct path failed: the router may have another address by now, or other ports. */
  doubt(): void {
    this.#run({ type: "doubt" });
  }

  /** Something about the network is other than before; `why` is for the log. */
  networkChanged(why: string): void {
    if (this.#isClosed) return;
    clearTimeout(this.#settleTimer);
    this.#settleTimer = setTimeout(() => this.#settle(why), SETTLE_MS);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#settleTimer);
    await this.#portMapper?.close();
  }

  #settle(why: string): void {
    const { emit, log } = this.#options;
    log("info", "The network changed", { why });
    this.#local = this.#addresses();
    this.#observed = [];
    this.#tell();
    emit({ type: "path", event: { type: "network-changed" } });
    this.#portMapper?.networkChanged();
    this.#discover();
  }

  /** From STUN, or from what peers saw where there is nobody to ask, as beside the coordinator. */
  #natReport(): NatReport {
    const { report } = this.#nat;
    const [seen] = this.#observed;
    if (this.#stun.length > 0 || seen === undefined) return report;
    const mapping = this.#local.includes(seen) ? "none" : "unknown";
    return { ...report, udp: true, mapping, mapped: this.#observed };
  }

  #addresses(): Endpoint[] {
    const { meshInterfaces, udpPort } = this.#options;
    return localEndpoints(Deno.networkInterfaces(), meshInterfaces(), udpPort);
  }

  #discover(): void {
    this.#run({ type: "start", servers: this.#stun, local: this.#local });
  }

  #run(event: Parameters<NatDiscovery["handle"]>[0]): void {
    if (this.#isClosed) return;
    const { clock, transmit } = this.#options;
    for (const effect of this.#nat.handle(event, clock())) {
      if (effect.type === "transmit") transmit(effect.to, effect.bytes);
      else this.#tell();
    }
    clearTimeout(this.#timer);
    const { deadline } = this.#nat;
    if (deadline === NEVER) return;
    const delay = Math.max(0, Math.ceil(deadline - clock()));
    this.#timer = setTimeout(() => this.#run({ type: "tick" }), delay);
  }

  /** Tells coordinator and peers where this node is, if that is news. */
  #tell(): void {
    const { udpPort, links, emit } = this.#options;
    const nat = this.#natReport();
    const external = this.#portMapper?.report.external ?? null;
    const all = [
      ...(external === null ? [] : [external]),
      ...this.#local,
      ...nat.mapped,
      ...this.#observed,
    ];
    const isPossible = (endpoint: Endpoint) => !isLoopback(parseEndpoint(endpoint)?.ip ?? "::1");
    const endpoints = [...new Set(all)].filter(isPossible).slice(0, MAX_ENDPOINTS);
    const told = JSON.stringify([endpoints, nat, links()]);
    if (told === this.#told) return;
    this.#told = told;
    const event = { type: "set-endpoints", endpoints, udpPort, links: links() } as const;
    emit({ type: "control", event });
    emit({ type: "path", event: { type: "offer", offer: { endpoints, nat } } });
  }
}
