/**
 * How is an ed25519 identity written in OpenSSH's files?
 *
 * Private key file, as PROTOCOL.key in the OpenSSH source draws it; all integers are big-endian
 * 32 bits, a string is its length and then its bytes:
 *
 *     "openssh-key-v1\0"
 *     string cipher         "none", or e.g. "aes256-ctr"
 *     string kdf            "none" or "bcrypt"
 *     string kdf options    empty, or salt and rounds
 *     uint32 number of keys 1
 *     string public key     string "ssh-ed25519", string 32 bytes
 *     string private part   encrypted unless cipher is "none":
 *       uint32 check, uint32 check        equal, random: tells a wrong passphrase
 *       string "ssh-ed25519", string public key, string seed | public key, string comment
 *       1, 2, 3, ...                       up to the cipher's block size (8 for "none")
 *
 * Encrypted files are recognised here and decrypted elsewhere: that needs bcrypt and a prompt.
 * @module
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { concatBytes, equalConstantTime, fromBase64, fromUtf8, toBase64, utf8 } from "../bytes.ts";
import { MeshError } from "../errors.ts";
import { identityFromSeed, KEY_BYTES } from "./keys.ts";

/** A private key file's contents; the seed of an encrypted one cannot be known without asking. */
export type PrivateKeyFile =
  | {
    readonly kind: "plain";
    /** 32 bytes, secret. */
    readonly seed: Uint8Array;
    readonly publicKey: Uint8Array;
    readonly comment: string;
  }
  | {
    readonly kind: "encrypted";
    readonly publicKey: Uint8Array;
    readonly cipher: string;
    readonly kdf: string;
  };

const ALGORITHM = "ssh-ed25519";
const MAGIC = utf8("openssh-key-v1\0");
const BEGIN = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END = "-----END OPENSSH PRIVATE KEY-----";
const LINE_LENGTH = 70;
const BLOCK_BYTES = 8;
const MAKE_ONE = "Make one with: ssh-keygen -t ed25519";

/**
 * Reads a private key file.
 * @throws {MeshError} "key-invalid" for another key type, another format or a damaged file.
 */
export function parsePrivateKey(text: string): PrivateKeyFile {
  const reader = new Reader(unarmour(text));
  if (!equalConstantTime(reader.take(MAGIC.length), MAGIC)) throw damaged("wrong magic");
  const cipher = fromAscii(reader.string());
  const kdf = fromAscii(reader.string());
  reader.string();
  if (reader.uint32() !== 1) throw damaged("it must hold exactly one key");
  const publicKey = decodePublicBlob(reader.string());
  const section = reader.string();
  // Ciphers with a tag (aes256-gcm, chacha20-poly1305) put it behind the section.
  if (cipher !== "none") return { kind: "encrypted", publicKey, cipher, kdf };
  if (reader.remaining > 0) throw damaged("bytes after its end");
  return { kind: "plain", publicKey, ...parsePrivateSection(section, publicKey) };
}

/**
 * Writes an unencrypted private key file that ssh-keygen reads.
 * @param check Any 32-bit number; OpenSSH uses a random one.
 */
export function formatPrivateKey(seed: Uint8Array, comment: string, check: number): string {
  const { publicKey } = identityFromSeed(seed);
  const section = concatBytes(
    uint32(check),
    uint32(check),
    string(utf8(ALGORITHM)),
    string(publicKey),
    string(concatBytes(seed, publicKey)),
    string(utf8(comment)),
  );
  const padding = (BLOCK_BYTES - section.length % BLOCK_BYTES) % BLOCK_BYTES;
  const blob = concatBytes(
    MAGIC,
    string(utf8("none")),
    string(utf8("none")),
    string(new Uint8Array(0)),
    uint32(1),
    string(encodePublicBlob(publicKey)),
    string(concatBytes(section, Uint8Array.from({ length: padding }, (_, i) => i + 1))),
  );
  const lines = toBase64(blob).match(new RegExp(`.{1,${LINE_LENGTH}}`, "g"))!;
  return [BEGIN, ...lines, END, ""].join("\n");
}

/** One line of a `.pub` or `authorized_keys` file, without the line break. */
export function formatPublicKey(publicKey: Uint8Array, comment = ""): string {
  const line = `${ALGORITHM} ${toBase64(encodePublicBlob(publicKey))}`;
  return comment === "" ? line : `${line} ${comment}`;
}

/**
 * Reads a public key line; options in front of the key are not accepted.
 * @throws {MeshError} "key-invalid"
 */
export function parsePublicKey(line: string): { publicKey: Uint8Array; comment: string } {
  const [algorithm, blob, ...comment] = line.trim().split(/\s+/);
  if (algorithm !== ALGORITHM) throw wrongType(algorithm ?? "");
  return { publicKey: decodePublicBlob(decodeBase64(blob ?? "")), comment: comment.join(" ") };
}

/** The fingerprint that `ssh-keygen -l` shows: `SHA256:` and unpadded base64. */
export function fingerprint(publicKey: Uint8Array): string {
  return "SHA256:" + toBase64(sha256(encodePublicBlob(publicKey))).replace(/=+$/, "");
}

function parsePrivateSection(
  section: Uint8Array,
  publicKey: Uint8Array,
): { seed: Uint8Array; comment: string } {
  const reader = new Reader(section);
  if (reader.uint32() !== reader.uint32()) throw damaged("check numbers differ");
  const algorithm = fromAscii(reader.string());
  if (algorithm !== ALGORITHM) throw wrongType(algorithm);
  const innerPublic = reader.string();
  const secret = reader.string();
  const comment = fromUtf8Lossy(reader.string());
  if (reader.remaining >= BLOCK_BYTES) throw damaged("bytes after the key");
  for (let i = 1; reader.remaining > 0; i++) {
    if (reader.take(1)[0] !== i) throw damaged("wrong padding");
  }
  if (secret.length !== 2 * KEY_BYTES) throw damaged("private key of the wrong length");
  const seed = secret.slice(0, KEY_BYTES);
  const derived = identityFromSeed(seed).publicKey;
  for (const stored of [publicKey, innerPublic, secret.subarray(KEY_BYTES)]) {
    if (!equalConstantTime(derived, stored)) throw damaged("private and public key do not match");
  }
  return { seed, comment };
}

function unarmour(text: string): Uint8Array {
  const lines = text.split(/\r?\n/).map((line) => line.trim()).filter((line) => line !== "");
  if (lines[0] !== BEGIN) {
    const other = /-----BEGIN ([A-Z0-9 ]+)-----/.exec(lines[0] ?? "");
    if (other) throw wrongType(`PEM "${other[1]}"`);
    if (/^(ssh|ecdsa|sk)-/.test(lines[0] ?? "")) {
      throw new MeshError("key-invalid", "Cannot read private key: this is the public half", {
        hint: "Name the file without .pub",
      });
    }
    throw new MeshError("key-invalid", "Cannot read private key: not an OpenSSH key file", {
      hint: MAKE_ONE,
    });
  }
  if (lines.at(-1) !== END) throw damaged("its last line is missing");
  return decodeBase64(lines.slice(1, -1).join(""));
}

function encodePublicBlob(publicKey: Uint8Array): Uint8Array {
  return concatBytes(string(utf8(ALGORITHM)), string(publicKey));
}

function decodePublicBlob(blob: Uint8Array): Uint8Array {
  const reader = new Reader(blob);
  const algorithm = fromAscii(reader.string());
  if (algorithm !== ALGORITHM) throw wrongType(algorithm);
  const key = reader.string();
  if (key.length !== KEY_BYTES || reader.remaining > 0) throw damaged("public key of wrong length");
  return key.slice();
}

/** Reads SSH wire types (RFC 4251 section 5) from untrusted bytes. */
class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  take(length: number): Uint8Array {
    if (length > this.remaining) throw damaged("it is cut short");
    return this.#bytes.subarray(this.#at, this.#at += length);
  }

  uint32(): number {
    const [a, b, c, d] = this.take(4);
    return ((a! << 24) | (b! << 16) | (c! << 8) | d!) >>> 0;
  }

  string(): Uint8Array {
    return this.take(this.uint32());
  }
}

function uint32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

function string(bytes: Uint8Array): Uint8Array {
  return concatBytes(uint32(bytes.length), bytes);
}

function fromAscii(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes.subarray(0, 64)).replace(/[^\x20-\x7e]/g, "?");
}

function fromUtf8Lossy(bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes);
  } catch {
    return "";
  }
}

function decodeBase64(text: string): Uint8Array {
  try {
    return fromBase64(text);
  } catch (error) {
    throw damaged("not base64", error);
  }
}

function wrongType(type: string): MeshError {
  return new MeshError("key-invalid", `Cannot use key: its type is ${type}, not ${ALGORITHM}`, {
    hint: MAKE_ONE,
  });
}

function damaged(why: string, cause?: unknown): MeshError {
  return new MeshError("key-invalid", `Cannot read key: ${why}`, { cause });
}
