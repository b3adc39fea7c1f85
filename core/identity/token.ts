/**
 * What admits a new node: the join token, a line of text to paste.
 *
 * It carries three things: the pin of the mesh's certificate authority (so that the first request
 * already goes to the right coordinator), the token's public id, and its secret. The coordinator
 * keeps only the secret's hash.
 * @module
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { concatBytes, fromBase64Url, toBase64Url } from "../bytes.ts";
import { MeshError } from "../errors.ts";

/** What a join token says. */
export interface JoinToken {
  /**
   * SHA-256 of the mesh CA certificate's DER, 32 bytes. All zero: the coordinator has a public
   * certificate, checked against the system's roots ({@link pinsCa} is false).
   */
  readonly caPin: Uint8Array;
  /** Public name of the token, 8 bytes. */
  readonly id: Uint8Array;
  /** 16 bytes; whoever knows them may join. */
  readonly secret: Uint8Array;
}

/** The part of a token that a registration carries. */
export type TokenCredential = Pick<JoinToken, "id" | "secret">;

/** First characters of every token, with the format's version. */
export const TOKEN_PREFIX = "tm1_";
export const TOKEN_PIN_BYTES = 32;
export const TOKEN_ID_BYTES = 8;
export const TOKEN_SECRET_BYTES = 16;

const BODY_BYTES = TOKEN_PIN_BYTES + TOKEN_ID_BYTES + TOKEN_SECRET_BYTES;
const BODY_LENGTH = Math.ceil(BODY_BYTES * 4 / 3);
const AGAIN = "Copy the whole token from the coordinator; it starts with tm1_ and has " +
  `${TOKEN_PREFIX.length + BODY_LENGTH} characters`;

/**
 * Makes the text of a token.
 * @throws {RangeError} when a part has the wrong length.
 */
export function encodeToken(token: JoinToken): string {
  expectLength("pin", token.caPin, TOKEN_PIN_BYTES);
  expectLength("id", token.id, TOKEN_ID_BYTES);
  expectLength("secret", token.secret, TOKEN_SECRET_BYTES);
  return TOKEN_PREFIX + toBase64Url(concatBytes(token.caPin, token.id, token.secret));
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
    id: bytes.slice(TOKEN_PIN_BYTES, TOKEN_PIN_BYTES + TOKEN_ID_BYTES),
    secret: bytes.slice(TOKEN_PIN_BYTES + TOKEN_ID_BYTES),
  };
}

/** Whether a token pins the mesh's own CA; otherwise the system's roots decide. */
export function pinsCa(token: Pick<JoinToken, "caPin">): boolean {
  return token.caPin.some((byte) => byte !== 0);
}

/** What a registration sends of a token: `id.secret`, base64url each. */
export function formatCredential(credential: TokenCredential): string {
  return `${toBase64Url(credential.id)}.${toBase64Url(credential.secret)}`;
}

/**
 * Reads {@link formatCredential}'s text.
 * @throws {MeshError} "token-invalid"
 */
export function parseCredential(text: string): TokenCredential {
  const [idText, secretText, ...rest] = text.split(".");
  const id = decodeCanonical(idText ?? "");
  const secret = decodeCanonical(secretText ?? "");
  const isWhole = id?.length === TOKEN_ID_BYTES && secret?.length === TOKEN_SECRET_BYTES;
  if (!id || !secret || !isWhole || rest.length > 0) throw invalid("it is damaged");
  return { id, secret };
}

/** What the coordinator stores of a secret: its SHA-256, enough since the secret is 128 random bits. */
export function hashTokenSecret(secret: Uint8Array): Uint8Array {
  return sha256(secret);
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
