/**
 * A recording that may come from anyone: is it one, down to the last field?
 *
 * Kept apart from `recorder.ts` so that a node, which only writes recordings, does not load it. Each
 * schema is held to the type it describes: a field that is added there has to be added here.
 * @module
 */
import { z } from "zod";
import { EndpointText } from "../control/messages.ts";
import { MAX_PEERS } from "../dataplane/layout.ts";
import { PeerId } from "../ids.ts";
import { PATH_KINDS } from "./address.ts";
import type { PathEffect, PathEvent } from "./events.ts";
import { Offer, type PathMessage } from "./messages.ts";
import type { MtuSearch } from "./mtu.ts";
import type { Path } from "./path.ts";
import type { PathPreference, PeerPaths } from "./peer_paths.ts";
import type { PeerState } from "./peer_state.ts";
import type { PunchState } from "./punch.ts";
import type { PunchingState } from "./punching.ts";
import type { Quality } from "./quality.ts";
import type { Recording } from "./recorder.ts";
import { type AgentState, decodePlain } from "./snapshot.ts";

/** Bounds of what is read; a recorder stays far below. */
const MAX_STRETCHES = 4;
const MAX_ENTRIES = 20_000;
const MAX_EFFECTS = 4_096;
const MAX_LIST = 4_096;
const MAX_TEXT = 4_096;
const MAX_SNAPSHOT = 32 << 20;

/** What a class holds, without what it does. */
type DataOf<T> = {
  [Key in keyof T as T[Key] extends (...args: never[]) => unknown ? never : Key]: T[Key];
};

const Text = z.string().max(MAX_TEXT);
const Address = z.string().min(1).max(300);
const Slot = z.int().min(0).max(MAX_PEERS - 1);
const Count = z.int().min(0);
const Uint32 = z.int().min(0).max(0xffff_ffff);
const Time = z.number();
/** Also the time that never comes, and the one long ago. */
const Deadline = z.custom<number>((value) => typeof value === "number" && !Number.isNaN(value));
const Sockets = z.array(Count).max(MAX_LIST);
const Size = z.int().min(0).max(65_535);

const PreferenceSchema = z.strictObject({
  order: z.array(z.enum(PATH_KINDS)).max(16),
  exclude: z.array(z.enum(PATH_KINDS)).max(16),
}) satisfies z.ZodType<PathPreference>;

const MessageSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("ping"), number: Uint32 }),
  z.strictObject({ type: z.literal("pong"), number: Uint32, observed: EndpointText.nullable() }),
  z.strictObject({
    type: z.literal("punch"),
    port: z.int().min(0).max(65_535),
    delta: z.int().min(-32_768).max(32_767),
  }),
  z.strictObject({ type: z.literal("offer"), offer: Offer }),
]) satisfies z.ZodType<PathMessage>;

const RelayNodes = z.array(z.strictObject({ id: PeerId, peer: Slot })).max(MAX_PEERS);

const EventSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("tick") }),
  z.strictObject({ type: z.literal("peer-added"), peer: Slot, id: PeerId }),
  z.strictObject({ type: z.literal("peer-removed"), peer: Slot }),
  z.strictObject({
    type: z.literal("candidates"),
    peer: Slot,
    endpoints: z.array(EndpointText).max(MAX_LIST),
  }),
  z.strictObject({ type: z.literal("session"), peer: Slot, isUp: z.boolean() }),
  z.strictObject({ type: z.literal("proved"), peer: Slot, path: Address }),
  z.strictObject({ type: z.literal("message"), peer: Slot, from: Address, message: MessageSchema }),
  z.strictObject({ type: z.literal("traffic"), peer: Slot }),
  z.strictObject({
    type: z.literal("link"),
    path: Address,
    peer: Slot.nullable(),
    isUp: z.boolean(),
    why: Text,
  }),
  z.strictObject({ type: z.literal("relay-nodes"), nodes: RelayNodes }),
  z.strictObject({ type: z.literal("offer"), offer: Offer }),
  z.strictObject({ type: z.literal("sockets"), peer: Slot, sockets: Sockets }),
  z.strictObject({ type: z.literal("network-changed") }),
  z.strictObject({ type: z.literal("prefer"), peer: Slot, preference: PreferenceSchema }),
]) satisfies z.ZodType<PathEvent>;

const EffectSchema = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("send-path-message"),
    peer: Slot,
    to: Address,
    message: MessageSchema,
    size: Size,
    df: z.boolean(),
  }),
  z.strictObject({
    type: z.literal("use-path"),
    peer: Slot,
    path: Address,
    standby: Address.nullable(),
    mtu: z.int().nullable(),
    why: Text,
    drain: z.boolean(),
  }),
  z.strictObject({ type: z.literal("observed"), endpoint: EndpointText }),
  z.strictObject({ type: z.literal("want-link"), peer: Slot }),
  z.strictObject({ type: z.literal("want-session"), peer: Slot }),
  z.strictObject({ type: z.literal("open-sockets"), peer: Slot, count: Count }),
  z.strictObject({ type: z.literal("close-sockets"), sockets: Sockets }),
]) satisfies z.ZodType<PathEffect>;

const QualitySchema = z.strictObject({
  rttMs: Time.nullable(),
  jitterMs: Time,
  losses: Uint32,
  outcomes: Count,
}) satisfies z.ZodType<Quality>;

const MtuSchema = z.strictObject({
  wanted: Size,
  confirmed: Size.nullable(),
  low: Count,
  high: Count,
  trying: Size,
  tries: Count,
  nextAt: Deadline,
  raiseAt: Deadline,
  isDone: z.boolean(),
}) satisfies z.ZodType<MtuSearch>;

const PathSchema = z.strictObject({
  address: Address,
  isReflexive: z.boolean(),
  state: z.enum(["trying", "up", "failed"]),
  quality: QualitySchema,
  outstanding: z.array(z.strictObject({
    number: Uint32,
    sentAt: Time,
    probe: Size.nullable(),
    isLate: z.boolean(),
  })).max(MAX_LIST),
  failures: Count,
  lastAnswerAt: Time.nullable(),
  probation: Count,
  upSince: Time.nullable(),
  lastHeardAt: Time.nullable(),
  nextPingAt: Deadline,
  burst: Count,
  burstAt: Time,
  mtu: MtuSchema.nullable(),
  lastError: Text.nullable(),
  pingsSent: Count,
  pongsReceived: Count,
}) satisfies z.ZodType<Path>;

const PeerPathsSchema = z.strictObject({
  paths: z.map(Address, PathSchema),
  current: Address.nullable(),
  standby: Address.nullable(),
  rival: z.strictObject({ address: Address, since: Time }).nullable(),
  hasSession: z.boolean(),
  lastTrafficAt: Deadline,
  preference: PreferenceSchema,
  told: Text,
}).refine(
  ({ paths }) => [...paths].every(([address, path]) => path.address === address),
  "must hold each path under its address",
) satisfies z.ZodType<DataOf<PeerPaths>>;

const PeerSchema = z.strictObject({
  id: PeerId,
  paths: PeerPathsSchema,
  endpoints: z.array(EndpointText).max(MAX_LIST),
  offered: Offer.nullable(),
  links: z.set(Address),
  offerStep: Count,
  offerAt: Deadline,
  deadline: Deadline,
  wantedAt: Deadline,
  linkWantedAt: Deadline,
}) satisfies z.ZodType<Omit<PeerState, "paths"> & { paths: DataOf<PeerPaths> }>;

const PunchSchema = z.strictObject({
  work: z.strictObject({
    peer: Slot,
    role: z.enum(["open", "search"]),
    until: Time,
    targets: z.array(Address).max(MAX_LIST),
    sockets: Sockets,
    at: Count,
    tellAt: z.array(Time).max(16),
  }).nullable(),
  nextAt: Time,
  // Of zero only zeros are drawn, and the search for ports would not end.
  seed: Uint32.min(1),
  history: z.map(Slot, z.strictObject({ attempts: Count, notBefore: Time })),
}) satisfies z.ZodType<PunchState>;

const PunchingSchema = z.strictObject({
  punch: PunchSchema,
  offer: Offer.nullable(),
  found: z.array(z.strictObject({ peer: Slot, sockets: Sockets, at: Time })).max(MAX_LIST),
}) satisfies z.ZodType<PunchingState>;

const StateSchema = z.strictObject({
  options: z.strictObject({
    mtu: z.int().min(576).max(65_535),
    seed: Uint32,
    preference: z.exactOptional(PreferenceSchema),
  }),
  peers: z.map(Slot, PeerSchema),
  links: z.set(Address),
  relayNodes: RelayNodes,
  offer: Offer.nullable(),
  number: Count,
  deadline: Deadline,
  punching: PunchingSchema,
}) satisfies z.ZodType<
  Omit<AgentState, "peers"> & {
    peers: Map<number, Omit<PeerState, "paths"> & { paths: DataOf<PeerPaths> }>;
  }
>;

/** A {@link Recording} from outside. */
export const RecordingSchema = z.strictObject({
  stretches: z.array(z.strictObject({
    snapshot: z.string().max(MAX_SNAPSHOT).superRefine(checkSnapshot),
    entries: z.array(z.strictObject({
      at: Time,
      event: EventSchema,
      effects: z.array(EffectSchema).max(MAX_EFFECTS).nullable(),
    })).max(MAX_ENTRIES).refine(
      (entries) => entries.every(({ at }, i) => i === 0 || at >= entries[i - 1]!.at),
      "must be in the order of time",
    ),
  })).max(MAX_STRETCHES),
}) satisfies z.ZodType<Recording>;

function checkSnapshot(text: string, context: z.RefinementCtx): void {
  let state: unknown;
  try {
    state = decodePlain(text);
  } catch (error) {
    // Also a stack that overflows, and lists that are no maps.
    context.addIssue({ code: "custom", message: `must be a state as JSON: ${error}` });
    return;
  }
  const { error } = StateSchema.safeParse(state);
  const [issue] = error?.issues ?? [];
  if (!issue) return;
  const message = `must be a state of this version: ${issue.path.join(".")}: ${issue.message}`;
  context.addIssue({ code: "custom", message });
}
