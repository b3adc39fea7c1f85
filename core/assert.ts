/**
 * Assertions for programmer errors: they say that our own code is wrong, never that a peer is.
 * @module
 */

/** Thrown when an invariant of this program does not hold; never caught, always a bug. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Throws unless `condition` holds. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Marks a branch that the type system proves impossible. */
export function unreachable(value: never): never {
  throw new AssertionError(`Cannot happen: ${JSON.stringify(value)}`);
}
