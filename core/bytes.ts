/**
 * Small helpers on byte arrays.
 * @module
 */

/** Concatenates arrays into a new one. */
export function concatBytes(...parts: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Compares without leaking through time where the difference is; lengths are not secret. */
export function equalConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}

/** Lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  return bytes.toHex();
}

/** @throws {SyntaxError} when `text` is not hexadecimal of even length. */
export function fromHex(text: string): Uint8Array {
  return Uint8Array.fromHex(text);
}

/** Standard base64 with padding, as WireGuard writes keys. */
export function toBase64(bytes: Uint8Array): string {
  return bytes.toBase64();
}

/** @throws {SyntaxError} when `text` is not canonical base64. */
export function fromBase64(text: string): Uint8Array {
  return Uint8Array.fromBase64(text, { lastChunkHandling: "strict" });
}

/** URL-safe base64 without padding (RFC 4648 section 5). */
export function toBase64Url(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

/** @throws {SyntaxError} when `text` is not URL-safe base64. */
export function fromBase64Url(text: string): Uint8Array {
  return Uint8Array.fromBase64(text, { alphabet: "base64url" });
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** UTF-8 bytes of `text`. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** @throws {TypeError} when `bytes` is not valid UTF-8. */
export function fromUtf8(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}
