/**
 * What does a DNS query ask, and which bytes answer it? The codec of the zone's side: one question
 * in, a few small records out (RFC 1035 section 4, EDNS0 of RFC 6891).
 *
 * Queries come from anyone who can reach the socket. Every length is checked, no pointer is
 * followed, every loop moves forward through the message; nothing is thrown.
 *
 * ```
 *  0    2       4         6         8         10        12
 *  | id | flags | QDCOUNT | ANCOUNT | NSCOUNT | ARCOUNT | question ...
 *  flags: QR 8000, opcode 7800, AA 0400, TC 0200, RD 0100, RA 0080, AD 0020, CD 0010, rcode 000f
 * ```
 * @module
 */
import { readName, skipName, type WireName } from "./name.ts";

/** Record types and query types (IANA DNS parameters). */
export const TYPE = {
  a: 1,
  ns: 2,
  cname: 5,
  soa: 6,
  ptr: 12,
  txt: 16,
  aaaa: 28,
  srv: 33,
  opt: 41,
  https: 65,
  ixfr: 251,
  axfr: 252,
  any: 255,
} as const;

/** Classes (RFC 1035 section 3.2.4). */
export const CLASS = { in: 1, chaos: 3, any: 255 } as const;

/** Response codes (RFC 1035 section 4.1.1, RFC 6891 section 6.1.3). */
export const RCODE = {
  noError: 0,
  formErr: 1,
  servFail: 2,
  nxDomain: 3,
  notImp: 4,
  refused: 5,
  badVers: 16,
} as const;

/** Bits of the second 16-bit word of a message. */
export const FLAG = {
  response: 0x8000,
  opcode: 0x7800,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
  checkingDisabled: 0x0010,
  rcode: 0x000f,
} as const;

export const HEADER_BYTES = 12;

/**
 * The largest UDP message that this resolver sends or says it takes: it fits an IPv6 packet of the
 * minimum MTU, so it is never fragmented (DNS Flag Day 2020).
 */
export const UDP_MAX_BYTES = 1232;
/** What a client without EDNS0 can take over UDP (RFC 1035 section 4.2.1). */
export const UDP_PLAIN_BYTES = 512;
/** What the length field of DNS over TCP can say. */
export const TCP_MAX_BYTES = 65_535;

/** How the message travels. */
export type Carrier = "udp" | "tcp";

/** The sender's OPT record (RFC 6891 section 6.1.2). */
export interface Edns {
  /** Largest UDP message it can take; at least 512 (section 6.2.3). */
  readonly udpBytes: number;
  readonly version: number;
  /** The DO bit, which an answer repeats (RFC 3225). */
  readonly wantsDnssec: boolean;
}

/** A query with exactly one well-formed question. */
export interface Query {
  readonly message: Uint8Array;
  readonly flags: number;
  readonly name: WireName;
  readonly type: number;
  readonly class: number;
  /** Offset after the question. */
  readonly questionEnd: number;
  readonly edns: Edns | null;
}

/** What {@link decodeQuery} made of a message. */
export type Decoded =
  | { readonly kind: "query"; readonly query: Query }
  /** It deserves no more than a header with this code. */
  | { readonly kind: "error"; readonly rcode: number }
  /** It must not be answered: too short, or itself an answer (answering could loop). */
  | { readonly kind: "drop" };

/** A record to send. */
export interface AnswerRecord {
  /** Offset in the message of the owner's name, for a compression pointer. */
  readonly owner: number;
  readonly type: number;
  /** Seconds. */
  readonly ttl: number;
  readonly data: Uint8Array;
}

/** An answer before it is bytes. */
export interface Answer {
  readonly rcode: number;
  readonly isAuthoritative: boolean;
  readonly answers: readonly AnswerRecord[];
  readonly authority: readonly AnswerRecord[];
}

/** Reads a big-endian 16-bit integer; the caller has checked the length. */
export function readUint16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

/** Reads what a client sent. Never throws. */
export function decodeQuery(message: Uint8Array): Decoded {
  if (message.length < HEADER_BYTES) return { kind: "drop" };
  const flags = readUint16(message, 2);
  if (flags & FLAG.response) return { kind: "drop" };
  if (flags & FLAG.opcode) return { kind: "error", rcode: RCODE.notImp };
  if (readUint16(message, 4) !== 1) return { kind: "error", rcode: RCODE.formErr };
  const name = readName(message, HEADER_BYTES);
  if (name === null || name.end + 4 > message.length) {
    return { kind: "error", rcode: RCODE.formErr };
  }
  const questionEnd = name.end + 4;
  const edns = readEdns(message, questionEnd);
  if (edns === "malformed") return { kind: "error", rcode: RCODE.formErr };
  const type = readUint16(message, name.end);
  const query = {
    message,
    flags,
    name,
    type,
    class: readUint16(message, name.end + 2),
    questionEnd,
    edns,
  };
  return { kind: "query", query };
}

/** Finds the OPT record among the records after the question. */
function readEdns(message: Uint8Array, questionEnd: number): Edns | null | "malformed" {
  const others = readUint16(message, 6) + readUint16(message, 8);
  const total = others + readUint16(message, 10);
  let edns: Edns | null = null;
  let at = questionEnd;
  for (let i = 0; i < total; i++) {
    const start = at;
    const end = skipName(message, at);
    if (end === null || end + 10 > message.length) return "malformed";
    at = end + 10 + readUint16(message, end + 8);
    if (at > message.length) return "malformed";
    if (readUint16(message, end) !== TYPE.opt) continue;
    // One OPT, owned by the root, in the additional section (RFC 6891 section 6.1.1).
    if (edns !== null || message[start] !== 0 || i < others) return "malformed";
    edns = {
      udpBytes: Math.max(UDP_PLAIN_BYTES, readUint16(message, end + 2)),
      version: message[end + 5]!,
      wantsDnssec: (message[end + 6]! & 0x80) !== 0,
    };
  }
  return edns;
}

/** The largest answer that may be sent to the sender of a query. */
export function answerLimit(query: Query, carrier: Carrier): number {
  if (carrier === "tcp") return TCP_MAX_BYTES;
  return Math.min(query.edns?.udpBytes ?? UDP_PLAIN_BYTES, UDP_MAX_BYTES);
}

/**
 * Bytes of an answer. The question goes back byte for byte, capital letters included (clients check
 * them, draft-vixie-dnsext-dns0x20). Records that do not fit in `limit` bytes all stay out and TC
 * is set, so that the client asks again over TCP.
 */
export function encodeAnswer(query: Query, answer: Answer, limit: number): Uint8Array {
  const records = [...answer.answers, ...answer.authority];
  const optBytes = query.edns === null ? 0 : OPT_BYTES;
  const size = records.reduce((sum, r) => sum + 12 + r.data.length, query.questionEnd + optBytes);
  const fits = size <= limit;
  const out = new Uint8Array(fits ? size : query.questionEnd + optBytes);
  const view = new DataView(out.buffer);
  out.set(query.message.subarray(0, query.questionEnd));
  const kept = query.flags & (FLAG.recursionDesired | FLAG.checkingDisabled);
  const flags = FLAG.response | FLAG.recursionAvailable | kept |
    (answer.isAuthoritative ? FLAG.authoritative : 0) | (fits ? 0 : FLAG.truncated) |
    (answer.rcode & FLAG.rcode);
  view.setUint16(2, flags);
  view.setUint16(4, 1);
  view.setUint16(6, fits ? answer.answers.length : 0);
  view.setUint16(8, fits ? answer.authority.length : 0);
  view.setUint16(10, query.edns === null ? 0 : 1);
  let at = query.questionEnd;
  if (fits) { for (const record of records) at = writeRecord(out, view, at, record); }
  if (query.edns !== null) writeOpt(view, at, query.edns, answer.rcode);
  return out;
}

function writeRecord(out: Uint8Array, view: DataView, at: number, record: AnswerRecord): number {
  view.setUint16(at, 0xc000 | record.owner);
  view.setUint16(at + 2, record.type);
  view.setUint16(at + 4, CLASS.in);
  view.setUint32(at + 6, record.ttl);
  view.setUint16(at + 10, record.data.length);
  out.set(record.data, at + 12);
  return at + 12 + record.data.length;
}

const OPT_BYTES = 11;

/** Root name, type 41, our UDP size, high bits of the rcode, version 0, DO as asked, no options. */
function writeOpt(view: DataView, at: number, edns: Edns, rcode: number): void {
  view.setUint16(at + 1, TYPE.opt);
  view.setUint16(at + 3, UDP_MAX_BYTES);
  view.setUint8(at + 5, rcode >> 4);
  view.setUint16(at + 7, edns.wantsDnssec ? 0x8000 : 0);
}

/** A header alone with an error code, for a message without a readable question. */
export function encodeError(message: Uint8Array, rcode: number): Uint8Array {
  const out = new Uint8Array(HEADER_BYTES);
  out.set(message.subarray(0, 2));
  const kept = readUint16(message, 2) & (FLAG.opcode | FLAG.recursionDesired);
  const flags = FLAG.response | FLAG.recursionAvailable | kept | rcode;
  out[2] = flags >> 8;
  out[3] = flags & 0xff;
  return out;
}
