/**
 * How does SSH write a node's key, and who may a key belong to?
 *
 * A node has one ed25519 identity. It is the host key of its SSH server and the key with which it
 * logs in elsewhere, so that whoever knows a member's identity knows both.
 * @module
 */
import { equalConstantTime, fromBase64, toBase64 } from "../../core/bytes.ts";
import type { Identity } from "../../core/identity/keys.ts";
import { formatPrivateKey, formatPublicKey, parsePublicKey } from "../../core/identity/openssh.ts";
import type { PeerId } from "../../core/ids.ts";

/** The only SSH user there is. */
export const SSH_USER = "tunnelmesh";
/** The only key type there is. */
export const SSH_KEY_TYPE = "ssh-ed25519";

/** Who is a member, and with which key. */
export interface Members {
  /** The ed25519 key of a member, or null. */
  publicKeyOf(peer: PeerId): Uint8Array | null;
  /** The member with that ed25519 key, or null. */
  peerOf(publicKey: Uint8Array): PeerId | null;
}

/** The private key as an OpenSSH file, which ssh2 reads. */
export function privateKeyPem(identity: Identity): string {
  return formatPrivateKey(identity.seed, "", 0);
}

/** The public key as SSH sends it (RFC 8709 section 4). */
export function publicKeyBlob(publicKey: Uint8Array): Uint8Array {
  return fromBase64(formatPublicKey(publicKey).split(" ")[1]!);
}

/** The 32 bytes of an ed25519 key as SSH sends it; null for whatever is none. */
export function parsePublicKeyBlob(blob: Uint8Array): Uint8Array | null {
  try {
    return parsePublicKey(`${SSH_KEY_TYPE} ${toBase64(blob)}`).publicKey;
  } catch {
    return null;
  }
}

/** The member whose key `blob` is, or null. */
export function memberWith(blob: Uint8Array, members: Members): PeerId | null {
  const publicKey = parsePublicKeyBlob(blob);
  const peer = publicKey && members.peerOf(publicKey);
  return peer !== null && isKeyOf(peer, publicKey!, members) ? peer : null;
}

/** Whether `publicKey` is the key of the member `peer` now. */
export function isKeyOf(peer: PeerId, publicKey: Uint8Array, members: Members): boolean {
  const expected = members.publicKeyOf(peer);
  return expected !== null && equalConstantTime(expected, publicKey);
}
