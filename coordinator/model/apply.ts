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
import { MAX_PEERS, type TokenId } from "../../core/control/messages.ts";
import { allocate, poolOf } from "./ipam.ts";
import { chooseAliases, chooseName, type NameHolder } from "./names.ts";
import type { Command, CommandOf, Departed, Node, State, Token } from "./state.ts";
import { admit, tokenState } from "./tokens.ts";

/** Farewells that are kept for nodes that were away meanwhile; the oldest go first. */
export const MAX_DEPARTED = 1024;
/** Tokens that may exist at once. */
export const MAX_TOKENS = 10_000;
/** A token that admits nobody any more is listed for so long. */
const DEAD_TOKEN_KEPT_MS = 30 * 86_400_000;

/** What a command changed. */
export type ModelEvent =
  | { readonly type: "node-changed"; readonly id: PeerId }
  | { readonly type: "node-left"; readonly id: PeerId }
  | { readonly type: "tokens-changed" };

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
    case "create-token":
      return createToken(state, command);
    case "revoke-token":
      return revokeToken(state, command);
    default:
      return unreachable(command);
  }
}

function register(state: State, command: CommandOf<"register">): Applied {
  const id = peerIdOf(fromBase64Url(command.identity));
  const held = state.nodes.get(id);
  if (!held) return admitNode(state, command, id);
  if (held.identity !== command.identity) {
    throw new MeshError("identity-mismatch", `Cannot register: another identity has id ${id}`);
  }
  const holder = nameHolder(state);
  const isRenamed = command.name !== held.wantedName;
  const token = promotion(state, held, command);
  const node: Node = {
    ...held,
    wantedName: command.name,
    name: isRenamed ? chooseName(command.name, id, holder) : held.name,
    aliases: chooseAliases(command.aliases, id, holder),
    isCoordinator: held.isCoordinator || token !== null,
  };
  const isSame = !isRenamed && !token && node.aliases.join() === held.aliases.join();
  if (isSame) return { state, events: [] };
  const tokens = token ? withToken(state, countUse(token)) : state.tokens;
  return {
    state: { ...state, nodes: new Map(state.nodes).set(id, node), tokens },
    events: [{ type: "node-changed", id }],
  };
}

function admitNode(state: State, command: CommandOf<"register">, id: PeerId): Applied {
  if (!command.token) {
    throw new MeshError("token-invalid", "Cannot join: this identity needs a join token", {
      hint: "Ask an admin of the mesh for one: tunnelmesh token create",
    });
  }
  const token = admit(state.tokens.get(command.token.id), command.token.hash, command.at);
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
    isAdmin: !state.hadFirst,
    isCoordinator: token.coordinator,
    registeredAt: command.at,
    tokenId: token.id,
    record: null,
    // Peers remember the number of a farewell; a record has to be newer than that to count.
    recordSeq: state.departed.get(id)?.seq ?? -1,
  };
  return {
    state: {
      ...state,
      hadFirst: true,
      nodes: new Map(state.nodes).set(id, node),
      tokens: withToken(state, countUse(token)),
    },
    events: [{ type: "node-changed", id }, { type: "tokens-changed" }],
  };
}

/** The token by which a member becomes a coordinator, or null; a useless token changes nothing. */
function promotion(state: State, held: Node, command: CommandOf<"register">): Token | null {
  const token = command.token && state.tokens.get(command.token.id);
  if (!command.token || !token?.coordinator || held.isCoordinator) return null;
  return admit(token, command.token.hash, command.at);
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
  const departed = new Map(state.departed);
  departed.delete(node.id);
  const next = { ...node, record: command.record, recordSeq: record.seq };
  return {
    state: { ...state, nodes: new Map(state.nodes).set(node.id, next), departed },
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
  if (departed.size > MAX_DEPARTED) departed.delete(departed.keys().next().value!);
  return { state: { ...state, nodes, departed }, events: [{ type: "node-left", id: node.id }] };
}

function createToken(state: State, command: CommandOf<"create-token">): Applied {
  const { type: _, at, ...facts } = command;
  const tokens = new Map(state.tokens);
  for (const token of tokens.values()) {
    const isOld = at - token.createdAt > DEAD_TOKEN_KEPT_MS &&
      at - (token.expiresAt ?? 0) > DEAD_TOKEN_KEPT_MS;
    if (isOld && tokenState(token, at) !== "valid") tokens.delete(token.id);
  }
  if (tokens.has(command.id) || tokens.size >= MAX_TOKENS) {
    throw new MeshError("state-invalid", `Cannot create token: ${tokens.size} exist`, {
      hint: "Revoke tokens that nobody needs",
    });
  }
  tokens.set(command.id, { ...facts, createdAt: at, revokedAt: null, uses: 0 });
  return { state: { ...state, tokens }, events: [{ type: "tokens-changed" }] };
}

function revokeToken(state: State, command: CommandOf<"revoke-token">): Applied {
  const token = state.tokens.get(command.id);
  if (!token) {
    throw new MeshError("token-invalid", `Cannot revoke token "${command.id}": there is none`, {
      hint: "See the tokens with: tunnelmesh token list",
    });
  }
  if (token.revokedAt !== null) return { state, events: [] };
  const tokens = withToken(state, { ...token, revokedAt: command.at });
  return { state: { ...state, tokens }, events: [{ type: "tokens-changed" }] };
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
  if (record.seq <= node.recordSeq) {
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

function countUse(token: Token): Token {
  return { ...token, uses: token.uses + 1 };
}

function withToken(state: State, token: Token): ReadonlyMap<TokenId, Token> {
  return new Map(state.tokens).set(token.id, token);
}

function nameHolder(state: State): NameHolder {
  const holders = new Map<string, PeerId>();
  for (const node of state.nodes.values()) {
    for (const name of [node.name, ...node.aliases]) holders.set(name, node.id);
  }
  return (name) => holders.get(name);
}
