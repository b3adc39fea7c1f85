/**
 * Can the members of every group be told? Not where a group contains itself, over whatever others.
 * @module
 */
import type { Group } from "./policy.ts";

/** A group that contains itself, and the way there: `["a", "b", "a"]`. */
export interface Cycle {
  readonly group: string;
  readonly path: readonly string[];
}

/** Groups inside groups; more is a mistake of whoever generated the document. */
export const MAX_GROUP_DEPTH = 64;

/** Groups that hold others more than {@link MAX_GROUP_DEPTH} deep. There must be no cycles. */
export function findTooDeep(groups: ReadonlyMap<string, Group>): string[] {
  let level = new Set(groups.keys());
  for (let depth = 0; depth <= MAX_GROUP_DEPTH && level.size > 0; depth++) {
    level = new Set(
      [...level].filter((name) => subgroups(groups, name).some((child) => level.has(child))),
    );
  }
  return [...level];
}

/** Every cycle once, named by the group at which it was entered first. */
export function findCycles(groups: ReadonlyMap<string, Group>): Cycle[] {
  const found: Cycle[] = [];
  const done = new Set<string>();
  for (const start of groups.keys()) {
    // A stack of its own: a document may nest groups deeper than calls may go.
    const stack = done.has(start) ? [] : [{ name: start, next: subgroups(groups, start) }];
    while (stack.length > 0) {
      const { name, next } = stack.at(-1)!;
      const child = next.pop();
      if (child === undefined) {
        done.add(name);
        stack.pop();
        continue;
      }
      const index = stack.findIndex((entry) => entry.name === child);
      if (index >= 0) {
        const path = [...stack.slice(index).map((entry) => entry.name), child];
        found.push({ group: child, path });
      } else if (!done.has(child)) {
        stack.push({ name: child, next: subgroups(groups, child) });
      }
    }
  }
  return found;
}

function subgroups(groups: ReadonlyMap<string, Group>, name: string): string[] {
  const members = groups.get(name)?.members ?? [];
  return members.flatMap((each) => each.kind === "group" ? [each.name] : []).reverse();
}
