/**
 * What does a node tell the further coordinator that runs beside it? Everything that coordinator
 * knows but what its own connections say: entries of the mesh's log, and who is in the mesh.
 *
 * One JSON text a line, on a pipe that nobody else writes to. Entries and records are verified by
 * who takes them all the same; presence is a hint, as it is in a netmap.
 * @module
 */
import { z } from "zod";
import { MAX_LOG_ENTRIES, PeerEntry } from "./messages.ts";

/** Most peers in one message. */
export const MAX_FED_PEERS = 256;

export const FeedMessage = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("entries"),
    entries: z.array(z.unknown()).min(1).max(MAX_LOG_ENTRIES),
  }),
  z.strictObject({
    type: z.literal("peers"),
    peers: z.array(PeerEntry).min(1).max(MAX_FED_PEERS),
    /** Whether the leading coordinator says who is online; otherwise only records count. */
    isPresence: z.boolean(),
  }),
  /** The node is not connected to the leading coordinator: who is online is not known any more. */
  z.strictObject({ type: z.literal("alone") }),
]);
export type FeedMessage = z.infer<typeof FeedMessage>;
