/**
 * How many handshakes may one address start while this node is flooded: a token bucket for each.
 *
 * Rates are wireguard-go's. Addresses are whole for IPv4 and /64 for IPv6, since one host may use
 * any of those.
 * @module
 */
import { maskBytes, parseEndpoint, parseIp } from "../ip.ts";
import type { Millis } from "../machine.ts";

const PER_SECOND = 20;
const BURST = 5;
const COST = 1000 / PER_SECOND;
const FULL = COST * BURST;
/** Addresses remembered; when all are busy, further ones are refused. */
const MAX_ADDRESSES = 8192;

interface Bucket {
  tokens: number;
  at: Millis;
}

/** Decides about handshakes by source address. */
export class RateLimiter {
  readonly #buckets = new Map<string, Bucket>();

  /** Number of addresses remembered. */
  get size(): number {
    return this.#buckets.size;
  }

  /** Whether a handshake from `endpoint` may go on. */
  allow(endpoint: string, now: Millis): boolean {
    const key = sourceOf(endpoint);
    const bucket = this.#buckets.get(key);
    if (!bucket) {
      if (this.#buckets.size >= MAX_ADDRESSES && !this.#evict(now)) return false;
      this.#buckets.set(key, { tokens: FULL - COST, at: now });
      return true;
    }
    bucket.tokens = Math.min(FULL, bucket.tokens + now - bucket.at);
    bucket.at = now;
    if (bucket.tokens < COST) return false;
    bucket.tokens -= COST;
    return true;
  }

  /** Drops buckets that are full again; they say nothing. Looks at the oldest few only. */
  #evict(now: Millis): boolean {
    let looked = 0;
    for (const [key, bucket] of this.#buckets) {
      if (bucket.tokens + now - bucket.at >= FULL) this.#buckets.delete(key);
      if (++looked === 64) break;
    }
    return this.#buckets.size < MAX_ADDRESSES;
  }
}

function sourceOf(endpoint: string): string {
  const ip = parseEndpoint(endpoint)?.ip ?? endpoint;
  const bytes = parseIp(ip);
  return bytes?.length === 16 ? maskBytes(bytes, 64).toHex() : ip;
}
