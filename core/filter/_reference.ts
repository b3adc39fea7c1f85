/**
 * The packet filter as one would explain it: slow, obvious, the judge of the fast one in tests.
 *
 * It works on what packets mean, not on their bytes, keeps flows in a `Map`, and asks every rule
 * about every packet. It has no limit of flows, so tests must stay below the fast one's.
 * @module
 */
import { type Prefix, prefixContains } from "../ip.ts";
import type { FilterSubjects } from "./compile.ts";
import type { FilterDrop } from "./filter.ts";
import type { TestPacket } from "./_packets.ts";
import type { FilterRule, Protocol } from "./rules.ts";

/** What became of a packet, and the index of the rule that decided, or -1. */
export interface Outcome {
  readonly drop: FilterDrop | null;
  readonly rule: number;
}

/** What rules are asked about. */
interface Question {
  readonly peer: number;
  readonly protocol: Protocol | "other";
  /** On this node's side; null for what has no ports. */
  readonly port: number | null;
  /** Whether it is an echo request that comes in, or this node's answer to one. */
  readonly isEcho: boolean;
  readonly to: Uint8Array;
}

/** Which rule decides: deny beats allow, the first of each kind is named, and no match denies. */
export function judge(
  rules: readonly FilterRule[],
  { peers, own }: FilterSubjects,
  { peer, protocol, port, isEcho, to }: Question,
): Outcome {
  const id = peers.get(peer);
  const isHere = own.some((prefix) => prefixContains(prefix, to));
  const matches = (rule: FilterRule) =>
    id !== undefined && (!rule.sources || rule.sources.has(id)) &&
    (rule.protocol === "any" || rule.protocol === protocol) &&
    (!rule.icmpTypes || isEcho) &&
    (!rule.ports ||
      (port !== null && rule.ports.some(({ first, last }) => first <= port && port <= last))) &&
    (isHere
      ? rule.destinations === null
      : rule.destinations !== null && rule.destinations.some((each) => prefixContains(each, to)));
  const deny = rules.findIndex((rule) => rule.action === "deny" && matches(rule));
  if (deny >= 0) return { drop: "denied", rule: deny };
  const allow = rules.findIndex((rule) => rule.action === "allow" && matches(rule));
  return allow >= 0 ? { drop: null, rule: allow } : { drop: "no-rule", rule: -1 };
}

interface Flow {
  isOwn: boolean;
  hasSyn: boolean;
  sent: boolean;
  received: boolean;
  isEstablished: boolean;
  finSent: boolean;
  finReceived: boolean;
  isReset: boolean;
  lastSeen: number;
  /** When rules were asked last. */
  generation: number;
  outcome: Outcome;
}

interface Begun {
  readonly until: number;
  readonly generation: number;
  readonly lastSeen: number;
  readonly outcome: Outcome;
}

const PASSED: Outcome = { drop: null, rule: -1 };
const SYN = 2;
const ACK = 16;
const RST = 4;
const FIN = 1;

/** The whole filter. */
export class ReferenceFilter {
  readonly #flows = new Map<string, Flow>();
  readonly #fragments = new Map<string, Begun>();
  #rules: readonly FilterRule[] = [];
  #subjects: FilterSubjects = { peers: new Map(), own: [] };
  #generation = 0;
  readonly #owners: readonly { readonly prefix: Prefix; readonly peer: number }[];

  /** @param owners Longest prefix first. */
  constructor(owners: readonly { readonly prefix: Prefix; readonly peer: number }[]) {
    this.#owners = owners;
  }

  useRules(rules: readonly FilterRule[], subjects: FilterSubjects): void {
    this.#rules = rules;
    this.#subjects = subjects;
    this.#generation++;
  }

  inbound(peer: number, packet: TestPacket, quoted: TestPacket | null, now: number): Outcome {
    const owner = this.#owners.find(({ prefix }) => prefixContains(prefix, packet.source));
    if (owner?.peer !== peer) return { drop: "source-mismatch", rule: -1 };
    const { fragment } = packet;
    if (fragment && fragment.from > 0) return this.#later(peer, packet, fragment.from, now);
    const outcome = this.#whole(peer, packet, quoted, now);
    // All of a packet in one fragment has no others (RFC 6946).
    if (fragment?.isMore && !outcome.drop) this.#first(peer, packet, fragment.length, outcome, now);
    return outcome;
  }

  outbound(peer: number, packet: TestPacket, now: number): void {
    if (packet.fragment && packet.fragment.from > 0) return;
    if (kindOf(packet) === "error" || kindOf(packet) === "alone") return;
    const name = flowName(peer, packet, false);
    const flow = this.#find(name, packet.protocol, now);
    const isOpening = opens(packet);
    if (flow && isOpening && (!flow.isOwn || isClosed(flow))) {
      this.#flows.set(name, this.#newFlow(packet, false, PASSED, 0, now));
    } else if (flow) {
      if (!flow.outcome.drop) advance(flow, packet, false);
      flow.lastSeen = now;
    } else if (kindOf(packet) === "any" && (isOpening || (packet.flags & (SYN | RST)) === 0)) {
      this.#flows.set(name, this.#newFlow(packet, false, PASSED, 0, now));
    }
  }

  #whole(peer: number, packet: TestPacket, quoted: TestPacket | null, now: number): Outcome {
    if (kindOf(packet) === "error") return this.#error(peer, packet, quoted, now);
    const question = this.#question(peer, packet, true);
    if (kindOf(packet) === "alone") return judge(this.#rules, this.#subjects, question);
    const name = flowName(peer, packet, true);
    const flow = this.#find(name, packet.protocol, now);
    const isOfFlow = flow && (!opens(packet) ||
      (flow.isOwn ? flow.hasSyn && !flow.received : !isClosed(flow)));
    if (isOfFlow) {
      this.#settle(flow, question);
      if (!flow.outcome.drop) advance(flow, packet, true);
      flow.lastSeen = now;
      return flow.outcome;
    }
    const outcome = judge(this.#rules, this.#subjects, question);
    const isBeginning = kindOf(packet) === "any" && (packet.flags & RST) === 0;
    if (!outcome.drop && isBeginning && (!flow || isClosed(flow))) {
      this.#flows.set(name, this.#newFlow(packet, true, outcome, this.#generation, now));
    }
    return outcome;
  }

  /** An error is told to who sent what it quotes, in a flow that is known and allowed. */
  #error(peer: number, packet: TestPacket, quoted: TestPacket | null, now: number): Outcome {
    const unrelated: Outcome = { drop: "unrelated-error", rule: -1 };
    if (!quoted || `${quoted.source}` !== `${packet.destination}`) return unrelated;
    if (kindOf(quoted) === "error" || kindOf(quoted) === "alone") return unrelated;
    if (quoted.fragment && quoted.fragment.from > 0) return unrelated;
    const flow = this.#find(flowName(peer, quoted, false), quoted.protocol, now);
    if (!flow || !flow.sent) return unrelated;
    const isOld = flow.generation !== this.#generation;
    this.#settle(flow, this.#question(peer, quoted, false));
    if (isOld || flow.outcome.drop) flow.lastSeen = now;
    if (flow.outcome.drop) return flow.outcome;
    return PASSED;
  }

  /** Asks the rules again when they have changed; of what this node began, only who is cut off. */
  #settle(flow: Flow, question: Question): void {
    if (flow.generation === this.#generation) return;
    flow.generation = this.#generation;
    if (!flow.isOwn) {
      flow.outcome = judge(this.#rules, this.#subjects, question);
      return;
    }
    const cutting = this.#rules.map((rule) =>
      rule.action === "deny" && rule.sources && rule.protocol === "any" && !rule.ports &&
        !rule.icmpTypes
        ? rule
        : { ...rule, sources: new Set<string>() }
    );
    const outcome = judge(cutting, this.#subjects, question);
    flow.outcome = outcome.drop === "denied" ? outcome : PASSED;
  }

  #find(name: string, protocol: number, now: number): Flow | undefined {
    const flow = this.#flows.get(name);
    return flow && now - flow.lastSeen <= lifetime(flow, protocol) ? flow : undefined;
  }

  #newFlow(
    packet: TestPacket,
    isInbound: boolean,
    outcome: Outcome,
    generation: number,
    now: number,
  ): Flow {
    return {
      isOwn: !isInbound,
      hasSyn: opens(packet),
      sent: !isInbound,
      received: isInbound,
      isEstablished: false,
      finSent: false,
      finReceived: false,
      isReset: false,
      lastSeen: now,
      generation,
      outcome,
    };
  }

  #first(peer: number, packet: TestPacket, until: number, outcome: Outcome, now: number): void {
    const name = fragmentName(peer, packet);
    const before = this.#fragments.get(name);
    const known = before && now - before.lastSeen <= 30 ? before.until : 0;
    this.#fragments.set(name, {
      until: Math.max(until, known),
      generation: this.#generation,
      lastSeen: now,
      outcome,
    });
  }

  #later(peer: number, packet: TestPacket, from: number, now: number): Outcome {
    const begun = this.#fragments.get(fragmentName(peer, packet));
    const isFine = begun && now - begun.lastSeen <= 30 && begun.generation === this.#generation &&
      from >= begun.until;
    return isFine ? begun.outcome : { drop: "bad-fragment", rule: -1 };
  }

  #question(peer: number, packet: TestPacket, isInbound: boolean): Question {
    const protocol = protocolOf(packet);
    const hasPorts = protocol === "tcp" || protocol === "udp";
    const port = isInbound ? packet.destinationPort : packet.sourcePort;
    return {
      peer,
      protocol,
      port: hasPorts ? port : null,
      isEcho: protocol === "icmp" &&
        packet.icmp?.type === echoType(packet.source.length, isInbound),
      to: isInbound ? packet.destination : packet.source,
    };
  }
}

function opens({ flags }: TestPacket): boolean {
  return (flags & (SYN | ACK)) === SYN;
}

function isClosed(flow: Flow): boolean {
  return flow.isReset || (flow.finSent && flow.finReceived);
}

/** Notes what a packet does to its flow. */
function advance(flow: Flow, { protocol, flags }: TestPacket, isInbound: boolean): void {
  const wereBoth = flow.sent && flow.received;
  if (isInbound) flow.received = true;
  else flow.sent = true;
  if (protocol !== 6) return;
  if (wereBoth && (flags & (SYN | RST)) === 0) flow.isEstablished = true;
  if (flags & FIN && isInbound) flow.finReceived = true;
  if (flags & FIN && !isInbound) flow.finSent = true;
  if (flags & RST) flow.isReset = true;
}

/** Seconds: RFC 5382, RFC 4787, RFC 5508. */
function lifetime(flow: Flow, protocol: number): number {
  if (protocol === 6) return flow.isEstablished && !isClosed(flow) ? 7440 : 240;
  return protocol === 1 || protocol === 58 ? 60 : 300;
}

function protocolOf({ protocol, source }: TestPacket): Protocol | "other" {
  if (protocol === 6) return "tcp";
  if (protocol === 17) return "udp";
  return protocol === (source.length === 4 ? 1 : 58) ? "icmp" : "other";
}

/** The type of an echo request, or of its reply, by the length of addresses. */
function echoType(addressBytes: number, isRequest: boolean): number {
  if (addressBytes === 4) return isRequest ? 8 : 0;
  return isRequest ? 128 : 129;
}

function kindOf({ icmp, source }: TestPacket): "any" | "reply" | "error" | "alone" {
  if (!icmp) return "any";
  const { type } = icmp;
  if (source.length === 4) {
    if (type === 8 || type === 13) return "any";
    if (type === 0 || type === 14) return "reply";
    return type === 3 || type === 11 || type === 12 ? "error" : "alone";
  }
  if (type === 128) return "any";
  if (type === 129) return "reply";
  return type >= 1 && type <= 4 ? "error" : "alone";
}

/** Types of ICMP queries, also by their replies. */
const QUERY_OF: Record<number, number> = { 0: 8, 8: 8, 13: 13, 14: 13, 128: 128, 129: 128 };

function flowName(peer: number, packet: TestPacket, isInbound: boolean): string {
  const { source, destination, icmp, protocol } = packet;
  // Who asked, and what: an answer has the same identifier, with its ends exchanged.
  const isReply = kindOf(packet) === "reply";
  const asked = icmp ? `${icmp.id} ${QUERY_OF[icmp.type]} ${isReply === isInbound}` : "";
  const [sourcePort, destinationPort] = protocol === 6 || protocol === 17
    ? [packet.sourcePort, packet.destinationPort]
    : [0, 0];
  return isInbound
    ? `${peer} ${protocol} ${source} ${sourcePort} ${destination} ${destinationPort} ${asked}`
    : `${peer} ${protocol} ${destination} ${destinationPort} ${source} ${sourcePort} ${asked}`;
}

function fragmentName(
  peer: number,
  { source, destination, protocol, fragment }: TestPacket,
): string {
  return `${peer} ${source} ${destination} ${source.length === 4 ? protocol : ""} ${fragment?.id}`;
}
