/**
 * Where is the packet workers' code in this form of the program?
 *
 * Run from source or compiled, it is `worker.ts` in this folder; in the portable bundle every module
 * has become one file, and `worker.js` lies beside it.
 * @module
 */

/** The address to start a packet worker from. */
export function workerUrl(): URL {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return new URL(`./worker.${extension}`, import.meta.url);
}
