/**
 * How long does a link over SSH wait, and how much does it take?
 * @module
 */

/** Durations in milliseconds and sizes; tests have shorter ones. */
export interface Limits {
  /** From an incoming TCP connection to its channel. */
  readonly handshakeMs: number;
  /** From the beginning of a connection to one endpoint to its channel. */
  readonly attemptMs: number;
  /** After this the next endpoint is tried beside one that has not answered (RFC 8305 section 5). */
  readonly staggerMs: number;
  /** Pause before the first new round of attempts; doubles up to {@link maxRetryMs}. */
  readonly firstRetryMs: number;
  readonly maxRetryMs: number;
  /** A connection that lived so long was good: the next pause is the first one again. */
  readonly goodAfterMs: number;
  /** Whoever sent nothing for so long sends a keepalive. */
  readonly keepAliveMs: number;
  /** Bytes that came are acknowledged within this. */
  readonly ackDelayMs: number;
  /** Bytes are on the way and none was acknowledged for so long: the connection has failed. */
  readonly stallMs: number;
  /** Two connections with one peer that began within this were dialled by both at once. */
  readonly crossingMs: number;
  /** How long a connection stays after a better one took its place, for what is on its way. */
  readonly lingerMs: number;
  /** New session keys after so many bytes or so long, as RFC 4253 section 9 recommends. */
  readonly rekeyBytes: number;
  readonly rekeyMs: number;
}

/** With these a dead connection is found after 15 s: a keepalive, and no answer to it. */
export const LIMITS: Limits = {
  handshakeMs: 10_000,
  attemptMs: 5_000,
  staggerMs: 300,
  firstRetryMs: 1_000,
  maxRetryMs: 60_000,
  goodAfterMs: 30_000,
  keepAliveMs: 10_000,
  ackDelayMs: 500,
  stallMs: 5_000,
  crossingMs: 5_000,
  lingerMs: 1_000,
  rekeyBytes: 1 << 30,
  rekeyMs: 3_600_000,
};
