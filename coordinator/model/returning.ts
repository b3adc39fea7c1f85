/**
 * May a member whom nobody has registered go on with what it had?
 *
 * The log had taken it out and an admin let it in again, or the coordinator's files are older than
 * the log. It says hello as before, for it may not even have heard that it was out, so what it
 * states of itself is taken where nobody else has got its name and addresses meanwhile. Else it has
 * to register for others.
 * @module
 */
import { isHostAddress4, meshAddress6 } from "../../core/control/addressing.ts";
import type { NodeRecord } from "../../core/identity/record.ts";
import { RESERVED_NAMES } from "../../core/ids.ts";
import { parsePrefix } from "../../core/ip.ts";
import type { State } from "./state.ts";

/** @param record Of a member; its signature was checked. */
export function mayReturn(state: State, record: NodeRecord): boolean {
  const { id, seq, meshId, left } = record;
  const [ip4, ip6, ...more] = record.addresses;
  const isProper = ip4 !== undefined && more.length === 0 &&
    isHostAddress4(parsePrefix(state.cidr4)!, ip4) && ip6 === meshAddress6(state.prefix6, id);
  // A farewell has to be outdone; whom the log took out may bring the very record that it had.
  const isNew = seq > (state.departed.get(id)?.seq ?? -1) && seq >= (state.removed.get(id) ?? 0);
  if (meshId !== state.meshId || left || !isProper || !isNew) return false;
  const taken = new Set<string>(RESERVED_NAMES);
  for (const { name, aliases, ip4, ip6 } of state.nodes.values()) {
    for (const each of [name, ...aliases, ip4, ip6]) taken.add(each);
  }
  return [record.name, ...record.aliases, ip4, ip6].every((each) => !taken.has(each));
}
