/**
 * STUN messages (RFC 8489) as a node needs them to learn how it is seen: binding requests, with
 * RFC 5780's wish for another source of the answer, and their answers. Nothing else is spoken.
 *
 * Hostile bytes: every length is checked; what is malformed is null.
 * @module
 */
import { concatBytes, utf8 } from "../bytes.ts";
import { type Endpoint, formatEndpoint, formatIp, parseEndpoint, parseIp } from "../ip.ts";

const HEADER = 20;
const COOKIE = 0x2112a442;
/** Bytes of a transaction id. */
export const TRANSACTION_ID = 12;
const BINDING = 1;
const CLASS = { request: 0, indication: 1, success: 2, error: 3 } as const;
const ATTRIBUTE = {
  mappedAddress: 0x0001,
  changeRequest: 0x0003,
  errorCode: 0x0009,
  unknownAttributes: 0x000a,
  xorMappedAddress: 0x0020,
  software: 0x8022,
  fingerprint: 0x8028,
  responseOrigin: 0x802b,
  otherAddress: 0x802c,
} as const;
/** Attributes below must be understood or the request is refused (RFC 8489 section 14). */
const OPTIONAL_FROM = 0x8000;
const FINGERPRINT_XOR = 0x5354554e;
const CHANGE_IP = 4;
const CHANGE_PORT = 2;
/** Attributes of one message; no honest one has more. */
const MAX_ATTRIBUTES = 32;

export type StunClass = keyof typeof CLASS;

/** A message that is well-formed; of another method than binding too. */
export interface StunMessage {
  readonly class: StunClass;
  readonly isBinding: boolean;
  readonly transactionId: Uint8Array;
  readonly changeIp: boolean;
  readonly changePort: boolean;
  /** XOR-MAPPED-ADDRESS, else MAPPED-ADDRESS. */
  readonly mapped: Endpoint | null;
  readonly origin: Endpoint | null;
  readonly other: Endpoint | null;
  /** Attributes that would have to be understood and are not. */
  readonly unknown: readonly number[];
}

/** Whether bytes look like STUN; never true for a WireGuard message but by a chance of 2^-32. */
export function isStun(bytes: Uint8Array): boolean {
  if (bytes.length < HEADER || (bytes[0]! & 0xc0) !== 0) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint16(2);
  return view.getUint32(4) === COOKIE && (length & 3) === 0 && length === bytes.length - HEADER;
}

/** A binding request; `change*` ask for an answer from elsewhere (RFC 5780 section 7.2). */
export function encodeRequest(
  request: {
    readonly transactionId: Uint8Array;
    readonly changeIp?: boolean;
    readonly changePort?: boolean;
  },
): Uint8Array<ArrayBuffer> {
  const { transactionId, changeIp = false, changePort = false } = request;
  const flags = (changeIp ? CHANGE_IP : 0) | (changePort ? CHANGE_PORT : 0);
  const change = attribute(ATTRIBUTE.changeRequest, Uint8Array.of(0, 0, 0, flags));
  return encode(CLASS.request, transactionId, flags === 0 ? [] : [change]);
}

/** The answer to a binding request. */
export function encodeSuccess(
  answer: {
    readonly transactionId: Uint8Array;
    /** Where the request came from. */
    readonly mapped: Endpoint;
    /** Where this answer comes from. */
    readonly origin?: Endpoint;
    /** Another address and port that answers. */
    readonly other?: Endpoint;
  },
): Uint8Array<ArrayBuffer> {
  const { transactionId, mapped, origin, other } = answer;
  const key = xorKey(transactionId);
  return encode(CLASS.success, transactionId, [
    attribute(ATTRIBUTE.xorMappedAddress, addressBytes(mapped, key)),
    ...(origin ? [attribute(ATTRIBUTE.responseOrigin, addressBytes(origin))] : []),
    ...(other ? [attribute(ATTRIBUTE.otherAddress, addressBytes(other))] : []),
  ]);
}

/** Refuses a request with attributes that are not understood (error 420). */
export function encodeUnknown(
  transactionId: Uint8Array,
  unknown: readonly number[],
): Uint8Array<ArrayBuffer> {
  const list = new Uint8Array(2 * unknown.length);
  const view = new DataView(list.buffer);
  for (const [i, type] of unknown.entries()) view.setUint16(2 * i, type);
  const reason = concatBytes(Uint8Array.of(0, 0, 4, 20), utf8("Unknown Attribute"));
  return encode(CLASS.error, transactionId, [
    attribute(ATTRIBUTE.errorCode, reason),
    attribute(ATTRIBUTE.unknownAttributes, list),
  ]);
}

/** Reads a message; null when it is malformed or its fingerprint is wrong. */
export function decodeMessage(bytes: Uint8Array): StunMessage | null {
  if (!isStun(bytes)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const type = view.getUint16(0);
  const transactionId = bytes.slice(8, HEADER);
  const found = readAttributes(bytes, view, xorKey(transactionId));
  if (!found) return null;
  const method = (type & 0xf) | ((type >> 1) & 0x70) | ((type >> 2) & 0xf80);
  const { xorMapped, mapped, ...rest } = found;
  return {
    class: CLASSES[((type >> 4) & 1) | ((type >> 7) & 2)]!,
    isBinding: method === BINDING,
    transactionId,
    mapped: xorMapped ?? mapped,
    ...rest,
  };
}

const CLASSES = ["request", "indication", "success", "error"] as const;

interface Attributes {
  changeIp: boolean;
  changePort: boolean;
  mapped: Endpoint | null;
  xorMapped: Endpoint | null;
  origin: Endpoint | null;
  other: Endpoint | null;
  readonly unknown: number[];
}

function readAttributes(bytes: Uint8Array, view: DataView, key: Uint8Array): Attributes | null {
  const found: Attributes = {
    changeIp: false,
    changePort: false,
    mapped: null,
    xorMapped: null,
    origin: null,
    other: null,
    unknown: [],
  };
  let count = 0;
  for (let at = HEADER; at < bytes.length;) {
    if (at + 4 > bytes.length || ++count > MAX_ATTRIBUTES) return null;
    const length = view.getUint16(at + 2);
    const end = at + 4 + length;
    if (end > bytes.length) return null;
    const type = view.getUint16(at);
    if (type === ATTRIBUTE.fingerprint) {
      const isRight = length === 4 && view.getUint32(at + 4) === fingerprint(bytes.subarray(0, at));
      if (!isRight) return null;
    } else if (!readAttribute(found, type, bytes.subarray(at + 4, end), key)) return null;
    at = end + (-length & 3);
  }
  return found;
}

/** Takes note of one attribute; false when it is malformed. */
function readAttribute(
  found: Attributes,
  type: number,
  value: Uint8Array,
  key: Uint8Array,
): boolean {
  switch (type) {
    case ATTRIBUTE.changeRequest:
      if (value.length !== 4) return false;
      found.changeIp = (value[3]! & CHANGE_IP) !== 0;
      found.changePort = (value[3]! & CHANGE_PORT) !== 0;
      return true;
    case ATTRIBUTE.mappedAddress:
      found.mapped = readAddress(value);
      return true;
    case ATTRIBUTE.xorMappedAddress:
      found.xorMapped = readAddress(value, key);
      return true;
    case ATTRIBUTE.responseOrigin:
      found.origin = readAddress(value);
      return true;
    case ATTRIBUTE.otherAddress:
      found.other = readAddress(value);
      return true;
    case ATTRIBUTE.errorCode:
    case ATTRIBUTE.unknownAttributes:
      return true;
    default:
      if (type < OPTIONAL_FROM) found.unknown.push(type);
      return true;
  }
}

function encode(
  kind: number,
  transactionId: Uint8Array,
  attributes: readonly Uint8Array[],
): Uint8Array<ArrayBuffer> {
  const body = concatBytes(...attributes, attribute(ATTRIBUTE.software, utf8("TunnelMesh")));
  const bytes = new Uint8Array(HEADER + body.length + 8);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, BINDING | ((kind & 1) << 4) | ((kind & 2) << 7));
  view.setUint16(2, body.length + 8);
  view.setUint32(4, COOKIE);
  bytes.set(transactionId, 8);
  bytes.set(body, HEADER);
  const at = HEADER + body.length;
  view.setUint16(at, ATTRIBUTE.fingerprint);
  view.setUint16(at + 2, 4);
  view.setUint32(at + 4, fingerprint(bytes.subarray(0, at)));
  return bytes;
}

function attribute(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + ((value.length + 3) & ~3));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, type);
  view.setUint16(2, value.length);
  bytes.set(value, 4);
  return bytes;
}

/** What addresses are masked with, so that routers do not rewrite them (RFC 8489 section 14.2). */
function xorKey(transactionId: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(0x21, 0x12, 0xa4, 0x42), transactionId);
}

const NO_KEY = new Uint8Array(16);

function addressBytes(endpoint: Endpoint, key: Uint8Array = NO_KEY): Uint8Array {
  const { ip, port } = parseEndpoint(endpoint)!;
  const address = parseIp(ip)!;
  const bytes = new Uint8Array(4 + address.length);
  bytes[1] = address.length === 4 ? 1 : 2;
  bytes[2] = (port >> 8) ^ key[0]!;
  bytes[3] = (port & 0xff) ^ key[1]!;
  for (const [i, byte] of address.entries()) bytes[4 + i] = byte ^ key[i]!;
  return bytes;
}

function readAddress(value: Uint8Array, key: Uint8Array = NO_KEY): Endpoint | null {
  const size = value[1] === 1 ? 4 : value[1] === 2 ? 16 : 0;
  if (size === 0 || value.length !== 4 + size) return null;
  const port = ((value[2]! ^ key[0]!) << 8) | (value[3]! ^ key[1]!);
  const address = value.slice(4).map((byte, i) => byte ^ key[i]!);
  return port === 0 ? null : formatEndpoint(formatIp(address), port);
}

/** CRC-32 of what precedes the attribute, masked (RFC 8489 section 14.7). */
function fingerprint(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ((~crc ^ FINGERPRINT_XOR) >>> 0);
}
