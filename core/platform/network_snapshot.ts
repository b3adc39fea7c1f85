/**
 * What happened between two looks at the same network? For systems whose events are lost, or do not
 * say what changed.
 * @module
 */
import type { NetworkEvent } from "./types_network.ts";

/**
 * The events that lead from one list of what is there to the next, names of interfaces first, then
 * what went, then what came.
 */
export function eventsBetween(
  before: readonly NetworkEvent[],
  after: readonly NetworkEvent[],
): NetworkEvent[] {
  const had = new Set(before.map(textOf)), has = new Set(after.map(textOf));
  const came = after.filter((event) => !had.has(textOf(event)));
  const stillLinked = new Set(after.flatMap((event) => event.type === "link" ? [event.index] : []));
  const went = before
    // An interface with another MTU is the same one.
    .filter((event) => !(event.type === "link" && stillLinked.has(event.index)))
    .filter((event) => !has.has(textOf(event)))
    .map((event): NetworkEvent => ({ ...event, action: "del" }));
  return [
    ...came.filter(isLink),
    // What an interface had went with it, and is told by its name.
    ...went.filter((event) => !isLink(event)),
    ...went.filter(isLink),
    ...came.filter((event) => !isLink(event)),
  ];
}

function isLink(event: NetworkEvent): boolean {
  return event.type === "link";
}

/** Equal for equal events. */
function textOf(event: NetworkEvent): string {
  return JSON.stringify(event);
}
