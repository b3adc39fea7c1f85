/**
 * What a flow has been through, as bits, and how long it is remembered after its last packet.
 * @module
 */
import { IPPROTO, TCP_FLAG } from "./key.ts";

const LOCAL = 1;
const REMOTE = 2;
const FIN_LOCAL = 16;
const FIN_REMOTE = 32;
const CLOSED = 64;

/** Bits of a flow's state; the upper half of that of fragments is what the first one covers. */
export const STATE = {
  /** A packet was sent, one came, and both. */
  local: LOCAL,
  remote: REMOTE,
  both: LOCAL | REMOTE,
  /** This node sent the first packet. */
  own: 4,
  /** Answered, for TCP beyond the handshake. */
  established: 8,
  /** TCP: reset, or both sides are done. */
  closed: CLOSED,
  /** The rules changed and deny it now. */
  denied: 128,
  /** Begun by a SYN, not joined midway. */
  syn: 256,
  /** Where the first fragment's bytes are counted. */
  fragmentShift: 16,
} as const;

/** Seconds. */
const TCP_ESTABLISHED = 7440;
/** RFC 5382 REQ-5: established 2 h 4 min, else 4 min. */
const TCP_TRANSITORY = 240;
/** RFC 4787 REQ-5. */
const UDP = 300;
/** RFC 5508 REQ-2. */
const ICMP = 60;
/** What Linux waits for the rest of a packet. */
const FRAGMENTS = 30;
/** Fragments of one packet, in the protocol's place in a flow table. */
export const IS_FRAGMENT = 0x200;

/** Seconds that a flow is remembered. */
export function lifetime(protocol: number, state: number): number {
  if ((protocol & IS_FRAGMENT) !== 0) return FRAGMENTS;
  if (protocol === IPPROTO.tcp) {
    const isOpen = (state & STATE.established) !== 0 && (state & STATE.closed) === 0;
    return isOpen ? TCP_ESTABLISHED : TCP_TRANSITORY;
  }
  return protocol === IPPROTO.icmp || protocol === IPPROTO.icmpv6 ? ICMP : UDP;
}

/** Whether TCP flags ask for a new connection. */
export function opens(flags: number): boolean {
  return (flags & (TCP_FLAG.syn | TCP_FLAG.ack)) === TCP_FLAG.syn;
}

/** The state of a flow whose first packet has the TCP flags `flags`, 0 for other protocols. */
export function firstState(isInbound: boolean, flags: number): number {
  return (isInbound ? REMOTE : LOCAL | STATE.own) | (opens(flags) ? STATE.syn : 0);
}

/** The state after a packet with the TCP flags `flags`, 0 for other protocols. */
export function advance(state: number, isInbound: boolean, flags: number): number {
  let next = state | (isInbound ? REMOTE : LOCAL);
  // The answer to a SYN is not enough for TCP: the third packet says that both are there.
  const before = flags === 0 ? next : state;
  if ((before & STATE.both) === STATE.both && (flags & (TCP_FLAG.syn | TCP_FLAG.rst)) === 0) {
    next |= STATE.established;
  }
  if ((flags & TCP_FLAG.fin) !== 0) next |= isInbound ? FIN_REMOTE : FIN_LOCAL;
  const isDone = (next & FIN_LOCAL) !== 0 && (next & FIN_REMOTE) !== 0;
  return isDone || (flags & TCP_FLAG.rst) !== 0 ? next | CLOSED : next;
}
