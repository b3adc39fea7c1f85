/**
 * Ports, flags and identifiers: what a flow key has of the header behind the IP headers.
 *
 * A query of ICMP and its answer are the two directions of one flow: the query goes from its
 * identifier, as if that were a port, to the query's type; the answer goes back.
 * @module
 */
import { FRAGMENT, IPPROTO, KEY, KIND, refusalCode, TCP_FLAG } from "./key.ts";

const OK = 0;
const BAD_LENGTH = refusalCode("bad-length");
const BEYOND = refusalCode("headers-beyond-packet");
const TINY = refusalCode("tiny-fragment");
const BAD_FLAGS = refusalCode("bad-tcp-flags");
const LINK_ICMP = refusalCode("link-local-icmp");

/** Without options. */
export const TCP_HEADER = 20;
const UDP_HEADER = 8;
const ICMP_HEADER = 8;

const TCP_FLAGS = 0x3f;

/** Reads ports or what stands for them; the IP headers' part of `key` is complete. */
export function readTransport(
  key: Int32Array,
  protocol: number,
  view: DataView,
  isQuote: boolean,
): number {
  const at = key[KEY.transport]!;
  const room = key[KEY.end]! - at;
  if (protocol === IPPROTO.tcp) {
    if (room < (isQuote ? 8 : TCP_HEADER)) return tooShort(key);
    key[KEY.ports] = view.getInt32(at);
    return isQuote ? OK : readTcp(key, view, at, room);
  }
  if (protocol === IPPROTO.udp) {
    if (room < UDP_HEADER) return tooShort(key);
    key[KEY.ports] = view.getInt32(at);
    return OK;
  }
  if (protocol !== (key[KEY.family] === 4 ? IPPROTO.icmp : IPPROTO.icmpv6)) return OK;
  if (room < ICMP_HEADER) return tooShort(key);
  key[KEY.icmpType] = view.getUint8(at);
  key[KEY.icmpCode] = view.getUint8(at + 1);
  return key[KEY.family] === 4 ? readIcmp4(key, view, at) : readIcmp6(key, view, at);
}

/** The first fragment must have the whole header (RFC 1858, RFC 7112). */
function tooShort(key: Int32Array): number {
  return key[KEY.fragment] === FRAGMENT.first ? TINY : BEYOND;
}

function readTcp(key: Int32Array, view: DataView, at: number, room: number): number {
  const header = (view.getUint8(at + 12) >> 4) * 4;
  if (header < TCP_HEADER) return BAD_LENGTH;
  if (header > room) return tooShort(key);
  const flags = view.getUint8(at + 13) & TCP_FLAGS;
  // No TCP sends these, and systems differ in whether they open a connection.
  if (flags === 0) return BAD_FLAGS;
  if ((flags & TCP_FLAG.syn) !== 0 && (flags & (TCP_FLAG.fin | TCP_FLAG.rst)) !== 0) {
    return BAD_FLAGS;
  }
  key[KEY.tcpFlags] = flags;
  return OK;
}

/** RFC 792; 9 and 10 are RFC 1256. */
function readIcmp4(key: Int32Array, view: DataView, at: number): number {
  const type = view.getUint8(at);
  if (type === 8 || type === 13) return query(key, view, at, type);
  if (type === 0) return reply(key, view, at, 8);
  if (type === 14) return reply(key, view, at, 13);
  // Redirects and router advertisements are of one link; a tunnel is none.
  if (type === 5 || type === 9 || type === 10) return LINK_ICMP;
  key[KEY.kind] = type === 3 || type === 11 || type === 12 ? KIND.error : KIND.alone;
  return OK;
}

/** RFC 4443; 133 to 137 are RFC 4861. */
function readIcmp6(key: Int32Array, view: DataView, at: number): number {
  const type = view.getUint8(at);
  if (type === 128) return query(key, view, at, type);
  if (type === 129) return reply(key, view, at, 128);
  if (type >= 133 && type <= 137) return LINK_ICMP;
  key[KEY.kind] = type >= 1 && type <= 4 ? KIND.error : KIND.alone;
  return OK;
}

function query(key: Int32Array, view: DataView, at: number, type: number): number {
  key[KEY.ports] = (view.getUint16(at + 4) << 16) | type;
  return OK;
}

function reply(key: Int32Array, view: DataView, at: number, queryType: number): number {
  key[KEY.kind] = KIND.reply;
  key[KEY.ports] = (queryType << 16) | view.getUint16(at + 4);
  return OK;
}
