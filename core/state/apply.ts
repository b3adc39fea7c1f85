/**
 * What does an entry make of the state, once its signer is known to be allowed?
 *
 * `apply` is pure and total: it returns the next state, or throws a MeshError that says what the
 * entry contradicts. Maps that an entry does not touch are shared with the state before, which is
 * how `audit.ts` finds what changed.
 * @module
 */
import { assert, unreachable } from "../assert.ts";
import { fromBase64Url } from "../bytes.ts";
import { MAX_PEERS } from "../control/messages.ts";
import { MeshError } from "../errors.ts";
import { peerIdOf } from "../identity/keys.ts";
import type { PeerId } from "../ids.ts";
import { type Body, type BodyOf, policyHash, type UserId } from "./bodies.ts";
import { type Entry, meshIdOf, type VerifiedEntry } from "./entry.ts";
import type { Actor } from "./permit.ts";
import {
  admins,
  type Authority,
  hashState,
  type MemberNode,
  type MeshState,
  transportKey,
  type User,
} from "./state.ts";

/** Most of each: users, authorities that hold, transports. */
export const MAX_NAMED = 4096;
/** Most withdrawn authorities that are remembered. */
export const MAX_WITHDRAWN = 1024;
/** Most machines that are remembered as revoked. */
export const MAX_REVOKED = 65_536;

/** The state of a mesh that just began. */
export function begin(genesis: VerifiedEntry): MeshState {
  const { body, at } = genesis.entry;
  if (body.type !== "genesis") throw new MeshError("entry-invalid", "Cannot begin: no genesis");
  const id = peerIdOf(fromBase64Url(genesis.signer));
  const user: User = { id, name: body.name, key: genesis.signer, isAdmin: true, addedAt: at };
  return {
    meshId: meshIdOf(genesis),
    users: new Map([[id, user]]),
    nodes: new Map(),
    authorities: new Map(),
    transports: new Map(),
    revoked: new Map(),
    retiredKeys: new Map(),
    policy: null,
  };
}

/** @throws {MeshError} "entry-conflict", "last-admin", "snapshot-invalid"; nothing changes then. */
export function apply(state: MeshState, entry: Entry, actor: Actor): MeshState {
  const { body, at } = entry;
  switch (body.type) {
    case "genesis":
      throw conflict(body, "the mesh has begun already");
    case "admin-add":
      return addAdmin(state, body);
    case "admin-remove":
      return removeAdmin(state, body);
    case "user-add":
      return addUser(state, body, at);
    case "user-rename":
      return renameUser(state, body);
    case "user-remove":
      return removeUser(state, body, at);
    case "key-rotate":
      return rotateKey(state, body);
    case "node-admit":
      return admitNode(state, body, at, actor);
    case "node-revoke":
      if (actor.type === "node") return withoutNodes(state, [actor.node.id]);
      nodeOf(state, body, body.node);
      return revokeNodes(state, [body.node], at, body.reason);
    case "node-expire-policy":
      return withNode(state, {
        ...nodeOf(state, body, body.node),
        expiresAfterMs: body.expiresAfterMs,
        renewedAt: at,
      });
    case "tag-set":
      return setTags(state, body);
    case "policy-set":
      return setPolicy(state, body, at);
    case "token-authority":
      assert(actor.type === "admin", "permit() lets only admins give rights");
      return setAuthority(state, body, at, actor.user.id);
    case "transport-set":
      return setTransport(state, body);
    case "snapshot":
      if (hashState(state) === body.stateHash) return state;
      throw new MeshError(
        "snapshot-invalid",
        `Cannot accept snapshot ${entry.seq}: the state before it has another hash`,
      );
    default:
      return unreachable(body);
  }
}

function addAdmin(state: MeshState, body: BodyOf<"admin-add">): MeshState {
  const user = userOf(state, body, body.user);
  if (user.key !== body.key) throw conflict(body, `user ${user.name} has another key`);
  if (user.isAdmin) throw conflict(body, `user ${user.name} is an admin already`);
  return withUser(state, { ...user, isAdmin: true });
}

function removeAdmin(state: MeshState, body: BodyOf<"admin-remove">): MeshState {
  const user = userOf(state, body, body.user);
  if (!user.isAdmin) throw conflict(body, `user ${user.name} is no admin`);
  expectNotLastAdmin(state, user);
  return withUser(state, { ...user, isAdmin: false });
}

function addUser(state: MeshState, body: BodyOf<"user-add">, at: number): MeshState {
  const id = peerIdOf(fromBase64Url(body.key));
  expectNewKey(state, body, body.key);
  expectNewName(state, body, body.name);
  // Also a user who has rotated away from the key that their id is made of holds the id.
  if (state.users.has(id)) throw conflict(body, `user ${id} exists`);
  const user = { id, name: body.name, key: body.key, isAdmin: false, addedAt: at };
  return { ...state, users: withEntry(body, state.users, id, user) };
}

function renameUser(state: MeshState, body: BodyOf<"user-rename">): MeshState {
  const user = userOf(state, body, body.user);
  if (user.name === body.name) return state;
  expectNewName(state, body, body.name);
  return withUser(state, { ...user, name: body.name });
}

function removeUser(state: MeshState, body: BodyOf<"user-remove">, at: number): MeshState {
  const user = userOf(state, body, body.user);
  expectNotLastAdmin(state, user);
  const right = state.authorities.values()
    .find(({ limits, withdrawnAt }) => limits.user === user.id && withdrawnAt === null);
  if (right) throw conflict(body, `"${right.id}" still admits nodes of ${user.name}`);
  const nodes = [...state.nodes.values()].filter((node) => node.user === user.id);
  const reason = `User ${user.name} was removed`;
  const rest = revokeNodes(state, nodes.map(({ id }) => id), at, reason);
  const users = new Map(rest.users);
  users.delete(user.id);
  const retired = new Map(rest.retiredKeys).set(user.key, { key: user.key, user: user.id });
  return { ...rest, users, retiredKeys: retired };
}

function rotateKey(state: MeshState, body: BodyOf<"key-rotate">): MeshState {
  const user = userOf(state, body, body.user);
  expectNewKey(state, body, body.key);
  const retired = new Map(state.retiredKeys).set(user.key, { key: user.key, user: user.id });
  return { ...withUser(state, { ...user, key: body.key }), retiredKeys: retired };
}

function admitNode(
  state: MeshState,
  body: BodyOf<"node-admit">,
  at: number,
  actor: Actor,
): MeshState {
  const id = peerIdOf(fromBase64Url(body.identity));
  if (state.nodes.has(id)) throw conflict(body, `node ${id} is a member already`);
  if (state.nodes.size >= MAX_PEERS) throw conflict(body, `${MAX_PEERS} nodes are members`);
  expectOwner(state, body, body.user, body.tags);
  const { identity, user, tags, expiresAfterMs, authority } = body;
  const node = { id, identity, user, tags, expiresAfterMs, renewedAt: at, authority };
  const nodes = new Map(state.nodes).set(id, node);
  const revoked = new Map(state.revoked);
  const next = { ...state, nodes, revoked: revoked.delete(id) ? revoked : state.revoked };
  if (actor.type !== "authority") return next;
  const used = { ...actor.authority, uses: actor.authority.uses + 1 };
  return { ...next, authorities: new Map(state.authorities).set(used.id, used) };
}

function setTags(state: MeshState, body: BodyOf<"tag-set">): MeshState {
  const node = nodeOf(state, body, body.node);
  expectOwner(state, body, node.user, body.tags);
  return withNode(state, { ...node, tags: body.tags });
}

function setPolicy(state: MeshState, body: BodyOf<"policy-set">, at: number): MeshState {
  const { documents, hash } = body;
  if (policyHash(documents) !== hash) throw conflict(body, "the hash is not the documents'");
  return { ...state, policy: { hash, documents, at } };
}

function setAuthority(
  state: MeshState,
  body: BodyOf<"token-authority">,
  at: number,
  by: UserId,
): MeshState {
  const { authority: id, key, limits, note } = body;
  const held = state.authorities.get(id);
  if (held && held.withdrawnAt !== null) throw conflict(body, `"${id}" was withdrawn`);
  if (held && held.key !== key) throw conflict(body, `"${id}" has another key`);
  if (limits === null) {
    if (!held) throw conflict(body, `there is no "${id}"`);
    return { ...state, authorities: withWithdrawn(state, { ...held, withdrawnAt: at }) };
  }
  expectOwner(state, body, limits.user, limits.tags);
  const holding = state.authorities.values().filter(({ withdrawnAt }) => withdrawnAt === null);
  if (!held && holding.toArray().length >= MAX_NAMED) {
    throw conflict(body, `there are ${MAX_NAMED} already`);
  }
  const { uses, createdAt, createdBy } = held ?? { uses: 0, createdAt: at, createdBy: by };
  const next = { id, key, limits, uses, note, createdAt, createdBy, withdrawnAt: null };
  return { ...state, authorities: new Map(state.authorities).set(id, next) };
}

/** Keeps what was withdrawn last; the oldest are forgotten. */
function withWithdrawn(state: MeshState, last: Authority): MeshState["authorities"] {
  const authorities = new Map(state.authorities).set(last.id, last);
  const withdrawn = [...authorities.values()].filter(({ withdrawnAt }) => withdrawnAt !== null)
    .sort((a, b) => b.withdrawnAt! - a.withdrawnAt! || (a.id < b.id ? -1 : 1));
  for (const { id } of withdrawn.slice(MAX_WITHDRAWN)) authorities.delete(id);
  return authorities;
}

function setTransport(state: MeshState, body: BodyOf<"transport-set">): MeshState {
  const { node, peer, preference } = body;
  const key = transportKey(node, peer);
  if (preference === null) return { ...state, transports: without(body, state.transports, key) };
  for (const id of [node, peer]) nodeOf(state, body, id);
  if (node === peer) throw conflict(body, "a node has no path to itself");
  const transport = { node, peer, preference };
  return { ...state, transports: withEntry(body, state.transports, key, transport) };
}

function revokeNodes(
  state: MeshState,
  ids: readonly PeerId[],
  at: number,
  reason: string,
): MeshState {
  if (ids.length === 0) return state;
  const revoked = new Map(state.revoked);
  for (const id of ids) {
    revoked.set(id, { id, identity: state.nodes.get(id)!.identity, at, reason });
  }
  if (revoked.size > MAX_REVOKED) {
    throw new MeshError("entry-conflict", `Cannot revoke: ${MAX_REVOKED} nodes are revoked`);
  }
  return { ...withoutNodes(state, ids), revoked };
}

/** Ends memberships; nothing is held against who comes back. */
function withoutNodes(state: MeshState, ids: readonly PeerId[]): MeshState {
  const nodes = new Map(state.nodes);
  for (const id of ids) nodes.delete(id);
  // An id that returns must not find what was set for it.
  const transports = [...state.transports].filter(([, { node, peer }]) =>
    nodes.has(node) && nodes.has(peer)
  );
  const isSame = transports.length === state.transports.size;
  return { ...state, nodes, transports: isSame ? state.transports : new Map(transports) };
}

function expectNotLastAdmin(state: MeshState, user: User): void {
  if (!user.isAdmin || admins(state).length > 1) return;
  throw new MeshError("last-admin", `Cannot remove admin ${user.name}: there is no other`, {
    hint: "Make another user an admin first",
  });
}

function expectNewKey(state: MeshState, body: Body, key: string): void {
  const holder = state.users.values().find((user) => user.key === key);
  if (holder) throw conflict(body, `it is the key of ${holder.name}`);
  if (state.retiredKeys.has(key)) throw conflict(body, "the key was given up and stays so");
}

function expectNewName(state: MeshState, body: Body, name: string): void {
  const holder = state.users.values().find((user) => user.name === name);
  if (holder) throw conflict(body, `there is a user ${name}`);
}

function expectOwner(
  state: MeshState,
  body: Body,
  user: UserId | null,
  tags: readonly string[],
): void {
  if (user !== null) userOf(state, body, user);
  else if (tags.length === 0) throw conflict(body, "a node is a user's or has a tag");
}

function userOf(state: MeshState, body: Body, id: UserId): User {
  const user = state.users.get(id);
  if (user) return user;
  throw conflict(body, `there is no user ${id}`);
}

function nodeOf(state: MeshState, body: Body, id: PeerId): MemberNode {
  const node = state.nodes.get(id);
  if (node) return node;
  throw conflict(body, `node ${id} is no member`);
}

function withUser(state: MeshState, user: User): MeshState {
  return { ...state, users: new Map(state.users).set(user.id, user) };
}

function withNode(state: MeshState, node: MemberNode): MeshState {
  return { ...state, nodes: new Map(state.nodes).set(node.id, node) };
}

function withEntry<T>(
  body: Body,
  map: ReadonlyMap<string, T>,
  key: string,
  value: T,
): ReadonlyMap<string, T> {
  const next = new Map(map).set(key, value);
  if (next.size > MAX_NAMED) throw conflict(body, `there are ${MAX_NAMED} already`);
  return next;
}

function without<T>(body: Body, map: ReadonlyMap<string, T>, key: string): ReadonlyMap<string, T> {
  const next = new Map(map);
  if (!next.delete(key)) throw conflict(body, `there is no "${key}"`);
  return next;
}

function conflict(body: Body, why: string): MeshError {
  return new MeshError("entry-conflict", `Cannot accept ${body.type}: ${why}`);
}
