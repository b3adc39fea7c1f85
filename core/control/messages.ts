/**
 * What do a node and a coordinator say to each other? Every body and message, as schemas that both
 * sides parse with, each with its bounds.
 *
 * HTTP bodies and WebSocket messages are JSON text. Objects are strict: an unknown key is an error,
 * so that a misspelt field cannot pass unnoticed. Parsing hostile text yields a value or a
 * {@link MeshError}, nothing else.
 * @module
 */
import { z } from "zod";
import { type ErrorCode, ERRORS, MeshError } from "../errors.ts";
import { Alias, PeerId, PeerName } from "../ids.ts";
import { canonicalIp, formatEndpoint, formatPrefix, parseEndpoint, parsePrefix } from "../ip.ts";
import { SignedRecord } from "../identity/record.ts";

/** Most peers in one netmap; a /16 could hold more, the messages would not. */
export const MAX_PEERS = 4096;
/** Most endpoint candidates of one peer. */
export const MAX_ENDPOINTS = 16;
/** Most aliases of one node. */
export const MAX_ALIASES = 16;
/** Longest message from a node, in UTF-16 units: a hello with a record of the largest size. */
export const MAX_NODE_MESSAGE_LENGTH = 65_536;
/** Longest text about the mesh's log in such a message, which doubles when it is escaped. */
export const MAX_NODE_LOG_LENGTH = MAX_NODE_MESSAGE_LENGTH / 2 - 256;
/** Longest message from a coordinator, in UTF-16 units: a netmap of {@link MAX_PEERS} peers. */
export const MAX_SERVER_MESSAGE_LENGTH = 16 * 1024 * 1024;
/** Longest HTTP request body in bytes. */
export const MAX_REQUEST_BYTES = 65_536;
/** The same for entries of the mesh's log: a policy of the largest size, escaped twice. */
export const MAX_LOG_REQUEST_BYTES = 4 * 1024 * 1024;
/** Most entries of the mesh's log in one answer. */
export const MAX_LOG_ENTRIES = 256;

/** Wall-clock time, milliseconds since 1970. */
export const WallTime = z.number().nonnegative().max(8.64e15);
/** base64url without padding of at most 192 bytes. */
const ShortBase64Url = z.string().regex(/^[A-Za-z0-9_-]{1,256}$/, "must be base64url");
/** base64url of a 32-byte ed25519 public key. */
export const IdentityText = z.string().regex(
  /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/,
  "must be canonical base64url of 32 bytes",
);
/** base64url of a 64-byte ed25519 signature. */
const SignatureText = z.string().regex(
  /^[A-Za-z0-9_-]{85}[AQgw]$/,
  "must be canonical base64url of 64 bytes",
);
/** PEM text of one certificate or of a chain. */
const Pem = z.string().max(16_384);
const Version = z.string().max(64);
/** A mesh's id: 32 hex digits, random. */
export const MeshId = z.string().regex(/^[0-9a-f]{32}$/, "must be 32 lower-case hex digits");

/** `address:port` in canonical form. */
export const EndpointText = z.string().max(64).refine((text) => {
  const parts = parseEndpoint(text);
  return parts !== null && formatEndpoint(parts.ip, parts.port) === text;
}, "must be a canonical address:port");

/** Endpoint candidates, most wanted first. */
export const Endpoints = z.array(EndpointText).max(MAX_ENDPOINTS);

/** Most URLs under which one coordinator says that it is reached. */
export const MAX_COORDINATOR_URLS = 4;
/** Origin of a coordinator: `https://host:port`, without the port where that is 443. */
export const CoordinatorUrl = z.string().max(300).refine((text) => {
  const url = URL.parse(text);
  return url !== null && url.protocol === "https:" && url.origin === text;
}, "must be an origin such as https://HOST:PORT");

/** What else a node offers its peers, beside its UDP socket. */
export const NodeLinks = z.strictObject({
  /** Whether it passes datagrams of other members on. */
  relays: z.boolean(),
  /** TCP port of its SSH link, 0 for none. */
  sshPort: z.int().min(0).max(65_535),
  /**
   * Where the coordinator beside the node is reached. Whether to believe that is not for them to
   * say: the node has to be one that the mesh's log calls a coordinator, and TLS decides.
   */
  coordinatorUrls: z.array(CoordinatorUrl).max(MAX_COORDINATOR_URLS).optional(),
});
export type NodeLinks = z.infer<typeof NodeLinks>;

/** An address in canonical form. */
export const IpText = z.string().max(64).refine(
  (text) => canonicalIp(text) === text,
  "must be a canonical IP address",
);

/** A prefix in canonical form with its length. */
export const PrefixText = z.string().max(64).refine((text) => {
  const prefix = parsePrefix(text);
  return prefix !== null && formatPrefix(prefix) === text;
}, "must be a canonical prefix such as 172.30.0.0/16");

/** A code of {@link ERRORS}. */
export const ErrorCodeText = z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]);

/** `GET /health`. */
export const Health = z.object({
  status: z.literal("ok"),
  version: Version,
  meshId: MeshId,
  time: WallTime,
});
export type Health = z.infer<typeof Health>;

/** A failure as problem details (RFC 9457). */
export const Problem = z.object({
  type: z.string().max(128),
  title: z.string().max(4096),
  detail: z.string().max(4096).optional(),
  status: z.int(),
});
export type Problem = z.infer<typeof Problem>;

/** `POST /api/v1/challenge`. */
export const ChallengeRequest = z.strictObject({ identity: IdentityText });
export type ChallengeRequest = z.infer<typeof ChallengeRequest>;

export const ChallengeReply = z.strictObject({ challenge: ShortBase64Url });
export type ChallengeReply = z.infer<typeof ChallengeReply>;

/** A signed request: `signature` is the identity's over the bytes that `envelope.ts` defines. */
export const Envelope = z.strictObject({
  body: z.string().max(MAX_REQUEST_BYTES / 2),
  signature: SignatureText,
});
export type Envelope = z.infer<typeof Envelope>;

/** What every signed body carries. */
const signed = { challenge: ShortBase64Url, identity: IdentityText };

/** Signed body of `POST /api/v1/register`. */
export const RegisterBody = z.strictObject({
  ...signed,
  name: PeerName,
  /**
   * What makes a stranger a member: its admission, signed with a join token's key, and, where the
   * token invited a new user, that user's change of key. The mesh's log judges them.
   */
  entries: z.array(z.unknown()).max(2).optional(),
  /** In place of entries for the first node of a mesh, whose user becomes its admin. */
  first: z.strictObject({ signature: SignatureText, user: z.string().max(63) }).optional(),
  aliases: z.array(Alias).max(MAX_ALIASES),
  version: Version,
  /** base64 of a P-256 public key (SubjectPublicKeyInfo DER) that wants a certificate. */
  tlsPublicKey: z.string().max(256).optional(),
  /** The same for the server of a further coordinator beside the node, and how that is reached. */
  coordinator: z.strictObject({
    tlsPublicKey: z.string().max(256),
    hosts: z.array(z.string().min(1).max(253)).max(16),
  }).optional(),
  /** The sender's clock; told to nobody, used for a warning only. */
  time: WallTime,
});
export type RegisterBody = z.infer<typeof RegisterBody>;

export const RegisterReply = z.strictObject({
  id: PeerId,
  /** The name given, which may end in `-2`. */
  name: PeerName,
  aliases: z.array(Alias).max(MAX_ALIASES),
  /** The leased IPv4 address and the derived IPv6 address, canonical. */
  addresses: z.tuple([IpText, IpText]),
  meshId: MeshId,
  cidr4: PrefixText,
  prefix6: PrefixText,
  isAdmin: z.boolean(),
  isCoordinator: z.boolean(),
  /** Greatest `seq` of this identity's records that the coordinator knows, or -1. */
  recordSeq: z.int().min(-1),
  caCertificate: Pem,
  /** The leaf for `tlsPublicKey`, followed by the intermediate that issued it. */
  certificate: Pem.optional(),
  /** For the server of the coordinator beside the node. */
  coordinatorCertificate: Pem.optional(),
  time: WallTime,
  coordinatorVersion: Version,
});
export type RegisterReply = z.infer<typeof RegisterReply>;

/** Signed body of `DELETE /api/v1/nodes/:id`. */
export const LeaveBody = z.strictObject({ ...signed, record: SignedRecord });
export type LeaveBody = z.infer<typeof LeaveBody>;

/** Signed body of `POST /api/v1/log/read`: entries of the mesh's log, for members and the invited. */
export const LogReadBody = z.strictObject({
  ...signed,
  from: z.int().nonnegative(),
  /** Which join token invited the sender, with its key's signature of `tokenProofBytes`. */
  token: z.strictObject({ id: z.string().max(64), signature: SignatureText }).optional(),
});
export type LogReadBody = z.infer<typeof LogReadBody>;

export const LogReadReply = z.strictObject({
  entries: z.array(z.unknown()).max(MAX_LOG_ENTRIES),
  /** The newest entry that there is. */
  head: z.int().nonnegative(),
  /** For the next request of the same sender. */
  challenge: ShortBase64Url,
});
export type LogReadReply = z.infer<typeof LogReadReply>;

/** Signed body of `POST /api/v1/log`: entries that follow, of anyone who may state them. */
export const LogAppendBody = z.strictObject({
  ...signed,
  entries: z.array(z.unknown()).min(1).max(MAX_LOG_ENTRIES),
});
export type LogAppendBody = z.infer<typeof LogAppendBody>;

/** The mesh's log ends here. */
export const LogAppendReply = z.strictObject({
  seq: z.int().nonnegative(),
  hash: z.string().length(64),
});
export type LogAppendReply = z.infer<typeof LogAppendReply>;

/** A signed request with entries. */
export const LogEnvelope = Envelope.extend({ body: z.string().max(MAX_LOG_REQUEST_BYTES / 2) });

/** One peer as the coordinator passes it on; only `record` is vouched for, by the peer itself. */
export const PeerEntry = z.strictObject({
  record: SignedRecord,
  endpoints: Endpoints,
  links: NodeLinks.optional(),
  online: z.boolean(),
  /** Changes when the peer's process starts; empty when it never connected. */
  bootId: z.string().max(64),
  /** When it was last heard, the coordinator's wall time. */
  lastSeen: WallTime,
});
export type PeerEntry = z.infer<typeof PeerEntry>;

/** Everything the coordinator tells a node. Entries whose record says `left` are tombstones. */
export const Netmap = z.strictObject({
  version: z.int().nonnegative(),
  meshId: MeshId,
  cidr4: PrefixText,
  prefix6: PrefixText,
  coordinators: z.array(PeerId).max(64),
  peers: z.array(PeerEntry).max(2 * MAX_PEERS),
  /** UDP ports where the coordinator tells nodes how they are seen (STUN). */
  stunPorts: z.array(z.int().min(1).max(65_535)).max(4).optional(),
  /** The key that the coordinator signs heads of the mesh's log with; absent in one from the disk. */
  logKey: IdentityText.optional(),
  /** Whether the coordinator follows another one, which alone adds to the mesh's log. */
  isFollower: z.literal(true).optional(),
});
export type Netmap = z.infer<typeof Netmap>;

/** What changed since the version before. */
export const Delta = z.strictObject({
  type: z.literal("delta"),
  version: z.int().nonnegative(),
  upsert: z.array(PeerEntry).max(2 * MAX_PEERS),
  remove: z.array(PeerId).max(MAX_PEERS),
  coordinators: z.array(PeerId).max(64).optional(),
});
export type Delta = z.infer<typeof Delta>;

/** From the coordinator, on `/api/v1/control`. */
export const ServerMessage = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("challenge"), nonce: ShortBase64Url }),
  z.strictObject({ type: z.literal("netmap"), netmap: Netmap }),
  Delta,
  z.strictObject({ type: z.literal("pong"), id: z.int().nonnegative(), time: WallTime }),
  z.strictObject({
    type: z.literal("refused"),
    code: ErrorCodeText,
    message: z.string().max(1024),
  }),
  z.strictObject({ type: z.literal("call"), peer: PeerId, endpoints: Endpoints }),
  /** A message about the mesh's log (`core/state/sync.ts`), as text. */
  z.strictObject({ type: z.literal("log"), text: z.string() }),
]);
export type ServerMessage = z.infer<typeof ServerMessage>;

/** From a node, on `/api/v1/control`. */
export const NodeMessage = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("hello"),
    identity: IdentityText,
    signature: SignatureText,
    record: SignedRecord,
    endpoints: Endpoints,
    links: NodeLinks.optional(),
    udpPort: z.int().min(0).max(65_535),
    bootId: z.string().min(1).max(64),
    version: Version,
  }),
  z.strictObject({
    type: z.literal("endpoints"),
    endpoints: Endpoints,
    links: NodeLinks.optional(),
  }),
  z.strictObject({ type: z.literal("record"), record: SignedRecord }),
  z.strictObject({ type: z.literal("ping"), id: z.int().nonnegative() }),
  z.strictObject({ type: z.literal("call"), peer: PeerId }),
  z.strictObject({ type: z.literal("log"), text: z.string() }),
]);
export type NodeMessage = z.infer<typeof NodeMessage>;
export type Hello = Extract<NodeMessage, { type: "hello" }>;

/**
 * Parses JSON text with a schema.
 * @param what Names the text in the error, e.g. "message from the coordinator".
 * @throws {MeshError} "protocol-invalid", nothing else, whatever the text is.
 */
export function parseJson<S extends z.ZodType>(
  schema: S,
  text: string,
  what: string,
  maxLength: number = MAX_REQUEST_BYTES,
): z.output<S> {
  if (text.length > maxLength) {
    const size = `it has ${text.length} characters, more than ${maxLength}`;
    throw new MeshError("protocol-invalid", `Cannot read ${what}: ${size}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new MeshError("protocol-invalid", `Cannot read ${what}: not JSON`, { cause: error });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue!.path.length > 0 ? `${issue!.path.join(".")}: ` : "";
  const why = `${where}${issue!.message}`.slice(0, 400);
  throw new MeshError("protocol-invalid", `Cannot read ${what}: ${why}`);
}

/** @throws {MeshError} "protocol-invalid" */
export function parseServerMessage(text: string): ServerMessage {
  const what = "message from the coordinator";
  return parseJson(ServerMessage, text, what, MAX_SERVER_MESSAGE_LENGTH);
}

/** @throws {MeshError} "protocol-invalid" */
export function parseNodeMessage(text: string): NodeMessage {
  return parseJson(NodeMessage, text, "message from a node", MAX_NODE_MESSAGE_LENGTH);
}
