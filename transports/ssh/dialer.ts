/**
 * When is which endpoint of one peer tried? Rounds of overlapping attempts, and pauses between them.
 *
 * In a round the endpoints are tried in order; the next one begins when one has failed or has not
 * answered for a while (RFC 8305 section 5), and the first to answer ends the others.
 * @module
 */
import { errorMessage } from "../../core/errors.ts";
import type { Endpoint } from "../../core/ip.ts";
import { type Millis, NEVER } from "../../core/machine.ts";
import { type Random, unit } from "../../core/random.ts";
import type { Limits } from "./limits.ts";

/** Endpoints of one peer that are tried. */
const MAX_ENDPOINTS = 8;
/** A pause is this share of its nominal length, and up to {@link JITTER} longer. */
const LEAST = 0.75;
const JITTER = 0.5;

export interface DialerOptions<Opened> {
  readonly limits: Limits;
  readonly random: Random;
  readonly clock: () => Millis;
  /** One attempt; it ends soon after `signal`, and leaves nothing behind when it fails. */
  readonly open: (endpoint: Endpoint, signal: AbortSignal) => Promise<Opened>;
  readonly onOpen: (opened: Opened, endpoint: Endpoint) => void;
  /** Ends what an attempt opened when it is not wanted any more. */
  readonly discard: (opened: Opened) => void;
  /** All endpoints of a round failed. `why` is a sentence part. */
  readonly onFailure: (why: string) => void;
}

/** Attempts that overlap; the whole ends with its signal. */
interface Round {
  readonly abort: AbortController;
  readonly left: Endpoint[];
  readonly problems: string[];
  running: number;
  stagger: ReturnType<typeof setTimeout> | undefined;
}

/** Tries to reach one peer while it is told to. */
export class Dialer<Opened> {
  readonly #options: DialerOptions<Opened>;
  readonly #attempts = new Set<Promise<void>>();
  #endpoints: readonly Endpoint[] = [];
  #round: Round | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  /** When a connection was there; {@link NEVER} while there is none. */
  #connectedAt: Millis = NEVER;

  constructor(options: DialerOptions<Opened>) {
    this.#options = options;
  }

  /** Where to dial. Other endpoints than before are tried at once, unless a connection is there. */
  setEndpoints(endpoints: readonly Endpoint[]): void {
    const wanted = endpoints.slice(0, MAX_ENDPOINTS);
    if (
      wanted.length === this.#endpoints.length && wanted.every((e, i) => e === this.#endpoints[i])
    ) {
      return;
    }
    this.#endpoints = wanted;
    if (wanted.length === 0) this.#halt();
    else if (this.#connectedAt === NEVER) this.restart();
  }

  /**
   * A connection is there, no matter who opened it. Attempts under way go on: the peer may be
   * dialling too and give up its own for one of these, and if both gave up none were left.
   */
  connected(): void {
    this.#connectedAt = this.#options.clock();
    clearTimeout(this.#retry);
    if (!this.#round) return;
    clearTimeout(this.#round.stagger);
    this.#round.left.length = 0;
  }

  /** The connection has ended: dials after a pause. */
  lost(): void {
    const { clock, limits } = this.#options;
    if (clock() - this.#connectedAt >= limits.goodAfterMs) this.#failures = 0;
    this.#connectedAt = NEVER;
    if (!this.#round) this.#pause();
  }

  /** Dials at once. */
  restart(): void {
    this.#connectedAt = NEVER;
    this.#failures = 0;
    this.#halt();
    this.#begin();
  }

  /** Ends every attempt, and waits until nothing is left of them. */
  async stop(): Promise<void> {
    this.#endpoints = [];
    this.#halt();
    await Promise.all(this.#attempts);
  }

  #halt(): void {
    clearTimeout(this.#retry);
    const round = this.#round;
    this.#round = null;
    clearTimeout(round?.stagger);
    round?.abort.abort(new Error("given up"));
  }

  #pause(): void {
    if (this.#endpoints.length === 0) return;
    const { firstRetryMs, maxRetryMs } = this.#options.limits;
    const nominal = Math.min(maxRetryMs, firstRetryMs * 2 ** this.#failures++);
    const delay = nominal * (LEAST + JITTER * unit(this.#options.random));
    this.#retry = setTimeout(() => this.#begin(), delay);
  }

  #begin(): void {
    if (this.#endpoints.length === 0) return;
    const left = [...this.#endpoints];
    this.#round = {
      abort: new AbortController(),
      left,
      problems: [],
      running: 0,
      stagger: undefined,
    };
    this.#tryNext(this.#round);
  }

  #tryNext(round: Round): void {
    clearTimeout(round.stagger);
    const endpoint = round.left.shift();
    if (endpoint === undefined) return;
    round.running++;
    if (round.left.length > 0) {
      round.stagger = setTimeout(() => this.#tryNext(round), this.#options.limits.staggerMs);
    }
    const attempt = this.#try(round, endpoint);
    this.#attempts.add(attempt);
    attempt.finally(() => this.#attempts.delete(attempt));
  }

  async #try(round: Round, endpoint: Endpoint): Promise<void> {
    const { attemptMs } = this.#options.limits;
    const own = new AbortController();
    const timeout = new Error(`no answer within ${attemptMs / 1000} s`);
    const timer = setTimeout(() => own.abort(timeout), attemptMs);
    const onAbort = () => own.abort(round.abort.signal.reason);
    round.abort.signal.addEventListener("abort", onAbort);
    try {
      const opened = await this.#options.open(endpoint, own.signal);
      if (this.#round !== round) return this.#options.discard(opened);
      this.#halt();
      this.#options.onOpen(opened, endpoint);
    } catch (error) {
      this.#failed(round, errorMessage(error));
    } finally {
      clearTimeout(timer);
      round.abort.signal.removeEventListener("abort", onAbort);
    }
  }

  #failed(round: Round, why: string): void {
    if (this.#round !== round) return;
    round.running--;
    round.problems.push(why);
    if (round.left.length > 0) return this.#tryNext(round);
    if (round.running > 0) return;
    this.#round = null;
    if (this.#connectedAt !== NEVER) return;
    this.#pause();
    this.#options.onFailure(round.problems.join("; "));
  }
}
