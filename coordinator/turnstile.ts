/**
 * Lets machines that join in one after the other. Each signs an entry that follows the log's last
 * one, so of many that do it at once all but one would have to sign again.
 *
 * Who has read the log's end has a moment to come back with its entry. It is a courtesy and no lock:
 * who does not wait is merely told that another one came first.
 * @module
 */

/** How long a machine may take from reading to registering before the next one's turn. */
const TURN_MS = 1_500;
/** Who has waited so long need not wait any longer: its request would end. */
const PATIENCE_MS = 5_000;

interface Waiting {
  readonly who: string;
  readonly enter: () => void;
}

/** See the module's doc. */
export class Turnstile {
  readonly #queue: Waiting[] = [];
  #inside: string | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Resolves when it is the caller's turn, or was not for too long. */
  async enter(who: string): Promise<void> {
    if (this.#inside === null || this.#inside === who) return this.#admit(who);
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = { who, enter: resolve };
    this.#queue.push(waiting);
    const patience = setTimeout(() => {
      this.#queue.splice(this.#queue.indexOf(waiting), 1);
      resolve();
    }, PATIENCE_MS);
    await promise;
    clearTimeout(patience);
  }

  /** The caller's turn is over. */
  leave(who: string): void {
    if (this.#inside === who) this.#next();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#inside = null;
    for (const { enter } of this.#queue.splice(0)) enter();
  }

  #admit(who: string): void {
    clearTimeout(this.#timer);
    this.#inside = who;
    this.#timer = setTimeout(() => this.#next(), TURN_MS);
  }

  #next(): void {
    clearTimeout(this.#timer);
    this.#inside = null;
    const next = this.#queue.shift();
    if (!next) return;
    this.#admit(next.who);
    next.enter();
  }
}
