/**
 * Packets that wait for a session: a few per peer, and not too many in all.
 * @module
 */

/** Packets of one peer that wait for its session; the oldest goes first when there are more. */
const PER_PEER = 64;
/** Packets that wait in all; a scan of the whole mesh must not fill the memory. */
const TOTAL = 4096;

/** Queues by peer slot. */
export class Staging {
  readonly #queues = new Map<number, Uint8Array[]>();
  #total = 0;

  /** Whether packets of `peer` wait, which later ones must not overtake. */
  has(peer: number): boolean {
    return this.#queues.has(peer);
  }

  /** Adds a packet; returns how many, this or an older one, were dropped for it. */
  add(peer: number, packet: Uint8Array): number {
    let queue = this.#queues.get(peer);
    if (!queue) this.#queues.set(peer, queue = []);
    let dropped = 0;
    if (queue.length >= PER_PEER || this.#total >= TOTAL) {
      dropped = 1;
      if (queue.shift() === undefined) {
        this.#queues.delete(peer);
        return dropped;
      }
      this.#total--;
    }
    queue.push(packet);
    this.#total++;
    return dropped;
  }

  /** Takes every packet of `peer`, oldest first. */
  take(peer: number): readonly Uint8Array[] {
    const queue = this.#queues.get(peer) ?? [];
    this.#queues.delete(peer);
    this.#total -= queue.length;
    return queue;
  }

  /** Forgets everything. */
  clear(): void {
    this.#queues.clear();
    this.#total = 0;
  }
}
