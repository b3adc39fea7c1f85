/**
 * The link between the internet's core and one public machine or router, and what is wrong with it.
 *
 * Every link ends in the core, which routes: so the core can say that a packet is too big for a
 * link, as routers on the internet do, or be silent about it. Links carry packets one by one, never
 * the super-packets of the kernel: each is lost for itself.
 * @module
 */
import type { Namespace } from "../lab/netns.ts";
import { type UplinkFaults, uplinkRules } from "./router.ts";

/** The first hop of everything on the internet; it lets no one see further. */
export const GATEWAY4 = "203.0.113.254";
/** The first hop on every IPv6 link. */
export const GATEWAY6 = "fe80::1";

/** The two ends of a link. */
export interface UplinkEnds {
  readonly core: Namespace;
  readonly far: Namespace;
  /** The interface at the far end. */
  readonly device: string;
  /** Tells links apart; 1 to 250. */
  readonly number: number;
}

/** Which way packets go: from the site or to it. */
export type Direction = "up" | "down" | "both";

/** One link. */
export class Uplink {
  readonly ends: UplinkEnds;
  /** Its address at the far end. */
  readonly ip6: string;
  #ip4: string;
  readonly #targets: Set<string>;
  #faults: UplinkFaults = { lossUp: 0, lossDown: 0, isBlackHole: false };

  private constructor(ends: UplinkEnds) {
    this.ends = ends;
    this.#ip4 = `203.0.113.${ends.number}`;
    this.ip6 = `2001:db8:0:${ends.number}::1`;
    this.#targets = new Set([this.#ip4, this.ip6]);
  }

  /** Plugs in a machine: it has addresses and default routes afterwards. */
  static async plug(ends: UplinkEnds): Promise<Uplink> {
    const uplink = new Uplink(ends);
    const { core, far, device, number } = ends;
    const peer = ["peer", "name", device, "netns", far.name];
    await core.ip("link", "add", uplink.#coreDevice, "type", "veth", ...peer);
    await core.ipBatch([
      `link set ${uplink.#coreDevice} gso_max_segs 1 up`,
      `address add ${GATEWAY6}/64 dev ${uplink.#coreDevice} nodad`,
      `route add ${uplink.ip4}/32 dev ${uplink.#coreDevice}`,
      `route add 2001:db8:0:${number}::/64 dev ${uplink.#coreDevice}`,
    ]);
    await far.ipBatch([
      // An address of the kernel's own choice would be unusable until it has looked for duplicates.
      `link set ${device} addrgenmode none`,
      `link set ${device} gso_max_segs 1 up`,
      `address add fe80::2/64 dev ${device} nodad`,
      `address add ${uplink.ip4}/32 dev ${device}`,
      `address add ${uplink.ip6}/64 dev ${device} nodad`,
      `route add ${GATEWAY4}/32 dev ${device}`,
      `route add default via ${GATEWAY4} dev ${device}`,
      `route add default via ${GATEWAY6} dev ${device}`,
    ]);
    return uplink;
  }

  /** Its IPv4 address at the far end. */
  get ip4(): string {
    return this.#ip4;
  }

  /** Gives the far end one more IPv4 address. */
  async addAddress(ip: string): Promise<void> {
    this.#targets.add(ip);
    await this.ends.far.ip("address", "add", `${ip}/32`, "dev", this.ends.device);
    await this.ends.core.ip("route", "add", `${ip}/32`, "dev", this.#coreDevice);
  }

  /** Replaces the IPv4 address at the far end. */
  async setAddress(ip: string): Promise<void> {
    const old = this.#ip4;
    await this.addAddress(ip);
    this.#ip4 = ip;
    this.#targets.delete(old);
    // The last address of an interface takes all its routes along, so the new one came first.
    await this.ends.far.ip("address", "delete", `${old}/32`, "dev", this.ends.device);
    await this.ends.core.ip("route", "delete", `${old}/32`, "dev", this.#coreDevice);
    await this.#applyFaults();
  }

  /** Leads a prefix (an IPv4 /24 or an IPv6 /64) to the far end. */
  async addRoute(prefix: string): Promise<void> {
    this.#targets.add(prefix);
    const via = prefix.includes(":") ? this.ip6 : this.ip4;
    const link = ["dev", this.#coreDevice, "onlink"];
    await this.ends.core.ip("route", "add", prefix, "via", via, ...link);
  }

  /** Sets the MTU in bytes; with `isBlackHole` the core never says that a packet was too big. */
  async setMtu(bytes: number, isBlackHole: boolean): Promise<void> {
    const { core, far, device } = this.ends;
    this.#faults = { ...this.#faults, isBlackHole };
    await this.#applyFaults();
    await core.ip("link", "set", this.#coreDevice, "mtu", `${bytes}`);
    await far.ip("link", "set", device, "mtu", `${bytes}`);
  }

  /** Loses that share of the packets (0 to 1) from now on; 1 is a link that is cut. */
  async setLoss(share: number, direction: Direction): Promise<void> {
    const up = direction === "down" ? {} : { lossUp: share };
    const down = direction === "up" ? {} : { lossDown: share };
    this.#faults = { ...this.#faults, ...up, ...down };
    await this.#applyFaults();
  }

  get #coreDevice(): string {
    return `up${this.ends.number}`;
  }

  async #applyFaults(): Promise<void> {
    const place = {
      table: `lab${this.ends.number}`,
      device: this.#coreDevice,
      targets: [...this.#targets],
    };
    const input = uplinkRules(place, this.#faults);
    await this.ends.core.must(["nft", "-f", "-"], { input });
  }
}
