/**
 * What admits a new node: the join token, a line of text to paste.
 *
 * It carries three things: the pin of the mesh's certificate authority (so that the first request
 * already goes to the right coordinator), the mesh's id (so that a coordinator cannot show the log
 * of another mesh), and a secret. The mesh's log holds the public half of the key that the secret
 * is the seed of (`core/state/admission.ts`); the secret itself is kept nowhere.
 * @module
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { concatBytes, fromBase64Url, fromHex, toBase64Url, toHex, utf8 } from "../bytes.ts";
import { MeshError } from "../errors.ts";

/** What a join token says. */
export interface JoinToken {
  /**
   * SHA-256 of the mesh CA certificate's DER, 32 bytes. All zero: the coordinator has a public
   * certificate, checked against the system's roots ({@link pinsCa} is false).
   */
  readonly caPin: Uint8Array;
  /** 32 hex digits. */
  readonly meshId: string;
  /** 16 bytes; whoever knows them may join. */
  readonly secret: Uint8Array;
}

/** First characters of every token, with the format's version. */
export const TOKEN_PREFIX = "tm2_";
export const TOKEN_PIN_BYTES = 32;
export const TOKEN_SECRET_BYTES = 16;
const MESH_ID_BYTES = 16;
/** Of the public name of a token. */
const TOKEN_ID_BYTES = 8;

const BODY_BYTES = TOKEN_PIN_BYTES + MESH_ID_BYTES + TOKEN_SECRET_BYTES;
const BODY_LENGTH = Math.ceil(BODY_BYTES * 4 / 3);
const AGAIN =
  `Copy the whole token from where it was made; it starts with ${TOKEN_PREFIX} and has ` +
  `${TOKEN_PREFIX.length + BODY_LENGTH} characters`;

/**
 * Makes the text of a token.
 * @throws {RangeError} when a part has the wrong length.
 */
export function encodeToken(token: JoinToken): string {
  const meshId = fromHex(token.meshId);
  expectLength("pin", token.caPin, TOKEN_PIN_BYTES);
  expectLength("mesh id", meshId, MESH_ID_BYTES);
  expectLength("secret", token.secret, TOKEN_SECRET_BYTES);
  return TOKEN_PREFIX + toBase64Url(concatBytes(token.caPin, meshId, token.secret));
}

/**
 * Reads a token that a person pasted; surrounding white space and quotes do not matter.
 * @throws {MeshError} "token-invalid" that says what is wrong with the text, never the text itself.
 */
export function decodeToken(text: string): JoinToken {
  const trimmed = text.trim().replace(/^(["'])(.*)\1$/s, "$2").trim();
  if (trimmed === "") throw invalid("it is empty");
  if (!trimmed.startsWith(TOKEN_PREFIX)) {
    if (/^tm\d+_/.test(trimmed)) throw invalid("it has a format of another version");
    throw invalid(`it does not start with ${TOKEN_PREFIX}`);
  }
  const body = trimmed.slice(TOKEN_PREFIX.length);
  const stranger = /[^A-Za-z0-9_-]/.exec(body);
  if (stranger) {
    const where = TOKEN_PREFIX.length + stranger.index + 1;
    throw invalid(`character ${where} does not belong in a token`);
  }
  if (body.length !== BODY_LENGTH) {
    const missing = BODY_LENGTH - body.length;
    throw invalid(
      missing > 0
        ? `it is cut short, ${missing} of ${TOKEN_PREFIX.length + BODY_LENGTH} characters missing`
        : `it has ${-missing} characters too many`,
    );
  }
  const bytes = decodeCanonical(body);
  if (!bytes) throw invalid("it is damaged");
  return {
    caPin: bytes.slice(0, TOKEN_PIN_BYTES),
    meshId: toHex(bytes.subarray(TOKEN_PIN_BYTES, TOKEN_PIN_BYTES + MESH_ID_BYTES)),
    secret: bytes.slice(TOKEN_PIN_BYTES + MESH_ID_BYTES),
  };
}

/** Whether a token pins the mesh's own CA; otherwise the system's roots decide. */
export function pinsCa(token: Pick<JoinToken, "caPin">): boolean {
  return token.caPin.some((byte) => byte !== 0);
}

/** The public name of a token, which follows from its secret: base64url of 8 bytes. */
export function tokenIdOf(secret: Uint8Array): string {
  const digest = sha256(concatBytes(utf8("tunnelmesh-token-id-v1\0"), secret));
  return toBase64Url(digest.subarray(0, TOKEN_ID_BYTES));
}

/** Bytes of unpadded base64url, or null when another text would mean the same bytes. */
function decodeCanonical(text: string): Uint8Array | null {
  try {
    const bytes = fromBase64Url(text);
    return toBase64Url(bytes) === text ? bytes : null;
  } catch {
    return null;
  }
}

function expectLength(part: string, bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) {
    throw new RangeError(`Cannot encode token: ${part} has ${bytes.length} bytes, not ${length}`);
  }
}

function invalid(why: string): MeshError {
  return new MeshError("token-invalid", `Cannot read join token: ${why}`, { hint: AGAIN });
}
