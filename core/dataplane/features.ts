/**
 * What two own nodes may agree on beyond plain WireGuard, as bits: offered and selected inside the
 * handshake, installed with each keypair (docs/protocol.md).
 * @module
 */
import type { Acceleration } from "./settings.ts";

/** One bit per feature, at most four. A session without any is plain WireGuard. */
export const FEATURE = {
  /** Segments of a super-packet travel without checksums and are joined again at the far end. */
  pieces: 1,
  /** Messages are sealed with AES-256-GCM instead of ChaCha20-Poly1305. */
  aes256gcm: 2,
  /** Ends tell each other about paths inside the session (`core/path/messages.ts`). */
  paths: 4,
} as const;

/** The names that users switch features off by. */
export function featureNames(features: number): Acceleration[] {
  return [
    ...(features & FEATURE.pieces ? ["pieces" as const] : []),
    ...(features & FEATURE.aes256gcm ? ["aes" as const] : []),
  ];
}
