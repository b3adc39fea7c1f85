/**
 * The path agent's whole state as JSON text, and back: where a replay begins.
 *
 * Numbers that JSON lacks (the deadline that never comes, "long ago"), maps and sets are written as
 * objects with one key.
 * @module
 */
import type { Millis } from "../machine.ts";
import type { PeerSlot } from "../wireguard/events.ts";
import type { PathAddress } from "./address.ts";
import type { PathAgentOptions } from "./events.ts";
import type { Offer } from "./messages.ts";
import { PeerPaths } from "./peer_paths.ts";
import type { PeerState } from "./peer_state.ts";
import type { PunchingState } from "./punching.ts";

/** What an agent is made of. */
export interface AgentState {
  readonly options: PathAgentOptions;
  readonly peers: Map<PeerSlot, PeerState>;
  readonly links: Set<PathAddress>;
  readonly relayNodes: readonly { id: string; peer: PeerSlot }[];
  readonly offer: Offer | null;
  readonly number: number;
  readonly deadline: Millis;
  readonly punching: PunchingState;
}

/** A state as JSON text. */
export function encodeState(state: AgentState): string {
  return JSON.stringify(state, (_key, value) => {
    if (value === Infinity) return { $number: "+" };
    if (value === -Infinity) return { $number: "-" };
    if (value instanceof Map) return { $map: [...value] };
    if (value instanceof Set) return { $set: [...value] };
    return value;
  });
}

/** What {@link encodeState} wrote; paths of peers get their methods back. */
export function decodeState(text: string): AgentState {
  return parseState(
    text,
    (key, value) =>
      key === "paths" && "paths" in value && value.paths instanceof Map
        ? Object.assign(new PeerPaths(), value)
        : value,
  ) as AgentState;
}

/**
 * The plain data of a text that may come from anyone: maps, sets and numbers, no methods.
 * @throws {SyntaxError | RangeError | TypeError} when it is no JSON, or no maps are where they should.
 */
export function decodePlain(text: string): unknown {
  return parseState(text, (_key, value) => value);
}

function parseState(text: string, revive: (key: string, value: object) => unknown): unknown {
  return JSON.parse(text, (key, value) => {
    if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
    if (value.$number === "+") return Infinity;
    if (value.$number === "-") return -Infinity;
    if (Array.isArray(value.$map)) return new Map(value.$map);
    if (Array.isArray(value.$set)) return new Set(value.$set);
    return revive(key, value);
  });
}
