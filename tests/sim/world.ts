/**
 * A world with one clock: everything that happens is an entry of one queue, ordered by time and,
 * at the same time, by when it was scheduled. The same seed gives the same history.
 * @module
 */
import type { Millis } from "../../core/machine.ts";
import { SeededRandom, unit } from "../../core/random.ts";

interface Entry {
  readonly at: Millis;
  readonly order: number;
  readonly act: () => void;
}

/** More happens at no one moment, unless something is due again and again. */
const MAX_AT_ONCE = 1_000_000;

/** Virtual time and chance. */
export class World {
  readonly seed: number;
  readonly random: SeededRandom;
  /** One line per thing worth telling, with its time. */
  readonly trace: string[] = [];
  now: Millis = 0;
  #order = 0;
  #skipped = 0;
  readonly #heap: Entry[] = [];

  constructor(seed: number) {
    this.seed = seed;
    this.random = new SeededRandom(seed);
  }

  /** Wall time; the clock of an honest machine. */
  get wallTime(): number {
    return 1_800_000_000_000 + this.#skipped + Math.floor(this.now);
  }

  /** Days pass of which nothing is simulated but that wall clocks go on. */
  skip(duration: Millis): void {
    this.#skipped += duration;
    this.note(`${duration} ms pass`);
  }

  /** A number in [low, high). */
  between(low: number, high: number): number {
    return low + unit(this.random) * (high - low);
  }

  /** Whether something of that probability happens. */
  chance(probability: number): boolean {
    return unit(this.random) < probability;
  }

  /** Keeps a line of history. */
  note(text: string): void {
    this.trace.push(`${(this.now / 1000).toFixed(3).padStart(9)} s  ${text}`);
  }

  /** Does `act` after `delay` milliseconds. */
  after(delay: Millis, act: () => void): void {
    this.at(this.now + delay, act);
  }

  /** Does `act` at that very moment, or now: a delay up to a deadline may round to before it. */
  at(moment: Millis, act: () => void): void {
    this.#push({ at: Math.max(this.now, moment), order: this.#order++, act });
  }

  /** Lets everything happen that is due within the next `duration` milliseconds. */
  run(duration: Millis): void {
    const end = this.now + duration;
    let atOnce = 0;
    while (this.#heap.length > 0 && this.#heap[0]!.at <= end) {
      const entry = this.#pop();
      atOnce = entry.at === this.now ? atOnce + 1 : 0;
      if (atOnce > MAX_AT_ONCE) throw new Error(`Time stands still at ${this.now} ms`);
      this.now = entry.at;
      entry.act();
    }
    this.now = end;
  }

  /** Runs until `condition` holds; false when it did not within `limit` milliseconds. */
  runUntil(condition: () => boolean, limit: Millis): boolean {
    for (let spent = 0; spent < limit; spent += 10) {
      if (condition()) return true;
      this.run(10);
    }
    return condition();
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let i = heap.push(entry) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isBefore(entry, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = entry;
  }

  #pop(): Entry {
    const heap = this.#heap;
    const top = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
    return top;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
