/**
 * The words that say what a packet is, and why one is refused.
 * @module
 */
/** Word offsets in a key. */
export const KEY = {
  /** 4 or 6. */
  family: 0,
  protocol: 1,
  /** Source port in the upper half, destination port in the lower; 0 without ports. */
  ports: 2,
  /** Four words, of which IPv4 uses the first and leaves the others as they are. */
  source: 3,
  destination: 7,
  /** One of {@link KIND}. */
  kind: 11,
  tcpFlags: 12,
  icmpType: 13,
  icmpCode: 14,
  /** One of {@link FRAGMENT}. */
  fragment: 15,
  fragmentId: 16,
  /** What of the whole packet's payload the fragment has, in bytes. */
  fragmentFrom: 17,
  fragmentUntil: 18,
  /** Index of the first byte behind the IP headers. */
  transport: 19,
  /** Index of the first byte behind the packet. */
  end: 20,
} as const;
/** Words of a key. */
export const KEY_WORDS = 21;

export const FRAGMENT = { none: 0, first: 1, later: 2 } as const;

/** What a packet is to a flow. */
export const KIND = {
  /** May begin a flow and be a part of it. */
  any: 0,
  /** Answers an ICMP query. */
  reply: 1,
  /** An ICMP error about a packet that it quotes. */
  error: 2,
  /** ICMP that belongs to no flow. */
  alone: 3,
} as const;

export const IPPROTO = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;
/** RFC 9293 section 3.1. */
export const TCP_FLAG = { fin: 1, syn: 2, rst: 4, ack: 16 } as const;

/** Why a packet is refused unjudged; the index is what `readFlowKey` returns. */
export const REFUSALS = [
  "none",
  "not-ip",
  "bad-length",
  "headers-beyond-packet",
  "source-route",
  "bad-option",
  "too-many-headers",
  "repeated-header",
  "misplaced-header",
  "tiny-fragment",
  "bad-fragment",
  "bad-tcp-flags",
  "link-local-icmp",
] as const;
export type Refusal = typeof REFUSALS[number];

/** What `readFlowKey` returns for each reason. */
export function refusalCode(refusal: Refusal): number {
  return REFUSALS.indexOf(refusal);
}
