/**
 * Where this instance may write what outlives no call.
 * @module
 */

/** Start of the scratch memory, 64-byte aligned. */
export let scratch: usize = 0;

/** Tells this instance where its `SCRATCH_BYTES` lie; once, before any other call. */
export function setScratch(at: usize): void {
  scratch = at;
}
