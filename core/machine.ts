/**
 * The one shape every protocol core has.
 * @module
 */

/** Milliseconds on the node's monotonic clock, suspended time included; never wall time. */
export type Millis = number;

/** The deadline that never comes. */
export const NEVER: Millis = Infinity;

/**
 * State and decisions, with no clock, socket, timer or entropy of its own: the same
 * events at the same times always give the same effects.
 */
export interface Machine<Event, Effect> {
  /** Takes one event; returns what the shell must do, in order. `now` never decreases. */
  handle(event: Event, now: Millis): Effect[];
  /** When the shell must next send `{ type: "tick" }`. An extra or early tick changes nothing. */
  readonly deadline: Millis;
}
