/** Placeholder until its author's file replaces it. @module */
export function isStun(bytes: Uint8Array): boolean {
  return bytes.length >= 20 && bytes[4] === 0x21 && bytes[5] === 0x12 && bytes[6] === 0xa4 &&
    bytes[7] === 0x42 && (bytes[0]! & 0xc0) === 0;
}
