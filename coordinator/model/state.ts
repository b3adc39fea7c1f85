/**
 * What does a coordinator remember, and which commands change it?
 *
 * The state is a plain value; the only way to another one is a {@link Command} through `apply`.
 * Commands carry their wall time, so the same commands always give the same state. Both are written
 * to disk as JSON, hence the schemas; a field added later needs a default, since old logs lack it.
 *
 * Who is a member is not said here but in the mesh's log (`mesh.ts`): these are names, leases and
 * records of members.
 * @module
 */
import { z } from "zod";
import { SignedRecord } from "../../core/identity/record.ts";
import { meshPrefix6 } from "../../core/control/addressing.ts";
import { IdentityText, MeshId, WallTime } from "../../core/control/messages.ts";
import { MeshError } from "../../core/errors.ts";
import { PeerId, PeerName } from "../../core/ids.ts";
import { poolOf } from "./ipam.ts";

/** How exactly it is kept when a node was heard of. */
export const SEEN_STEP_MS = 6 * 3_600_000;

const Seq = z.int().min(-1);

/** A node that has registered. */
export const Node = z.strictObject({
  id: PeerId,
  identity: IdentityText,
  name: PeerName,
  /** The name it asked for; differs from `name` after a clash. */
  wantedName: PeerName,
  aliases: z.array(z.string()).readonly(),
  ip4: z.string(),
  ip6: z.string(),
  registeredAt: WallTime,
  /** When it was last heard of, within {@link SEEN_STEP_MS}. */
  seenAt: WallTime,
  /** Its newest signed record; null until it connects for the first time. */
  record: SignedRecord.nullable(),
  /** Greatest sequence number of its records, -1 without one. */
  recordSeq: Seq,
});
export type Node = Readonly<z.infer<typeof Node>>;

/** The signed farewell of an identity, passed on so that peers free its name. */
export const Departed = z.strictObject({
  id: PeerId,
  record: SignedRecord,
  seq: Seq,
  at: WallTime,
});
export type Departed = Readonly<z.infer<typeof Departed>>;

/** Greatest number of the records of an identity that is none of the nodes any more. */
const Removed = z.strictObject({ id: PeerId, seq: Seq });

/** Everything a coordinator must not forget. */
export interface State {
  readonly meshId: string;
  readonly cidr4: string;
  readonly prefix6: string;
  readonly nodes: ReadonlyMap<PeerId, Node>;
  /** Oldest first. */
  readonly departed: ReadonlyMap<PeerId, Departed>;
  /** Last numbers of whom the log took out, or whose farewell is forgotten; oldest first. */
  readonly removed: ReadonlyMap<PeerId, number>;
}

/** The state of a mesh that nobody joined; `cidr4` is checked here. */
export function emptyState(meshId: string, cidr4: string): State {
  poolOf(cidr4);
  return {
    meshId,
    cidr4,
    prefix6: meshPrefix6(meshId),
    nodes: new Map(),
    departed: new Map(),
    removed: new Map(),
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
  }),
  z.strictObject({
    type: z.literal("update-record"),
    at: WallTime,
    id: PeerId,
    /** Verified by whoever makes the command. */
    record: SignedRecord,
  }),
  z.strictObject({ type: z.literal("leave"), at: WallTime, id: PeerId, record: SignedRecord }),
  /** It is no member any more. */
  z.strictObject({ type: z.literal("remove"), at: WallTime, id: PeerId }),
  z.strictObject({ type: z.literal("seen"), at: WallTime, id: PeerId }),
  /** A follower takes over what the leading coordinator registered, as the node states it. */
  z.strictObject({
    type: z.literal("adopt"),
    at: WallTime,
    /** Verified by whoever makes the command. */
    record: SignedRecord,
    seenAt: WallTime,
  }),
]);
export type Command = Readonly<z.infer<typeof Command>>;
export type CommandOf<T extends Command["type"]> = Extract<Command, { type: T }>;

const Snapshot = z.strictObject({
  meshId: MeshId,
  cidr4: z.string(),
  prefix6: z.string(),
  nodes: z.array(Node),
  departed: z.array(Departed),
  removed: z.array(Removed).default([]),
});

/** JSON text of a state. */
export function encodeState(state: State): string {
  return JSON.stringify({
    ...state,
    nodes: [...state.nodes.values()],
    departed: [...state.departed.values()],
    removed: [...state.removed].map(([id, seq]) => ({ id, seq })),
  });
}

/** @throws {MeshError} "state-invalid" */
export function decodeState(text: string): State {
  const { nodes, departed, removed, ...rest } = decode(Snapshot, text, "snapshot");
  return {
    ...rest,
    nodes: new Map(nodes.map((node) => [node.id, node])),
    departed: new Map(departed.map((node) => [node.id, node])),
    removed: new Map(removed.map(({ id, seq }) => [id, seq])),
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
      hint: "Restore the coordinator's data directory from a backup; what versions before the " +
        "mesh's log wrote cannot be used: begin a new mesh in another --data-dir",
    });
  }
}
