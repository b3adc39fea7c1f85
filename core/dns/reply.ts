/**
 * How does one ask another name server, and is what came back its answer? The codec of the asking
 * side: the forwarder relays answers as they are, `dns doctor` reads them.
 * @module
 */
import { formatIp } from "../ip.ts";
import {
  CLASS,
  encodeAnswer,
  FLAG,
  HEADER_BYTES,
  type Query,
  RCODE,
  readUint16,
  TCP_MAX_BYTES,
  TYPE,
  UDP_MAX_BYTES,
} from "./message.ts";
import { encodeName, lowerCase, readCompressedName, readName } from "./name.ts";

/** A record of an answer; `text` is the address or name that it holds, else empty. */
export interface ReplyRecord {
  readonly name: string;
  readonly type: number;
  /** Seconds. */
  readonly ttl: number;
  readonly text: string;
}

/** An answer that was read. */
export interface Reply {
  readonly id: number;
  readonly rcode: number;
  readonly isAuthoritative: boolean;
  readonly isTruncated: boolean;
  readonly answers: readonly ReplyRecord[];
  readonly authority: readonly ReplyRecord[];
}

/**
 * Bytes of a recursive query with EDNS0.
 * @throws {RangeError} when `name` is no domain name.
 */
export function encodeQuery(id: number, name: string, type: number): Uint8Array {
  const wire = encodeName(name);
  if (wire === null) throw new RangeError(`Cannot ask for "${name}": it is no domain name`);
  const out = new Uint8Array(HEADER_BYTES + wire.length + 4 + 11);
  const view = new DataView(out.buffer);
  view.setUint16(0, id);
  view.setUint16(2, FLAG.recursionDesired);
  view.setUint16(4, 1);
  view.setUint16(10, 1);
  out.set(wire, HEADER_BYTES);
  const at = HEADER_BYTES + wire.length;
  view.setUint16(at, type);
  view.setUint16(at + 2, CLASS.in);
  view.setUint16(at + 5, TYPE.opt);
  view.setUint16(at + 7, UDP_MAX_BYTES);
  return out;
}

/** A copy of a message under another id. */
export function withId(message: Uint8Array, id: number): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(message);
  copy[0] = id >> 8;
  copy[1] = id & 0xff;
  return copy;
}

/**
 * Whether `reply` answers `query`: same id, a response, the same question (letters in any case:
 * some servers lower-case them). A server may leave the question out only when it reports a
 * failure.
 */
export function isReplyTo(query: Uint8Array, questionEnd: number, reply: Uint8Array): boolean {
  if (reply.length < HEADER_BYTES || reply[0] !== query[0] || reply[1] !== query[1]) return false;
  const flags = readUint16(reply, 2);
  if (!(flags & FLAG.response) || (flags & FLAG.opcode)) return false;
  const questions = readUint16(reply, 4);
  if (questions === 0) return isFailure(reply) && readUint16(reply, 6) === 0;
  if (questions !== 1 || reply.length < questionEnd) return false;
  for (let i = HEADER_BYTES; i < questionEnd; i++) {
    if (lowerCase(reply[i]!) !== lowerCase(query[i]!)) return false;
  }
  return true;
}

/** Whether another server might know better: the answer says neither what nor that nothing is. */
export function isFailure(reply: Uint8Array): boolean {
  const rcode = reply[3]! & FLAG.rcode;
  return rcode !== RCODE.noError && rcode !== RCODE.nxDomain;
}

/** Whether the answer was cut and the question should be asked over TCP. */
export function isTruncated(reply: Uint8Array): boolean {
  return (readUint16(reply, 2) & FLAG.truncated) !== 0;
}

/** An answer to a query that could not be forwarded. */
export function encodeFailure(query: Query, rcode: number): Uint8Array {
  const answer = { rcode, isAuthoritative: false, answers: [], authority: [] };
  return encodeAnswer(query, answer, TCP_MAX_BYTES);
}

/** An answer without its records and with TC set, for one that is too large for UDP. */
export function truncate(query: Query, reply: Uint8Array): Uint8Array {
  const cut = encodeFailure(query, reply[3]! & FLAG.rcode);
  cut[2] = cut[2]! | (FLAG.truncated >> 8);
  return cut;
}

/** A message with its length in front, as TCP carries it (RFC 1035 section 4.2.2). */
export function frame(message: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(2 + message.length);
  out[0] = message.length >> 8;
  out[1] = message.length & 0xff;
  out.set(message, 2);
  return out;
}

/** Reads an answer; null when it is malformed. Never throws. */
export function decodeReply(message: Uint8Array): Reply | null {
  if (message.length < HEADER_BYTES) return null;
  const flags = readUint16(message, 2);
  let at = HEADER_BYTES;
  for (let i = readUint16(message, 4); i > 0; i--) {
    const name = readName(message, at);
    if (name === null) return null;
    at = name.end + 4;
  }
  const answers: ReplyRecord[] = [];
  const authority: ReplyRecord[] = [];
  const sections = [{ count: 6, into: answers }, { count: 8, into: authority }];
  for (const { count, into } of sections) {
    for (let i = readUint16(message, count); i > 0; i--) {
      const read = readRecord(message, at);
      if (read === null) return null;
      into.push(read.record);
      at = read.end;
    }
  }
  return {
    id: readUint16(message, 0),
    rcode: flags & FLAG.rcode,
    isAuthoritative: (flags & FLAG.authoritative) !== 0,
    isTruncated: (flags & FLAG.truncated) !== 0,
    answers,
    authority,
  };
}

function readRecord(message: Uint8Array, at: number): { record: ReplyRecord; end: number } | null {
  const owner = readCompressedName(message, at);
  if (owner === null || owner.end + 10 > message.length) return null;
  const type = readUint16(message, owner.end);
  const ttl = readUint16(message, owner.end + 4) * 65_536 + readUint16(message, owner.end + 6);
  const start = owner.end + 10;
  const end = start + readUint16(message, owner.end + 8);
  if (end > message.length) return null;
  return {
    record: { name: owner.name, type, ttl, text: dataText(message, type, start, end) },
    end,
  };
}

function dataText(message: Uint8Array, type: number, start: number, end: number): string {
  const isAddress = (type === TYPE.a && end - start === 4) ||
    (type === TYPE.aaaa && end - start === 16);
  if (isAddress) return formatIp(message.subarray(start, end));
  const holdsName = type === TYPE.ptr || type === TYPE.ns || type === TYPE.cname ||
    type === TYPE.soa;
  return holdsName ? readCompressedName(message, start)?.name ?? "" : "";
}
