/**
 * When does a node try which coordinator URL? Attempts, their order and the pauses between them.
 *
 * Attempts overlap: when one has not opened after {@link ATTEMPT_SPACING_MS} another one starts,
 * and the first to open wins. So a coordinator whose machine swallowed packets is found as fast as
 * one that refused them: at most {@link MAX_DELAY_MS} and a handshake after it listens.
 * @module
 */
import { type Millis, NEVER } from "../machine.ts";
import { type Random, unit } from "../random.ts";

/** After this a further attempt starts beside one that has not opened. */
export const ATTEMPT_SPACING_MS = 1_500;
/** One attempt lives so long; enough for TLS over a satellite link. */
export const ATTEMPT_TIMEOUT_MS = 6_000;
/** Pause before the first retry; doubles up to {@link MAX_DELAY_MS}. */
export const FIRST_DELAY_MS = 100;
/** Longest pause before a retry, jitter included: a restarted coordinator is found within 2 s. */
export const MAX_DELAY_MS = 1_500;
/** How often a better URL is tried beside a connection that is open. */
export const IMPROVE_INTERVAL_MS = 15_000;
/** Attempts that may be open at once. */
const MAX_ATTEMPTS = 4;
/** A pause is this share of its nominal length, and up to {@link JITTER} longer. */
const LEAST = 0.75;
const JITTER = 0.5;

/** Number of one socket, chosen by the machine, never used twice. */
export type ConnectionId = number;

export type DialEffect =
  | { readonly type: "connect"; readonly connection: ConnectionId; readonly url: string }
  | { readonly type: "close"; readonly connection: ConnectionId };

/** Where effects go, in order. */
interface Sink {
  push(effect: DialEffect): unknown;
}

interface Attempt {
  readonly url: string;
  readonly startedAt: Millis;
}

/** Chooses URLs and times; its owner stops asking while a connection is open. */
export class Dialer {
  readonly #random: Random;
  readonly #attempts = new Map<ConnectionId, Attempt>();
  #urls: readonly string[];
  #index = 0;
  #lastUrl: string;
  #next = 1;
  #connectAt: Millis = 0;
  #failures = 0;
  /** Attempts since the last pause that failed; a round ends when each URL had its turn. */
  #failedInRound = 0;
  #improveAt: Millis = 0;
  /** Which of the URLs before the open one is tried next. */
  #better = 0;

  constructor(urls: readonly string[], random: Random) {
    this.#urls = urls;
    this.#lastUrl = urls[0] ?? "";
    this.#random = random;
  }

  /** The URL tried last, or connected to. */
  get lastUrl(): string {
    return this.#lastUrl;
  }

  get deadline(): Millis {
    const mayConnect = this.#urls.length > 0 && this.#attempts.size < MAX_ATTEMPTS;
    let deadline = mayConnect ? this.#connectAt : NEVER;
    for (const { startedAt } of this.#attempts.values()) {
      deadline = Math.min(deadline, startedAt + ATTEMPT_TIMEOUT_MS);
    }
    return deadline;
  }

  /** Takes other URLs; where one of the old ones is open, what comes before it has changed. */
  setUrls(urls: readonly string[]): void {
    this.#urls = urls;
    this.#index = Math.max(0, urls.indexOf(this.#lastUrl));
  }

  /** Ends attempts that got no answer, begins one when it is time. True when one ended. */
  tick(now: Millis, effects: Sink): boolean {
    let hasFailed = false;
    for (const [connection, { startedAt }] of this.#attempts) {
      if (now < startedAt + ATTEMPT_TIMEOUT_MS) continue;
      effects.push({ type: "close", connection });
      this.failed(connection, now);
      hasFailed = true;
    }
    const mayConnect = this.#urls.length > 0 && this.#attempts.size < MAX_ATTEMPTS;
    if (mayConnect && now >= this.#connectAt) this.#connect(now, effects);
    return hasFailed;
  }

  #connect(now: Millis, effects: Sink): void {
    const url = this.#urls[this.#index % this.#urls.length]!;
    this.#index = (this.#index + 1) % this.#urls.length;
    this.#lastUrl = url;
    const connection = this.#next++;
    this.#attempts.set(connection, { url, startedAt: now });
    this.#connectAt = now + ATTEMPT_SPACING_MS;
    effects.push({ type: "connect", connection, url });
  }

  /** A socket opened: closes the other attempts. False when it is none of the attempts. */
  opened(connection: ConnectionId, now: Millis, effects: Sink): boolean {
    const attempt = this.#attempts.get(connection);
    if (!attempt) return false;
    this.#attempts.delete(connection);
    this.#abandon(effects);
    this.#lastUrl = attempt.url;
    // The URL that worked is the first one to try next time.
    this.#index = Math.max(0, this.#urls.indexOf(attempt.url));
    this.#failedInRound = 0;
    this.#better = 0;
    this.#improveAt = now + IMPROVE_INTERVAL_MS;
    return true;
  }

  /**
   * Beside a connection that is open, tries the URLs before its own, one after the other; one that
   * opens is reported to {@link opened} as any other. Ends attempts that got no answer.
   */
  improve(now: Millis, effects: Sink): void {
    for (const [connection, { startedAt }] of this.#attempts) {
      if (now < startedAt + ATTEMPT_TIMEOUT_MS) continue;
      effects.push({ type: "close", connection });
      this.#attempts.delete(connection);
    }
    if (this.#index === 0 || now < this.#improveAt) return;
    this.#improveAt = now + IMPROVE_INTERVAL_MS;
    const url = this.#urls[this.#better++ % this.#index]!;
    const connection = this.#next++;
    this.#attempts.set(connection, { url, startedAt: now });
    effects.push({ type: "connect", connection, url });
  }

  /** When {@link improve} is to be called next. */
  get improveAt(): Millis {
    let at = this.#index === 0 ? NEVER : this.#improveAt;
    for (const { startedAt } of this.#attempts.values()) {
      at = Math.min(at, startedAt + ATTEMPT_TIMEOUT_MS);
    }
    return at;
  }

  /** Forgets attempts to find something better. */
  settle(effects: Sink): void {
    this.#abandon(effects);
  }

  /** An attempt ended unopened: the next URL at once, a pause after the last. */
  failed(connection: ConnectionId, now: Millis): boolean {
    if (!this.#attempts.delete(connection)) return false;
    this.#failedInRound++;
    let delay = 0;
    if (this.#failedInRound >= this.#urls.length) {
      this.#failedInRound = 0;
      delay = this.#delay();
      this.#failures++;
    }
    this.#connectAt = Math.min(this.#connectAt, now + delay);
    return true;
  }

  /** The open connection is gone; `wasGood` starts the pauses small again. */
  lost(wasGood: boolean, now: Millis): void {
    this.#failures = wasGood ? 0 : this.#failures + 1;
    this.#connectAt = now + this.#delay();
  }

  /** Like {@link lost}, but with a pause of about `pause`, and another URL next. */
  holdOff(pause: Millis, now: Millis): void {
    this.#connectAt = now + this.#jitter(pause);
    this.#index = (this.#index + 1) % Math.max(1, this.#urls.length);
  }

  /** Forgets pauses and attempts: the next {@link tick} connects. */
  restart(now: Millis, effects: Sink): void {
    this.#abandon(effects);
    this.#failures = 0;
    this.#failedInRound = 0;
    this.#connectAt = now;
  }

  #abandon(effects: Sink): void {
    for (const connection of this.#attempts.keys()) effects.push({ type: "close", connection });
    this.#attempts.clear();
  }

  #delay(): Millis {
    const longest = MAX_DELAY_MS / (LEAST + JITTER);
    return this.#jitter(Math.min(longest, FIRST_DELAY_MS * 2 ** Math.min(this.#failures, 10)));
  }

  #jitter(pause: Millis): Millis {
    return pause * (LEAST + JITTER * unit(this.#random));
  }
}
