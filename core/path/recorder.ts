/**
 * A flight recorder of decisions about paths: what the agent was told in the last minutes, what it
 * decided, and the state that it was in before, so that the decisions can be made again elsewhere.
 *
 * It keeps the objects that there are anyway; text is made of them only for a report. Nothing of a
 * packet and no key ever reaches the agent, so none can be in here.
 * @module
 */
import type { Machine, Millis } from "../machine.ts";
import type { PathAgent, PathEffect, PathEvent } from "./agent.ts";

/** An event, when it came, and what was decided. */
export interface Entry {
  readonly at: Millis;
  readonly event: PathEvent;
  /** Null where they were too many to keep; the event determines them. */
  readonly effects: readonly PathEffect[] | null;
}

/** A stretch of history that begins with a state. */
export interface Stretch {
  /** `PathAgent.snapshot()` before the first entry. */
  readonly snapshot: string;
  readonly entries: readonly Entry[];
}

/** What a recorder holds; {@link replay} goes through it. */
export interface Recording {
  readonly stretches: readonly Stretch[];
}

/** When a stretch ends. Two are kept, so twice as much at most. */
export interface StretchLimits {
  readonly ms: Millis;
  readonly entries: number;
  /** Estimated. */
  readonly bytes: number;
}

export const STRETCH_LIMITS: StretchLimits = { ms: 180_000, entries: 10_000, bytes: 2 << 20 };

/** Effects of one event that are kept; more come only where a node with many peers moves. */
const MAX_EFFECTS = 512;
/** What V8 takes for an entry with a small event, and for an effect with its message. */
const ENTRY_BYTES = 260;
const EFFECT_BYTES = 130;
/** For each address that an event lists. */
const ADDRESS_BYTES = 64;

/** So that the many entries without effects share one list. */
const NO_EFFECTS: readonly PathEffect[] = [];

/** Wraps an agent; handles what it handles, and remembers it. */
export class Recorder implements Machine<PathEvent, PathEffect> {
  readonly #agent: PathAgent;
  readonly #limits: StretchLimits;
  #before: Stretch | null = null;
  #now: { readonly snapshot: string; readonly entries: Entry[] };
  #bytes = 0;

  constructor(agent: PathAgent, limits: StretchLimits = STRETCH_LIMITS) {
    this.#agent = agent;
    this.#limits = limits;
    this.#now = { snapshot: agent.snapshot(), entries: [] };
  }

  get deadline(): Millis {
    return this.#agent.deadline;
  }

  /** The last minutes: a whole stretch, or all since the start, and what came after it. */
  get recording(): Recording {
    return { stretches: [...(this.#before ? [this.#before] : []), this.#now] };
  }

  handle(event: PathEvent, now: Millis): PathEffect[] {
    // Early ticks change nothing, and the node has many for other reasons.
    if (event.type === "tick" && now < this.#agent.deadline) return this.#agent.handle(event, now);
    if (this.#isFull(now)) {
      this.#before = this.#now;
      this.#now = { snapshot: this.#agent.snapshot(), entries: [] };
      this.#bytes = 0;
    }
    const effects = this.#agent.handle(event, now);
    this.#keep(event, effects, now);
    return effects;
  }

  #isFull(now: Millis): boolean {
    const { entries } = this.#now;
    const first = entries[0];
    if (first === undefined) return false;
    return now >= first.at + this.#limits.ms || entries.length >= this.#limits.entries ||
      this.#bytes >= this.#limits.bytes;
  }

  #keep(event: PathEvent, effects: readonly PathEffect[], at: Millis): void {
    const isFew = effects.length <= MAX_EFFECTS;
    this.#bytes += ENTRY_BYTES + extraBytes(event) + (isFew ? effects.length * EFFECT_BYTES : 0);
    // A list that grew has room for more effects than came; a copy has not.
    const kept = effects.length === 0 ? NO_EFFECTS : isFew ? effects.slice() : null;
    this.#now.entries.push({ at, event, effects: kept });
  }
}

/** What an event takes beyond {@link ENTRY_BYTES}. */
function extraBytes(event: PathEvent): number {
  switch (event.type) {
    case "candidates":
      return event.endpoints.length * ADDRESS_BYTES;
    case "offer":
      return event.offer.endpoints.length * ADDRESS_BYTES;
    case "message":
      return event.message.type === "offer"
        ? event.message.offer.endpoints.length * ADDRESS_BYTES
        : 0;
    case "relay-nodes":
      return event.nodes.length * ADDRESS_BYTES;
    case "sockets":
      return event.sockets.length * 8;
    case "link":
      return event.why.length;
    default:
      return 0;
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

/** Where a replay decides otherwise than was recorded. */
export interface Difference {
  readonly stretch: number;
  readonly entry: number;
  readonly at: Millis;
  readonly event: PathEvent;
  readonly recorded: readonly PathEffect[];
  readonly replayed: readonly PathEffect[];
}

/**
 * Goes through a recording as {@link replay} does and compares.
 * @returns How many effects were the same, and the first difference.
 */
export function compare(
  recording: Recording,
  make: () => PathAgent,
): { readonly same: number; readonly difference: Difference | null } {
  let same = 0;
  for (const [stretch, { snapshot, entries }] of recording.stretches.entries()) {
    const agent = make();
    agent.restore(snapshot);
    for (const [entry, { at, event, effects: recorded }] of entries.entries()) {
      const replayed = agent.handle(event, at);
      if (recorded !== null && !isSame(recorded, replayed)) {
        return { same, difference: { stretch, entry, at, event, recorded, replayed } };
      }
      same += recorded?.length ?? 0;
    }
  }
  return { same, difference: null };
}

/** Whether two values of JSON are equal, in whatever order their keys are. */
function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length &&
    keys.every((key) =>
      Object.hasOwn(b, key) && isSame(a[key as keyof typeof a], b[key as keyof typeof b])
    );
}
