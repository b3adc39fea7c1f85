/**
 * Two machines at two sites, a coordinator with a relay, and traffic between them.
 * @module
 */
import type { Ip } from "../../core/ip.ts";
import type { PathKind } from "../../core/path/address.ts";
import type { PeerSlot } from "../../core/wireguard/device.ts";
import type { Host, HostOptions } from "./host.ts";
import type { Place, SiteKind } from "./internet.ts";
import { SimMesh } from "./mesh.ts";
import { SimRelay } from "./relay.ts";
import type { RelayedTo } from "./relayed_to.ts";
import { startSimStun } from "./stun.ts";
import type { World } from "./world.ts";

/** One way from a client to the relay takes so long, at most, beside the site's line. */
const RELAY_LATENCY = [10, 15] as const;

/** From one machine to the other by the relay and back, at most. */
export const RELAY_ROUND_TRIP_MS = 4 * RELAY_LATENCY[1];

/** What a pair is made with. */
export interface PairOptions {
  readonly seed: number;
  readonly relays?: number;
  /** A second address of the STUN server, which has none without it. */
  readonly stunAddress?: Ip;
  /** Makes what carries datagrams through nodes; none does without it. */
  readonly viaNodes?: (world: World) => RelayedTo;
}

/** The pair, running; dispose of it to give its memory back. */
export class NatPair implements Disposable {
  readonly mesh: SimMesh;
  readonly places: readonly [Place, Place];
  readonly a: Host;
  readonly b: Host;
  readonly relays: readonly SimRelay[];
  readonly #surroundings: Pick<HostOptions, "relays" | "stunServers" | "viaNodes">;
  readonly #searches = new Map<Host, number[]>();

  constructor(
    kinds: readonly [SiteKind, SiteKind],
    { seed, relays = 1, stunAddress, viaNodes }: PairOptions,
  ) {
    this.mesh = new SimMesh(seed);
    const { world, network } = this.mesh;
    this.relays = Array.from({ length: relays }, (_, i) => {
      return new SimRelay(world, { name: `r${i}`, latency: RELAY_LATENCY });
    });
    const stunServers = startSimStun(network, "203.0.113.1", stunAddress ?? null);
    const nodes = viaNodes?.(world);
    this.#surroundings = {
      relays: this.relays,
      stunServers,
      ...(nodes ? { viaNodes: nodes } : {}),
    };
    const place = (kind: SiteKind, number: number) => {
      const built = kind.build(network, number);
      const ips = built.ip6 === null ? [built.ip4] : [built.ip4, built.ip6];
      const host = this.mesh.addAt(number - 1, { ips, ...this.#surroundings });
      return { built, host };
    };
    const [a, b] = [place(kinds[0], 1), place(kinds[1], 2)];
    this.places = [a.built, b.built];
    [this.a, this.b] = [a.host, b.host];
  }

  [Symbol.dispose](): void {
    this.mesh[Symbol.dispose]();
  }

  /** Waits until both know each other and are at the relay, and no longer. */
  waitForRelay(): void {
    const { world } = this.mesh;
    const isReady = (from: Host, to: Host) => {
      const slot = from.node.slotOf(to.reply.id);
      return slot !== undefined && from.node.paths.linksTo(slot).length > 0;
    };
    for (let ms = 0; ms < 5_000; ms++) {
      if (isReady(this.a, this.b) && isReady(this.b, this.a)) return;
      world.run(1);
    }
    throw new Error("the machines do not find the relay");
  }

  /** Adds a node on the internet that passes datagrams on. */
  addRelayNode(): Host {
    const nodes = this.#surroundings.viaNodes!;
    const number = this.mesh.hosts.length;
    const host = this.mesh.addAt(number, { ips: ["192.0.2.99"], ...this.#surroundings });
    nodes.add(host.reply.id);
    host.paths.tell();
    return host;
  }

  /**
   * Sends both ways every 10 ms; after `act`, how long until a packet sent since then has arrived
   * at each end.
   */
  outage(act: () => void, limit = 30_000): number {
    const { world } = this.mesh;
    act();
    const start = world.now;
    const sent: [number[], number[]] = [[], []];
    while (world.now - start < limit) {
      if (this.a.isRunning) sent[0].push(this.mesh.send(this.a, this.b));
      if (this.b.isRunning) sent[1].push(this.mesh.send(this.b, this.a));
      world.run(10);
      const isThrough = sent.every((numbers) => numbers.some((n) => this.mesh.hasArrived(n)));
      if (isThrough) return world.now - start;
    }
    return limit;
  }

  /** The MTU found on the path in use, or null. */
  mtuOf(from: Host, to: Host): number | null {
    const path = this.pathOf(from, to);
    return from.node.paths.pathsOf(this.slotOf(from, to))?.paths.get(path!)?.mtu?.confirmed ?? null;
  }

  /** Begins to count what a search for ports sends: datagrams to where nobody has answered. */
  countSearch(): void {
    const { network, world } = this.mesh;
    const inspect = network.onSend;
    network.onSend = (from, to, bytes) => {
      inspect(from, to, bytes);
      const host = [this.a, this.b].find((each) => from.startsWith(each.endpoint.split(":")[0]!));
      const path = host && this.pathOf(host, host === this.a ? this.b : this.a);
      if (!host || bytes[0] !== 4 || to === path) return;
      const times = this.#searches.get(host) ?? [];
      times.push(world.now);
      this.#searches.set(host, times);
    };
  }

  /** Most datagrams of a search within any second. */
  mostPerSecond(host: Host): number {
    const times = this.#searches.get(host) ?? [];
    let most = 0;
    for (let first = 0, last = 0; last < times.length; last++) {
      while (times[last]! - times[first]! >= 1_000) first++;
      most = Math.max(most, last - first + 1);
    }
    return most;
  }

  /** Sends from a to b at that interval for so long; returns how many were lost. */
  talk(durationMs: number, everyMs = 20): number {
    const { world } = this.mesh;
    const numbers: number[] = [];
    const end = world.now + durationMs;
    while (world.now < end) {
      numbers.push(this.mesh.send(this.a, this.b), this.mesh.send(this.b, this.a));
      world.run(everyMs);
    }
    world.run(1_000);
    return numbers.filter((number) => !this.mesh.hasArrived(number)).length;
  }

  /** Milliseconds until a first packet from a arrives at b, or null when it does not in `limit`. */
  firstPacket(limit = 10_000): number | null {
    const { world } = this.mesh;
    const start = world.now;
    const number = this.mesh.send(this.a, this.b);
    while (world.now - start < limit) {
      if (this.mesh.hasArrived(number)) return world.now - start;
      world.run(1);
    }
    return null;
  }

  /** What carries a's datagrams to b. */
  kindOf(from: Host, to: Host): PathKind | null {
    const path = this.pathOf(from, to);
    if (path === null) return null;
    return path.startsWith("relay:") ? "relay" : path.startsWith("node:") ? "node" : "udp";
  }

  /** The path that `from` uses to `to`. */
  pathOf(from: Host, to: Host): string | null {
    const slot = this.slotOf(from, to);
    return from.node.paths.pathsOf(slot)?.current ?? null;
  }

  slotOf(from: Host, to: Host): PeerSlot {
    return from.node.slotOf(to.reply.id)!;
  }

  /** Both directions direct. */
  isDirect(): boolean {
    return this.kindOf(this.a, this.b) === "udp" && this.kindOf(this.b, this.a) === "udp";
  }
}
