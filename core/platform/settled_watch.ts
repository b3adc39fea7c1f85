/**
 * When is a burst of network events over? One wait of the system is pending on a thread of Deno's
 * pool; after the first event the wait goes on for a moment, and what came is told once.
 * @module
 */
import { MeshError } from "../errors.ts";
import type { NetworkWatch } from "./types_network.ts";

/** What ended a wait: something happened, the time was over, {@link EventSource.wake}, an error. */
export type WaitResult = "event" | "timeout" | "woken" | "failed";

/** How a system tells that its network changed. */
export interface EventSource {
  /** Waits so many milliseconds for an event, without end when negative; one call at a time. */
  wait(timeoutMs: number): Promise<WaitResult>;
  /** Takes what there is to take; false when it is nothing that matters. */
  take(): boolean;
  /** Tells what was taken. */
  report(): void;
  /** Ends the wait that is pending, and the next one. */
  wake(): void;
  /** Gives everything back; no wait is pending. */
  release(): void;
}

/** Without events for so long, a burst is over. */
const SETTLE_MS = 50;
/** Events of one burst; a network that never rests is told about nevertheless. */
const MAX_BURST = 20;
/** Waits that fail one after another; a signal to the process may end a few. */
const MAX_FAILURES = 10;
const FOREVER = -1;

/** Waits for events of a source until it is closed, or until the source fails. */
export class SettledWatch implements NetworkWatch {
  readonly #source: EventSource;
  readonly #ended: Promise<void>;
  #isClosing = false;

  /** @param onFailure Called at most once, when waiting is no longer possible. */
  constructor(source: EventSource, onFailure: (error: MeshError) => void) {
    this.#source = source;
    this.#ended = this.#run(onFailure);
  }

  /** May be called twice. */
  async close(): Promise<void> {
    if (!this.#isClosing) {
      this.#isClosing = true;
      this.#source.wake();
    }
    await this.#ended;
  }

  async #run(onFailure: (error: MeshError) => void): Promise<void> {
    try {
      for (;;) {
        if (await this.#wait(FOREVER) === "failed") break;
        if (this.#isClosing) return;
        if (this.#source.take()) await this.#settle();
        if (this.#isClosing) return;
      }
    } finally {
      // Whoever closes it from here on has nothing to wake.
      this.#isClosing = true;
      this.#source.release();
    }
    onFailure(new MeshError("system", "Cannot wait for changes of the network"));
  }

  /** Waits for the end of a burst, then tells of it; a failure shows again at the next wait. */
  async #settle(): Promise<void> {
    for (let i = 0; i < MAX_BURST && await this.#wait(SETTLE_MS) === "event"; i++) {
      if (this.#isClosing) return;
      this.#source.take();
    }
    if (!this.#isClosing) this.#source.report();
  }

  async #wait(timeoutMs: number): Promise<WaitResult> {
    for (let i = 0; i < MAX_FAILURES && !this.#isClosing; i++) {
      const result = await this.#source.wait(timeoutMs);
      if (result !== "failed") return result;
    }
    return this.#isClosing ? "woken" : "failed";
  }
}
