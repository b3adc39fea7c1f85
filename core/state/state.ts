/**
 * What does the log amount to? Users, nodes, tokens, transports, policy, and who was revoked.
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
  COORDINATOR_TAG,
  ExpiresAfterMs,
  Hash,
  hashText,
  Limits,
  Note,
  PolicyDocuments,
  Tags,
  TransportPreference,
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

/** A key other than an admin's that may admit nodes. */
export const Authority = z.strictObject({
  id: AuthorityId,
  key: IdentityText,
  limits: Limits,
  uses: z.int().nonnegative(),
  note: Note,
  createdAt: At,
  /** The admin who gave the right, who may have left since. */
  createdBy: UserId,
  /** It admits nobody any more; kept for a while so that its holder can be told. */
  withdrawnAt: At.nullable(),
});
export type Authority = Readonly<z.infer<typeof Authority>>;

/** What an admin set for the paths of one node to one peer. */
export const Transport = z.strictObject({
  node: PeerId,
  peer: PeerId,
  preference: TransportPreference,
});
export type Transport = Readonly<z.infer<typeof Transport>>;

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
  readonly authorities: ReadonlyMap<AuthorityId, Authority>;
  /** By {@link transportKey}. */
  readonly transports: ReadonlyMap<string, Transport>;
  readonly revoked: ReadonlyMap<PeerId, Revoked>;
  readonly retiredKeys: ReadonlyMap<string, RetiredKey>;
  readonly policy: Policy | null;
}

/** Users who are admins, by id. */
export function admins(state: MeshState): User[] {
  return [...state.users.values()].filter(({ isAdmin }) => isAdmin)
    .sort((a, b) => a.id < b.id ? -1 : 1);
}

/** The user whose key this is now. */
export function userOfKey(state: MeshState, key: string): User | undefined {
  return state.users.values().find((user) => user.key === key);
}

/** Whether a member was made a coordinator by its tag. */
export function isCoordinator(state: MeshState, id: PeerId): boolean {
  return state.nodes.get(id)?.tags.includes(COORDINATOR_TAG) ?? false;
}

/** Key of what `node` uses for `peer` in {@link MeshState.transports}. */
export function transportKey(node: PeerId, peer: PeerId): string {
  return `${node}:${peer}`;
}

const StateText = z.strictObject({
  meshId: MeshId,
  users: z.array(User),
  nodes: z.array(MemberNode),
  authorities: z.array(Authority),
  transports: z.array(Transport),
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
    authorities: sortedValues(state.authorities),
    transports: sortedValues(state.transports),
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
      authorities: mapBy(rest.authorities, ({ id }) => id),
      transports: mapBy(rest.transports, ({ node, peer }) => transportKey(node, peer)),
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
