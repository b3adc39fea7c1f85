/**
 * What does each command make of the state? The only place where the coordinator's memory changes.
 *
 * `apply` is pure and total: it returns the next state and what happened, or throws a MeshError
 * that says why the command is refused, and then nothing has changed. A command that changes
 * nothing returns the same state object, which callers use to write nothing.
 * @module
 */
import { fromBase64Url } from "../../core/bytes.ts";
import { meshAddress6 } from "../../core/control/addressing.ts";
import { isSameRecord } from "../../core/control/roster.ts";
import { MeshError } from "../../core/errors.ts";
import { peerIdOf } from "../../core/identity/keys.ts";
import { NodeRecord, type SignedRecord } from "../../core/identity/record.ts";
import type { PeerId } from "../../core/ids.ts";
import { unreachable } from "../../core/assert.ts";
import { MAX_PEERS } from "../../core/control/messages.ts";
import { allocate, poolOf } from "./ipam.ts";
import { chooseAliases, chooseName, type NameHolder } from "./names.ts";
import {
  type Command,
  type CommandOf,
  type Departed,
  type Node,
  SEEN_STEP_MS,
  type State,
} from "./state.ts";

/** Farewells that are kept for nodes that were away meanwhile; the oldest go first. */
export const MAX_DEPARTED = 1024;
/** Nodes that are none any more whose last number is kept; the oldest go first. */
export const MAX_REMOVED = 16_384;

/** What a command changed. */
export type ModelEvent =
  | { readonly type: "node-changed"; readonly id: PeerId }
  | { readonly type: "node-left"; readonly id: PeerId };

export interface Applied {
  readonly state: State;
  readonly events: readonly ModelEvent[];
}

/** @throws {MeshError} when the command is refused. */
export function apply(state: State, command: Command): Applied {
  switch (command.type) {
    case "register":
      return register(state, command);
    case "update-record":
      return updateRecord(state, command);
    case "leave":
      return leave(state, command);
    case "remove":
      return remove(state, command);
    case "seen":
      return seen(state, command);
    case "adopt":
      return adopt(state, command);
    default:
      return unreachable(command);
  }
}

function register(state: State, command: CommandOf<"register">): Applied {
  const id = peerIdOf(fromBase64Url(command.identity));
  const held = state.nodes.get(id);
  if (!held) return addNode(state, command, id);
  if (held.identity !== command.identity) {
    throw new MeshError("identity-mismatch", `Cannot register: another identity has id ${id}`);
  }
  const holder = nameHolder(state);
  const isRenamed = command.name !== held.wantedName;
  const node: Node = {
    ...held,
    wantedName: command.name,
    name: isRenamed ? chooseName(command.name, id, holder) : held.name,
    aliases: chooseAliases(command.aliases, id, holder),
  };
  const isSame = !isRenamed && node.aliases.join() === held.aliases.join();
  if (isSame) return { state, events: [] };
  return {
    state: { ...state, nodes: new Map(state.nodes).set(id, node) },
    events: [{ type: "node-changed", id }],
  };
}

function addNode(state: State, command: CommandOf<"register">, id: PeerId): Applied {
  if (state.nodes.size >= MAX_PEERS) {
    throw new MeshError("address-pool-exhausted", `Cannot join: ${MAX_PEERS} nodes have joined`, {
      hint: "Let nodes that are gone leave the mesh",
    });
  }
  const holder = nameHolder(state);
  const node: Node = {
    id,
    identity: command.identity,
    name: chooseName(command.name, id, holder),
    wantedName: command.name,
    aliases: chooseAliases(command.aliases, id, holder),
    ip4: allocate(poolOf(state.cidr4), new Set([...state.nodes.values()].map(({ ip4 }) => ip4))),
    ip6: meshAddress6(state.prefix6, id),
    registeredAt: command.at,
    seenAt: command.at,
    record: null,
    // Peers remember the number of the last record; one has to be newer than that to count.
    recordSeq: lastSeqOf(state, id),
  };
  return {
    state: { ...state, nodes: new Map(state.nodes).set(id, node) },
    events: [{ type: "node-changed", id }],
  };
}

function updateRecord(state: State, command: CommandOf<"update-record">): Applied {
  const node = memberOf(state, command.id);
  if (node.record && isSameRecord(node.record, command.record)) return { state, events: [] };
  const record = ownRecord(state, node, command.record);
  const isRight = record.name === node.name && record.addresses.join() === addressesOf(node) &&
    record.aliases.join() === node.aliases.join() && !record.left;
  if (!isRight) {
    throw new MeshError("record-invalid", "Cannot accept record: it is not what was registered", {
      hint: "Register again, then sign the name, aliases and addresses of the reply",
    });
  }
  const next = { ...node, record: command.record, recordSeq: record.seq };
  return {
    state: { ...withoutTrace(state, node.id), nodes: new Map(state.nodes).set(node.id, next) },
    events: [{ type: "node-changed", id: node.id }],
  };
}

function leave(state: State, command: CommandOf<"leave">): Applied {
  const node = memberOf(state, command.id);
  const record = ownRecord(state, node, command.record);
  if (!record.left) {
    throw new MeshError("record-invalid", "Cannot leave: the record does not say so");
  }
  const nodes = new Map(state.nodes);
  nodes.delete(node.id);
  const departed = new Map(state.departed);
  departed.delete(node.id);
  const farewell: Departed = {
    id: node.id,
    record: command.record,
    seq: record.seq,
    at: command.at,
  };
  departed.set(node.id, farewell);
  const next = bounded({ ...state, nodes, departed });
  return { state: next, events: [{ type: "node-left", id: node.id }] };
}

/** Forgets the oldest farewell when there are too many; what number it had is kept for longer. */
function bounded(state: State): State {
  if (state.departed.size <= MAX_DEPARTED) return state;
  const [oldest, { seq }] = state.departed.entries().next().value!;
  const departed = new Map(state.departed);
  departed.delete(oldest);
  return withLastSeq({ ...state, departed }, oldest, seq);
}

/** Keeps the number of the last record of an identity that is no node any more. */
function withLastSeq(state: State, id: PeerId, seq: number): State {
  const removed = new Map(state.removed);
  removed.delete(id);
  removed.set(id, seq);
  if (removed.size > MAX_REMOVED) removed.delete(removed.keys().next().value!);
  return { ...state, removed };
}

/** The greatest number that a record of an identity that is no node had here; -1 for none. */
function lastSeqOf({ departed, removed }: State, id: PeerId): number {
  return Math.max(departed.get(id)?.seq ?? -1, removed.get(id) ?? -1);
}

/** Forgets that an identity was gone: its newest record is its node's again. */
function withoutTrace(state: State, id: PeerId): State {
  if (!state.departed.has(id) && !state.removed.has(id)) return state;
  const [departed, removed] = [new Map(state.departed), new Map(state.removed)];
  departed.delete(id);
  removed.delete(id);
  return { ...state, departed, removed };
}

function remove(state: State, { id }: CommandOf<"remove">): Applied {
  const node = state.nodes.get(id);
  if (!node) return { state, events: [] };
  const nodes = new Map(state.nodes);
  nodes.delete(id);
  const next = withLastSeq({ ...state, nodes }, id, node.recordSeq);
  return { state: next, events: [{ type: "node-left", id }] };
}

/** Nobody has to hear of that, so that nothing is reported. */
function seen(state: State, { id, at }: CommandOf<"seen">): Applied {
  const node = state.nodes.get(id);
  if (!node || at - node.seenAt < SEEN_STEP_MS) return { state, events: [] };
  const nodes = new Map(state.nodes).set(id, { ...node, seenAt: at });
  return { state: { ...state, nodes }, events: [] };
}

/** Whether the record may be believed was judged before; here it only has to be one. */
function adopt(state: State, { at, record: signed, seenAt }: CommandOf<"adopt">): Applied {
  const parsed = NodeRecord.safeParse(jsonOrNull(signed.payload));
  const [ip4, ip6] = parsed.data?.addresses ?? [];
  if (!parsed.success || ip4 === undefined || ip6 === undefined) {
    throw new MeshError("record-invalid", "Cannot adopt record: it is no node's with addresses");
  }
  const { id, identity, name, aliases, seq } = parsed.data;
  const held = state.nodes.get(id);
  // What a farewell took back stays so; whom the log took out may bring the same record again.
  const isOld = (state.departed.get(id)?.seq ?? -1) >= seq;
  if (isOld || held?.record && isSameRecord(held.record, signed)) return { state, events: [] };
  const node: Node = {
    id,
    identity,
    name,
    wantedName: name,
    aliases,
    ip4,
    ip6,
    registeredAt: held?.registeredAt ?? at,
    seenAt: Math.max(seenAt, held?.seenAt ?? 0),
    record: signed,
    recordSeq: seq,
  };
  const nodes = new Map(state.nodes).set(id, node);
  return { state: { ...withoutTrace(state, id), nodes }, events: [{ type: "node-changed", id }] };
}

/** @throws {MeshError} "peer-unknown" */
export function memberOf(state: State, id: PeerId): Node {
  const node = state.nodes.get(id);
  if (node) return node;
  throw new MeshError("peer-unknown", `Cannot find node ${id}: it is not in this mesh`, {
    hint: "Join with a token first: tunnelmesh join URL --token TOKEN",
  });
}

/** Reads a record of `node`, made for this mesh and newer than the last; its signature is not checked. */
function ownRecord(state: State, node: Node, signed: SignedRecord): NodeRecord {
  const refuse = (why: string) =>
    new MeshError("record-invalid", `Cannot accept record of ${node.id}: ${why}`);
  const parsed = NodeRecord.safeParse(jsonOrNull(signed.payload));
  if (!parsed.success) throw refuse("it is not a node record");
  const record = parsed.data;
  if (record.id !== node.id || signed.signer !== node.identity) {
    throw refuse("another one signed it");
  }
  if (record.meshId !== state.meshId) throw refuse("it is for another mesh");
  // Whom the log had taken out may go on with the record that it had.
  const isAgain = node.record === null && state.removed.get(node.id) === record.seq;
  if (record.seq <= node.recordSeq && !isAgain) {
    throw refuse(`sequence ${record.seq} does not follow ${node.recordSeq}`);
  }
  return record;
}

function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function addressesOf(node: Node): string {
  return `${node.ip4},${node.ip6}`;
}

function nameHolder(state: State): NameHolder {
  const holders = new Map<string, PeerId>();
  for (const node of state.nodes.values()) {
    for (const name of [node.name, ...node.aliases]) holders.set(name, node.id);
  }
  return (name) => holders.get(name);
}
