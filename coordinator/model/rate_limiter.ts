/**
 * May this source ask once more? Token buckets in a table of fixed size.
 * @module
 */
import { toHex } from "../../core/bytes.ts";
import { formatIp, type Ip, parseIp } from "../../core/ip.ts";
import type { Millis } from "../../core/machine.ts";

export interface RateLimit {
  /** Requests that may come at once. */
  readonly burst: number;
  readonly perSecond: number;
  /** Sources remembered; the one longest unheard is forgotten first. */
  readonly capacity: number;
}

interface Bucket {
  tokens: number;
  at: Millis;
}

/** Buckets by key. */
export class RateLimiter {
  readonly #limit: RateLimit;
  /** In the order of the last request. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(limit: RateLimit) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Takes one request of `key` from its bucket; false when it has none left. */
  take(key: string, now: Millis): boolean {
    const { burst, perSecond, capacity } = this.#limit;
    const held = this.#buckets.get(key);
    const bucket = held ?? { tokens: burst, at: now };
    bucket.tokens = Math.min(burst, bucket.tokens + (now - bucket.at) / 1000 * perSecond);
    bucket.at = now;
    this.#buckets.delete(key);
    if (!held && this.#buckets.size >= capacity) {
      this.#buckets.delete(this.#buckets.keys().next().value!);
    }
    this.#buckets.set(key, bucket);
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }
}

/** First bytes of an IPv4 address in IPv6 form (RFC 4291 section 2.5.5.2). */
const MAPPED = "00000000000000000000ffff";

/**
 * What counts as one source: an IPv4 address, or an IPv6 /64, since whoever has one address of a
 * /64 has them all. Text that is no address is its own key.
 */
export function sourceKey(ip: Ip): string {
  const bytes = parseIp(ip);
  if (!bytes || bytes.length === 4) return ip;
  const hex = toHex(bytes);
  return hex.startsWith(MAPPED) ? formatIp(bytes.subarray(12)) : hex.slice(0, 16);
}
