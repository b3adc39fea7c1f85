/**
 * What does the log amount to? Users, nodes, groups, roles, bindings, policy, and who was revoked.
 *
 * A state is a plain value that never changes; `apply.ts` makes the next one of it. Its text is
 * canonical (maps sorted by key), so equal states have equal texts and a snapshot can name one by
 * its hash. Keys were checked when their entries were; here only their form is.
 * @module
 */
import { z } from "zod";
import { IdentityText, MeshId } from "../control/messages.ts";
import { errorMessage, MeshError } from "../errors.ts";
import { PeerId } from "../ids.ts";
import {
  AuthorityId,
  ExpiresAfterMs,
  Hash,
  hashText,
  Label,
  Limits,
  Members,
  PolicyDocuments,
  RoleRules,
  Scope,
  Subject,
  Tags,
  UserId,
  UserName,
} from "./bodies.ts";

const At = z.int().nonnegative();

/** A person, or whatever else has an SSH key. */
export const User = z.strictObject({
  id: UserId,
  name: UserName,
  /** base64url of the ed25519 key they use now. */
  key: IdentityText,
  isAdmin: z.boolean(),
  addedAt: At,
});
export type User = Readonly<z.infer<typeof User>>;

/** A machine that was admitted. Its name and addresses are its own to state (`record.ts`). */
export const MemberNode = z.strictObject({
  id: PeerId,
  identity: IdentityText,
  /** Whose it is; null for one that has only tags. */
  user: UserId.nullable(),
  tags: Tags,
  expiresAfterMs: ExpiresAfterMs,
  /** When it was admitted or last renewed, by an admin's clock. */
  renewedAt: At,
  /** The right by which it was admitted; null for an admin's own word. */
  authority: AuthorityId.nullable(),
});
export type MemberNode = Readonly<z.infer<typeof MemberNode>>;

export const Group = z.strictObject({ name: Label, members: Members });
export type Group = Readonly<z.infer<typeof Group>>;

export const Role = z.strictObject({ name: Label, rules: RoleRules });
export type Role = Readonly<z.infer<typeof Role>>;

export const Binding = z.strictObject({
  name: Label,
  subject: Subject,
  role: Label,
  scope: Scope,
});
export type Binding = Readonly<z.infer<typeof Binding>>;

/** A key other than an admin's that may admit nodes. */
export const Authority = z.strictObject({
  id: AuthorityId,
  key: IdentityText,
  limits: Limits,
  uses: z.int().nonnegative(),
});
export type Authority = Readonly<z.infer<typeof Authority>>;

export const Revoked = z.strictObject({
  id: PeerId,
  identity: IdentityText,
  at: At,
  reason: z.string().max(200),
});
export type Revoked = Readonly<z.infer<typeof Revoked>>;

export const Policy = z.strictObject({ hash: Hash, documents: PolicyDocuments, at: At });
export type Policy = Readonly<z.infer<typeof Policy>>;

/** A key that a user had; nobody can have it again. */
export const RetiredKey = z.strictObject({ key: IdentityText, user: UserId });
export type RetiredKey = Readonly<z.infer<typeof RetiredKey>>;

export interface MeshState {
  readonly meshId: string;
  readonly users: ReadonlyMap<UserId, User>;
  readonly nodes: ReadonlyMap<PeerId, MemberNode>;
  /** Those that an admin made; {@link BUILT_IN_GROUPS} follow from users and nodes. */
  readonly groups: ReadonlyMap<string, Group>;
  /** Those that an admin made, beside {@link BUILT_IN_ROLES}. */
  readonly roles: ReadonlyMap<string, Role>;
  readonly bindings: ReadonlyMap<string, Binding>;
  readonly authorities: ReadonlyMap<AuthorityId, Authority>;
  readonly revoked: ReadonlyMap<PeerId, Revoked>;
  readonly retiredKeys: ReadonlyMap<string, RetiredKey>;
  readonly policy: Policy | null;
}

/** Groups that nobody can set: everyone who is a member, and the admins with their nodes. */
export const BUILT_IN_GROUPS = ["admins", "everyone"] as const;

/** Roles that nobody can set. */
export const BUILT_IN_ROLES: ReadonlyMap<string, Role> = new Map(
  Object.entries({
    "admin": [{ resources: ["*"], verbs: ["*"] }],
    "bucket-admin": [{ resources: ["buckets", "objects", "shares"], verbs: ["*"] }],
    "bucket-read": [{ resources: ["buckets", "objects"], verbs: ["get", "list"] }],
    "bucket-write": [{
      resources: ["buckets", "objects"],
      verbs: ["create", "delete", "get", "list", "put"],
    }],
    "panel-viewer": [{ resources: ["panels"], verbs: ["get", "list"] }],
  }).map(([name, rules]) => [name, { name, rules }]),
);

/** The binding that nobody can take away. */
export const BUILT_IN_BINDING: Binding = {
  name: "admins",
  subject: "group:admins",
  role: "admin",
  scope: { bucket: null, prefix: null, panel: null },
};

/** Users who are admins, by id. */
export function admins(state: MeshState): User[] {
  return [...state.users.values()].filter(({ isAdmin }) => isAdmin)
    .sort((a, b) => a.id < b.id ? -1 : 1);
}

/** The user whose key this is now. */
export function userOfKey(state: MeshState, key: string): User | undefined {
  return state.users.values().find((user) => user.key === key);
}

/** Everything that a user is, their groups included; empty for a stranger. */
export function subjectsOfUser(state: MeshState, id: UserId): ReadonlySet<Subject> {
  const user = state.users.get(id);
  const subjects = new Set<Subject>();
  if (!user) return subjects;
  subjects.add(`user:${id}`);
  return withGroups(state, subjects, user.isAdmin);
}

/**
 * Everything that a node acts as: itself, its user, its tags and their groups; empty for a machine
 * that is no member.
 */
export function subjectsOfNode(state: MeshState, id: PeerId): ReadonlySet<Subject> {
  const node = state.nodes.get(id);
  const subjects = new Set<Subject>();
  if (!node) return subjects;
  subjects.add(`node:${id}`);
  if (node.user !== null) subjects.add(`user:${node.user}`);
  for (const tag of node.tags) subjects.add(`tag:${tag}`);
  return withGroups(state, subjects, state.users.get(node.user ?? "")?.isAdmin ?? false);
}

/** Nodes that act as `subject`, by id. */
export function nodesOf(state: MeshState, subject: Subject): PeerId[] {
  return [...state.nodes.keys()].filter((id) => subjectsOfNode(state, id).has(subject)).sort();
}

/** Bindings that hold for somebody who is all of `subjects`, the built-in one first. */
export function bindingsOf(state: MeshState, subjects: ReadonlySet<Subject>): Binding[] {
  const own = [...state.bindings.values()].sort((a, b) => a.name < b.name ? -1 : 1);
  return [BUILT_IN_BINDING, ...own].filter(({ subject }) => subjects.has(subject));
}

/** A role by its name, built in or not. */
export function roleOf(state: MeshState, name: string): Role | undefined {
  return BUILT_IN_ROLES.get(name) ?? state.roles.get(name);
}

function withGroups(state: MeshState, subjects: Set<Subject>, isAdmin: boolean): Set<Subject> {
  const groups = [...state.groups.values()].filter(({ members }) =>
    members.some((member) => subjects.has(member))
  );
  for (const { name } of groups) subjects.add(`group:${name}`);
  subjects.add("group:everyone");
  if (isAdmin) subjects.add("group:admins");
  return subjects;
}

const StateText = z.strictObject({
  meshId: MeshId,
  users: z.array(User),
  nodes: z.array(MemberNode),
  groups: z.array(Group),
  roles: z.array(Role),
  bindings: z.array(Binding),
  authorities: z.array(Authority),
  revoked: z.array(Revoked),
  retiredKeys: z.array(RetiredKey),
  policy: Policy.nullable(),
});

/** The one text of a state. */
export function encodeState(state: MeshState): string {
  return JSON.stringify(StateText.parse({
    meshId: state.meshId,
    users: sortedValues(state.users),
    nodes: sortedValues(state.nodes),
    groups: sortedValues(state.groups),
    roles: sortedValues(state.roles),
    bindings: sortedValues(state.bindings),
    authorities: sortedValues(state.authorities),
    revoked: sortedValues(state.revoked),
    retiredKeys: sortedValues(state.retiredKeys),
    policy: state.policy,
  }));
}

/** What a snapshot names a state by. */
export function hashState(state: MeshState): Hash {
  return hashText(encodeState(state));
}

/** @throws {MeshError} "snapshot-invalid" when `text` is not what {@link encodeState} makes. */
export function decodeState(text: string): MeshState {
  let state: MeshState;
  try {
    const { meshId, policy, ...rest } = StateText.parse(JSON.parse(text));
    state = {
      meshId,
      policy,
      users: mapBy(rest.users, ({ id }) => id),
      nodes: mapBy(rest.nodes, ({ id }) => id),
      groups: mapBy(rest.groups, ({ name }) => name),
      roles: mapBy(rest.roles, ({ name }) => name),
      bindings: mapBy(rest.bindings, ({ name }) => name),
      authorities: mapBy(rest.authorities, ({ id }) => id),
      revoked: mapBy(rest.revoked, ({ id }) => id),
      retiredKeys: mapBy(rest.retiredKeys, ({ key }) => key),
    };
  } catch (cause) {
    const why = errorMessage(cause).slice(0, 400);
    throw new MeshError("snapshot-invalid", `Cannot read a state: ${why}`, { cause });
  }
  if (encodeState(state) !== text) {
    throw new MeshError("snapshot-invalid", "Cannot read a state: its text is not canonical");
  }
  return state;
}

function sortedValues<T>(map: ReadonlyMap<string, T>): T[] {
  return [...map].sort(([a], [b]) => a < b ? -1 : 1).map(([, value]) => value);
}

function mapBy<T>(list: readonly T[], keyOf: (item: T) => string): Map<string, T> {
  return new Map(list.map((item) => [keyOf(item), item]));
}
