/**
 * What the packet filter judges of an IP packet: addresses, protocol, ports, fragment, TCP flags.
 *
 * Hostile bytes: what two readers could understand differently is refused here, so that the filter
 * never judges another packet than the one that the system then receives. IPv6 extension headers
 * are walked by a list of those that are known, and a walk that does not end within its bounds is a
 * refusal: it never goes on as if what it has come to were a TCP or UDP header. Nothing is
 * allocated or thrown, and words are signed, since V8 would box what is above 2^31; they are read through a `DataView`, which
 * takes a third of the time of putting them together from bytes.
 * @module
 */
import { FRAGMENT, IPPROTO, KEY, KIND, refusalCode } from "./key.ts";
import { readTransport, TCP_HEADER } from "./transport_key.ts";

const OK = 0;
const NOT_IP = refusalCode("not-ip");
const BAD_LENGTH = refusalCode("bad-length");
const BEYOND = refusalCode("headers-beyond-packet");
const SOURCE_ROUTE = refusalCode("source-route");
const BAD_OPTION = refusalCode("bad-option");
const TOO_MANY = refusalCode("too-many-headers");
const REPEATED = refusalCode("repeated-header");
const MISPLACED = refusalCode("misplaced-header");
const TINY = refusalCode("tiny-fragment");
const BAD_FRAGMENT = refusalCode("bad-fragment");

const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
const MAX_PAYLOAD = 65_535;
/** RFC 791 section 3.1: loose and strict source route; RFC 7126 says to drop both. */
const LOOSE_SOURCE_ROUTE = 131;
const STRICT_SOURCE_ROUTE = 137;

/** Next Header values of the extension headers that are walked; all others end the walk. */
const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT_HEADER = 44;
const AUTHENTICATION = 51;
const DESTINATION_OPTIONS = 60;
/** RFC 8200 section 4.1 has two kinds of destination options and one of each other header. */
const MAX_DESTINATION_OPTIONS = 2;
/** Far more than any host sends; longer chains hide ports from what stands on the way (RFC 9098). */
const MAX_HEADER_BYTES = 512;
/** Fixed part, and a check value in whole multiples of 8 bytes (RFC 4302 sections 2.2, 3.3.3.2). */
const MIN_AUTHENTICATION = 16;

/**
 * Reads the packet at `[at, at + length)` of `view` into `key`. What stands behind the packet's own
 * length is padding.
 *
 * @returns 0, or the index of the reason in {@link REFUSALS}; then `key` means nothing.
 */
export function readFlowKey(
  key: Int32Array,
  view: DataView,
  at: number,
  length: number,
): number {
  return read(key, view, at, length, false);
}

/**
 * Like {@link readFlowKey} for the beginning of a packet that an ICMP error quotes: 8 bytes behind
 * the IP headers are enough (RFC 792), and what was cut off is not missed.
 */
export function readQuotedKey(
  key: Int32Array,
  view: DataView,
  at: number,
  length: number,
): number {
  return read(key, view, at, length, true);
}

function read(
  key: Int32Array,
  view: DataView,
  at: number,
  length: number,
  isQuote: boolean,
): number {
  const available = at + length;
  if (length < IPV4_HEADER || available > view.byteLength) return BEYOND;
  key[KEY.kind] = KIND.any;
  key[KEY.ports] = 0;
  key[KEY.tcpFlags] = 0;
  key[KEY.fragment] = FRAGMENT.none;
  const version = view.getUint8(at) >> 4;
  if (version === 4) return read4(key, view, at, available, isQuote);
  if (version === 6) return read6(key, view, at, available, isQuote);
  return NOT_IP;
}

function read4(
  key: Int32Array,
  view: DataView,
  at: number,
  available: number,
  isQuote: boolean,
): number {
  const header = (view.getUint8(at) & 15) * 4;
  const total = view.getUint16(at + 2);
  if (header < IPV4_HEADER || total < header) return BAD_LENGTH;
  const transport = at + header;
  if (transport > available || (at + total > available && !isQuote)) return BEYOND;
  const end = Math.min(at + total, available);
  if (header > IPV4_HEADER) {
    const refusal = checkOptions(view, at + IPV4_HEADER, transport);
    if (refusal !== OK) return refusal;
  }
  key[KEY.family] = 4;
  const protocol = view.getUint8(at + 9);
  key[KEY.protocol] = protocol;
  key[KEY.source] = view.getInt32(at + 12);
  key[KEY.destination] = view.getInt32(at + 16);
  key[KEY.transport] = transport;
  key[KEY.end] = end;
  const fragment = view.getUint16(at + 6);
  // More fragments, and the offset in units of 8 bytes.
  if ((fragment & 0x3fff) !== 0) {
    key[KEY.fragmentId] = view.getUint16(at + 4);
    const from = (fragment & 0x1fff) * 8;
    const refusal = readFragment(key, from, (fragment & 0x2000) !== 0, isQuote);
    if (refusal !== OK || from > 0) return refusal;
  }
  return readTransport(key, protocol, view, isQuote);
}

/** Refuses source routes, and lists of options that do not add up (RFC 791 section 3.1). */
function checkOptions(view: DataView, at: number, end: number): number {
  while (at < end) {
    const type = view.getUint8(at);
    if (type === 0) return OK;
    if (type === 1) {
      at++;
      continue;
    }
    if (type === LOOSE_SOURCE_ROUTE || type === STRICT_SOURCE_ROUTE) return SOURCE_ROUTE;
    if (at + 2 > end) return BAD_OPTION;
    const length = view.getUint8(at + 1);
    if (length < 2 || at + length > end) return BAD_OPTION;
    at += length;
  }
  return OK;
}

function read6(
  key: Int32Array,
  view: DataView,
  at: number,
  available: number,
  isQuote: boolean,
): number {
  if (at + IPV6_HEADER > available) return BEYOND;
  const total = IPV6_HEADER + view.getUint16(at + 4);
  if (at + total > available && !isQuote) return BEYOND;
  key[KEY.family] = 6;
  for (let i = 0; i < 4; i++) {
    key[KEY.source + i] = view.getInt32(at + 8 + 4 * i);
    key[KEY.destination + i] = view.getInt32(at + 24 + 4 * i);
  }
  key[KEY.transport] = at + IPV6_HEADER;
  key[KEY.end] = Math.min(at + total, available);
  const next = view.getUint8(at + 6);
  key[KEY.protocol] = next;
  if (isExtension(next)) {
    const refusal = walk(key, next, view, at + IPV6_HEADER, isQuote);
    if (refusal !== OK || key[KEY.fragment] === FRAGMENT.later) return refusal;
  }
  return readTransport(key, key[KEY.protocol]!, view, isQuote);
}

function isExtension(next: number): boolean {
  return next === HOP_BY_HOP || next === DESTINATION_OPTIONS || next === ROUTING ||
    next === FRAGMENT_HEADER || next === AUTHENTICATION;
}

/**
 * Walks extension headers from the one of type `next` at `start` to the protocol behind them. Every
 * turn goes 8 bytes or more forward, and no type may occur more often than here is said, so that
 * there are six headers at most.
 */
function walk(
  key: Int32Array,
  next: number,
  view: DataView,
  start: number,
  isQuote: boolean,
): number {
  const end = key[KEY.end]!;
  let at = start;
  let options = 0;
  let routings = 0;
  let fragments = 0;
  let authentications = 0;
  for (let count = 0; isExtension(next); count++) {
    if (at + 8 > end) return BEYOND;
    const size = extensionBytes(next, view.getUint8(at + 1));
    if (at + size > end) return BEYOND;
    if (at + size - start > MAX_HEADER_BYTES) return TOO_MANY;
    if (next === HOP_BY_HOP) {
      if (count > 0) return MISPLACED;
    } else if (next === DESTINATION_OPTIONS) {
      if (++options > MAX_DESTINATION_OPTIONS) return REPEATED;
    } else if (next === ROUTING) {
      if (++routings > 1) return REPEATED;
      // Segments left: another address than the header's is the destination (RFC 8200 section 4.4).
      if (view.getUint8(at + 3) !== 0) return SOURCE_ROUTE;
    } else if (next === AUTHENTICATION) {
      if (++authentications > 1) return REPEATED;
      if (size < MIN_AUTHENTICATION || size % 8 !== 0) return BAD_LENGTH;
    } else {
      if (++fragments > 1) return REPEATED;
      const refusal = readFragmentHeader(key, view, at, isQuote);
      if (refusal !== OK || key[KEY.fragment] === FRAGMENT.later) return refusal;
    }
    next = view.getUint8(at);
    at += size;
  }
  key[KEY.protocol] = next;
  key[KEY.transport] = at;
  return OK;
}

/** Length of an extension header whose second byte is `field`; counted in words, not in bytes. */
function extensionBytes(type: number, field: number): number {
  if (type === FRAGMENT_HEADER) return 8;
  return type === AUTHENTICATION ? (field + 2) * 4 : (field + 1) * 8;
}

/** Reads the fragment header at `at` (RFC 8200 section 4.5). */
function readFragmentHeader(
  key: Int32Array,
  view: DataView,
  at: number,
  isQuote: boolean,
): number {
  const field = view.getUint16(at + 2);
  const from = field & 0xfff8;
  const isMore = (field & 1) !== 0;
  // An atomic fragment is a whole packet (RFC 6946).
  if (from === 0 && !isMore) return OK;
  key[KEY.fragmentId] = view.getInt32(at + 4);
  key[KEY.protocol] = view.getUint8(at);
  key[KEY.transport] = at + 8;
  return readFragment(key, from, isMore, isQuote);
}

/** Notes and checks which part of its packet a fragment is. */
function readFragment(key: Int32Array, from: number, isMore: boolean, isQuote: boolean): number {
  const length = key[KEY.end]! - key[KEY.transport]!;
  key[KEY.fragment] = from === 0 ? FRAGMENT.first : FRAGMENT.later;
  key[KEY.fragmentFrom] = from;
  key[KEY.fragmentUntil] = from + length;
  if (isQuote) return from === 0 ? OK : BAD_FRAGMENT;
  if (length === 0 || from + length > MAX_PAYLOAD) return BAD_FRAGMENT;
  if (isMore && length % 8 !== 0) return BAD_FRAGMENT;
  // Would lie over the flags of a TCP header (RFC 1858 section 4, RFC 3128).
  if (from > 0 && from < TCP_HEADER && key[KEY.protocol] === IPPROTO.tcp) return TINY;
  return OK;
}
