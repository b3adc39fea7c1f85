/**
 * How long may a node be away, and how is that said and asked for?
 * @module
 */
import { z } from "zod";
import { parseDuration } from "../core/config/units.ts";
import { DAY_MS } from "../core/state/expiry.ts";

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
