/**
 * Who is a node: its ed25519 key, and what follows from it (peer id, WireGuard static key).
 *
 * One 32-byte seed is the whole identity. The WireGuard key pair is the Montgomery form of the same
 * key (RFC 7748 section 4.1), so whoever knows an identity's public key can compute the WireGuard
 * public key that belongs to it, and nobody can put another one beside a name.
 * @module
 */
import { ed25519 } from "@noble/curves/ed25519.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { toHex } from "../bytes.ts";
import { MeshError } from "../errors.ts";
import type { PeerId } from "../ids.ts";

/** Bytes of an ed25519 seed and of an ed25519 or X25519 key. */
export const KEY_BYTES = 32;

/** Bytes of an ed25519 signature. */
export const SIGNATURE_BYTES = 64;

/** A key pair with everything derived from it. Holds secrets: never log or send one. */
export interface Identity {
  /** The ed25519 private key as RFC 8032 defines it: 32 bytes. */
  readonly seed: Uint8Array;
  /** The ed25519 public key: 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly peerId: PeerId;
  /** The X25519 static key pair of the WireGuard session: 32 bytes each, private part clamped. */
  readonly wireguard: { readonly privateKey: Uint8Array; readonly publicKey: Uint8Array };
}

/**
 * Derives an identity from its 32-byte seed, which is copied.
 * @throws {RangeError} when `seed` has another length.
 */
export function identityFromSeed(seed: Uint8Array): Identity {
  if (seed.length !== KEY_BYTES) {
    throw new RangeError(`Cannot derive an identity: seed has ${seed.length} bytes, not 32`);
  }
  const publicKey = ed25519.getPublicKey(seed);
  return {
    seed: seed.slice(),
    publicKey,
    peerId: peerIdOf(publicKey),
    wireguard: {
      privateKey: ed25519.utils.toMontgomerySecret(seed),
      publicKey: ed25519.utils.toMontgomery(publicKey),
    },
  };
}

/** The peer id of an ed25519 public key: hex of the first 8 bytes of its SHA-256. */
export function peerIdOf(publicKey: Uint8Array): PeerId {
  return toHex(sha256(publicKey).subarray(0, 8));
}

/**
 * The WireGuard (X25519) public key that belongs to an ed25519 public key.
 * @throws {MeshError} "key-invalid" when `publicKey` fails {@link isIdentityKey}.
 */
export function wireguardKeyOf(publicKey: Uint8Array): Uint8Array {
  if (!isIdentityKey(publicKey)) {
    throw new MeshError("key-invalid", "Cannot use identity key: not a valid ed25519 public key");
  }
  return ed25519.utils.toMontgomery(publicKey);
}

/**
 * Whether `publicKey` can be an identity: a canonical encoding (RFC 8032 section 5.1.3) of a point
 * in the prime-order subgroup. A small-order key would verify signatures that nobody made.
 */
export function isIdentityKey(publicKey: Uint8Array): boolean {
  if (publicKey.length !== KEY_BYTES) return false;
  try {
    const point = ed25519.Point.fromBytes(publicKey, false);
    return !point.isSmallOrder() && point.isTorsionFree();
  } catch {
    return false;
  }
}

/** Signs with ed25519 (RFC 8032, deterministic); returns 64 bytes. */
export function sign(identity: Identity, message: Uint8Array): Uint8Array {
  return ed25519.sign(message, identity.seed);
}

/**
 * Whether `signature` is `publicKey`'s over `message`, by the strict rules of RFC 8032: canonical
 * points, S below the group order, key of {@link isIdentityKey}. Never throws on hostile input.
 */
export function verify(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (signature.length !== SIGNATURE_BYTES || !isIdentityKey(publicKey)) return false;
  try {
    return ed25519.verify(signature, message, publicKey, { zip215: false });
  } catch {
    return false;
  }
}
