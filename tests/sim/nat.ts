/**
 * Address translators and stateful firewalls in virtual time, with the behaviours of RFC 4787.
 * @module
 */
import { type Endpoint, formatEndpoint, type Ip } from "../../core/ip.ts";
import type { Millis } from "../../core/machine.ts";
import type { World } from "./world.ts";

/** What of the remote endpoint a mapping or a filter depends on (RFC 4787 sections 4.1 and 5). */
export type Dependence =
  | "endpoint-independent"
  | "address-dependent"
  | "address-and-port-dependent";

/** All of them, from the friendliest to the strictest. */
export const DEPENDENCES: readonly Dependence[] = [
  "endpoint-independent",
  "address-dependent",
  "address-and-port-dependent",
];

/** How a {@link Nat} chooses external ports (RFC 4787 section 4.2). */
export type PortAssignment = "preserve" | "sequential" | "random";

/** How a {@link Nat} behaves. */
export interface NatOptions {
  readonly publicIp: Ip;
  readonly mapping: Dependence;
  readonly filtering: Dependence;
  readonly ports: PortAssignment;
  /** Whether machines inside reach one another by external endpoints (RFC 4787 section 6). */
  readonly hairpin: boolean;
  /** Life of a mapping after the last datagram out of it. */
  readonly timeoutMs?: Millis;
  /** First {@link Nat.capacity}. */
  readonly maxMappings?: number;
}

/** Half a minute: what many home routers really do, against the two minutes of RFC 4787. */
const UDP_TIMEOUT_MS = 30_000;
const MAX_MAPPINGS = 16_384;
const FIRST_PORT = 1_024;
const LAST_PORT = 65_535;

/** The address in an endpoint's canonical text. */
export function ipOf(endpoint: Endpoint): Ip {
  const ip = endpoint.slice(0, endpoint.lastIndexOf(":"));
  return ip.startsWith("[") ? ip.slice(1, -1) : ip;
}

/** The port in an endpoint's canonical text. */
export function portOf(endpoint: Endpoint): number {
  return Number(endpoint.slice(endpoint.lastIndexOf(":") + 1));
}

/** The part of a remote endpoint that something of that dependence tells apart. */
function remoteKey(dependence: Dependence, remote: Endpoint): string {
  if (dependence === "endpoint-independent") return "";
  return dependence === "address-dependent" ? ipOf(remote) : remote;
}

/** To whom something has sent, and when last: who may answer. */
class Contacts {
  readonly #lastSent = new Map<string, Millis>();

  /** Only datagrams out refresh: those in would let an attacker keep a hole open. */
  sent(key: string, now: Millis): void {
    this.#lastSent.set(key, now);
  }

  clear(): void {
    this.#lastSent.clear();
  }

  isFresh(key: string, now: Millis, timeoutMs: Millis): boolean {
    const sent = this.#lastSent.get(key);
    return sent !== undefined && now - sent < timeoutMs;
  }
}

interface Mapping {
  readonly key: string;
  readonly internal: Endpoint;
  readonly port: number;
  readonly contacts: Contacts;
  lastSent: Millis;
}

/** A network address translator for UDP. */
export class Nat {
  readonly mapping: Dependence;
  readonly ports: PortAssignment;
  filtering: Dependence;
  hairpin: boolean;
  timeoutMs: Millis;
  /** Live mappings beyond which no new one is made; lower it to bring the router into distress. */
  capacity: number;
  /** How many mappings were ever made. */
  mappingsMade = 0;
  /** Datagrams that went no further, either way. */
  dropped = 0;
  #publicIp: Ip;
  #nextPort: number;
  readonly #world: World;
  readonly #byKey = new Map<string, Mapping>();
  readonly #byPort = new Map<number, Mapping>();
  readonly #portMappings = new Map<number, Endpoint>();
  /** Ports in use before the last reboot; see {@link reboot}. */
  #retired: ReadonlySet<number> = new Set();

  constructor(world: World, options: NatOptions) {
    this.#world = world;
    this.#publicIp = options.publicIp;
    this.mapping = options.mapping;
    this.filtering = options.filtering;
    this.ports = options.ports;
    this.hairpin = options.hairpin;
    this.timeoutMs = options.timeoutMs ?? UDP_TIMEOUT_MS;
    this.capacity = options.maxMappings ?? MAX_MAPPINGS;
    this.#nextPort = this.#anyPort();
  }

  get publicIp(): Ip {
    return this.#publicIp;
  }

  /** How many mappings are alive. */
  get size(): number {
    this.#purge();
    return this.#byKey.size;
  }

  /** The external source of a datagram out; null when there is no room for its mapping. */
  translate(internal: Endpoint, remote: Endpoint): Endpoint | null {
    for (const [port, target] of this.#portMappings) {
      if (target === internal) return formatEndpoint(this.#publicIp, port);
    }
    const key = `${internal} ${remoteKey(this.mapping, remote)}`;
    const mapping = this.#alive(this.#byKey.get(key)) ?? this.#make(key, internal);
    if (!mapping) return this.#drop();
    mapping.lastSent = this.#world.now;
    mapping.contacts.sent(remoteKey(this.filtering, remote), this.#world.now);
    return formatEndpoint(this.#publicIp, mapping.port);
  }

  /** Who inside gets a datagram in; null when it is kept out. */
  inbound(external: Endpoint, remote: Endpoint): Endpoint | null {
    if (ipOf(external) !== this.#publicIp) return this.#drop();
    const port = portOf(external);
    const target = this.#portMappings.get(port);
    if (target !== undefined) return target;
    const mapping = this.#alive(this.#byPort.get(port));
    if (!mapping) return this.#drop();
    const key = remoteKey(this.filtering, remote);
    const isWelcome = mapping.contacts.isFresh(key, this.#world.now, this.timeoutMs);
    return isWelcome ? mapping.internal : this.#drop();
  }

  /**
   * Forgets everything, port mappings included. Ports that were in use are not given again until the
   * next reboot, so that whoever relies on an old one is found out, also where ports are preserved.
   */
  reboot(): void {
    this.#retired = new Set([...this.#byPort.keys()]);
    this.#portMappings.clear();
    this.#forgetMappings();
    this.#nextPort = this.#anyPort();
  }

  /** The provider gives another address: mappings end, port mappings move to it. */
  setPublicIp(ip: Ip): void {
    this.#publicIp = ip;
    this.#forgetMappings();
  }

  /**
   * Opens a port to everyone, as UPnP, NAT-PMP and PCP do; what `internal` sends leaves by it too.
   * False when the port is another's.
   */
  addPortMapping(port: number, internal: Endpoint): boolean {
    const holder = this.#portMappings.get(port);
    if (holder !== undefined) return holder === internal;
    this.#remove(this.#byPort.get(port));
    this.#portMappings.set(port, internal);
    return true;
  }

  removePortMapping(port: number): void {
    this.#portMappings.delete(port);
  }

  /** Whether a datagram from inside for the {@link publicIp} is sent back inside. */
  turnsRound(): boolean {
    if (!this.hairpin) this.#drop();
    return this.hairpin;
  }

  #drop(): null {
    this.dropped++;
    return null;
  }

  #make(key: string, internal: Endpoint): Mapping | null {
    if (this.#byKey.size >= this.capacity) this.#purge();
    if (this.#byKey.size >= this.capacity) return null;
    const port = this.#freePort(internal);
    if (port === null) return null;
    const lastSent = this.#world.now;
    const mapping = { key, internal, port, contacts: new Contacts(), lastSent };
    this.#byKey.set(key, mapping);
    this.#byPort.set(port, mapping);
    this.mappingsMade++;
    return mapping;
  }

  #freePort(internal: Endpoint): number | null {
    let port = this.#preferredPort(internal);
    for (let tries = FIRST_PORT; tries <= LAST_PORT; tries++) {
      if (this.#isFree(port)) {
        this.#nextPort = following(port);
        return port;
      }
      port = following(port);
    }
    return null;
  }

  #preferredPort(internal: Endpoint): number {
    switch (this.ports) {
      case "preserve":
        return portOf(internal);
      case "sequential":
        return this.#nextPort;
      case "random":
        return this.#anyPort();
    }
  }

  #isFree(port: number): boolean {
    if (this.#retired.has(port) || this.#portMappings.has(port)) return false;
    return this.#alive(this.#byPort.get(port)) === null;
  }

  #anyPort(): number {
    return Math.floor(this.#world.between(FIRST_PORT, LAST_PORT + 1));
  }

  /** The mapping while it lives; one that has expired is removed. */
  #alive(mapping: Mapping | undefined): Mapping | null {
    if (!mapping) return null;
    if (this.#world.now - mapping.lastSent < this.timeoutMs) return mapping;
    this.#remove(mapping);
    return null;
  }

  #remove(mapping: Mapping | undefined): void {
    if (!mapping) return;
    this.#byKey.delete(mapping.key);
    this.#byPort.delete(mapping.port);
  }

  #purge(): void {
    for (const mapping of [...this.#byKey.values()]) this.#alive(mapping);
  }

  #forgetMappings(): void {
    this.#byKey.clear();
    this.#byPort.clear();
  }
}

function following(port: number): number {
  return port >= LAST_PORT ? FIRST_PORT : port + 1;
}

/** Lets in only what answers: a stateful firewall, which changes no address. */
export class Firewall {
  filtering: Dependence;
  timeoutMs: Millis;
  /** Datagrams that were kept out. */
  dropped = 0;
  readonly #world: World;
  readonly #contacts = new Contacts();

  constructor(world: World, filtering: Dependence, timeoutMs: Millis = UDP_TIMEOUT_MS) {
    this.#world = world;
    this.filtering = filtering;
    this.timeoutMs = timeoutMs;
  }

  /** A datagram leaves. */
  sent(internal: Endpoint, remote: Endpoint): void {
    this.#contacts.sent(this.#key(internal, remote), this.#world.now);
  }

  /** Whether a datagram may enter. */
  admits(internal: Endpoint, remote: Endpoint): boolean {
    const key = this.#key(internal, remote);
    const isWelcome = this.#contacts.isFresh(key, this.#world.now, this.timeoutMs);
    if (!isWelcome) this.dropped++;
    return isWelcome;
  }

  /** Forgets to whom anything was sent. */
  reboot(): void {
    this.#contacts.clear();
  }

  #key(internal: Endpoint, remote: Endpoint): string {
    return `${internal} ${remoteKey(this.filtering, remote)}`;
  }
}
