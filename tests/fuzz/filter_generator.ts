/**
 * Random rules and packets for the filter, from few addresses, ports and protocols, so that they
 * meet each other and lie at the edges of rules.
 * @module
 */
import { optionsHeader, packetBytes, type TestPacket } from "../../core/filter/_packets.ts";
import type { FilterSubjects } from "../../core/filter/compile.ts";
import { type FilterRule, LAYERS, type PortRange } from "../../core/filter/rules.ts";
import { parseIp, parsePrefix, type Prefix } from "../../core/ip.ts";
import type { Random } from "../../core/random.ts";

const PEERS = 6;
/** Whose addresses are whose, longest prefix first. */
export const OWNERS: readonly { readonly prefix: Prefix; readonly peer: number }[] = [
  ...Array.from({ length: PEERS }, (_, peer) => [
    { prefix: parsePrefix(`10.0.0.${peer}`)!, peer },
    { prefix: parsePrefix(`fd00::${peer}`)!, peer },
  ]).flat(),
  { prefix: parsePrefix("192.168.3.0/24")!, peer: 3 },
  { prefix: parsePrefix("fd03::/64")!, peer: 3 },
];

/** The last peer is no member; two slots are the same one. */
const SUBJECTS: FilterSubjects = {
  peers: new Map([0, 1, 2, 3, 1].map((id, slot) => [slot, peerId(id)])),
  own: [parsePrefix("10.0.0.100")!, parsePrefix("fd00::100")!],
};

function peerId(id: number): string {
  return `${id}`.padStart(16, "0");
}

const REMOTE = [
  ...Array.from({ length: PEERS }, (_, peer) => [[`10.0.0.${peer}`], [`fd00::${peer}`]]),
].map(([v4, v6]) => [[...v4!], [...v6!]]);
REMOTE[3]![0]!.push("192.168.3.7");
REMOTE[3]![1]!.push("fd03::7");
const LOCAL = [["10.0.0.100", "172.16.1.1", "172.16.2.9", "8.8.8.8"], ["fd00::100", "fd16:1::1"]];
const PREFIXES = [
  "172.16.0.0/12",
  "172.16.1.0/24",
  "172.16.1.1/32",
  "0.0.0.0/0",
  "10.0.0.100/32",
  "::/0",
  "fd16:1::/32",
].map((text) => parsePrefix(text)!);
const PORTS = [0, 22, 80, 443, 5000, 5001, 5002, 40_000, 65_535];
const FLAGS = [2, 2, 2, 0x12, 0x12, 0x10, 0x10, 0x18, 0x11, 0x11, 0x04, 0x14];
const OTHER_PROTOCOLS = [47, 50, 132, 41, 59, 135];
const ERRORS = [[3, 11, 12], [1, 2, 3, 4]];
const NO_HEADERS: TestPacket["headers"] = [];

/** A packet under way. */
export interface Passing {
  readonly peer: number;
  readonly isInbound: boolean;
  readonly packet: TestPacket;
  /** What an ICMP error quotes, as far as that can be read. */
  readonly quoted: TestPacket | null;
}

/** Makes what a test of the filter needs. */
export class Generator {
  readonly #random: Random;
  readonly subjects: FilterSubjects = SUBJECTS;

  constructor(random: Random) {
    this.#random = random;
  }

  below(end: number): number {
    return this.#random.uint32() % end;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }

  rules(): FilterRule[] {
    return Array.from({ length: this.below(this.pick([3, 10, 24])) }, (_, i) => ({
      id: `rule-${i}`,
      layer: this.pick(LAYERS),
      action: this.below(3) === 0 ? "deny" : "allow",
      sources: this.below(2) === 0 ? null : new Set(
        Array.from({ length: this.below(4) }, () => peerId(this.below(6))),
      ),
      protocol: this.pick(["any", "any", "tcp", "tcp", "udp", "icmp"]),
      ports: this.below(3) === 0 ? null : this.#ports(),
      ...this.below(4) === 0 ? { icmpTypes: "echo-request" as const } : {},
      destinations: this.below(4) > 0
        ? null
        : Array.from({ length: 1 + this.below(2) }, () => this.pick(PREFIXES)),
      origin: { where: "", comment: "" },
    }));
  }

  #ports(): PortRange[] {
    return Array.from({ length: 1 + this.below(3) }, () => {
      const first = this.pick(PORTS);
      const last = this.below(2) === 0 ? first : this.pick(PORTS);
      return { first: Math.min(first, last), last: Math.max(first, last) };
    });
  }

  /** A packet, often of a flow that one of `recent` belongs to. */
  packet(recent: readonly Passing[]): Passing {
    const former = recent.length > 0 ? this.pick(recent) : null;
    const turn = this.below(16);
    if (former && turn < 7) return this.#goOn(former);
    if (former && turn < 9) return this.#error(former);
    if (former?.packet.fragment && turn < 12) return this.#later(former);
    return this.#fresh();
  }

  #fresh(): Passing {
    const family = this.below(3) === 0 ? 1 : 0;
    const peer = this.below(PEERS);
    const isInbound = this.below(3) > 0;
    const remote = this.pick(REMOTE[this.below(20) === 0 ? this.below(PEERS) : peer]![family]!);
    const local = this.below(3) > 0 ? LOCAL[family]![0]! : this.pick(LOCAL[family]!);
    const [source, destination] = isInbound ? [remote, local] : [local, remote];
    const packet: TestPacket = {
      source: parseIp(source)!,
      destination: parseIp(destination)!,
      ...this.#transport(family),
      quote: null,
      fragment: null,
      headers: this.#headers(family),
    };
    return { peer, isInbound, packet: this.#cut(packet), quoted: null };
  }

  #transport(family: number): Pick<
    TestPacket,
    "protocol" | "sourcePort" | "destinationPort" | "flags" | "icmp"
  > {
    const ports = { sourcePort: this.pick(PORTS), destinationPort: this.pick(PORTS) };
    const none = { sourcePort: 0, destinationPort: 0, flags: 0, icmp: null };
    const turn = this.below(10);
    if (turn < 5) return { protocol: 6, ...ports, flags: this.pick(FLAGS), icmp: null };
    if (turn < 7) return { protocol: 17, ...ports, flags: 0, icmp: null };
    // ICMP of the other family is nothing but a number.
    if (turn === 7) return { ...none, protocol: this.pick([...OTHER_PROTOCOLS, family ? 1 : 58]) };
    const type = this.pick(family === 0 ? [8, 8, 0, 13, 14, 40] : [128, 128, 129, 150]);
    return { ...none, protocol: family === 0 ? 1 : 58, icmp: { type, id: this.below(3) } };
  }

  #headers(family: number): TestPacket["headers"] {
    if (this.below(6) > 0) return NO_HEADERS;
    if (family === 0) return Array(1 + this.below(10)).fill({ type: 0, body: new Uint8Array(0) });
    const routing = { type: 43, body: Uint8Array.of(4, 0, 0, 0, 0, 0) };
    const authentication = { type: 51, body: new Uint8Array(22) };
    return [
      ...this.below(2) === 0 ? [optionsHeader(0, 1 + this.below(33))] : [],
      ...this.below(2) === 0 ? [optionsHeader(60, 1)] : [],
      ...this.below(2) === 0 ? [routing] : [],
      ...this.below(2) === 0 ? [authentication] : [],
    ];
  }

  /** Sometimes only the beginning of a packet. */
  #cut(packet: TestPacket): TestPacket {
    if (this.below(8) > 0) return packet;
    const isAtomic = packet.source.length === 16 && this.below(3) === 0;
    if (isAtomic && packet.icmp === null) {
      return { ...packet, fragment: { id: 1, from: 0, length: 40, isMore: false } };
    }
    if (isAtomic) return packet;
    return { ...packet, fragment: { id: this.below(4), from: 0, length: 24, isMore: true } };
  }

  /** A packet in the same flow: the same again, or what comes next in either direction. */
  #goOn({ peer, isInbound, packet }: Passing): Passing {
    const next = {
      ...packet,
      flags: packet.protocol === 6 ? this.pick(FLAGS) : 0,
      quote: null,
      fragment: null,
      icmp: packet.quote ? { type: packet.source.length === 4 ? 13 : 128, id: 1 } : packet.icmp,
    };
    if (this.below(3) === 0) return { peer, isInbound, packet: this.#cut(next), quoted: null };
    return {
      peer: this.below(30) === 0 ? this.below(PEERS) : peer,
      isInbound: !isInbound,
      packet: this.#cut(answer(next)),
      quoted: null,
    };
  }

  /** An ICMP error about a packet, which need not be one that was sent. */
  #error({ peer, isInbound, packet }: Passing): Passing {
    const quoted = this.below(4) === 0 ? answer(packet) : packet;
    const bytes = packetBytes(quoted);
    const headers = bytes.length - payloadBytes(quoted);
    const kept = this.below(2) === 0 ? bytes.length : headers + 8;
    const family = packet.source.length === 4 ? 0 : 1;
    const isRight = this.below(8) > 0;
    const fragmented = payloadBytes(quoted) < 8;
    return {
      peer,
      isInbound: this.below(10) === 0 ? isInbound : !isInbound,
      packet: {
        source: quoted.destination,
        destination: isRight ? quoted.source : parseIp(this.pick(LOCAL[family]!))!,
        protocol: family === 0 ? 1 : 58,
        sourcePort: 0,
        destinationPort: 0,
        flags: 0,
        icmp: { type: this.pick(ERRORS[family]!), id: 0 },
        quote: bytes.subarray(0, kept),
        fragment: null,
        headers: NO_HEADERS,
      },
      quoted: fragmented ? null : quoted,
    };
  }

  /** The rest of a packet, or what claims to be it. */
  #later({ peer, isInbound, packet }: Passing): Passing {
    const fragment = packet.fragment!;
    const from = this.pick([24, 24, 24, 32, 1480, 40]);
    return {
      peer,
      isInbound,
      packet: {
        ...packet,
        flags: 0,
        fragment: {
          id: this.below(6) === 0 ? this.below(4) : fragment.id,
          from,
          length: 16,
          isMore: this.below(2) === 0,
        },
      },
      quoted: null,
    };
  }
}

/** The packet with its ends exchanged, and a query made a reply. */
function answer(packet: TestPacket): TestPacket {
  const { source, destination, sourcePort, destinationPort, icmp } = packet;
  const other: Record<number, number> = { 8: 0, 0: 8, 13: 14, 14: 13, 128: 129, 129: 128 };
  return {
    ...packet,
    source: destination,
    destination: source,
    sourcePort: destinationPort,
    destinationPort: sourcePort,
    icmp: icmp && { ...icmp, type: other[icmp.type] ?? icmp.type },
  };
}

/** Bytes behind the IP headers. */
function payloadBytes({ fragment, icmp, quote }: TestPacket): number {
  if (fragment) return fragment.length;
  return icmp ? 8 + (quote?.length ?? 16) : 40;
}
