/**
 * The numbers of the protocol (WireGuard paper, section 6.1, and wireguard-go's for what the paper
 * leaves open). Times in milliseconds.
 * @module
 */

/** An initiator negotiates a new key after sending with one for this long. */
export const REKEY_AFTER_TIME = 120_000;
/** A key is not used any more after this. */
export const REJECT_AFTER_TIME = 180_000;
/** Attempts to negotiate end after this, unless packets still want out. */
export const REKEY_ATTEMPT_TIME = 90_000;
/** An unanswered initiation is repeated after this, plus jitter. */
export const REKEY_TIMEOUT = 5_000;
/** Up to this much is added to {@link REKEY_TIMEOUT}, so that two ends do not keep colliding. */
export const REKEY_TIMEOUT_JITTER = 334;
/** A receiver with nothing to send answers with an empty message after this. */
export const KEEPALIVE_TIMEOUT = 10_000;
/** A cookie, and the secret that made it, are good for this long. */
export const COOKIE_LIFETIME = 120_000;
/** Two initiations of one peer must be this far apart. */
export const INITIATION_INTERVAL = 20;
/**
 * An initiator that only receives negotiates a new key this long after it would have by sending:
 * late, but with time left for an attempt and an answer (paper, section 6.2).
 */
export const RECEIVER_REKEY_DELAY = REJECT_AFTER_TIME - REKEY_AFTER_TIME - KEEPALIVE_TIMEOUT -
  REKEY_TIMEOUT;
/**
 * A responder negotiates a new key itself this much later than it expects one, so that traffic
 * does not halt when the initiator has lost its part. Later than {@link RECEIVER_REKEY_DELAY}.
 */
export const RESPONDER_REKEY_DELAY = RECEIVER_REKEY_DELAY + REKEY_TIMEOUT;
/** Sessions that both ends initiate within this count as one crossing; see `keypairs.ts`. */
export const CROSSING_TIME = 2 * REKEY_TIMEOUT;

export const CONSTRUCTION = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
export const IDENTIFIER = "WireGuard v1 zx2c4 Jason@zx2c4.com";
export const LABEL_MAC1 = "mac1----";
export const LABEL_COOKIE = "cookie--";

/** Keypair slots of one peer: previous, current, next, and one being negotiated. */
export const KEYPAIRS_PER_PEER = 4;
/** Low bits of a local index that name the keypair slot: 4096 peers of four. */
export const KEYPAIR_SLOT_BITS = 14;
