/**
 * What is in a bug report, field by field; nothing else may be. `docs/bugreport.md` explains it.
 *
 * Kept apart from `bugreport.ts` so that a node, which only writes reports, does not load it.
 * @module
 */
import { z } from "zod";
import { EndpointText, IpText, NodeLinks } from "../control/messages.ts";
import { ACCELERATIONS } from "../dataplane/settings.ts";
import { PATH_KINDS } from "../path/address.ts";
import { NatReportSchema } from "../path/nat.ts";
import { RecordingSchema } from "../path/recording_schema.ts";
import type {
  NetcheckReport,
  PathReport,
  PinholeReport,
  PortMapReport,
  WhyReport,
} from "./api_types.ts";
import { BUG_REPORT_VERSION, type BugReport } from "./bugreport.ts";

const Line = z.string().max(2_000);
const Lines = z.array(Line).max(1_000);
const Endpoints = z.array(EndpointText).max(1_000);
const PathText = z.string().max(300);

const PortMap = z.strictObject({
  state: z.enum(["none", "searching", "mapped", "failed"]),
  protocol: Line.nullable(),
  external: EndpointText.nullable(),
  gateway: IpText.nullable(),
  lastError: Line.nullable(),
  tried: z.array(z.strictObject({ protocol: Line, result: Line })).max(100),
}) satisfies z.ZodType<PortMapReport>;

const Pinhole = z.strictObject({
  state: z.enum(["none", "searching", "open", "failed"]),
  protocol: Line.nullable(),
  endpoint: EndpointText.nullable(),
  gateway: IpText.nullable(),
  lastError: Line.nullable(),
  tried: z.array(z.strictObject({ protocol: Line, result: Line })).max(100),
}) satisfies z.ZodType<PinholeReport>;

const Netcheck = z.strictObject({
  local: Endpoints,
  nat: NatReportSchema,
  natText: Line,
  portMap: PortMap.nullable(),
  // Reports of older nodes are without it.
  pinhole: Pinhole.nullable().default(null),
  observed: Endpoints,
  links: NodeLinks,
  relays: z.array(z.strictObject({
    name: Line,
    isUp: z.boolean(),
    rttMs: z.number().nullable(),
    lastError: Line.nullable(),
  })).max(100),
}) satisfies z.ZodType<NetcheckReport>;

const Path = z.strictObject({
  path: PathText,
  kind: z.enum(PATH_KINDS),
  state: z.enum(["trying", "up", "failed"]),
  role: z.enum(["current", "standby", "none"]),
  isReflexive: z.boolean(),
  rttMs: z.number().nullable(),
  jitterMs: z.number().nullable(),
  loss: z.number().nullable(),
  mtu: z.int().nullable(),
  pingsSent: z.int(),
  pongsReceived: z.int(),
  lastAnswerAgeMs: z.number().nullable(),
  lastError: Line.nullable(),
}) satisfies z.ZodType<PathReport>;

const Kinds = z.array(z.enum(PATH_KINDS)).max(16);

const Peer = z.strictObject({
  peer: Line,
  address: z.union([IpText, z.literal("")]),
  online: z.boolean().nullable(),
  session: z.enum(["up", "handshaking", "down", "unreachable"]),
  current: PathText.nullable(),
  kind: z.enum([...PATH_KINDS, "none"]),
  verdict: Line,
  advice: Lines,
  paths: z.array(Path).max(1_000),
  peerNat: NatReportSchema.nullable(),
  peerNatText: Line.nullable(),
  peerEndpoints: Endpoints,
  preference: z.strictObject({ order: Kinds, exclude: Kinds }),
}) satisfies z.ZodType<Omit<WhyReport, "own">>;

/** A {@link BugReport} from outside. */
export const BugReportSchema = z.strictObject({
  version: z.literal(BUG_REPORT_VERSION),
  createdAt: z.iso.datetime(),
  tunnelmeshVersion: z.string().max(100),
  os: z.string().max(100),
  kernel: z.string().max(200),
  uptimeMs: z.number(),
  status: z.strictObject({
    mtu: z.int(),
    aead: z.string().max(100),
    offloads: z.array(z.enum(ACCELERATIONS)),
    drops: z.record(z.string().max(100), z.int()),
    warnings: Lines,
  }),
  netcheck: Netcheck,
  peers: z.array(Peer).max(4_096),
  log: Lines,
  recording: RecordingSchema,
}) satisfies z.ZodType<BugReport>;
