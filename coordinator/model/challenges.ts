/**
 * Is this signed request fresh? Challenges that cost no memory until they are answered.
 *
 * A challenge is `expiry | nonce | HMAC-SHA-256(key, expiry | nonce | identity)` under a key that
 * lives as long as the process. Asking for challenges therefore fills no table; only challenges
 * that came back with a valid signature are remembered, until they expire, so each serves once.
 * @module
 */
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import {
  concatBytes,
  equalConstantTime,
  fromBase64Url,
  toBase64Url,
  utf8,
} from "../../core/bytes.ts";
import { MeshError } from "../../core/errors.ts";
import type { Millis } from "../../core/machine.ts";
import type { Random } from "../../core/random.ts";

/** A challenge is good for so long. */
export const CHALLENGE_LIFE_MS = 60_000;
/** Challenges answered within their life; beyond it requests are refused for a moment. */
export const MAX_SPENT = 65_536;

const EXPIRY_BYTES = 8;
const NONCE_BYTES = 16;
const MAC_BYTES = 32;

/** Makes challenges and recognises them. */
export class Challenges {
  readonly #random: Random;
  readonly #key: Uint8Array;
  /** Spent challenges and when they expire, in the order of spending. */
  readonly #spent = new Map<string, Millis>();

  constructor(random: Random) {
    this.#random = random;
    this.#key = random.bytes(32);
  }

  /** A challenge for `identity` (its text form). */
  issue(identity: string, now: Millis): string {
    const head = new Uint8Array(EXPIRY_BYTES + NONCE_BYTES);
    new DataView(head.buffer).setFloat64(0, now + CHALLENGE_LIFE_MS);
    head.set(this.#random.bytes(NONCE_BYTES), EXPIRY_BYTES);
    return toBase64Url(concatBytes(head, this.#mac(head, identity)));
  }

  /**
   * Checks that a challenge was issued to `identity`, has not expired and was not spent.
   * @throws {MeshError} "challenge-invalid"
   */
  check(challenge: string, identity: string, now: Millis): void {
    const bytes = bytesOf(challenge);
    if (bytes?.length !== EXPIRY_BYTES + NONCE_BYTES + MAC_BYTES) throw invalid("it is malformed");
    const head = bytes.subarray(0, EXPIRY_BYTES + NONCE_BYTES);
    const mac = bytes.subarray(EXPIRY_BYTES + NONCE_BYTES);
    if (!equalConstantTime(mac, this.#mac(head, identity))) {
      throw invalid("it was not issued to this identity by this process");
    }
    const expiry = new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0);
    if (now >= expiry) throw invalid("it has expired");
    if (this.#spent.has(challenge)) throw invalid("it was used before");
  }

  /**
   * Makes a checked challenge useless. Called once its signature is known to be good.
   * @throws {MeshError} "rate-limited" when too many were spent within their life.
   */
  spend(challenge: string, now: Millis): void {
    for (const [spent, expiry] of this.#spent) {
      if (now < expiry) break;
      this.#spent.delete(spent);
    }
    if (this.#spent.size >= MAX_SPENT) {
      throw new MeshError("rate-limited", "Cannot take the request: too many at once", {
        hint: "Try again in a minute",
      });
    }
    this.#spent.set(challenge, now + CHALLENGE_LIFE_MS);
  }

  #mac(head: Uint8Array, identity: string): Uint8Array {
    return hmac(sha256, this.#key, concatBytes(head, utf8(identity)));
  }
}

/** Canonical base64url only: other spellings of the same bytes would count as unspent. */
function bytesOf(text: string): Uint8Array | null {
  try {
    const bytes = fromBase64Url(text);
    return toBase64Url(bytes) === text ? bytes : null;
  } catch {
    return null;
  }
}

function invalid(why: string): MeshError {
  return new MeshError("challenge-invalid", `Cannot accept the challenge: ${why}`, {
    hint: "Try again; each request needs a fresh challenge",
  });
}
