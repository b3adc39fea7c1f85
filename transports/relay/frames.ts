/**
 * What goes over a relay's WebSocket? Its text messages and binary frames, to bytes and back.
 *
 * ```
 * server                                   client
 *   {"type":"challenge","nonce"}  ------>
 *                                 <------  {"type":"hello","identity","signature"}
 *   {"type":"welcome"}            ------>                   or {"type":"refused"} and the end
 * then binary frames, byte 0 is the type:
 *   1 data   u8 type, u8 0, u16 BE segment, 8 bytes peer id, train   both ways
 *   2 gone   u8 type, 8 bytes peer id                                to the client
 *   3 ping   u8 type, 8 opaque bytes                                 both ways
 *   4 pong   u8 type, the 8 bytes of the ping                        both ways
 * ```
 *
 * The peer id of a data frame is the destination on its way to the server and the source on its way
 * from it, so that the server overwrites 8 bytes and passes the same buffer on. A train is what
 * `core/link.ts` says: ciphertext that nobody looks into here.
 * @module
 */
import { z } from "zod";
import { fromHex, toHex } from "../../core/bytes.ts";
import { ErrorCodeText, IdentityText, parseJson } from "../../core/control/messages.ts";
import type { PeerId } from "../../core/ids.ts";
import { fitsTrain, MAX_TRAIN_BYTES, type Train } from "../../core/link.ts";

/** Values of byte 0. */
export const FRAME_TYPE = { data: 1, gone: 2, ping: 3, pong: 4 } as const;
/** Bytes before the train of a data frame. */
export const DATA_HEADER_BYTES = 12;
export const MAX_FRAME_BYTES = DATA_HEADER_BYTES + MAX_TRAIN_BYTES;
/** Bytes of a peer id in binary. */
export const PEER_ID_BYTES = 8;
/** Opaque bytes of a ping. */
export const ECHO_BYTES = 8;
/** Longest text message, in UTF-16 units. */
export const MAX_TEXT_LENGTH = 4096;

const SEGMENT_AT = 2;
const DATA_PEER_AT = 4;
/** Frames but data are a type and 8 bytes. */
const SHORT_FRAME_BYTES = 9;

/** A frame. Byte arrays are views into what was parsed. */
export type Frame =
  | { readonly type: "data"; readonly peer: PeerId; readonly train: Train }
  | { readonly type: "gone"; readonly peer: PeerId }
  | { readonly type: "ping" | "pong"; readonly echo: Uint8Array };

const Nonce = z.string().regex(/^[A-Za-z0-9_-]{1,256}$/, "must be base64url");
const SignatureText = z.string().regex(
  /^[A-Za-z0-9_-]{85}[AQgw]$/,
  "must be canonical base64url of 64 bytes",
);

/** The client's only text message. */
export const Hello = z.strictObject({
  type: z.literal("hello"),
  identity: IdentityText,
  /** Of the identity over `relayBytes(nonce)`. */
  signature: SignatureText,
});
export type Hello = z.infer<typeof Hello>;

/** Text from the server. */
export const ServerText = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("challenge"), nonce: Nonce }),
  z.strictObject({ type: z.literal("welcome") }),
  z.strictObject({
    type: z.literal("refused"),
    code: ErrorCodeText,
    message: z.string().max(1024),
  }),
]);
export type ServerText = z.infer<typeof ServerText>;

/** @throws {MeshError} "protocol-invalid" */
export function parseHello(text: string): Hello {
  return parseJson(Hello, text, "greeting of a relay's client", MAX_TEXT_LENGTH);
}

/** @throws {MeshError} "protocol-invalid" */
export function parseServerText(text: string): ServerText {
  return parseJson(ServerText, text, "message of a relay", MAX_TEXT_LENGTH);
}

/** Parses a frame; null for whatever is none. */
export function parseFrame(bytes: Uint8Array): Frame | null {
  if (bytes[0] === FRAME_TYPE.data) return parseData(bytes);
  if (bytes.length !== SHORT_FRAME_BYTES) return null;
  const rest = bytes.subarray(1);
  switch (bytes[0]) {
    case FRAME_TYPE.gone:
      return { type: "gone", peer: toHex(rest) };
    case FRAME_TYPE.ping:
      return { type: "ping", echo: rest };
    case FRAME_TYPE.pong:
      return { type: "pong", echo: rest };
    default:
      return null;
  }
}

function parseData(bytes: Uint8Array): Frame | null {
  if (bytes.length <= DATA_HEADER_BYTES || bytes[1] !== 0) return null;
  const segment = bytes[SEGMENT_AT]! << 8 | bytes[SEGMENT_AT + 1]!;
  if (!fitsTrain(segment, bytes.length - DATA_HEADER_BYTES)) return null;
  const peer = toHex(bytes.subarray(DATA_PEER_AT, DATA_PEER_AT + PEER_ID_BYTES));
  return { type: "data", peer, train: { bytes: bytes.subarray(DATA_HEADER_BYTES), segment } };
}

/** A new data frame with a copy of `train`, which `isTrain` allows. */
export function encodeData(peer: PeerId, train: Train): Uint8Array {
  const frame = new Uint8Array(DATA_HEADER_BYTES + train.bytes.length);
  frame[0] = FRAME_TYPE.data;
  frame[SEGMENT_AT] = train.segment >> 8;
  frame[SEGMENT_AT + 1] = train.segment;
  frame.set(fromHex(peer), DATA_PEER_AT);
  frame.set(train.bytes, DATA_HEADER_BYTES);
  return frame;
}

/** Makes a data frame say another peer, in place. */
export function overwritePeer(frame: Uint8Array, peer: Uint8Array): void {
  frame.set(peer, DATA_PEER_AT);
}

export function encodeGone(peer: PeerId): Uint8Array {
  return encodeShort(FRAME_TYPE.gone, fromHex(peer));
}

/** @param echo {@link ECHO_BYTES} bytes, which are copied. */
export function encodeEcho(type: "ping" | "pong", echo: Uint8Array): Uint8Array {
  return encodeShort(FRAME_TYPE[type], echo);
}

function encodeShort(type: number, rest: Uint8Array): Uint8Array {
  const frame = new Uint8Array(SHORT_FRAME_BYTES);
  frame[0] = type;
  frame.set(rest, 1);
  return frame;
}
