/**
 * How the coordinator tells its operator what happens; never a secret.
 * @module
 */

/** Writes one event. */
export type Log = (
  level: "trace" | "debug" | "info" | "warn" | "error",
  message: string,
  fields?: Record<string, unknown>,
) => void;
