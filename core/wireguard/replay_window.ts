/**
 * Has this message been seen before? A sliding window of counters that is cleared, never shifted
 * (RFC 6479), kept in words that the caller supplies, so that it can lie in shared memory.
 *
 * ```
 * word 0, 1   newest counter + 1, low and high half; 0 for none yet
 * word 2 ..   bitmap, a ring of BITMAP_WORDS words of 32 counters each
 * ```
 *
 * Zero words are a fresh window. One thread may use a window at a time.
 * @module
 */

/** A power of two, so that a counter finds its word by a mask. */
const BITMAP_WORDS = 512;
const BITMAP = 2;

/** Counters less than this far behind the newest are accepted; one word is partly filled. */
export const WINDOW_SIZE = (BITMAP_WORDS - 1) * 32;

/** Words that one window occupies. */
export const REPLAY_WORDS = BITMAP + BITMAP_WORDS;

/** The newest counter accepted, or -1. */
export function newestCounter(words: Uint32Array, at: number): number {
  return words[at]! + words[at + 1]! * 2 ** 32 - 1;
}

/**
 * Whether `counter`, an integer in [0, 2^53 - 1), could be fresh; changes nothing. A cheap refusal
 * before decryption.
 */
export function replayCheck(words: Uint32Array, at: number, counter: number): boolean {
  const newest = newestCounter(words, at);
  if (counter > newest) return true;
  if (counter <= newest - WINDOW_SIZE) return false;
  const word = at + BITMAP + (Math.floor(counter / 32) & (BITMAP_WORDS - 1));
  return (words[word]! & (1 << (counter & 31))) === 0;
}

/**
 * Whether `counter` is fresh, and marks it seen. Call it only once the message's tag has verified:
 * an unauthenticated counter would let anyone slide the window.
 */
export function replayAccept(words: Uint32Array, at: number, counter: number): boolean {
  if (!replayCheck(words, at, counter)) return false;
  const newest = newestCounter(words, at);
  const word = Math.floor(counter / 32);
  if (counter > newest) {
    const newestWord = newest < 0 ? -1 : Math.floor(newest / 32);
    const firstStale = Math.max(newestWord + 1, word - BITMAP_WORDS + 1);
    for (let w = firstStale; w <= word; w++) words[at + BITMAP + (w & (BITMAP_WORDS - 1))] = 0;
    words[at] = (counter + 1) >>> 0;
    words[at + 1] = Math.floor((counter + 1) / 2 ** 32);
  }
  const index = at + BITMAP + (word & (BITMAP_WORDS - 1));
  words[index] = words[index]! | (1 << (counter & 31));
  return true;
}

/** A window with words of its own. */
export class ReplayWindow {
  readonly #words = new Uint32Array(REPLAY_WORDS);

  /** The newest counter accepted, or -1. */
  get newest(): number {
    return newestCounter(this.#words, 0);
  }

  /** See {@link replayCheck}. */
  check(counter: number): boolean {
    return replayCheck(this.#words, 0, counter);
  }

  /** See {@link replayAccept}. */
  accept(counter: number): boolean {
    return replayAccept(this.#words, 0, counter);
  }
}
