/**
 * Which frame does a relay's destination get next, and which are dropped? One queue per destination.
 *
 * Each source has two sub-queues: one for short datagrams, since games, calls, acknowledgements and
 * the pings of paths must neither wait behind nor be lost for a transfer between the same two nodes,
 * of which nothing else can be told from ciphertext; and one for the others. Short datagrams may so
 * overtake long ones. Sub-queues are served by deficit round robin over bytes (RFC 8290 section 4.2),
 * so that who floods takes nothing from the others, and one that begins to have frames has the
 * first turn. Each is managed by CoDel (RFC 8289): what stays above {@link CODEL_TARGET_MS} for
 * {@link CODEL_INTERVAL_MS} loses frames at its head, so that the TCP inside of the tunnel slows
 * down before the delay grows. A sub-queue that ran empty is forgotten with its CoDel state; only
 * the memory of the last dropping state is lost by that.
 *
 * Caps bound the memory: of a sub-queue, a destination, a source over all destinations, and the
 * whole relay.
 * @module
 */
import { SHORT_BYTES } from "../../core/link.ts";
import type { Millis } from "../../core/machine.ts";
import { Slab } from "./slab.ts";

/** Sojourn time that is fine for ever (RFC 8289 section 4.3; wider here, behind a TCP connection). */
export const CODEL_TARGET_MS = 20;
/** A sojourn time above the target for so long is a standing queue (RFC 8289 section 4.3). */
export const CODEL_INTERVAL_MS = 100;
/** What waited so long is worth nothing to anybody, e.g. when a machine wakes up and reads on. */
export const MAX_SOJOURN_MS = 1_000;
/** Most that one source may have in one queue, of short datagrams and of others. */
export const MAX_FLOW_BYTES = 1 << 20;
/** Most that one destination may have waiting. */
export const MAX_QUEUE_BYTES = 8 << 20;
/** Most that one source may have waiting over all destinations. */
export const MAX_SOURCE_BYTES = 8 << 20;
/** Most that waits in the whole relay. */
export const MAX_POOL_BYTES = 512 << 20;
/** What a frame counts beside its length: the objects around it, its headers below. */
export const FRAME_COST_BYTES = 256;

/** What a source may send per turn; a longer frame is paid off over several turns. */
const QUANTUM_BYTES = 16_384;
/** A queue that is full loses so much of its longest sub-queue at once: finding it is a scan. */
const OVERFLOW_BYTES = 65_536;
/** A dropping state that ended so recently is taken up where it was (RFC 8289 section 5.5). */
const RESUME_WITHIN_MS = 16 * CODEL_INTERVAL_MS;
/** Taken items that may stand at the front of a sub-queue's array. */
const MAX_TAKEN = 64;

/** Why a frame that was queued, or was to be, went no further. */
export type QueueDrop = "sojourn" | "source-full" | "destination-full" | "relay-full";

/** Whoever has bytes waiting; the queues keep the count. */
export interface Account {
  queuedBytes: number;
}

export interface FairQueueOptions {
  /** Counts all queues of the relay. */
  readonly pool: Account;
  readonly onDrop: (reason: QueueDrop) => void;
  /** In place of {@link MAX_FLOW_BYTES}. */
  readonly maxFlowBytes?: number;
}

interface Item {
  readonly frame: Uint8Array;
  readonly at: Millis;
}

/** What a frame counts in every cap and turn. */
export function costOf(frame: Uint8Array): number {
  return frame.length + FRAME_COST_BYTES;
}

/** The frames that wait for one destination. */
export class FairQueue {
  readonly #options: FairQueueOptions;
  readonly #maxFlowBytes: number;
  readonly #short = new Map<Account, Flow>();
  readonly #long = new Map<Account, Flow>();
  /** Those that began to have frames, and all others; both in the order of their turns. */
  readonly #new = new Set<Flow>();
  readonly #old = new Set<Flow>();
  #bytes = 0;

  constructor(options: FairQueueOptions) {
    this.#options = options;
    this.#maxFlowBytes = options.maxFlowBytes ?? MAX_FLOW_BYTES;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Queues a frame of `source`, maybe as a copy; false when it, or one before it, was dropped.
   * @param segment Length of the datagrams in it.
   */
  push(source: Account, frame: Uint8Array, now: Millis, segment = frame.length): boolean {
    const { pool } = this.#options;
    const cost = costOf(frame);
    if (pool.queuedBytes + cost > MAX_POOL_BYTES) return this.#refuse("relay-full");
    if (source.queuedBytes + cost > MAX_SOURCE_BYTES) return this.#refuse("source-full");
    const flow = this.#flowOf(source, segment < SHORT_BYTES ? this.#short : this.#long);
    flow.push(frame, now);
    this.#count(source, cost);
    const hasRoom = flow.bytes <= this.#maxFlowBytes && this.#bytes <= MAX_QUEUE_BYTES;
    while (flow.bytes > this.#maxFlowBytes) this.#dropHead(flow, "source-full");
    while (this.#bytes > MAX_QUEUE_BYTES) this.#dropFromLongest();
    return hasRoom;
  }

  #refuse(reason: QueueDrop): false {
    this.#options.onDrop(reason);
    return false;
  }

  #flowOf(source: Account, flows: Map<Account, Flow>): Flow {
    let flow = flows.get(source);
    if (!flow) {
      flows.set(source, flow = new Flow(source, flows));
      this.#new.add(flow);
    }
    return flow;
  }

  /** Takes the frame whose turn it is; null when nothing waits. */
  pop(now: Millis): Uint8Array | null {
    while (this.#bytes > 0) {
      const turns = this.#new.size > 0 ? this.#new : this.#old;
      const flow: Flow = turns.values().next().value!;
      if (flow.deficit <= 0) {
        flow.deficit += QUANTUM_BYTES;
        this.#putLast(flow, turns);
        continue;
      }
      const frame = flow.pop(now, (shed) => this.#shed(flow, shed));
      if (frame) {
        flow.deficit -= costOf(frame);
        this.#count(flow.source, -costOf(frame));
        return frame;
      }
      // One that is empty waits for the others' turns before it can be new again.
      if (turns === this.#new) this.#putLast(flow, turns);
      else this.#forget(flow);
    }
    return null;
  }

  #putLast(flow: Flow, turns: Set<Flow>): void {
    turns.delete(flow);
    this.#old.add(flow);
  }

  #forget(flow: Flow): void {
    this.#old.delete(flow);
    flow.siblings.delete(flow.source);
  }

  #shed({ source }: Flow, frame: Uint8Array): void {
    this.#count(source, -costOf(frame));
    this.#options.onDrop("sojourn");
  }

  /** Forgets everything; returns how many frames that were. */
  clear(): number {
    let frames = 0;
    for (const turns of [this.#new, this.#old]) {
      for (const flow of turns) {
        frames += flow.length;
        this.#count(flow.source, -flow.bytes);
      }
      turns.clear();
    }
    this.#short.clear();
    this.#long.clear();
    return frames;
  }

  #dropFromLongest(): void {
    let longest: Flow | null = null;
    for (const turns of [this.#new, this.#old]) {
      for (const flow of turns) if (!longest || flow.bytes > longest.bytes) longest = flow;
    }
    const until = this.#bytes - OVERFLOW_BYTES;
    while (this.#bytes > until && longest!.bytes > 0) {
      this.#dropHead(longest!, "destination-full");
    }
  }

  #dropHead(flow: Flow, reason: QueueDrop): void {
    this.#count(flow.source, -costOf(flow.shift()!.frame));
    this.#options.onDrop(reason);
  }

  #count(source: Account, cost: number): void {
    source.queuedBytes += cost;
    this.#options.pool.queuedBytes += cost;
    this.#bytes += cost;
  }
}

/** The short or the other datagrams of one source, with CoDel as in RFC 8289 section 5. */
class Flow {
  readonly source: Account;
  /** Where it is listed. */
  readonly siblings: Map<Account, Flow>;
  /** What it may still send in this turn. */
  deficit = QUANTUM_BYTES;
  bytes = 0;
  #items: Item[] = [];
  readonly #slab = new Slab();
  /** Items before this one are taken. */
  #head = 0;
  /** Longest frame seen: a queue no longer than that, or than one turn, is not standing. */
  #longest = QUANTUM_BYTES;
  /** When the sojourn time will have been too long for an interval; 0 while it is not. */
  #firstAboveAt: Millis = 0;
  #isDropping = false;
  #dropNextAt: Millis = 0;
  #count = 0;
  #lastCount = 0;

  constructor(source: Account, siblings: Map<Account, Flow>) {
    this.source = source;
    this.siblings = siblings;
  }

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(frame: Uint8Array, at: Millis): void {
    this.#items.push({ frame: this.#slab.keep(frame), at });
    this.bytes += costOf(frame);
    this.#longest = Math.max(this.#longest, costOf(frame));
  }

  shift(): Item | null {
    const item = this.#items[this.#head];
    if (!item) return null;
    this.#head++;
    this.bytes -= costOf(item.frame);
    if (this.#head === this.#items.length || this.#head >= Math.max(MAX_TAKEN, this.length)) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Takes the next frame that is not too old and that CoDel lets through; `shed` gets the others. */
  pop(now: Millis, shed: (frame: Uint8Array) => void): Uint8Array | null {
    while (this.length > 0 && now - this.#items[this.#head]!.at > MAX_SOJOURN_MS) {
      shed(this.shift()!.frame);
    }
    let item = this.shift();
    let mayDrop = this.#mayDrop(item, now);
    if (this.#isDropping) {
      if (!mayDrop) this.#isDropping = false;
      while (this.#isDropping && now >= this.#dropNextAt) {
        shed(item!.frame);
        this.#count++;
        item = this.shift();
        mayDrop = this.#mayDrop(item, now);
        if (mayDrop) this.#dropNextAt = controlLaw(this.#dropNextAt, this.#count);
        else this.#isDropping = false;
      }
    } else if (mayDrop) {
      shed(item!.frame);
      item = this.shift();
      this.#mayDrop(item, now);
      this.#startDropping(now);
    }
    return item?.frame ?? null;
  }

  #startDropping(now: Millis): void {
    this.#isDropping = true;
    const more = this.#count - this.#lastCount;
    const isRecent = now - this.#dropNextAt < RESUME_WITHIN_MS;
    this.#count = more > 1 && isRecent ? more : 1;
    this.#lastCount = this.#count;
    this.#dropNextAt = controlLaw(now, this.#count);
  }

  /** Whether the queue behind `item`, just taken, has been standing for an interval. */
  #mayDrop(item: Item | null, now: Millis): boolean {
    if (!item || now - item.at < CODEL_TARGET_MS || this.bytes <= this.#longest) {
      this.#firstAboveAt = 0;
      return false;
    }
    if (this.#firstAboveAt === 0) {
      this.#firstAboveAt = now + CODEL_INTERVAL_MS;
      return false;
    }
    return now >= this.#firstAboveAt;
  }
}

/** When to drop next: ever sooner while the queue stands (RFC 8289 section 5.4). */
function controlLaw(at: Millis, count: number): Millis {
  return at + CODEL_INTERVAL_MS / Math.sqrt(count);
}
