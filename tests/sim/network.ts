/**
 * The network between machines: it delays, loses, doubles and reorders datagrams, and looks at each.
 *
 * Machines are on the internet itself, or at a site: a local network behind a router, which may sit
 * behind another one. A datagram climbs from its sender, translated on its way, to the first
 * segment that knows its destination, and descends from there when its time has come.
 * @module
 */
import type { Endpoint, Ip } from "../../core/ip.ts";
import type { Millis } from "../../core/machine.ts";
import { type Dependence, Firewall, ipOf, Nat, type NatOptions } from "./nat.ts";
import type { World } from "./world.ts";

/** Who takes datagrams at an endpoint. */
export type Receiver = (from: Endpoint, bytes: Uint8Array) => void;

/** How the network treats datagrams; may change while it runs. */
export interface Weather {
  /** Milliseconds one way. */
  latency: readonly [low: number, high: number];
  /** Shares in [0, 1]. */
  loss: number;
  duplication: number;
}

/** How one datagram is sent. */
export interface SendOptions {
  /** Don't fragment: it is dropped where it does not fit. */
  readonly df?: boolean;
}

/** Where a machine sends and receives: the internet or a {@link Site}. */
export interface Underlay {
  attach(endpoint: Endpoint, receiver: Receiver): void;
  detach(endpoint: Endpoint): void;
  /** Sends a datagram; `bytes` are copied. */
  send(from: Endpoint, to: Endpoint, bytes: Uint8Array, options?: SendOptions): void;
}

/** What a router does; without either it only forwards. */
export interface RouterOptions {
  /** Translates IPv4. */
  readonly nat?: NatOptions;
  /** Filters what is not translated: IPv6, and IPv4 where there is no {@link nat}. */
  readonly firewall?: Dependence;
  /** The router this one is behind; without, it is on the internet. */
  readonly behind?: Router;
}

/** Largest IP packet of Ethernet, in bytes. */
const ETHERNET_MTU = 1_500;
/** IP and UDP headers, in bytes. */
const OVERHEAD_IPV4 = 28;
const OVERHEAD_IPV6 = 48;
const LAN_LATENCY: readonly [low: Millis, high: Millis] = [0.1, 1];
/** How many datagrams an attacker remembers. */
const MAX_OVERHEARD = 200;

/** A datagram on its way. */
interface Flight {
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly bytes: Uint8Array;
  readonly df: boolean;
  /** A router sent it back into its own local network: it uses no line. */
  readonly isLocal: boolean;
  isFragmented: boolean;
}

/** How a datagram left its sender's side. */
interface Climb {
  readonly top: Segment;
  /** Its source as seen there. */
  readonly from: Endpoint;
  /** The router that sent it back inside. */
  readonly hairpin: Router | null;
}

function isIpv6(ip: Ip): boolean {
  return ip.includes(":");
}

/** Whether a datagram passes a link; marks the one that was cut up for it. */
function fits(flight: Flight, mtu: number): boolean {
  const overhead = isIpv6(ipOf(flight.to)) ? OVERHEAD_IPV6 : OVERHEAD_IPV4;
  if (flight.bytes.length + overhead <= mtu) return true;
  flight.isFragmented = true;
  return !flight.df;
}

/** Up from a site to the first segment that knows the destination; null when a router refuses. */
function climbFrom(site: Site, { from, to }: Flight): Climb | null {
  const ip = ipOf(to);
  let at: Segment = site;
  let source = from;
  while (at.above !== null && !at.knows(ip)) {
    const router: Router = at.above;
    const translated = router.outbound(source, to);
    if (translated === null) return null;
    source = translated;
    at = router.outside;
    if (router.answersFor(ip)) {
      return router.nat?.turnsRound() ? { top: at, from: source, hairpin: router } : null;
    }
  }
  return { top: at, from: source, hairpin: null };
}

/** One address space: the internet, the inside of a router. */
class Segment {
  readonly above: Router | null;
  readonly below: Router[] = [];
  readonly receivers = new Map<Endpoint, Receiver>();
  /** Addresses of machines that are here, whether or not they listen. */
  readonly ips = new Set<Ip>();

  constructor(above: Router | null) {
    this.above = above;
  }

  knows(ip: Ip): boolean {
    return this.ips.has(ip) || this.below.some((router) => router.answersFor(ip));
  }
}

/** Joins a segment to the one outside it. */
export class Router {
  readonly nat: Nat | null;
  readonly firewall: Firewall | null;
  readonly outside: Segment;
  readonly inside: Segment;

  /** Use {@link Network.router} or {@link Network.site}. */
  constructor(
    world: World,
    outside: Segment,
    options: RouterOptions,
    makeInside: (router: Router) => Segment = (router) => new Segment(router),
  ) {
    this.nat = options.nat ? new Nat(world, options.nat) : null;
    this.firewall = options.firewall ? new Firewall(world, options.firewall) : null;
    this.outside = outside;
    this.inside = makeInside(this);
    outside.below.push(this);
  }

  /** Power off and on: what it knew of flows is gone. */
  reboot(): void {
    this.nat?.reboot();
    this.firewall?.reboot();
  }

  /** Whether the segment outside sends what is for `ip` to this router. */
  answersFor(ip: Ip): boolean {
    return this.nat && !isIpv6(ip) ? this.nat.publicIp === ip : this.inside.knows(ip);
  }

  /** The source of a datagram once it has left; null when it may not. */
  outbound(from: Endpoint, to: Endpoint): Endpoint | null {
    if (this.nat && !isIpv6(ipOf(to))) return this.nat.translate(from, to);
    this.firewall?.sent(from, to);
    return from;
  }

  /** The destination of a datagram once it has entered; null when it may not. */
  inbound(to: Endpoint, from: Endpoint): Endpoint | null {
    if (this.nat && !isIpv6(ipOf(to))) return this.nat.inbound(to, from);
    return this.firewall?.admits(to, from) === false ? null : to;
  }
}

/** A local network and its line to the outside; every field may change while the network runs. */
export class Site extends Segment implements Underlay {
  /** Milliseconds one way that the line adds to the internet's. */
  latency: readonly [low: Millis, high: Millis] = [0, 0];
  /** Shares in [0, 1] of what leaves, and of what enters. */
  lossUp = 0;
  lossDown = 0;
  /** Largest IP packet that the line carries, in bytes. */
  mtu = ETHERNET_MTU;
  /** The same between machines here. */
  lanMtu = ETHERNET_MTU;
  /** Whether a datagram that had to be cut up is lost here. */
  dropsFragments = false;
  /** Whether datagrams may leave and enter. */
  udp = true;
  /** Whether connections may be opened. */
  tcp = true;
  /** Whether only connections to port 443 may. */
  tcp443only = false;
  /** Whether only connections through the site's HTTP proxy may. */
  proxyOnly = false;
  /** The router nearest to the machines. */
  readonly router: Router;
  readonly #network: Network;

  constructor(network: Network, router: Router) {
    super(router);
    this.router = router;
    this.#network = network;
  }

  /** Makes {@link Network} send and receive here for the machine with that address. */
  place(ip: Ip): void {
    this.#network.place(ip, this);
    this.ips.add(ip);
  }

  /** The machine with that address is gone from here. */
  remove(ip: Ip): void {
    this.#network.unplace(ip, this);
    this.ips.delete(ip);
  }

  attach(endpoint: Endpoint, receiver: Receiver): void {
    this.ips.add(ipOf(endpoint));
    this.receivers.set(endpoint, receiver);
  }

  detach(endpoint: Endpoint): void {
    this.receivers.delete(endpoint);
  }

  send(from: Endpoint, to: Endpoint, bytes: Uint8Array, options?: SendOptions): void {
    this.#network.sendAt(this, from, to, bytes, options);
  }

  /** Whether a machine here can open a connection to that port outside. */
  permitsTcp(port: number, viaProxy = false): boolean {
    if (!this.tcp || (this.proxyOnly && !viaProxy)) return false;
    return port === 443 || !this.tcp443only;
  }

  /** The address that a machine here shows to the internet. */
  apparentIp(ip: Ip): Ip {
    let apparent = ip;
    for (let at: Router | null = this.router; at !== null; at = at.outside.above) {
      if (at.nat && !isIpv6(ip)) apparent = at.nat.publicIp;
    }
    return apparent;
  }
}

/** Datagrams and where they go. */
export class Network implements Underlay {
  readonly weather: Weather = { latency: [1, 20], loss: 0, duplication: 0 };
  /** Largest IP packet that the internet carries, in bytes. */
  mtu = ETHERNET_MTU;
  /** Every datagram sent, before anything happens to it. */
  onSend: (from: Endpoint, to: Endpoint, bytes: Uint8Array) => void = () => {};
  readonly #world: World;
  readonly #internet = new Segment(null);
  readonly #places = new Map<Ip, Site>();
  /** Recent datagrams as they crossed the internet, for an attacker who repeats them. */
  readonly #overheard: Flight[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  /** Adds a router with nothing behind it yet. */
  router(options: RouterOptions = {}): Router {
    return new Router(this.#world, options.behind?.inside ?? this.#internet, options);
  }

  /** Adds a local network with a router of its own. */
  site(options: RouterOptions = {}): Site {
    const outside = options.behind?.inside ?? this.#internet;
    const make = (router: Router) => new Site(this, router);
    return new Router(this.#world, outside, options, make).inside as Site;
  }

  /** The site that an address was placed at; null for the internet itself. */
  siteOf(ip: Ip): Site | null {
    return this.#places.get(ip) ?? null;
  }

  /** Use {@link Site.place}. @throws {Error} when the address is at another site. */
  place(ip: Ip, site: Site): void {
    const holder = this.#places.get(ip);
    if (holder !== undefined && holder !== site) throw new Error(`${ip} is at another site`);
    this.#places.set(ip, site);
  }

  /** Use {@link Site.remove}. */
  unplace(ip: Ip, site: Site): void {
    if (this.#places.get(ip) === site) this.#places.delete(ip);
  }

  /** Listens where the address was placed, else on the internet itself. */
  attach(endpoint: Endpoint, receiver: Receiver): void {
    this.#segmentOf(endpoint).receivers.set(endpoint, receiver);
  }

  detach(endpoint: Endpoint): void {
    this.#segmentOf(endpoint).receivers.delete(endpoint);
  }

  send(from: Endpoint, to: Endpoint, bytes: Uint8Array, options?: SendOptions): void {
    this.sendAt(this.#segmentOf(from), from, to, bytes, options);
  }

  /** Use {@link Site.send}. */
  sendAt(
    origin: Segment,
    from: Endpoint,
    to: Endpoint,
    bytes: Uint8Array,
    { df = false }: SendOptions = {},
  ): void {
    const copy = bytes.slice();
    this.onSend(from, to, copy);
    if (isIpv6(ipOf(from)) !== isIpv6(ipOf(to))) return;
    const flight = { from, to, bytes: copy, df, isLocal: false, isFragmented: false };
    if (origin instanceof Site) this.#leave(origin, flight);
    else this.#cross(flight, 0);
  }

  /** An attacker sends again what it overheard. */
  replay(): void {
    const index = Math.floor(this.#world.between(0, this.#overheard.length));
    const old = this.#overheard[index];
    if (old) this.#carry({ ...old }, 0);
  }

  /** An attacker sends rubbish, at times with the looks of a message. */
  rubbish(to: Endpoint): void {
    const bytes = this.#world.random.bytes(Math.floor(this.#world.between(0, 200)));
    if (bytes.length > 4 && this.#world.chance(0.7)) {
      bytes.set([1 + Math.floor(this.#world.between(0, 4)), 0, 0, 0]);
    }
    const from = "203.0.113.66:6666";
    this.#carry({ from, to, bytes, df: false, isLocal: false, isFragmented: false }, 0);
  }

  #segmentOf(endpoint: Endpoint): Segment {
    return this.#places.get(ipOf(endpoint)) ?? this.#internet;
  }

  /** From a machine of a site to where its datagram turns down again. */
  #leave(site: Site, sent: Flight): void {
    const climb = climbFrom(site, sent);
    if (!climb) return;
    const isLocal = climb.top === site || climb.hairpin === site.router;
    const flight = { ...sent, from: climb.from, isLocal };
    if (isLocal ? !fits(flight, site.lanMtu) : !this.#passes(site, flight, site.lossUp)) return;
    const delay = isLocal ? 0 : this.#draw(site.latency);
    if (climb.top === this.#internet && !climb.hairpin) this.#cross(flight, delay);
    else this.#later(delay + this.#draw(LAN_LATENCY), climb.top, flight);
  }

  /** Over the internet, which an attacker watches. */
  #cross(flight: Flight, delay: Millis): void {
    this.#overheard.push(flight);
    if (this.#overheard.length > MAX_OVERHEARD) this.#overheard.shift();
    const { loss, duplication } = this.weather;
    const copies = this.#world.chance(duplication) ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (!this.#world.chance(loss)) this.#carry({ ...flight }, delay);
    }
  }

  #carry(flight: Flight, delay: Millis): void {
    const [low, high] = this.weather.latency;
    if (!fits(flight, this.mtu)) return;
    this.#later(delay + this.#world.between(low, high), this.#internet, flight);
  }

  #later(delay: Millis, top: Segment, flight: Flight): void {
    this.#world.after(delay, () => this.#descend(top, flight));
  }

  /** Down through routers, as they are when the datagram comes to them. */
  #descend(segment: Segment, flight: Flight): void {
    const { from, bytes } = flight;
    const receiver = segment.receivers.get(flight.to);
    if (receiver) return receiver(from, bytes.slice());
    const router = segment.below.find((each) => each.answersFor(ipOf(flight.to)));
    const to = router?.inbound(flight.to, from) ?? null;
    if (!router || to === null) return;
    const { inside } = router;
    if (!(inside instanceof Site)) return this.#descend(inside, { ...flight, to });
    if (flight.isLocal) return this.#descend(inside, { ...flight, to });
    if (!this.#passes(inside, flight, inside.lossDown)) return;
    this.#later(this.#draw(inside.latency), inside, { ...flight, to });
  }

  /** Whether a site's line lets a datagram through. */
  #passes(site: Site, flight: Flight, loss: number): boolean {
    if (!site.udp || !fits(flight, site.mtu)) return false;
    if (flight.isFragmented && site.dropsFragments) return false;
    return loss === 0 || !this.#world.chance(loss);
  }

  #draw([low, high]: readonly [low: Millis, high: Millis]): Millis {
    return high > 0 ? this.#world.between(low, high) : 0;
  }
}
