/**
 * Which of the exits in a user's list is in use, and what happens to traffic when it is lost?
 *
 * ```
 *            first healthy            down for DOWN_MS
 * waiting ----------------> using E ------------------> lost E (or none there after START_MS)
 *    blocked                  |  ^                        block: blocked until E is back
 *                             |  | E is back              direct: direct until E is back
 *       next: a better one    |  +----------------------- next: the next healthy one, else blocked
 *       up for UP_MS: that <--+
 * ```
 *
 * An exit that flaps is left after {@link DOWN_MS} and returned to only when it has been healthy for
 * {@link UP_MS}, so that connections, which do not survive a change of exits, are not cut twice. One
 * that does not want to be an exit any more, or may not, is left at once: that is no flapping.
 * @module
 */
import type { PeerId } from "../ids.ts";
import { type Machine, type Millis, NEVER } from "../machine.ts";
import type { OnExitLoss } from "./client_plan.ts";

export type ExitEvent =
  | { readonly type: "tick" }
  /** What the user wants; an empty list is no exit at all. The best comes first. */
  | {
    readonly type: "configure";
    readonly exits: readonly PeerId[];
    readonly onLoss: OnExitLoss;
  }
  | { readonly type: "health"; readonly exit: PeerId; readonly health: ExitHealth };

/** Whether a peer can be used as an exit. */
export type ExitHealth =
  /** It can be reached and lets traffic out. */
  | "up"
  /** It does not answer. */
  | "down"
  /** It does not offer to be one, or the policy does not let it, or not for this node. */
  | "refused";

/** Where traffic to the internet goes. */
export type ExitEffect =
  | { readonly type: "use"; readonly exit: PeerId }
  /** Nowhere: the kill switch stays closed. */
  | { readonly type: "block" }
  /** Past the mesh; `isWanted`: because no exit is asked for, not because one was lost. */
  | { readonly type: "direct"; readonly isWanted: boolean };

/** How long an exit has to be down before it counts as lost; paths change within a second. */
export const DOWN_MS = 3_000;
/** How long a better exit has to be healthy before it is returned to. */
export const UP_MS = 30_000;
/** How long the first in the list is waited for at the start. */
export const START_MS = 2_000;

interface KnownHealth {
  readonly health: ExitHealth;
  readonly since: Millis;
}

/** See the module's doc. */
export class ExitChoice implements Machine<ExitEvent, ExitEffect> {
  readonly #healthByExit = new Map<PeerId, KnownHealth>();
  #exits: readonly PeerId[] = [];
  #onLoss: OnExitLoss = "block";
  #using: PeerId | null = null;
  #isLost = false;
  /** The start was waited for long enough. */
  #isLate = false;
  #startedAt: Millis = NEVER;
  #told = JSON.stringify({ type: "direct", isWanted: true });

  /** The exit in use, also while it is lost. */
  get exit(): PeerId | null {
    return this.#using;
  }

  get deadline(): Millis {
    return this.#deadline;
  }
  #deadline: Millis = NEVER;

  handle(event: ExitEvent, now: Millis): ExitEffect[] {
    if (event.type === "configure") this.#configure(event.exits, event.onLoss, now);
    else if (event.type === "health") this.#note(event.exit, event.health, now);
    this.#deadline = NEVER;
    this.#decide(now);
    const effect = this.#effect();
    const text = JSON.stringify(effect);
    if (text === this.#told) return [];
    this.#told = text;
    return [effect];
  }

  #configure(exits: readonly PeerId[], onLoss: OnExitLoss, now: Millis): void {
    this.#exits = [...new Set(exits)];
    this.#onLoss = onLoss;
    if (this.#using !== null && this.#exits.includes(this.#using)) return;
    this.#using = null;
    this.#isLost = false;
    this.#isLate = false;
    this.#startedAt = now;
  }

  #note(exit: PeerId, health: ExitHealth, now: Millis): void {
    if (this.#healthByExit.get(exit)?.health === health) return;
    this.#healthByExit.set(exit, { health, since: now });
  }

  #decide(now: Millis): void {
    if (this.#exits.length === 0) return;
    if (this.#using === null) return this.#begin(now);
    const { health, since } = this.#healthByExit.get(this.#using)!;
    if (health === "up") this.#isLost = false;
    else if (health === "refused" || this.#isDue(since + DOWN_MS, now)) this.#isLost = true;
    if (this.#onLoss !== "next") return;
    if (this.#isLost) this.#take(this.#exits.find((exit) => this.#isHealthy(exit)));
    else this.#improve(now);
  }

  /** Takes the first in the list, or after a while the first that is there. */
  #begin(now: Millis): void {
    const first = this.#exits[0]!;
    if (this.#isHealthy(first)) return this.#take(first);
    this.#isLate = this.#isDue(this.#startedAt + START_MS, now);
    if (this.#isLate) this.#take(this.#exits.find((exit) => this.#isHealthy(exit)));
  }

  /** Returns to a better one that has been healthy for long. */
  #improve(now: Millis): void {
    const better = this.#exits.slice(0, this.#exits.indexOf(this.#using!));
    this.#take(better.find((exit) => {
      return this.#isHealthy(exit) &&
        this.#isDue(this.#healthByExit.get(exit)!.since + UP_MS, now);
    }));
  }

  #take(exit: PeerId | undefined): void {
    if (exit === undefined) return;
    this.#using = exit;
    this.#isLost = false;
  }

  #isHealthy(exit: PeerId): boolean {
    return this.#healthByExit.get(exit)?.health === "up";
  }

  /** Whether a time has come; otherwise the machine asks to be called then. */
  #isDue(at: Millis, now: Millis): boolean {
    if (at <= now) return true;
    this.#deadline = Math.min(this.#deadline, at);
    return false;
  }

  #effect(): ExitEffect {
    if (this.#exits.length === 0) return { type: "direct", isWanted: true };
    if (this.#using !== null && !this.#isLost) return { type: "use", exit: this.#using };
    if (this.#using === null && !this.#isLate) return { type: "block" };
    return this.#onLoss === "direct" ? { type: "direct", isWanted: false } : { type: "block" };
  }
}
