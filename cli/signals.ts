/**
 * When does a long-running command end? On SIGINT or SIGTERM, or when its work ends by itself.
 * @module
 */

/**
 * Listens from here on; resolves at the first signal. A second one ends the process at once, for
 * users whose first one was not heeded.
 */
export function nextSignal(): Promise<"signal"> {
  const signalled = Promise.withResolvers<"signal">();
  let count = 0;
  const onSignal = () => {
    if (++count > 1) Deno.exit(130);
    signalled.resolve("signal");
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, onSignal);
  return signalled.promise;
}

/** Waits for a signal or for `work`, whichever comes first; returns what `work` gave, or "signal". */
export async function untilSignal<T>(
  work: Promise<T>,
  signal = nextSignal(),
): Promise<T | "signal"> {
  return await Promise.race([work, signal]);
}
