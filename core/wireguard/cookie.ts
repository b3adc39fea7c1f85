/**
 * Proof of address: mac1, mac2 and the cookie between them (WireGuard paper, sections 5.3, 5.4.4,
 * 5.4.7). A flooded receiver answers with a cookie before it computes anything costly.
 * @module
 */
import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { blake2s } from "@noble/hashes/blake2.js";
import { concatBytes, equalConstantTime, utf8 } from "../bytes.ts";
import type { Endpoint } from "../ip.ts";
import type { Millis } from "../machine.ts";
import type { Random } from "../random.ts";
import { COOKIE_LIFETIME, LABEL_COOKIE, LABEL_MAC1 } from "./constants.ts";
import {
  COOKIE,
  handshakeType,
  INITIATION,
  newMessage,
  readIndex,
  RESPONSE,
  writeIndex,
} from "./messages.ts";

const MAC = 16;
/** A cookie is no longer used this long before its secret changes, to allow for the way. */
const COOKIE_MARGIN = 5_000;

function mac(key: Uint8Array, data: Uint8Array): Uint8Array {
  return blake2s(data, { key, dkLen: MAC });
}

function labelled(label: string, publicKey: Uint8Array): Uint8Array {
  return blake2s(concatBytes(utf8(label), publicKey));
}

/** The key of mac1 for messages to the owner of `publicKey`. */
export function mac1KeyOf(publicKey: Uint8Array): Uint8Array {
  return labelled(LABEL_MAC1, publicKey);
}

/**
 * Whether a message of type 1 or 2 carries a valid mac1; of type 3, which has none, always. Lets a
 * worker drop what did not come from someone who knows this node, before it reaches the machine.
 *
 * @param mac1Key Of {@link mac1KeyOf} for this node's own public key.
 */
export function hasValidMac1(mac1Key: Uint8Array, bytes: Uint8Array): boolean {
  const type = handshakeType(bytes);
  if (type === 0 || type === 3) return type === 3;
  const at = type === 1 ? INITIATION.mac1 : RESPONSE.mac1;
  return equalConstantTime(mac(mac1Key, bytes.subarray(0, at)), bytes.subarray(at, at + MAC));
}

/** Verdict on the macs of a handshake message. */
export type MacVerdict = "valid" | "bad-mac" | "cookie-required";

/** The receiver's side: checks macs and hands out cookies. */
export class CookieChecker {
  readonly #random: Random;
  readonly #mac1Key: Uint8Array;
  readonly #cookieKey: Uint8Array;
  #secret: Uint8Array = new Uint8Array(0);
  #secretUntil: Millis = -1;

  constructor(publicKey: Uint8Array, random: Random) {
    this.#random = random;
    this.#mac1Key = mac1KeyOf(publicKey);
    this.#cookieKey = labelled(LABEL_COOKIE, publicKey);
  }

  /** Judges a handshake message whose macs start at `mac1`. */
  check(
    bytes: Uint8Array,
    mac1: number,
    from: Endpoint,
    underLoad: boolean,
    now: Millis,
  ): MacVerdict {
    if (!hasValidMac1(this.#mac1Key, bytes)) return "bad-mac";
    if (!underLoad) return "valid";
    const mac2 = mac(this.#cookie(from, now), bytes.subarray(0, mac1 + MAC));
    const given = bytes.subarray(mac1 + MAC, mac1 + 2 * MAC);
    return equalConstantTime(mac2, given) ? "valid" : "cookie-required";
  }

  /** The answer to a message that lacks a valid mac2. */
  reply(bytes: Uint8Array, mac1: number, from: Endpoint, now: Millis): Uint8Array {
    const message = newMessage(COOKIE);
    writeIndex(message, COOKIE.receiver, readIndex(bytes, 4));
    const nonce = this.#random.bytes(24);
    message.set(nonce, COOKIE.nonce);
    const ad = bytes.subarray(mac1, mac1 + MAC);
    const sealed = xchacha20poly1305(this.#cookieKey, nonce, ad).encrypt(this.#cookie(from, now));
    message.set(sealed, COOKIE.cookie);
    return message;
  }

  #cookie(from: Endpoint, now: Millis): Uint8Array {
    if (now >= this.#secretUntil) {
      this.#secret = this.#random.bytes(32);
      this.#secretUntil = now + COOKIE_LIFETIME;
    }
    return mac(this.#secret, utf8(from));
  }
}

/** The sender's side, one for each peer: writes macs and remembers the cookie. */
export class CookieJar {
  readonly #mac1Key: Uint8Array;
  readonly #cookieKey: Uint8Array;
  #lastMac1: Uint8Array | null = null;
  #cookie: Uint8Array | null = null;
  #cookieUntil: Millis = -1;

  /** @param publicKey Of the receiver. */
  constructor(publicKey: Uint8Array) {
    this.#mac1Key = mac1KeyOf(publicKey);
    this.#cookieKey = labelled(LABEL_COOKIE, publicKey);
  }

  /** Completes a message whose macs start at `mac1`. */
  addMacs(bytes: Uint8Array, mac1: number, now: Millis): void {
    this.#lastMac1 = mac(this.#mac1Key, bytes.subarray(0, mac1));
    bytes.set(this.#lastMac1, mac1);
    if (!this.#cookie || now >= this.#cookieUntil) return;
    bytes.set(mac(this.#cookie, bytes.subarray(0, mac1 + MAC)), mac1 + MAC);
  }

  /** Takes a cookie reply; false when it does not answer the last message. */
  consumeReply(bytes: Uint8Array, now: Millis): boolean {
    if (!this.#lastMac1) return false;
    const nonce = bytes.subarray(COOKIE.nonce, COOKIE.nonce + 24);
    try {
      const cipher = xchacha20poly1305(this.#cookieKey, nonce, this.#lastMac1);
      this.#cookie = cipher.decrypt(bytes.subarray(COOKIE.cookie, COOKIE.size));
    } catch {
      return false;
    }
    this.#cookieUntil = now + COOKIE_LIFETIME - COOKIE_MARGIN;
    // One reply for each message, so that a replayed reply cannot set an old cookie again.
    this.#lastMac1 = null;
    return true;
  }
}
