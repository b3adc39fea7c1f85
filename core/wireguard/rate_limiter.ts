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
export const MAX_ADDRESSES = 8192;

interface Bucket {
  tokens: number;
  at: Millis;
}

/** Decides about handshakes by source address. */
export class RateLimiter {
  /** Least lately used first. */
  readonly #buckets = new Map<string, Bucket>();

  /** Number of addresses remembered. */
  get size(): number {
    return this.#buckets.size;
  }

  /** Whether a handshake from `endpoint` may go on. */
  allow(endpoint: string, now: Millis): boolean {
    const source = sourceOf(endpoint);
    this.#forgetFull(now);
    const bucket = this.#buckets.get(source);
    if (!bucket && this.#buckets.size >= MAX_ADDRESSES) return false;
    const tokens = bucket ? Math.min(FULL, bucket.tokens + now - bucket.at) : FULL;
    const isAllowed = tokens >= COST;
    this.#buckets.delete(source);
    this.#buckets.set(source, { tokens: isAllowed ? tokens - COST : tokens, at: now });
    return isAllowed;
  }

  /** Drops buckets that are full again, for they say nothing; two a call keep up with new ones. */
  #forgetFull(now: Millis): void {
    let looked = 0;
    for (const [source, bucket] of this.#buckets) {
      if (bucket.tokens + now - bucket.at < FULL) return;
      this.#buckets.delete(source);
      if (++looked === 2) return;
    }
  }
}

function sourceOf(endpoint: string): string {
  const ip = parseEndpoint(endpoint)?.ip ?? endpoint;
  const bytes = parseIp(ip);
  return bytes?.length === 16 ? maskBytes(bytes, 64).toHex() : ip;
}
