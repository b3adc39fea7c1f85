/**
 * Which changes by other programs have been undone? The last twenty, for `status`.
 * @module
 */
import type { DnsRepair } from "../types_dns.ts";

const KEPT = 20;

/** A short history. */
export class Repairs {
  readonly #entries: { at: number; what: string }[] = [];
  readonly #callbacks: ((repair: DnsRepair) => void)[] = [];

  onRepair(callback: (repair: DnsRepair) => void): void {
    this.#callbacks.push(callback);
  }

  add(what: string): void {
    this.#entries.push({ at: performance.now(), what });
    if (this.#entries.length > KEPT) this.#entries.shift();
    for (const callback of this.#callbacks) callback({ ageMs: 0, what });
  }

  /** Newest last. */
  list(): DnsRepair[] {
    const now = performance.now();
    return this.#entries.map(({ at, what }) => ({ ageMs: Math.round(now - at), what }));
  }
}
