/**
 * Gets a UDP port of the router in front of this machine and keeps it: PCP first, NAT-PMP where the
 * router knows only that, UPnP where it knows neither.
 *
 * ```
 * searching --a protocol mapped--> mapped --half the lease--> renewing, the same way
 *     |                              +--- the router restarted, a renewal failed ---> searching
 *     +--nothing within 4 s--> failed --5 min--> searching
 * ```
 *
 * Only the gateway is believed. Retransmission is 250 ms, doubling (RFC 6886 section 3.1).
 * @module
 */
import { type Endpoint, formatEndpoint, type Ip, parseEndpoint } from "../../core/ip.ts";
import { parseIp, parsePrefix, prefixContains } from "../../core/ip.ts";
import { type Machine, type Millis, NEVER } from "../../core/machine.ts";
import {
  NOTHING,
  type PortMapEffect,
  type PortMapEvent,
  type PortMapProtocol,
  type PortMapState,
} from "./events.ts";
import type { Random } from "../../core/random.ts";
import {
  decodePmp,
  encodePcpMap,
  encodePmpAddress,
  encodePmpMap,
  PCP_NONCE,
  PMP_PORT,
  type PmpAnswer,
} from "./pmp.ts";
import {
  addMappingCall,
  decodeSearchAnswer,
  deleteMappingCall,
  encodeSearches,
  externalAddressCall,
  findService,
  readExternalAddress,
  readFault,
  type SoapCall,
  SSDP_ADDRESS,
  SSDP_PORT,
  UPNP_CONFLICT,
  UPNP_ONLY_PERMANENT,
  type UpnpService,
} from "./upnp.ts";

const LEASE_S = 7_200;
const RESENDS = 4;
const FIRST_RESEND_MS = 250;
/** NAT-PMP gets its turn when PCP was not answered by then. */
const PMP_AFTER_MS = 250;
const GIVE_UP_MS = 4_000;
const RETRY_MS = 300_000;
/** External ports tried through UPnP when the wanted one is taken. */
const MAX_CONFLICTS = 4;
/** A router's seconds may lag behind ours by this much without a restart (RFC 6887 section 8.5). */
const EPOCH_SLACK_S = 4;
/** Addresses that are themselves behind a NAT. */
const INNER = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"].map((text) =>
  parsePrefix(text)!
);

interface Request {
  readonly protocol: "pcp" | "nat-pmp";
  readonly bytes: readonly Uint8Array[];
  sends: number;
  nextAt: Millis;
}

/** See the module's doc. */
export class PortMapping implements Machine<PortMapEvent, PortMapEffect> {
  readonly #random: Random;
  #network: { gateway: Ip; localIp: Ip; port: number } | null = null;
  #requests: Request[] = [];
  /** Kept as long as the network: a router refuses to renew under another (RFC 6887 section 11.3). */
  #nonce: Uint8Array = new Uint8Array(PCP_NONCE);
  #pmpExternal: Ip | null = null;
  #pmpMapped: (PmpAnswer & { type: "mapped" }) | null = null;
  #upnp: UpnpService | null = null;
  #upnpPort = 0;
  #upnpLease = LEASE_S;
  #upnpConflicts = 0;
  /** What each HTTP request is for. */
  readonly #http = new Map<number, "description" | "add" | "address" | "delete">();
  #nextHttp = 1;
  #description = "";
  #searchedAt: Millis = 0;
  #renewAt: Millis = NEVER;
  #epoch: { seconds: number; at: Millis } | null = null;
  #report: PortMapState = NOTHING;

  constructor(options: { readonly random: Random }) {
    this.#random = options.random;
  }

  get report(): PortMapState {
    return this.#report;
  }

  get deadline(): Millis {
    let deadline = this.#renewAt;
    for (const { nextAt } of this.#requests) deadline = Math.min(deadline, nextAt);
    if (this.#report.state === "searching") {
      deadline = Math.min(deadline, this.#searchedAt + GIVE_UP_MS);
    }
    return deadline;
  }

  handle(event: PortMapEvent, now: Millis): PortMapEffect[] {
    const effects: PortMapEffect[] = [];
    const before = JSON.stringify(this.#report);
    switch (event.type) {
      case "start":
        this.#start(event, now, effects);
        break;
      case "datagram":
        this.#receive(event.from, event.bytes, now, effects);
        break;
      case "http":
        this.#answered(event.id, event.status, event.body, now, effects);
        break;
      case "stop":
        this.#release(effects);
        break;
      case "tick":
        break;
    }
    this.#expire(now, effects);
    if (JSON.stringify(this.#report) !== before) effects.push({ type: "changed" });
    return effects;
  }

  #start(event: PortMapEvent & { type: "start" }, now: Millis, effects: PortMapEffect[]): void {
    const { gateway, localIp, port } = event;
    const before = this.#network;
    const isSame = before?.gateway === gateway && before.localIp === localIp &&
      before.port === port;
    if (!isSame) this.#nonce = this.#random.bytes(PCP_NONCE);
    this.#epoch = null;
    this.#network = gateway === null ? null : { gateway, localIp, port };
    if (this.#network) this.#search(now, effects);
    else this.#report = { ...NOTHING, lastError: "there is no default gateway" };
  }

  #search(now: Millis, effects: PortMapEffect[]): void {
    const { gateway } = this.#network!;
    this.#searchedAt = now;
    this.#renewAt = NEVER;
    this.#pmpExternal = this.#pmpMapped = null;
    this.#upnp = null;
    this.#http.clear();
    this.#report = { ...NOTHING, state: "searching", gateway };
    this.#requests = [
      { protocol: "pcp", bytes: [this.#pcp(LEASE_S)], sends: 0, nextAt: now },
      { protocol: "nat-pmp", bytes: this.#pmp(LEASE_S), sends: 0, nextAt: now + PMP_AFTER_MS },
    ];
    for (const host of [SSDP_ADDRESS, gateway]) {
      for (const bytes of encodeSearches(host)) {
        effects.push({ type: "transmit", to: formatEndpoint(host, SSDP_PORT), bytes });
      }
    }
  }

  #pcp(lifetimeSeconds: number): Uint8Array {
    const { localIp, port } = this.#network!;
    const externalPort = parseEndpoint(this.#report.external ?? "")?.port ?? port;
    return encodePcpMap({
      client: localIp,
      nonce: this.#nonce,
      internalPort: port,
      externalPort: lifetimeSeconds === 0 ? 0 : externalPort,
      lifetimeSeconds,
    });
  }

  #pmp(lifetimeSeconds: number): Uint8Array[] {
    const { port } = this.#network!;
    return [
      encodePmpAddress(),
      encodePmpMap(port, lifetimeSeconds === 0 ? 0 : port, lifetimeSeconds),
    ];
  }

  #receive(from: Endpoint, bytes: Uint8Array, now: Millis, effects: PortMapEffect[]): void {
    const parts = parseEndpoint(from);
    if (!this.#network || parts?.ip !== this.#network.gateway) return;
    if (parts.port === PMP_PORT) {
      const answer = decodePmp(bytes);
      if (answer) this.#pmpAnswered(answer, now, effects);
      return;
    }
    const location = decodeSearchAnswer(bytes);
    if (location === null || this.#description !== "" || !this.#isGateway(location)) return;
    if (this.#report.state !== "searching") return;
    this.#description = location;
    this.#fetch("description", location, null, effects);
  }

  #pmpAnswered(answer: PmpAnswer, now: Millis, effects: PortMapEffect[]): void {
    const { protocol } = answer;
    if (answer.type === "refused") {
      // A router that knows one of the two says so in its own version (RFC 6887 section 9).
      const refused = !answer.isOtherVersion ? protocol : protocol === "pcp" ? "nat-pmp" : "pcp";
      this.#requests = this.#requests.filter((request) => request.protocol !== refused);
      for (const request of this.#requests) {
        if (request.sends === 0) request.nextAt = now;
      }
      return this.#tried(refused, answer.why);
    }
    if (this.#hasRestarted(answer.epochSeconds, now)) return this.#search(now, effects);
    if (answer.type === "address") this.#pmpExternal = answer.external;
    else if (answer.internalPort !== this.#network!.port) return;
    else if (protocol === "pcp") {
      if (answer.nonce !== this.#nonce.toHex()) return;
      return this.#mapped(
        "pcp",
        answer.external!,
        answer.externalPort,
        answer.lifetimeSeconds,
        now,
      );
    } else this.#pmpMapped = answer;
    if (this.#report.protocol === "pcp" || !this.#pmpMapped || !this.#pmpExternal) return;
    const { externalPort, lifetimeSeconds } = this.#pmpMapped;
    this.#mapped("nat-pmp", this.#pmpExternal, externalPort, lifetimeSeconds, now);
  }

  /** A router's seconds went back: it has forgotten everything. */
  #hasRestarted(seconds: number, now: Millis): boolean {
    const before = this.#epoch;
    this.#epoch = { seconds, at: now };
    if (!before || this.#report.state !== "mapped") return false;
    return seconds + EPOCH_SLACK_S < before.seconds + (now - before.at) / 1000 * 7 / 8;
  }

  #mapped(
    protocol: PortMapProtocol,
    external: Ip,
    port: number,
    lifetimeSeconds: number,
    now: Millis,
  ): void {
    if (lifetimeSeconds === 0 || port === 0) return;
    this.#requests = [];
    this.#tried(protocol, "mapped");
    const bytes = parseIp(external);
    const isInner = bytes !== null && INNER.some((prefix) => prefixContains(prefix, bytes));
    this.#report = {
      ...this.#report,
      state: "mapped",
      protocol,
      external: formatEndpoint(external, port),
      lastError: isInner
        ? `the router itself has the private address ${external}: another NAT is in front of it`
        : null,
    };
    this.#renewAt = now + lifetimeSeconds * 500;
  }

  #tried(protocol: PortMapProtocol, result: string): void {
    const others = this.#report.tried.filter((each) => each.protocol !== protocol);
    this.#report = { ...this.#report, tried: [...others, { protocol, result }] };
  }

  #answered(
    id: number,
    status: number,
    body: string | null,
    now: Millis,
    effects: PortMapEffect[],
  ): void {
    const purpose = this.#http.get(id);
    this.#http.delete(id);
    if (!purpose || purpose === "delete" || this.#report.protocol === "pcp") return;
    if (body === null) return this.#tried("upnp", "the router did not answer over HTTP");
    if (purpose === "description") {
      const service = findService(body, this.#description);
      if (!service || !this.#isGateway(service.controlUrl)) {
        return this.#tried("upnp", "the router's description names no service that maps ports");
      }
      this.#upnp = service;
      this.#upnpPort = this.#network!.port;
      this.#upnpLease = LEASE_S;
      this.#upnpConflicts = 0;
      return this.#add(effects);
    }
    if (purpose === "add") return this.#added(status, body, effects);
    const address = readExternalAddress(body);
    if (status !== 200 || address === null || parseIp(address)?.length !== 4) {
      return this.#tried("upnp", "the router does not tell its address");
    }
    if (this.#report.protocol === "nat-pmp") return;
    const lifetime = this.#upnpLease === 0 ? LEASE_S : this.#upnpLease;
    this.#mapped("upnp", address, this.#upnpPort, lifetime, now);
  }

  #added(status: number, body: string, effects: PortMapEffect[]): void {
    if (status === 200) {
      return this.#fetch(
        "address",
        this.#upnp!.controlUrl,
        externalAddressCall(this.#upnp!),
        effects,
      );
    }
    const { code, why } = readFault(body);
    if (code === UPNP_ONLY_PERMANENT && this.#upnpLease !== 0) this.#upnpLease = 0;
    else if (code === UPNP_CONFLICT && this.#upnpConflicts++ < MAX_CONFLICTS) {
      this.#upnpPort = 10_000 + this.#random.uint32() % 50_000;
    } else return this.#tried("upnp", why);
    this.#add(effects);
  }

  #add(effects: PortMapEffect[]): void {
    const { localIp: client, port: internalPort } = this.#network!;
    const call = addMappingCall(this.#upnp!, {
      client,
      internalPort,
      externalPort: this.#upnpPort,
      leaseSeconds: this.#upnpLease,
    });
    this.#fetch("add", this.#upnp!.controlUrl, call, effects);
  }

  #fetch(
    purpose: "description" | "add" | "address" | "delete",
    url: string,
    call: SoapCall | null,
    effects: PortMapEffect[],
  ): void {
    const id = this.#nextHttp++;
    this.#http.set(id, purpose);
    effects.push({ type: "http", id, url, call });
  }

  /** Whether a URL leads to the gateway, not to wherever somebody in the LAN wants. */
  #isGateway(url: string): boolean {
    const { protocol, hostname } = new URL(url);
    return protocol === "http:" && hostname === this.#network?.gateway;
  }

  #release(effects: PortMapEffect[]): void {
    if (this.#network && this.#report.state === "mapped") {
      const { gateway } = this.#network;
      const to = formatEndpoint(gateway, PMP_PORT);
      if (this.#report.protocol === "upnp") {
        const call = deleteMappingCall(this.#upnp!, this.#upnpPort);
        this.#fetch("delete", this.#upnp!.controlUrl, call, effects);
      } else if (this.#report.protocol === "pcp") {
        effects.push({ type: "transmit", to, bytes: this.#pcp(0) });
      } else effects.push({ type: "transmit", to, bytes: this.#pmp(0)[1]! });
    }
    this.#requests = [];
    this.#renewAt = NEVER;
    this.#network = null;
    this.#report = NOTHING;
  }

  #expire(now: Millis, effects: PortMapEffect[]): void {
    if (!this.#network) return;
    if (now >= this.#renewAt) {
      if (this.#report.state === "failed") return this.#search(now, effects);
      this.#renew(now, effects);
    }
    const to = formatEndpoint(this.#network.gateway, PMP_PORT);
    for (const request of this.#requests) {
      if (now < request.nextAt) continue;
      for (const bytes of request.bytes) effects.push({ type: "transmit", to, bytes });
      const wait = FIRST_RESEND_MS * 2 ** request.sends;
      request.nextAt = ++request.sends < RESENDS ? now + wait : NEVER;
    }
    if (this.#report.state !== "searching" || now < this.#searchedAt + GIVE_UP_MS) return;
    const tried = this.#report.tried.map(({ protocol, result }) => `${protocol}: ${result}`);
    const lastError = tried.length > 0 ? tried.join("; ") : "the router answers no such request";
    this.#requests = [];
    this.#description = "";
    this.#report = { ...this.#report, state: "failed", lastError };
    this.#renewAt = now + RETRY_MS;
  }

  /** Half the lease is over. What is not answered in time ends in another search. */
  #renew(now: Millis, effects: PortMapEffect[]): void {
    const { protocol } = this.#report;
    this.#searchedAt = now;
    this.#renewAt = NEVER;
    this.#report = { ...this.#report, state: "searching" };
    this.#pmpMapped = null;
    if (protocol === "upnp") return this.#add(effects);
    const bytes = protocol === "pcp" ? [this.#pcp(LEASE_S)] : this.#pmp(LEASE_S);
    this.#requests = [{ protocol: protocol as "pcp" | "nat-pmp", bytes, sends: 0, nextAt: now }];
  }
}
