/**
 * What own nodes say to each other about paths, inside the session: sealed like any packet, so that
 * an answer proves that both directions work and that it was the peer who answered.
 *
 * The first byte has no IP version in its upper half, which tells these from packets.
 *
 * ```
 * ping   u8 1, 3 zero, u32 number, zeros up to the size that is tried
 * pong   u8 2, 3 zero, u32 number, 16 bytes address (IPv4 mapped) and u16 port that the ping came
 *        from, zero where it came by a link
 * punch  u8 4, 3 zero, u16 port, i16 delta: sockets are open behind a NAT whose ports nobody knows;
 *        the last port it gave and by how much it counts, zero where that is not known
 * offer  u8 3, then JSON: where else the sender may be reached, and through which NAT
 * log    u8 5, zero, u16 id, u16 part, u16 parts, u16 length, then that many bytes of a text about
 *        the mesh's log (`core/state/gossip.ts`)
 * ```
 *
 * Numbers are big-endian. Bytes come from authenticated peers and are judged like a stranger's.
 * @module
 */
import { z } from "zod";
import { concatBytes, fromUtf8, utf8 } from "../bytes.ts";
import { EndpointText, MAX_ENDPOINTS } from "../control/messages.ts";
import { type Endpoint, formatEndpoint, formatIp, parseEndpoint, parseIp } from "../ip.ts";
import type { LogPart } from "../state/gossip.ts";
import { NatReportSchema } from "./nat.ts";

const PING = 1;
const PONG = 2;
const OFFER = 3;
const PUNCH = 4;
const LOG = 5;
const PING_BYTES = 8;
const PONG_BYTES = 26;
const PUNCH_BYTES = 8;
const LOG_BYTES = 10;
/** An offer fits into one datagram on any path. */
export const MAX_OFFER_BYTES = 1100;

/** Where else a node may be reached. */
export const Offer = z.strictObject({
  /** Best first. */
  endpoints: z.array(EndpointText).max(MAX_ENDPOINTS),
  nat: NatReportSchema.nullable(),
});
export type Offer = z.infer<typeof Offer>;

export type PathMessage =
  | { readonly type: "ping"; readonly number: number }
  | {
    readonly type: "pong";
    readonly number: number;
    /** Where it came from; null when a link carried it. */
    readonly observed: Endpoint | null;
  }
  | { readonly type: "punch"; readonly port: number; readonly delta: number }
  | { readonly type: "offer"; readonly offer: Offer }
  | LogPart;

/**
 * The bytes to seal.
 * @param size Length of the result, for pings; shorter ones are padded with zeros.
 */
export function encodePathMessage(message: PathMessage, size = 0): Uint8Array {
  switch (message.type) {
    case "ping": {
      const bytes = new Uint8Array(Math.max(PING_BYTES, size));
      bytes[0] = PING;
      new DataView(bytes.buffer).setUint32(4, message.number);
      return bytes;
    }
    case "pong": {
      const bytes = new Uint8Array(PONG_BYTES);
      const view = new DataView(bytes.buffer);
      bytes[0] = PONG;
      view.setUint32(4, message.number);
      const parts = message.observed === null ? null : parseEndpoint(message.observed);
      if (parts) {
        const ip = parseIp(parts.ip)!;
        if (ip.length === 4) bytes.fill(0xff, 18, 20);
        bytes.set(ip, 24 - ip.length);
        view.setUint16(24, parts.port);
      }
      return bytes;
    }
    case "punch": {
      const bytes = new Uint8Array(PUNCH_BYTES);
      const view = new DataView(bytes.buffer);
      bytes[0] = PUNCH;
      view.setUint16(4, message.port);
      view.setInt16(6, message.delta);
      return bytes;
    }
    case "offer":
      return concatBytes(Uint8Array.of(OFFER), utf8(JSON.stringify(message.offer)));
    case "log": {
      const bytes = new Uint8Array(LOG_BYTES + message.bytes.length);
      const view = new DataView(bytes.buffer);
      bytes[0] = LOG;
      view.setUint16(2, message.id);
      view.setUint16(4, message.part);
      view.setUint16(6, message.parts);
      view.setUint16(8, message.bytes.length);
      bytes.set(message.bytes, LOG_BYTES);
      return bytes;
    }
  }
}

/** Reads a decrypted payload; null when it is malformed. */
export function decodePathMessage(bytes: Uint8Array): PathMessage | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (bytes[0]) {
    case PING:
      if (bytes.length < PING_BYTES) return null;
      return { type: "ping", number: view.getUint32(4) };
    case PONG:
      if (bytes.length < PONG_BYTES) return null;
      return {
        type: "pong",
        number: view.getUint32(4),
        observed: readObserved(bytes, view.getUint16(24)),
      };
    case PUNCH:
      if (bytes.length < PUNCH_BYTES) return null;
      return { type: "punch", port: view.getUint16(4), delta: view.getInt16(6) };
    case OFFER:
      return readOffer(bytes.subarray(1));
    case LOG: {
      // Padding to 16 bytes may follow.
      if (bytes.length < LOG_BYTES || bytes.length < LOG_BYTES + view.getUint16(8)) return null;
      return {
        type: "log",
        id: view.getUint16(2),
        part: view.getUint16(4),
        parts: view.getUint16(6),
        bytes: bytes.subarray(LOG_BYTES, LOG_BYTES + view.getUint16(8)),
      };
    }
    default:
      return null;
  }
}

function readObserved(bytes: Uint8Array, port: number): Endpoint | null {
  if (port === 0) return null;
  const isMapped = bytes.subarray(8, 18).every((byte) => byte === 0) && bytes[18] === 0xff &&
    bytes[19] === 0xff;
  return formatEndpoint(formatIp(bytes.slice(isMapped ? 20 : 8, 24)), port);
}

function readOffer(bytes: Uint8Array): PathMessage | null {
  if (bytes.length > MAX_OFFER_BYTES) return null;
  try {
    // Padding to 16 bytes may follow.
    const parsed = Offer.safeParse(JSON.parse(fromUtf8(bytes).replace(/\0+$/, "")));
    return parsed.success ? { type: "offer", offer: parsed.data } : null;
  } catch {
    return null;
  }
}
