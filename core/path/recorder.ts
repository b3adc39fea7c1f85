/**
 * A flight recorder of decisions about paths: what the agent was told in the last minutes, and the
 * state that it was in before, so that the same decisions can be made again elsewhere.
 *
 * It keeps events, not what became of them: they determine it. Nothing of a packet and no key ever
 * reaches the agent, so none can be in here.
 * @module
 */
import type { Machine, Millis } from "../machine.ts";
import type { PathAgent, PathEffect, PathEvent } from "./agent.ts";

/** An event and when it came. */
export interface Entry {
  readonly at: Millis;
  readonly event: PathEvent;
}

/** A stretch of history that begins with a state. */
export interface Stretch {
  /** `PathAgent.snapshot()` before the first entry. */
  readonly snapshot: string;
  readonly entries: Entry[];
}

/** What a recorder holds; {@link replay} goes through it. */
export interface Recording {
  readonly stretches: readonly Stretch[];
}

/** A stretch is that long, or has that many events; two are kept, the older one whole. */
const STRETCH_MS = 180_000;
const STRETCH_EVENTS = 10_000;

/** Wraps an agent; handles what it handles, and remembers it. */
export class Recorder implements Machine<PathEvent, PathEffect> {
  readonly #agent: PathAgent;
  #before: Stretch | null = null;
  #now: Stretch;
  #since: Millis = 0;

  constructor(agent: PathAgent) {
    this.#agent = agent;
    this.#now = { snapshot: agent.snapshot(), entries: [] };
  }

  get deadline(): Millis {
    return this.#agent.deadline;
  }

  /** The last minutes, at least {@link STRETCH_MS} of them. */
  get recording(): Recording {
    return { stretches: [...(this.#before ? [this.#before] : []), this.#now] };
  }

  handle(event: PathEvent, now: Millis): PathEffect[] {
    const { entries } = this.#now;
    if (
      entries.length > 0 && (now >= this.#since + STRETCH_MS || entries.length >= STRETCH_EVENTS)
    ) {
      this.#before = this.#now;
      this.#now = { snapshot: this.#agent.snapshot(), entries: [] };
    }
    if (this.#now.entries.length === 0) this.#since = now;
    this.#now.entries.push({ at: now, event });
    return this.#agent.handle(event, now);
  }
}

/** Makes the decisions of a recording again. @param make A fresh agent. */
export function replay(
  recording: Recording,
  make: () => PathAgent,
): { readonly at: Millis; readonly effect: PathEffect }[] {
  const decisions: { at: Millis; effect: PathEffect }[] = [];
  for (const { snapshot, entries } of recording.stretches) {
    const agent = make();
    agent.restore(snapshot);
    for (const { at, event } of entries) {
      for (const effect of agent.handle(event, at)) decisions.push({ at, effect });
    }
  }
  return decisions;
}
