/**
 * What does a node state about itself, and how does anyone check it without trusting the carrier?
 *
 * Every fact that peers act upon is a signed record: JSON text, signed byte for byte, beside the
 * key that signed it. The signature covers the record's kind, so a record of one kind can never
 * stand in for another. A coordinator stores and forwards records; it cannot make them.
 * @module
 */
import { z } from "zod";
import { fromBase64Url, toBase64, toBase64Url, utf8 } from "../bytes.ts";
import { errorMessage, MeshError } from "../errors.ts";
import { Alias, PeerId, PeerName } from "../ids.ts";
import { canonicalIp, formatPrefix, parsePrefix } from "../ip.ts";
import {
  type Identity,
  KEY_BYTES,
  peerIdOf,
  sign,
  SIGNATURE_BYTES,
  verify,
  wireguardKeyOf,
} from "./keys.ts";

/** Longest payload in UTF-16 units; a node record is under 1 KiB, so this only bounds abuse. */
export const MAX_PAYLOAD_LENGTH = 16_384;

const DOMAIN = "tunnelmesh-record-v1";

/** Canonical base64url of exactly `bytes` bytes: equal values have equal text. */
function base64UrlOf(bytes: number) {
  return z.string().refine(
    (text) => decodeExact(text, bytes) !== null,
    `must be unpadded base64url of ${bytes} bytes`,
  );
}

/** A statement of some kind with the key and signature that vouch for it. */
export const SignedRecord = z.strictObject({
  kind: z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, "must be a lower-case word"),
  /** base64url of the 32-byte ed25519 public key. */
  signer: base64UrlOf(KEY_BYTES),
  /** JSON text; what is signed are its very bytes. */
  payload: z.string().max(MAX_PAYLOAD_LENGTH),
  /** base64url of the 64-byte ed25519 signature. */
  signature: base64UrlOf(SIGNATURE_BYTES),
});
export type SignedRecord = z.infer<typeof SignedRecord>;

const CanonicalIp = z.string().refine(
  (text) => canonicalIp(text) === text,
  "must be an IP address in canonical form",
);

const CanonicalPrefix = z.string().max(64).refine((text) => {
  const prefix = parsePrefix(text);
  return prefix !== null && prefix.bits > 0 && formatPrefix(prefix) === text;
}, "must be a prefix in canonical form, and not everything");

/** Most networks that one node offers. */
export const MAX_OFFERED_ROUTES = 32;

/** A network behind a node that it offers to lead to. */
export const OfferedRoute = z.strictObject({
  prefix: CanonicalPrefix,
  /** The prefix by which the mesh knows it, when that is another one; of the same length. */
  mapped: CanonicalPrefix.optional(),
}).refine(({ prefix, mapped }) => mapped === undefined || isAlike(prefix, mapped), {
  error: "must be mapped to a prefix of the same family and length",
});
export type OfferedRoute = z.infer<typeof OfferedRoute>;

/** The payload of kind "node": which keys, name and addresses a node claims in a mesh. */
export const NodeRecord = z.strictObject({
  id: PeerId,
  /** base64url of the ed25519 public key; equals the record's signer. */
  identity: base64UrlOf(KEY_BYTES),
  /** base64 of the X25519 public key, as WireGuard writes it. */
  wireguardKey: z.string().length(44),
  name: PeerName,
  /** Mesh addresses, IPv4 first. */
  addresses: z.array(CanonicalIp).min(1).max(8),
  aliases: z.array(Alias).max(32),
  meshId: z.string().min(1).max(64),
  /** Grows with each change; of two valid records the one with the greater number holds. */
  seq: z.int().nonnegative(),
  /** Present when members may reach the internet through the node, as far as the policy lets them. */
  exit: z.literal(true).optional(),
  routes: z.array(OfferedRoute).min(1).max(MAX_OFFERED_ROUTES).optional(),
  /** Present when the node has left the mesh for good. */
  left: z.literal(true).optional(),
});
export type NodeRecord = z.infer<typeof NodeRecord>;

/** The part of a node record that does not follow from the identity. */
export type NodeFacts = Omit<NodeRecord, "id" | "identity" | "wireguardKey">;

/**
 * Signs `payload` (made JSON text here) as a record of `kind`.
 * @throws {RangeError} when the text is longer than `maxLength`.
 */
export function signRecord(
  identity: Identity,
  kind: string,
  payload: unknown,
  maxLength = MAX_PAYLOAD_LENGTH,
): SignedRecord {
  const text = JSON.stringify(payload);
  if (text.length > maxLength) {
    throw new RangeError(`Cannot sign record: payload has ${text.length} characters`);
  }
  return {
    kind,
    signer: toBase64Url(identity.publicKey),
    payload: text,
    signature: toBase64Url(sign(identity, signedBytes(kind, text))),
  };
}

/**
 * Signs a node's record; id and keys are always those of `identity`.
 * @throws {MeshError} "record-invalid" when the facts break the schema.
 */
export function signNodeRecord(identity: Identity, record: NodeFacts | NodeRecord): SignedRecord {
  const payload = NodeRecord.safeParse({
    ...record,
    id: identity.peerId,
    identity: toBase64Url(identity.publicKey),
    wireguardKey: toBase64(identity.wireguard.publicKey),
  });
  if (!payload.success) throw invalid(z.prettifyError(payload.error));
  return signRecord(identity, "node", payload.data);
}

/**
 * Checks shape and signature of a record of `kind` from anyone, and returns its payload, parsed as
 * JSON but not otherwise judged.
 * @param schema Other bounds than those of {@link SignedRecord}.
 * @throws {MeshError} "record-invalid"
 */
export function verifyRecord(
  signed: unknown,
  kind: string,
  schema: z.ZodType<SignedRecord> = SignedRecord,
): { signer: string; payload: unknown } {
  const shape = schema.safeParse(signed);
  if (!shape.success) throw invalid(z.prettifyError(shape.error));
  const { signer, payload, signature } = shape.data;
  if (shape.data.kind !== kind) throw invalid(`kind is "${shape.data.kind}", not "${kind}"`);
  // Half a surrogate pair has no UTF-8: it would be signed as U+FFFD and could stand in for that.
  if (!payload.isWellFormed()) throw invalid("payload is no Unicode text");
  const key = fromBase64Url(signer);
  if (!verify(key, signedBytes(kind, payload), fromBase64Url(signature))) {
    throw invalid("signature does not match");
  }
  try {
    return { signer, payload: JSON.parse(payload) };
  } catch (error) {
    throw invalid(errorMessage(error), error);
  }
}

/**
 * Checks a record of kind "node" whole: signature, schema, that the node signed for itself, and
 * that id and WireGuard key derive from its identity.
 * @throws {MeshError} "record-invalid"
 */
export function verifyNodeRecord(signed: unknown): NodeRecord {
  const { signer, payload } = verifyRecord(signed, "node");
  const parsed = NodeRecord.safeParse(payload);
  if (!parsed.success) throw invalid(z.prettifyError(parsed.error));
  const record = parsed.data;
  if (record.identity !== signer) throw invalid("signed by a key other than the node's own");
  const key = fromBase64Url(signer);
  if (record.id !== peerIdOf(key)) throw invalid("id does not derive from the identity key");
  if (record.wireguardKey !== toBase64(wireguardKeyOf(key))) {
    throw invalid("WireGuard key does not derive from the identity key");
  }
  return record;
}

function isAlike(a: string, b: string): boolean {
  const [one, other] = [parsePrefix(a), parsePrefix(b)];
  return one?.bits === other?.bits && one?.bytes.length === other?.bytes.length;
}

/** Unpadded canonical base64url of exactly `bytes` bytes, or null. */
function decodeExact(text: string, bytes: number): Uint8Array | null {
  if (text.length !== Math.ceil(bytes * 4 / 3)) return null;
  try {
    const decoded = fromBase64Url(text);
    // Unused bits of the last character must be zero, or one key would have several texts.
    return decoded.length === bytes && toBase64Url(decoded) === text ? decoded : null;
  } catch {
    return null;
  }
}

function signedBytes(kind: string, payload: string): Uint8Array {
  return utf8(`${DOMAIN}\0${kind}\0${payload}`);
}

function invalid(why: string, cause?: unknown): MeshError {
  return new MeshError("record-invalid", `Cannot accept record: ${why}`, { cause });
}
