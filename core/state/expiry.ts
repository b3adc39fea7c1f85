/**
 * Is a node still a member after having been away so long?
 *
 * A node expires only by absence: one that is used is never cut off on a date. Last seen is the
 * latest of what this node itself heard of it, what coordinators say, and when an admin admitted or
 * renewed it. So a coordinator alone cannot make a node expire for those who talk to it; it can
 * keep an absent one from expiring, which is what having no expiry would be. Nodes may judge
 * differently for a while; who must go at once is revoked.
 *
 * An expired node is refused, so it is not seen again by itself: an admin renews it with a
 * `node-expire-policy` entry.
 * @module
 */
import type { MemberNode } from "./state.ts";

export const DAY_MS = 86_400_000;
/** Absence after which a node is no member, unless said otherwise. */
export const DEFAULT_EXPIRES_AFTER_MS = 180 * DAY_MS;
/** Days before expiry at which users are warned. */
export const WARN_DAYS = [14, 7, 1] as const;
export type WarnDays = typeof WARN_DAYS[number];

export type Expiry =
  | { readonly state: "member"; readonly expiresAt: number | null }
  /** Less than `days` are left; each of {@link WARN_DAYS} once as time goes on. */
  | { readonly state: "warned"; readonly expiresAt: number; readonly days: WarnDays }
  | { readonly state: "expired"; readonly expiresAt: number };

/**
 * @param lastSeen Wall time of the latest sign of life that anyone tells of; 0 for none.
 * @param now Wall time.
 */
export function expiryOf(
  node: Pick<MemberNode, "expiresAfterMs" | "renewedAt">,
  lastSeen: number,
  now: number,
): Expiry {
  if (node.expiresAfterMs === null) return { state: "member", expiresAt: null };
  // A time in the future is a wrong clock and must not keep a node for ever.
  const seen = Math.max(node.renewedAt, Math.min(lastSeen, now));
  const expiresAt = seen + node.expiresAfterMs;
  if (now >= expiresAt) return { state: "expired", expiresAt };
  // Who may be away for a week only is not warned from the first minute on.
  const days = WARN_DAYS.findLast((each) =>
    expiresAt - now <= each * DAY_MS && each * DAY_MS * 2 <= node.expiresAfterMs!
  );
  return days === undefined ? { state: "member", expiresAt } : { state: "warned", expiresAt, days };
}

/** How long that is from now: `in 6 days`, `in 1 hour`, `in 20 minutes`; rounded down. */
export function timeUntil(at: number, now: number): string {
  const minutes = Math.max(1, Math.floor((at - now) / 60_000));
  const [count, unit] = minutes >= 2 * 1440
    ? [Math.floor(minutes / 1440), "day"]
    : minutes >= 60
    ? [Math.floor(minutes / 60), "hour"]
    : [minutes, "minute"];
  return `in ${count} ${unit}${count === 1 ? "" : "s"}`;
}
