/**
 * How good is a path? Round trip, jitter and loss, estimated from pings.
 *
 * Round trip and jitter are smoothed as RFC 6298 does (1/8, 1/4); loss is the share of the last
 * {@link WINDOW} pings without an answer in time.
 * @module
 */
import type { Millis } from "../machine.ts";

/** Pings that the loss is taken over. */
const WINDOW = 32;
/** A ping without an answer for so long counts as lost, at least, and before a first answer. */
export const LEAST_TIMEOUT_MS = 300;
const FIRST_TIMEOUT_MS = 1_000;
/** At most: a path remembers its pings for little longer while there is traffic. */
const MAX_TIMEOUT_MS = 3_000;

/** What is known of a path's quality; plain data, so that it can be recorded. */
export interface Quality {
  /** Smoothed, or null before the first answer. */
  rttMs: Millis | null;
  jitterMs: Millis;
  /** Outcomes of the last pings, newest in the lowest bit; 1 is lost. */
  losses: number;
  /** How many outcomes {@link losses} holds. */
  outcomes: number;
}

export function newQuality(): Quality {
  return { rttMs: null, jitterMs: 0, losses: 0, outcomes: 0 };
}

/** A ping was answered after `rttMs`. */
export function answered(quality: Quality, rttMs: Millis): void {
  sample(quality, rttMs);
  record(quality, 0);
}

/** A ping that counted as lost was answered after all: the path is slow, not lossy. */
export function answeredLate(quality: Quality, rttMs: Millis): void {
  sample(quality, rttMs);
  // The newest loss is taken back.
  quality.losses = (quality.losses & (quality.losses - 1)) >>> 0;
}

function sample(quality: Quality, rttMs: Millis): void {
  if (quality.rttMs === null) {
    quality.rttMs = rttMs;
    quality.jitterMs = rttMs / 2;
  } else {
    quality.jitterMs += (Math.abs(rttMs - quality.rttMs) - quality.jitterMs) / 4;
    quality.rttMs += (rttMs - quality.rttMs) / 8;
  }
}

/** A ping was not answered in time. */
export function lost(quality: Quality): void {
  record(quality, 1);
}

function record(quality: Quality, outcome: number): void {
  quality.losses = ((quality.losses << 1) | outcome) >>> 0;
  quality.outcomes = Math.min(WINDOW, quality.outcomes + 1);
}

/** Share of pings lost, or 0 before there were any. */
export function lossOf(quality: Quality): number {
  if (quality.outcomes === 0) return 0;
  let count = 0;
  for (let bits = quality.losses; bits !== 0; bits >>>= 1) count += bits & 1;
  return count / quality.outcomes;
}

/** How long an answer may take before the path is doubted: three round trips, 300 ms to 3 s. */
export function timeoutOf(quality: Quality): Millis {
  if (quality.rttMs === null) return FIRST_TIMEOUT_MS;
  return Math.min(MAX_TIMEOUT_MS, Math.max(LEAST_TIMEOUT_MS, 3 * quality.rttMs));
}
