/**
 * When a session must say something though no packet asks for it (WireGuard paper, section 6.5).
 *
 * | timer | set by | stopped by | action |
 * | --- | --- | --- | --- |
 * | keepalive, 10 s | data received | anything sent | `keepalive`: the other end waits for a sign |
 * | silence, 15 s and jitter | data sent | anything received | `initiate`: the session is lost |
 * | persistent | anything sent or received | - | `persistent`: keeps a NAT's mapping open |
 * @module
 */
import { type Millis, NEVER } from "../machine.ts";
import { type Random, unit } from "../random.ts";
import { KEEPALIVE_TIMEOUT, REKEY_TIMEOUT, REKEY_TIMEOUT_JITTER } from "./constants.ts";

/** What is due. */
export type TimerAction = "keepalive" | "initiate" | "persistent";

/** The timers of one session. */
export class SessionTimers {
  readonly #random: Random;
  readonly #persistentMs: number;
  #keepaliveAt: Millis = NEVER;
  #silenceAt: Millis = NEVER;
  #persistentAt: Millis = NEVER;

  /** @param persistentMs 0 for no persistent keepalive. */
  constructor(persistentMs: number, random: Random) {
    this.#persistentMs = persistentMs > 0 ? persistentMs : NEVER;
    this.#random = random;
  }

  get deadline(): Millis {
    return Math.min(this.#keepaliveAt, this.#silenceAt, this.#persistentAt);
  }

  dataSent(now: Millis): void {
    if (this.#silenceAt === NEVER) {
      this.#silenceAt = now + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + jitter(this.#random);
    }
    this.anythingSent(now);
  }

  dataReceived(now: Millis): void {
    if (this.#keepaliveAt === NEVER) this.#keepaliveAt = now + KEEPALIVE_TIMEOUT;
    this.anythingReceived(now);
  }

  /** An authenticated message, empty or not. */
  anythingSent(now: Millis): void {
    this.#keepaliveAt = NEVER;
    this.touch(now);
  }

  /** An authenticated message, empty or not, or a handshake message. */
  anythingReceived(now: Millis): void {
    this.#silenceAt = NEVER;
    this.touch(now);
  }

  /** Restarts the persistent keepalive. */
  touch(now: Millis): void {
    this.#persistentAt = now + this.#persistentMs;
  }

  /** The session is gone: nobody waits for its keepalive. */
  sessionLost(): void {
    this.#keepaliveAt = NEVER;
  }

  stop(): void {
    this.#keepaliveAt = this.#silenceAt = this.#persistentAt = NEVER;
  }

  /** What is due, at most once each. */
  due(now: Millis): TimerAction[] {
    const actions: TimerAction[] = [];
    if (this.#keepaliveAt <= now) {
      this.#keepaliveAt = NEVER;
      actions.push("keepalive");
    }
    if (this.#persistentAt <= now) {
      this.touch(now);
      actions.push("persistent");
    }
    if (this.#silenceAt <= now) {
      this.#silenceAt = NEVER;
      actions.push("initiate");
    }
    return actions;
  }
}

/** A random time to add to {@link REKEY_TIMEOUT}, so that two ends do not keep colliding. */
export function jitter(random: Random): Millis {
  return unit(random) * REKEY_TIMEOUT_JITTER;
}
