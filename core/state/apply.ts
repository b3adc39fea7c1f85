/**
 * What does an entry make of the state, once its signer is known to be allowed?
 *
 * `apply` is pure and total: it returns the next state, or throws a MeshError that says what the
 * entry contradicts. Maps that an entry does not touch are shared with the state before, which is
 * how `audit.ts` finds what changed.
 * @module
 */
import { unreachable } from "../assert.ts";
import { fromBase64Url } from "../bytes.ts";
import { MAX_PEERS } from "../control/messages.ts";
import { MeshError } from "../errors.ts";
import { peerIdOf } from "../identity/keys.ts";
import type { PeerId } from "../ids.ts";
import { type Body, type BodyOf, policyHash, type Subject, type UserId } from "./bodies.ts";
import { type Entry, meshIdOf, type VerifiedEntry } from "./entry.ts";
import type { Actor } from "./permit.ts";
import {
  admins,
  BUILT_IN_BINDING,
  BUILT_IN_GROUPS,
  BUILT_IN_ROLES,
  hashState,
  type MemberNode,
  type MeshState,
  roleOf,
  type User,
} from "./state.ts";

/** Most of each: users, groups, roles, bindings, authorities. */
export const MAX_NAMED = 4096;
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
    groups: new Map(),
    roles: new Map(),
    bindings: new Map(),
    authorities: new Map(),
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
      return setAuthority(state, body);
    case "snapshot":
      if (hashState(state) === body.stateHash) return state;
      throw new MeshError(
        "snapshot-invalid",
        `Cannot accept snapshot ${entry.seq}: the state before it has another hash`,
      );
    default:
      return applyRights(state, body);
  }
}

type RightsBody = BodyOf<
  "group-set" | "group-delete" | "role-set" | "role-delete" | "binding-set" | "binding-delete"
>;

/** Groups, roles and bindings. */
function applyRights(state: MeshState, body: RightsBody): MeshState {
  switch (body.type) {
    case "group-set": {
      expectFree(body, body.group, BUILT_IN_GROUPS);
      for (const member of body.members) expectSubject(state, body, member);
      const group = { name: body.group, members: body.members };
      return { ...state, groups: withEntry(body, state.groups, body.group, group) };
    }
    case "group-delete": {
      const user = state.bindings.values().find((each) => each.subject === `group:${body.group}`);
      if (user) throw conflict(body, `binding "${user.name}" needs group "${body.group}"`);
      return { ...state, groups: without(body, state.groups, body.group) };
    }
    case "role-set": {
      expectFree(body, body.role, [...BUILT_IN_ROLES.keys()]);
      const role = { name: body.role, rules: body.rules };
      return { ...state, roles: withEntry(body, state.roles, body.role, role) };
    }
    case "role-delete": {
      const user = state.bindings.values().find(({ role }) => role === body.role);
      if (user) throw conflict(body, `binding "${user.name}" needs role "${body.role}"`);
      return { ...state, roles: without(body, state.roles, body.role) };
    }
    case "binding-set": {
      expectFree(body, body.binding, [BUILT_IN_BINDING.name]);
      expectSubject(state, body, body.subject);
      if (!roleOf(state, body.role)) throw conflict(body, `there is no role "${body.role}"`);
      const { binding: name, subject, role, scope } = body;
      const bindings = withEntry(body, state.bindings, name, { name, subject, role, scope });
      return { ...state, bindings };
    }
    case "binding-delete":
      return { ...state, bindings: without(body, state.bindings, body.binding) };
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
  if (admins(state).length === 1) {
    throw new MeshError("last-admin", `Cannot remove admin ${user.name}: there is no other`, {
      hint: "Make another user an admin first",
    });
  }
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
  if (user.isAdmin) {
    throw conflict(body, `user ${user.name} is an admin; take that away first`);
  }
  const right = state.authorities.values().find(({ limits }) => limits.user === user.id);
  if (right) throw conflict(body, `"${right.id}" still admits nodes of ${user.name}`);
  const nodes = [...state.nodes.values()].filter((node) => node.user === user.id);
  const reason = `User ${user.name} was removed`;
  const rest = revokeNodes(state, nodes.map(({ id }) => id), at, reason);
  const users = new Map(rest.users);
  users.delete(user.id);
  const retired = new Map(rest.retiredKeys).set(user.key, { key: user.key, user: user.id });
  return forget({ ...rest, users, retiredKeys: retired }, new Set([`user:${user.id}` as const]));
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

function setAuthority(state: MeshState, body: BodyOf<"token-authority">): MeshState {
  const { authority: id, key, limits } = body;
  if (limits === null) return { ...state, authorities: without(body, state.authorities, id) };
  expectOwner(state, body, limits.user, limits.tags);
  const held = state.authorities.get(id);
  if (held && held.key !== key) throw conflict(body, `"${id}" has another key`);
  const next = { id, key, limits, uses: held?.uses ?? 0 };
  return { ...state, authorities: withEntry(body, state.authorities, id, next) };
}

function revokeNodes(
  state: MeshState,
  ids: readonly PeerId[],
  at: number,
  reason: string,
): MeshState {
  if (ids.length === 0) return state;
  const nodes = new Map(state.nodes);
  const revoked = new Map(state.revoked);
  for (const id of ids) {
    revoked.set(id, { id, identity: nodes.get(id)!.identity, at, reason });
    nodes.delete(id);
  }
  if (revoked.size > MAX_REVOKED) {
    throw new MeshError("entry-conflict", `Cannot revoke: ${MAX_REVOKED} nodes are revoked`);
  }
  return forget({ ...state, nodes, revoked }, new Set(ids.map((id) => `node:${id}` as const)));
}

/** Takes those who are gone out of groups and bindings, so that an id that returns has no rights. */
function forget(state: MeshState, gone: ReadonlySet<Subject>): MeshState {
  const groups = new Map(state.groups);
  for (const [name, group] of groups) {
    const members = group.members.filter((member) => !gone.has(member));
    if (members.length < group.members.length) groups.set(name, { name, members });
  }
  const bindings = new Map(state.bindings);
  for (const [name, { subject }] of bindings) if (gone.has(subject)) bindings.delete(name);
  return { ...state, groups, bindings };
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

function expectSubject(state: MeshState, body: Body, subject: Subject): void {
  const name = subject.slice(subject.indexOf(":") + 1);
  const isBuiltIn = BUILT_IN_GROUPS.some((group) => group === name);
  const isKnown = subject.startsWith("tag:") ||
    (subject.startsWith("user:") && state.users.has(name)) ||
    (subject.startsWith("node:") && state.nodes.has(name)) ||
    (subject.startsWith("group:") && (isBuiltIn || state.groups.has(name)));
  if (!isKnown) throw conflict(body, `there is no ${subject}`);
}

function expectFree(body: Body, name: string, builtIn: readonly string[]): void {
  if (builtIn.includes(name)) throw conflict(body, `"${name}" is built in`);
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
