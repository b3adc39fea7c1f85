/**
 * The daemon's log: one line per event on stderr, fields as `key=value`.
 *
 * Levels: debug for decisions, and the only level that may show addresses; info for changes that a
 * user would notice; warn when someone should look; error when the process cannot go on.
 * @module
 */

/** Levels, least important first. */
export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error"] as const;
export type LogLevel = typeof LOG_LEVELS[number];

/** Writes one event; fields never hold secrets. */
export type Log = (level: LogLevel, message: string, fields?: Record<string, unknown>) => void;

/** Lines that {@link recentProblems} returns at most, and the length from which one is cut. */
const KEPT_LINES = 100;
const KEPT_LENGTH = 500;
/** The process has one stderr, and so one memory of what went there. */
const recent: string[] = [];

/** The last lines at warn and above, oldest first: for bug reports, whatever level is written. */
export function recentProblems(): readonly string[] {
  return recent;
}

/** A log that writes events of at least `least` to stderr. */
export function createLog(least: LogLevel): Log {
  const threshold = LOG_LEVELS.indexOf(least);
  const encoder = new TextEncoder();
  return (level, message, fields = {}) => {
    const isProblem = level === "warn" || level === "error";
    const isWritten = LOG_LEVELS.indexOf(level) >= threshold;
    if (!isProblem && !isWritten) return;
    const pairs = Object.entries(fields).map(([key, value]) => ` ${key}=${quote(value)}`).join("");
    const line = `${new Date().toISOString()} ${level.padEnd(5)} ${message}${pairs}`;
    if (isProblem) remember(line);
    if (!isWritten) return;
    try {
      Deno.stderr.writeSync(encoder.encode(line + "\n"));
    } catch {
      // Nobody reads the log any more; the node goes on.
    }
  };
}

function remember(line: string): void {
  recent.push(line.slice(0, KEPT_LENGTH));
  if (recent.length > KEPT_LINES) recent.shift();
}

function quote(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return /[\s="]/.test(text) ? JSON.stringify(text) : text;
}
