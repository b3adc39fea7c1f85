/**
 * Why a packet went no further. Counted, never thrown: a flood of bad packets must stay cheap.
 * @module
 */

/** Every reason, in the order of the counters in shared memory. */
export const DROPS = [
  "malformed",
  "unknown-peer",
  "bad-mac",
  "bad-tag",
  "replay",
  "rate-limited",
  "cookie-required",
  "source-mismatch",
  "no-route",
  "no-session",
  "expired-key",
  "queue-full",
  "send-failed",
  "too-big",
  "bad-headers",
  "bad-fragment",
  "denied",
  "no-rule",
  "unrelated-error",
] as const;

/** One reason. */
export type Drop = typeof DROPS[number];
