/**
 * What does the NAT before this node do? Asks STUN servers from the node's own socket, in the way of
 * RFC 5780.
 *
 * ```
 * 1  plain, to the first port of every server      how the socket is seen; the first answer counts
 * 2  same port, answer from another one            filtering; nothing was sent to that port yet
 *    same port, answer from another address
 * 3  plain, to the second port                     mapping: is another outer port given?
 *    plain, to the other address
 *    beside these, to the node's own outer endpoint: hairpinning
 * ```
 *
 * A server that names no other address cannot tell address-dependent behaviour from
 * endpoint-independent: of mapping the friendlier is assumed then, since pings find out anyway, of
 * filtering the stricter.
 * Afterwards the first server is asked every {@link KEEPALIVE_MS}, which keeps the mapping and shows
 * when it changes.
 * @module
 */
import { toHex } from "../bytes.ts";
import { type Endpoint, parseEndpoint } from "../ip.ts";
import { type Machine, type Millis, NEVER } from "../machine.ts";
import type { Random } from "../random.ts";
import { decodeMessage, encodeRequest, TRANSACTION_ID } from "../stun/message.ts";
import { MAX_MAPPED, MAX_PORT_DELTA, type NatReport, UNKNOWN_NAT } from "./nat.ts";

/** A server: one address, several ports. */
export interface StunServer {
  readonly endpoints: readonly Endpoint[];
}

export type NatEvent =
  | { readonly type: "tick" }
  /** Begins anew, as after a change of networks. */
  | {
    readonly type: "start";
    readonly servers: readonly StunServer[];
    /** The machine's own addresses with the node's port. */
    readonly local: readonly Endpoint[];
  }
  | { readonly type: "datagram"; readonly from: Endpoint; readonly bytes: Uint8Array }
  /** What is known may hold no longer: asks now instead of with the next keepalive. */
  | { readonly type: "doubt" };

export type NatEffect =
  | { readonly type: "transmit"; readonly to: Endpoint; readonly bytes: Uint8Array }
  | { readonly type: "report"; readonly report: NatReport };

export const KEEPALIVE_MS = 25_000;
/** When a request is sent again (RFC 8489 section 6.2.1, shortened), and when it is given up. */
const RESENDS_MS = [250, 750, 1_750];
const GIVE_UP_MS = 2_750;
/** The same for answers that filters are expected to keep out. */
const FILTER_RESENDS_MS = [200, 400];
const FILTER_GIVE_UP_MS = 900;

/** A request that is older may have been seen before what is doubted changed. */
const YOUNG_MS = 250;

type Purpose =
  | "seen"
  | "filter-port"
  | "filter-address"
  | "second-port"
  | "second-address"
  | "hairpin"
  | "keepalive";

const FILTERS: readonly Purpose[] = ["filter-port", "filter-address"];

interface Transaction {
  readonly purpose: Purpose;
  readonly server: StunServer | null;
  readonly to: Endpoint;
  readonly bytes: Uint8Array;
  readonly startedAt: Millis;
  readonly resends: readonly Millis[];
  readonly giveUpAt: Millis;
  sends: number;
}

/** The server that answered first, and what was learned with its help. */
interface First {
  readonly server: StunServer;
  readonly mapped: Endpoint;
  /** Its other address, with its other port. */
  readonly other: Endpoint | null;
  /** Whether an answer from elsewhere got in; null until that is known. */
  readonly passed: { port: boolean | null; address: boolean | null };
  /** Whether a server at another address saw another endpoint. */
  isByAddress: boolean;
}

/** See the module's doc. */
export class NatDiscovery implements Machine<NatEvent, NatEffect> {
  readonly #random: Random;
  readonly #pending = new Map<string, Transaction>();
  #servers: readonly StunServer[] = [];
  #local: readonly Endpoint[] = [];
  /** The server that answered first over IPv4, and what it saw. */
  #first: First | null = null;
  #keepaliveAt: Millis = NEVER;
  #keepaliveTo: Endpoint | null = null;
  #report: NatReport = UNKNOWN_NAT;

  constructor(options: { readonly random: Random }) {
    this.#random = options.random;
  }

  get report(): NatReport {
    return this.#report;
  }

  get deadline(): Millis {
    let deadline = this.#keepaliveAt;
    for (const transaction of this.#pending.values()) {
      deadline = Math.min(deadline, nextSend(transaction), transaction.giveUpAt);
    }
    return deadline;
  }

  handle(event: NatEvent, now: Millis): NatEffect[] {
    const effects: NatEffect[] = [];
    const before = JSON.stringify(this.#report);
    switch (event.type) {
      case "start":
        this.#start(event.servers, event.local, now, effects);
        break;
      case "datagram":
        this.#receive(event.from, event.bytes, now, effects);
        break;
      case "tick":
        break;
      case "doubt":
        if (this.#keepaliveAt !== NEVER && !this.#isAsking(now)) this.#keepaliveAt = now;
        break;
    }
    this.#expire(now, effects);
    if (JSON.stringify(this.#report) !== before) {
      effects.push({ type: "report", report: this.#report });
    }
    return effects;
  }

  /** Whether a request is so young that its answer will tell what holds now. */
  #isAsking(now: Millis): boolean {
    return [...this.#pending.values()].some(({ purpose, startedAt }) =>
      (purpose === "seen" || purpose === "keepalive") && now - startedAt < YOUNG_MS
    );
  }

  #start(
    servers: readonly StunServer[],
    local: readonly Endpoint[],
    now: Millis,
    effects: NatEffect[],
  ): void {
    this.#pending.clear();
    this.#servers = servers;
    this.#local = local;
    this.#first = null;
    this.#keepaliveAt = NEVER;
    this.#keepaliveTo = null;
    this.#report = UNKNOWN_NAT;
    for (const server of servers) {
      const [to] = server.endpoints;
      if (to) this.#ask("seen", server, to, now, effects);
    }
  }

  #ask(
    purpose: Purpose,
    server: StunServer | null,
    to: Endpoint,
    now: Millis,
    effects: NatEffect[],
  ): void {
    const transactionId = this.#random.bytes(TRANSACTION_ID);
    const isFilter = FILTERS.includes(purpose) || purpose === "hairpin";
    const changeIp = purpose === "filter-address";
    const changePort = changeIp || purpose === "filter-port";
    const bytes = encodeRequest({ transactionId, changeIp, changePort });
    this.#pending.set(toHex(transactionId), {
      purpose,
      server,
      to,
      bytes,
      startedAt: now,
      resends: isFilter ? FILTER_RESENDS_MS : RESENDS_MS,
      giveUpAt: now + (isFilter ? FILTER_GIVE_UP_MS : GIVE_UP_MS),
      sends: 1,
    });
    effects.push({ type: "transmit", to, bytes });
  }

  #receive(from: Endpoint, bytes: Uint8Array, now: Millis, effects: NatEffect[]): void {
    const message = decodeMessage(bytes);
    if (!message?.isBinding) return;
    const id = toHex(message.transactionId);
    const transaction = this.#pending.get(id);
    if (!transaction) return;
    const isOwnRequest = message.class === "request" && transaction.purpose === "hairpin";
    if (isOwnRequest) {
      this.#pending.delete(id);
      this.#report = { ...this.#report, hairpin: true };
      return;
    }
    if (message.class !== "success" || !message.mapped || transaction.purpose === "hairpin") return;
    // An answer from elsewhere counts only where it was asked for, and only from the same server.
    if (!this.#mayAnswer(transaction, from)) return;
    this.#pending.delete(id);
    this.#answered(transaction, { mapped: message.mapped, other: message.other }, now, effects);
  }

  #mayAnswer({ purpose, server, to }: Transaction, from: Endpoint): boolean {
    switch (purpose) {
      case "filter-port":
        return server!.endpoints.includes(from) && from !== to;
      case "filter-address":
        return from === this.#first?.other;
      default:
        return from === to;
    }
  }

  #answered(
    transaction: Transaction,
    answer: { readonly mapped: Endpoint; readonly other: Endpoint | null },
    now: Millis,
    effects: NatEffect[],
  ): void {
    const { mapped } = answer;
    switch (transaction.purpose) {
      case "seen":
        return this.#seen(transaction, answer, now, effects);
      case "filter-port":
      case "filter-address":
        return this.#filtered(transaction.purpose, true, now, effects);
      case "second-port":
        return this.#secondPort(mapped);
      case "second-address":
        return this.#otherAddress(mapped);
      case "keepalive":
        if (this.#report.mapped.includes(mapped) && this.#first) return;
        return this.#start(this.#servers, this.#local, now, effects);
      case "hairpin":
        return;
    }
  }

  #seen(
    transaction: Transaction,
    { mapped, other }: { readonly mapped: Endpoint; readonly other: Endpoint | null },
    now: Millis,
    effects: NatEffect[],
  ): void {
    const server = transaction.server!;
    const rttMs = Math.min(this.#report.rttMs ?? Infinity, now - transaction.startedAt);
    const isIpv6 = mapped.startsWith("[");
    const list = isIpv6 ? [...this.#report.mapped, mapped] : [mapped, ...this.#report.mapped];
    this.#report = {
      ...this.#report,
      udp: true,
      rttMs,
      ipv6: this.#report.ipv6 || isIpv6,
      mapped: [...new Set(list)].slice(0, MAX_MAPPED),
    };
    if (this.#keepaliveTo === null || (!isIpv6 && this.#first === null)) {
      this.#keepaliveTo = transaction.to;
      this.#keepaliveAt = now + KEEPALIVE_MS;
    }
    if (isIpv6) return;
    if (this.#first !== null) return this.#otherAddress(mapped);
    const passed = { port: null, address: other === null ? false : null };
    this.#first = { server, mapped, other, passed, isByAddress: false };
    const isOwn = this.#local.includes(mapped);
    this.#report = {
      ...this.#report,
      mapping: isOwn ? "none" : "unknown",
      preservesPort: this.#local.some((own) => portOf(own) === portOf(mapped)),
      hairpin: isOwn ? null : this.#report.hairpin,
    };
    if (!isOwn) this.#ask("hairpin", null, mapped, now, effects);
    if (server.endpoints.length > 1) this.#ask("filter-port", server, transaction.to, now, effects);
    if (other !== null) this.#ask("filter-address", server, transaction.to, now, effects);
  }

  /** One of the two answers from elsewhere got in, or is not coming any more. */
  #filtered(
    purpose: "filter-port" | "filter-address",
    hasPassed: boolean,
    now: Millis,
    effects: NatEffect[],
  ): void {
    const { passed, other, server } = this.#first!;
    passed[purpose === "filter-port" ? "port" : "address"] = hasPassed;
    const hasNat = this.#report.mapping !== "none";
    if (passed.address) {
      this.#setFiltering(hasNat ? "endpoint-independent" : "none");
    } else if (passed.address === false && passed.port) {
      this.#setFiltering(hasNat || other !== null ? "address-dependent" : "none");
    } else if (passed.address === false && passed.port === false) {
      this.#setFiltering("address-and-port-dependent");
    }
    // Whoever is sent to may answer: not before all that was unasked for had its chance.
    const isOpen = passed.port === null || passed.address === null;
    if (isOpen || !hasNat) return;
    const [, to] = server.endpoints;
    if (to) this.#ask("second-port", server, to, now, effects);
    if (other !== null) this.#ask("second-address", server, other, now, effects);
  }

  /** How a server at another address sees the socket: the mapping may depend on that. */
  #otherAddress(mapped: Endpoint): void {
    if (mapped === this.#first!.mapped) return;
    this.#first!.isByAddress = true;
    if (this.#report.mapping === "endpoint-independent") {
      this.#report = { ...this.#report, mapping: "address-dependent" };
    }
  }

  #secondPort(mapped: Endpoint): void {
    const { mapped: before, isByAddress } = this.#first!;
    const isSame = mapped === before;
    const delta = portOf(mapped) - portOf(before);
    this.#report = {
      ...this.#report,
      mapping: !isSame
        ? "address-and-port-dependent"
        : isByAddress
        ? "address-dependent"
        : "endpoint-independent",
      portDelta: isSame || Math.abs(delta) > MAX_PORT_DELTA ? null : delta,
      mapped: [...new Set([mapped, ...this.#report.mapped])].slice(0, MAX_MAPPED),
    };
  }

  #expire(now: Millis, effects: NatEffect[]): void {
    for (const [id, transaction] of this.#pending) {
      if (now >= transaction.giveUpAt) {
        this.#pending.delete(id);
        this.#failed(transaction, now, effects);
      } else if (now >= nextSend(transaction)) {
        transaction.sends++;
        effects.push({ type: "transmit", to: transaction.to, bytes: transaction.bytes });
      }
    }
    if (now < this.#keepaliveAt || this.#keepaliveTo === null) return;
    this.#keepaliveAt = now + KEEPALIVE_MS;
    this.#ask("keepalive", null, this.#keepaliveTo, now, effects);
  }

  #failed({ purpose, to }: Transaction, now: Millis, effects: NatEffect[]): void {
    switch (purpose) {
      case "filter-port":
      case "filter-address":
        return this.#filtered(purpose, false, now, effects);
      case "hairpin":
        this.#report = { ...this.#report, hairpin: false };
        return;
      case "keepalive":
        return this.#start(this.#servers, this.#local, now, effects);
      case "seen":
        // Without any answer nothing is known; a keepalive that fails too begins anew.
        if (this.#keepaliveTo !== null) return;
        this.#keepaliveTo = to;
        this.#keepaliveAt = now + KEEPALIVE_MS;
        return;
      case "second-port":
      case "second-address":
        return;
    }
  }

  #setFiltering(filtering: NatReport["filtering"]): void {
    this.#report = { ...this.#report, filtering };
  }
}

function nextSend({ startedAt, resends, sends }: Transaction): Millis {
  const delay = resends[sends - 1];
  return delay === undefined ? NEVER : startedAt + delay;
}

function portOf(endpoint: Endpoint): number {
  return parseEndpoint(endpoint)!.port;
}
