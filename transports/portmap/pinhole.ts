/**
 * Has the IPv6 router's firewall let datagrams in to this machine's UDP port, and keeps it so: by
 * PCP, or by UPnP where the router refuses PCP or says nothing to it.
 *
 * ```
 * searching --PCP, else UPnP--> open --half the lease--> open, asked for again the same way
 *     |                           +--- that failed ---> searching
 *     +--neither--> failed --5 min--> searching
 * ```
 *
 * Only the gateway is believed. One is asked after the other, not both at once: a router may keep
 * one rule for the two, and giving back the second's would close the first's.
 * @module
 */
import {
  type Endpoint,
  formatEndpoint,
  parseEndpoint,
  parseIp,
  prefixContains,
} from "../../core/ip.ts";
import { type Machine, type Millis, NEVER } from "../../core/machine.ts";
import type { Random } from "../../core/random.ts";
import {
  type FirewallRoute,
  NO_PINHOLE,
  type PinholeEffect,
  type PinholeEvent,
  type PinholeProtocol,
  type PinholeState,
} from "./events.ts";
import { decodePmp, encodePcpMap, PCP_NONCE, PMP_PORT, type PmpAnswer } from "./pmp.ts";
import { isGlobal6 } from "./route6.ts";
import {
  addPinholeCall,
  decodeSearchAnswer,
  deletePinholeCall,
  encodeSearches,
  findService,
  FIREWALL_SERVICES,
  readFault,
  readPinholeId,
  type SoapCall,
  SSDP_ADDRESS6,
  SSDP_PORT,
  updatePinholeCall,
  type UpnpService,
} from "./upnp.ts";

const LEASE_S = 7_200;
const FIRST_RESEND_MS = 250;
/** Requests and searches are sent so often, the pauses doubling. */
const SENDS = 4;
/** From then on who does not answer does not speak the protocol. */
const PCP_SILENT_MS = 3_000;
/** With the HTTP requests, each of which has its own bound. */
const UPNP_SILENT_MS = 8_000;
const RETRY_MS = 300_000;
/** However short a lease is (RFC 6887 section 11.2.1). */
const MIN_RENEW_MS = 4_000;

type HttpPurpose = "description" | "add" | "update" | "delete";

/** See the module's doc. */
export class Pinhole implements Machine<PinholeEvent, PinholeEffect> {
  readonly #random: Random;
  #network: { readonly route: FirewallRoute; readonly port: number } | null = null;
  /** Kept as long as the network: a router refuses to renew under another (RFC 6887 section 11.3). */
  #nonce: Uint8Array = new Uint8Array(PCP_NONCE);
  /** Who is asked, or was last. */
  #asked: PinholeProtocol = "pcp";
  #sends = 0;
  #resendAt: Millis = NEVER;
  /** {@link NEVER} while nothing is asked for. */
  #giveUpAt: Millis = NEVER;
  /** While open, or failed: when to ask again. */
  #renewAt: Millis = NEVER;
  #description: string | null = null;
  #service: UpnpService | null = null;
  #pinholeId: number | null = null;
  readonly #http = new Map<number, HttpPurpose>();
  #nextHttp = 1;
  #report: PinholeState = NO_PINHOLE;

  constructor(options: { readonly random: Random }) {
    this.#random = options.random;
  }

  get report(): PinholeState {
    return this.#report;
  }

  get deadline(): Millis {
    return Math.min(this.#renewAt, this.#resendAt, this.#giveUpAt);
  }

  handle(event: PinholeEvent, now: Millis): PinholeEffect[] {
    const effects: PinholeEffect[] = [];
    const before = JSON.stringify(this.#report);
    switch (event.type) {
      case "start":
        this.#start(event.route, event.port, now, effects);
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

  #start(route: FirewallRoute | null, port: number, now: Millis, effects: PinholeEffect[]): void {
    if (route === null) {
      this.#forget();
      const lastError = "there is no global IPv6 address with a router in front of it";
      this.#report = { ...NO_PINHOLE, lastError };
      return;
    }
    const before = this.#network;
    this.#network = { route, port };
    const isSame = before?.port === port && before.route.localIp === route.localIp &&
      before.route.gateway === route.gateway;
    if (isSame && this.#report.state === "searching") return;
    if (isSame && this.#report.state === "open") return this.#renew(now, effects);
    if (!isSame) this.#nonce = this.#random.bytes(PCP_NONCE);
    this.#search(now);
  }

  #search(now: Millis): void {
    this.#renewAt = NEVER;
    this.#service = this.#description = this.#pinholeId = null;
    this.#http.clear();
    const { gateway } = this.#network!.route;
    this.#report = { ...NO_PINHOLE, state: "searching", gateway };
    this.#ask("pcp", now);
  }

  #ask(protocol: PinholeProtocol, now: Millis): void {
    this.#asked = protocol;
    this.#sends = 0;
    this.#resendAt = now;
    this.#giveUpAt = now + (protocol === "pcp" ? PCP_SILENT_MS : UPNP_SILENT_MS);
  }

  #receive(from: Endpoint, bytes: Uint8Array, now: Millis, effects: PinholeEffect[]): void {
    const parts = parseEndpoint(from);
    if (this.#giveUpAt === NEVER || parts?.ip !== this.#network?.route.gateway) return;
    if (this.#asked === "pcp") {
      const answer = parts?.port === PMP_PORT ? decodePmp(bytes) : null;
      if (answer) this.#pcpAnswered(answer, now);
      return;
    }
    const location = decodeSearchAnswer(bytes);
    if (location === null || this.#description !== null) return;
    if (!this.#isOnLink(location)) {
      return this.#tried("upnp", "the router's description is not at an address of this link");
    }
    this.#description = location;
    this.#resendAt = NEVER;
    this.#fetch("description", location, null, effects);
  }

  #pcpAnswered(answer: PmpAnswer, now: Millis): void {
    if (answer.type === "refused") return this.#pcpFailed(answer.why, now);
    if (answer.protocol !== "pcp" || answer.type !== "mapped") return;
    const { nonce, internalPort, external, externalPort, lifetimeSeconds } = answer;
    if (nonce !== this.#nonce.toHex() || internalPort !== this.#network!.port) return;
    if (external === null || !isGlobal6(external)) return;
    if (externalPort === 0 || lifetimeSeconds === 0) return;
    this.#opened("pcp", formatEndpoint(external, externalPort), lifetimeSeconds, now);
  }

  #pcpFailed(why: string, now: Millis): void {
    // A pinhole that was there is gone, and the router perhaps another: begin at the beginning.
    if (this.#report.state === "open") return this.#search(now);
    this.#tried("pcp", why);
    this.#ask("upnp", now);
  }

  #opened(
    protocol: PinholeProtocol,
    endpoint: Endpoint,
    lifetimeSeconds: number,
    now: Millis,
  ): void {
    this.#tried(protocol, "open");
    this.#report = { ...this.#report, state: "open", protocol, endpoint, lastError: null };
    this.#resendAt = this.#giveUpAt = NEVER;
    this.#renewAt = now + Math.max(MIN_RENEW_MS, lifetimeSeconds * 500);
  }

  #tried(protocol: PinholeProtocol, result: string): void {
    const others = this.#report.tried.filter((each) => each.protocol !== protocol);
    this.#report = { ...this.#report, tried: [...others, { protocol, result }] };
  }

  #upnpFailed(why: string, now: Millis): void {
    this.#tried("upnp", why);
    const lastError = this.#report.tried.map(({ protocol, result }) => `${protocol}: ${result}`)
      .join("; ");
    this.#report = { ...this.#report, state: "failed", protocol: null, endpoint: null, lastError };
    this.#resendAt = this.#giveUpAt = NEVER;
    this.#http.clear();
    this.#pinholeId = null;
    this.#renewAt = now + RETRY_MS;
  }

  #answered(
    id: number,
    status: number,
    body: string | null,
    now: Millis,
    effects: PinholeEffect[],
  ): void {
    const purpose = this.#http.get(id);
    this.#http.delete(id);
    if (!purpose || purpose === "delete") return;
    if (body === null) return this.#upnpFailed("the router did not answer over HTTP", now);
    switch (purpose) {
      case "description":
        this.#service = findService(body, this.#description!, FIREWALL_SERVICES);
        if (this.#service && this.#isOnLink(this.#service.controlUrl)) return this.#add(effects);
        return this.#upnpFailed("the router's description names no IPv6 firewall", now);
      case "add":
        this.#pinholeId = status === 200 ? readPinholeId(body) : null;
        if (this.#pinholeId === null) return this.#upnpFailed(readFault(body).why, now);
        break;
      case "update":
        // It may have restarted, and forgotten.
        if (status !== 200) return this.#add(effects);
        break;
    }
    const { route, port } = this.#network!;
    this.#opened("upnp", formatEndpoint(route.localIp, port), LEASE_S, now);
  }

  #add(effects: PinholeEffect[]): void {
    const { route, port } = this.#network!;
    const wanted = { client: route.localIp, port, leaseSeconds: LEASE_S };
    this.#call("add", addPinholeCall(this.#service!, wanted), effects);
  }

  #call(purpose: HttpPurpose, call: SoapCall, effects: PinholeEffect[]): void {
    this.#fetch(purpose, this.#service!.controlUrl, call, effects);
  }

  #fetch(
    purpose: HttpPurpose,
    url: string,
    call: SoapCall | null,
    effects: PinholeEffect[],
  ): void {
    const id = this.#nextHttp++;
    this.#http.set(id, purpose);
    effects.push({ type: "http", id, url, call });
  }

  /**
   * Whether a URL stays on the link. The router's own address there is not known, only the
   * link-local one, which a URL cannot name for lack of a scope. Whoever forges an answer to the
   * search can have this machine ask no host that he could not ask himself.
   */
  #isOnLink(url: string): boolean {
    const { protocol, hostname } = new URL(url);
    const bytes = parseIp(hostname.replace(/^\[|\]$/g, ""));
    if (protocol !== "http:" || bytes?.length !== 16) return false;
    return this.#network!.route.onLink.some((prefix) => prefixContains(prefix, bytes));
  }

  #release(effects: PinholeEffect[]): void {
    // A PCP request whose answer is still to come may have been granted.
    const isPcp = this.#asked === "pcp" &&
      (this.#report.state === "open" || this.#giveUpAt !== NEVER);
    if (this.#network && isPcp) effects.push(this.#pcp(0));
    else if (this.#pinholeId !== null) {
      this.#call("delete", deletePinholeCall(this.#service!, this.#pinholeId), effects);
    }
    this.#forget();
  }

  #forget(): void {
    this.#network = null;
    this.#pinholeId = null;
    this.#renewAt = this.#resendAt = this.#giveUpAt = NEVER;
    this.#http.clear();
    this.#report = NO_PINHOLE;
  }

  #expire(now: Millis, effects: PinholeEffect[]): void {
    if (!this.#network) return;
    if (now >= this.#renewAt) {
      if (this.#report.state === "open") this.#renew(now, effects);
      else this.#search(now);
    }
    if (now >= this.#giveUpAt) {
      if (this.#asked === "pcp") this.#pcpFailed("no answer", now);
      else this.#upnpSilent(now);
    }
    if (now < this.#resendAt) return;
    const wait = FIRST_RESEND_MS * 2 ** this.#sends;
    this.#resendAt = ++this.#sends < SENDS ? now + wait : NEVER;
    if (this.#asked === "pcp") effects.push(this.#pcp(LEASE_S));
    else this.#sendSearches(effects);
  }

  #upnpSilent(now: Millis): void {
    // What the router did say tells users more.
    const said = this.#report.tried.find(({ protocol }) => protocol === "upnp")?.result;
    this.#upnpFailed(said ?? "no answer", now);
  }

  /** Half the lease is over. */
  #renew(now: Millis, effects: PinholeEffect[]): void {
    this.#renewAt = NEVER;
    this.#ask(this.#asked, now);
    if (this.#asked === "pcp") return;
    this.#resendAt = NEVER;
    const call = updatePinholeCall(this.#service!, this.#pinholeId!, LEASE_S);
    this.#call("update", call, effects);
  }

  #pcp(lifetimeSeconds: number): PinholeEffect {
    const { route, port } = this.#network!;
    const bytes = encodePcpMap({
      client: route.localIp,
      nonce: this.#nonce,
      internalPort: port,
      externalPort: lifetimeSeconds === 0 ? 0 : port,
      lifetimeSeconds,
    });
    const to = formatEndpoint(route.gateway, PMP_PORT);
    return { type: "transmit", from: "global", to, bytes };
  }

  #sendSearches(effects: PinholeEffect[]): void {
    for (const host of [SSDP_ADDRESS6, this.#network!.route.gateway]) {
      const to = formatEndpoint(host, SSDP_PORT);
      for (const bytes of encodeSearches(host)) {
        effects.push({ type: "transmit", from: "link-local", to, bytes });
      }
    }
  }
}
