/**
 * The four messages, as offsets; all integers little-endian (WireGuard paper, section 5.4).
 *
 * ```
 * initiation  1 | 000 | sender 4 | ephemeral 32 | static 32+16 | timestamp 12+16 | mac1 16 | mac2 16
 * response    2 | 000 | sender 4 | receiver 4 | ephemeral 32 | empty 0+16 | mac1 16 | mac2 16
 * cookie      3 | 000 | receiver 4 | nonce 24 | cookie 16+16
 * transport   4 | 000 | receiver 4 | counter 8 | packet n+16
 * ```
 * @module
 */

/** `noise` begins the Noise message, which ends at `mac1`. */
export const INITIATION = {
  type: 1,
  sender: 4,
  noise: 8,
  mac1: 116,
  mac2: 132,
  size: 148,
} as const;

export const RESPONSE = {
  type: 2,
  sender: 4,
  receiver: 8,
  noise: 12,
  mac1: 60,
  mac2: 76,
  size: 92,
} as const;

export const COOKIE = { type: 3, receiver: 4, nonce: 8, cookie: 32, size: 64 } as const;

/** `size` is the least: an empty packet, which is a keepalive. */
export const DATA = { type: 4, receiver: 4, counter: 8, packet: 16, tag: 16, size: 32 } as const;

/** Type of a handshake message of the right size with zero reserved bytes, or 0. */
export function handshakeType(bytes: Uint8Array): 0 | 1 | 2 | 3 {
  if (bytes.length < 4 || bytes[1] !== 0 || bytes[2] !== 0 || bytes[3] !== 0) return 0;
  if (bytes[0] === INITIATION.type && bytes.length === INITIATION.size) return 1;
  if (bytes[0] === RESPONSE.type && bytes.length === RESPONSE.size) return 2;
  if (bytes[0] === COOKIE.type && bytes.length === COOKIE.size) return 3;
  return 0;
}

/** Whether bytes are transport data by header and length. */
export function isData(bytes: Uint8Array): boolean {
  return bytes.length >= DATA.size && bytes[0] === DATA.type && bytes[1] === 0 &&
    bytes[2] === 0 && bytes[3] === 0;
}

/** A message of `size` zero bytes with its type set. */
export function newMessage(layout: { readonly type: number; readonly size: number }): Uint8Array {
  const bytes = new Uint8Array(layout.size);
  bytes[0] = layout.type;
  return bytes;
}

/** Reads an unsigned 32-bit integer. */
export function readIndex(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);
}

/** Writes an unsigned 32-bit integer. */
export function writeIndex(bytes: Uint8Array, at: number, value: number): void {
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(at, value, true);
}

/** Writes a transport header into the first 16 bytes. `counter` is an integer in [0, 2^53). */
export function writeDataHeader(bytes: Uint8Array, receiver: number, counter: number): void {
  writeIndex(bytes, 0, DATA.type);
  writeIndex(bytes, DATA.receiver, receiver);
  writeIndex(bytes, DATA.counter, counter >>> 0);
  writeIndex(bytes, DATA.counter + 4, Math.floor(counter / 2 ** 32));
}

/** Reads a transport counter; a hostile one may be 2^53 or more and is then not exact. */
export function readDataCounter(bytes: Uint8Array): number {
  return readIndex(bytes, DATA.counter) + readIndex(bytes, DATA.counter + 4) * 2 ** 32;
}
