/**
 * Diffie-Hellman over Curve25519 (RFC 7748), behind a type so that a shell can bring a faster one.
 * @module
 */
import { x25519 as noble } from "@noble/curves/ed25519.js";

/**
 * RFC 7748's function X25519(k, u): 32-byte scalar, clamped inside, times 32-byte u-coordinate.
 *
 * For a point of low order it returns 32 zero bytes or throws: both are refused by {@link agree}.
 */
export type X25519 = (scalar: Uint8Array, u: Uint8Array) => Uint8Array;

/** The reference implementation, in JavaScript. */
export function nobleX25519(scalar: Uint8Array, u: Uint8Array): Uint8Array {
  return noble.getSharedSecret(scalar, u);
}

/** u = 9 (RFC 7748 section 4.1). */
const BASE_POINT = Uint8Array.of(9, ...new Uint8Array(31));

/** A Curve25519 key pair. */
export interface KeyPair {
  readonly privateKey: Uint8Array;
  readonly publicKey: Uint8Array;
}

/** Makes the pair of a 32-byte private key, which is kept. */
export function keyPairOf(privateKey: Uint8Array, x25519: X25519 = nobleX25519): KeyPair {
  return { privateKey, publicKey: x25519(privateKey, BASE_POINT) };
}

/** The shared secret; null for the all-zero result of a low-order key (RFC 7748 section 6.1). */
export function agree(
  privateKey: Uint8Array,
  publicKey: Uint8Array,
  x25519: X25519 = nobleX25519,
): Uint8Array | null {
  let secret: Uint8Array;
  try {
    secret = x25519(privateKey, publicKey);
  } catch {
    return null;
  }
  let bits = 0;
  for (const byte of secret) bits |= byte;
  return bits === 0 ? null : secret;
}
