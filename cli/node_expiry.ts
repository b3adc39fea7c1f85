/**
 * How long may a node be away, and how is that said and asked for?
 * @module
 */
import { z } from "zod";
import { parseDuration } from "../core/config/units.ts";
import type { MeshNodeReport } from "../core/daemon/mesh_report.ts";
import { DAY_MS, timeUntil, WARN_DAYS } from "../core/state/expiry.ts";
import { formatTime } from "./format.ts";
import type { Output } from "./output.ts";

/** An option for how long a node may be away. @param whenAbsent What holds without it. */
export function absenceOption(whenAbsent: string) {
  return z.string().optional().meta({
    description: "How long it may be away, e.g. 30d; `never` for ever",
    placeholder: "TIME",
    whenAbsent,
  }).refine((text) => text === undefined || text === "never" || (parseDuration(text) ?? 0) > 0, {
    error: "must be a time such as 12h or 30d, or never",
  });
}

/** Milliseconds that {@link absenceOption} says; null for ever. */
export function parseAbsence(text: string | undefined, whenAbsent: number | null): number | null {
  if (text === undefined) return whenAbsent;
  return text === "never" ? null : parseDuration(text);
}

/** `expires when it is away for 180 days`, `never expires`. */
export function absenceOf(expiresAfterMs: number | null): string {
  if (expiresAfterMs === null) return "never expires";
  const days = Math.round(expiresAfterMs / DAY_MS * 100) / 100;
  return `expires when it is away for ${days} ${days === 1 ? "day" : "days"}`;
}

/** When a node expires if it stays away: a date, or in colour how soon; `never`. */
export function expiryShown(
  { expiresAt, online }: Pick<MeshNodeReport, "expiresAt" | "online">,
  now: number,
  out: Pick<Output, "red" | "yellow">,
): string {
  if (expiresAt === null) return "never";
  if (expiresAt <= now) return out.red("expired");
  const left = expiresAt - now;
  // What is there has its whole time before it, however short that is.
  if (online || left > WARN_DAYS[0] * DAY_MS) return formatTime(expiresAt);
  const text = timeUntil(expiresAt, now);
  return left > DAY_MS ? out.yellow(text) : out.red(text);
}
