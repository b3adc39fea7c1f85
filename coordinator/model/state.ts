/**
 * What does a coordinator remember, and which commands change it?
 *
 * The state is a plain value; the only way to another one is a {@link Command} through `apply`.
 * Commands carry their wall time, so the same commands always give the same state. They hold no
 * secrets: of a token only the hash of its secret. Both are written to disk as JSON, hence the
 * schemas; a field added later needs a default, since old logs lack it.
 * @module
 */
import { z } from "zod";
import { SignedRecord } from "../../core/identity/record.ts";
import { meshPrefix6 } from "../../core/control/addressing.ts";
import { IdentityText, MeshId, TokenId, WallTime } from "../../core/control/messages.ts";
import { MeshError } from "../../core/errors.ts";
import { PeerId, PeerName } from "../../core/ids.ts";
import { poolOf } from "./ipam.ts";

const Seq = z.int().min(-1);
const Hash = z.string().regex(/^[A-Za-z0-9_-]{43}$/);

/** A member of the mesh. */
export const Node = z.strictObject({
  id: PeerId,
  identity: IdentityText,
  name: PeerName,
  /** The name it asked for; differs from `name` after a clash. */
  wantedName: PeerName,
  aliases: z.array(z.string()).readonly(),
  ip4: z.string(),
  ip6: z.string(),
  isAdmin: z.boolean(),
  isCoordinator: z.boolean(),
  registeredAt: WallTime,
  /** The token that admitted it. */
  tokenId: TokenId.nullable(),
  /** Its newest signed record; null until it connects for the first time. */
  record: SignedRecord.nullable(),
  /** Greatest sequence number of its records, -1 without one. */
  recordSeq: Seq,
});
export type Node = Readonly<z.infer<typeof Node>>;

/** A join token without its secret. */
export const Token = z.strictObject({
  id: TokenId,
  /** base64url of SHA-256 of the secret. */
  hash: Hash,
  reusable: z.boolean(),
  /** Whether who joins with it is a coordinator. */
  coordinator: z.boolean(),
  note: z.string(),
  createdAt: WallTime,
  createdBy: PeerId.nullable(),
  expiresAt: WallTime.nullable(),
  revokedAt: WallTime.nullable(),
  uses: z.int().nonnegative(),
});
export type Token = Readonly<z.infer<typeof Token>>;

/** The signed farewell of an identity, passed on so that peers free its name. */
export const Departed = z.strictObject({
  id: PeerId,
  record: SignedRecord,
  seq: Seq,
  at: WallTime,
});
export type Departed = Readonly<z.infer<typeof Departed>>;

/** Everything a coordinator must not forget. */
export interface State {
  readonly meshId: string;
  readonly cidr4: string;
  readonly prefix6: string;
  /** Whether anyone ever registered: only the first is made admin. */
  readonly hadFirst: boolean;
  readonly nodes: ReadonlyMap<PeerId, Node>;
  readonly tokens: ReadonlyMap<TokenId, Token>;
  /** Oldest first. */
  readonly departed: ReadonlyMap<PeerId, Departed>;
}

/** The state of a mesh that nobody joined; `cidr4` is checked here. */
export function emptyState(meshId: string, cidr4: string): State {
  poolOf(cidr4);
  return {
    meshId,
    cidr4,
    prefix6: meshPrefix6(meshId),
    hadFirst: false,
    nodes: new Map(),
    tokens: new Map(),
    departed: new Map(),
  };
}

/** Everything that can happen to the state. `at` is the coordinator's wall time. */
export const Command = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("register"),
    at: WallTime,
    identity: IdentityText,
    name: PeerName,
    aliases: z.array(z.string()).readonly(),
    token: z.strictObject({ id: TokenId, hash: Hash }).nullable(),
  }),
  z.strictObject({
    type: z.literal("update-record"),
    at: WallTime,
    id: PeerId,
    /** Verified by whoever makes the command. */
    record: SignedRecord,
  }),
  z.strictObject({ type: z.literal("leave"), at: WallTime, id: PeerId, record: SignedRecord }),
  z.strictObject({
    type: z.literal("create-token"),
    at: WallTime,
    id: TokenId,
    hash: Hash,
    reusable: z.boolean(),
    coordinator: z.boolean(),
    note: z.string(),
    expiresAt: WallTime.nullable(),
    createdBy: PeerId.nullable(),
  }),
  z.strictObject({ type: z.literal("revoke-token"), at: WallTime, id: TokenId }),
]);
export type Command = Readonly<z.infer<typeof Command>>;
export type CommandOf<T extends Command["type"]> = Extract<Command, { type: T }>;

const Snapshot = z.strictObject({
  meshId: MeshId,
  cidr4: z.string(),
  prefix6: z.string(),
  hadFirst: z.boolean(),
  nodes: z.array(Node),
  tokens: z.array(Token),
  departed: z.array(Departed),
});

/** JSON text of a state. */
export function encodeState(state: State): string {
  return JSON.stringify({
    ...state,
    nodes: [...state.nodes.values()],
    tokens: [...state.tokens.values()],
    departed: [...state.departed.values()],
  });
}

/** @throws {MeshError} "state-invalid" */
export function decodeState(text: string): State {
  const { nodes, tokens, departed, ...rest } = decode(Snapshot, text, "snapshot");
  return {
    ...rest,
    nodes: new Map(nodes.map((node) => [node.id, node])),
    tokens: new Map(tokens.map((token) => [token.id, token])),
    departed: new Map(departed.map((node) => [node.id, node])),
  };
}

/** @throws {MeshError} "state-invalid" */
export function decodeCommand(text: string): Command {
  return decode(Command, text, "command");
}

function decode<S extends z.ZodType>(schema: S, text: string, what: string): z.output<S> {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new MeshError("state-invalid", `Cannot read a stored ${what} of the coordinator`, {
      cause,
      hint: "Restore the coordinator's data directory from a backup",
    });
  }
}
