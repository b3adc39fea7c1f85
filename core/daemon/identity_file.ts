/**
 * Where does this machine's identity come from?
 *
 * From an OpenSSH ed25519 private key file: the user's own, or one that is made on first use. A
 * file that others can read is refused, as ssh does; an encrypted one is opened with a passphrase
 * that is asked for and kept nowhere.
 * @module
 */
import { dirname } from "node:path";
import { equalConstantTime, fromBase64 } from "../bytes.ts";
import { errorMessage, MeshError } from "../errors.ts";
import { type Identity, identityFromSeed, KEY_BYTES } from "../identity/keys.ts";
import {
  fingerprint,
  formatPrivateKey,
  formatPublicKey,
  parsePrivateKey,
  type PrivateKeyFile,
} from "../identity/openssh.ts";
import { writeFileAtomic } from "./atomic_file.ts";

/** What the user needs to see to know which passphrase is asked for. */
export interface PassphraseRequest {
  readonly path: string;
  /** `SHA256:...` of the public key. */
  readonly fingerprint: string;
  /** 1 for the first try; greater after wrong ones. */
  readonly attempt: number;
}

/** How an identity is loaded. */
export interface LoadIdentityOptions {
  /** Asks the user; null gives up. Without it an encrypted key cannot be opened. */
  readonly askPassphrase?: (request: PassphraseRequest) => Promise<string | null>;
  /** Make the file when there is none; true when not given. */
  readonly create?: boolean;
  /** Comment of a file that is made, usually `user@host`. */
  readonly comment?: string;
}

/** An identity and how it was come by. */
export interface LoadedIdentity {
  readonly identity: Identity;
  /** Whether the file was made by this call. */
  readonly isNew: boolean;
}

/** ssh asks as often. */
const MAX_ATTEMPTS = 3;

/**
 * Reads the identity at `path`, or makes one there (0600, its `.pub` beside it).
 *
 * @throws {MeshError} "key-invalid" for a file that is no ed25519 key or that others can read,
 *   "passphrase-wrong" after three wrong passphrases or when there is nobody to ask,
 *   "privilege-missing" when this user may not read or write it.
 */
export async function loadOrCreateIdentity(
  path: string,
  options: LoadIdentityOptions = {},
): Promise<LoadedIdentity> {
  const text = await readPrivateFile(path);
  if (text !== null) return { identity: await openIdentity(path, text, options), isNew: false };
  if (options.create === false) {
    throw new MeshError("key-invalid", `Cannot open identity "${path}": no such file`, {
      hint: "Make one with: ssh-keygen -t ed25519",
    });
  }
  const seed = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  if (await createKeyFiles(path, seed, options.comment ?? "tunnelmesh")) {
    return { identity: identityFromSeed(seed), isNew: true };
  }
  // Another process made one at the same moment: there must be only one.
  return await loadOrCreateIdentity(path, { ...options, create: false });
}

async function openIdentity(
  path: string,
  text: string,
  options: LoadIdentityOptions,
): Promise<Identity> {
  let file: PrivateKeyFile;
  try {
    file = parsePrivateKey(text);
  } catch (error) {
    throw inFile(path, error);
  }
  if (file.kind === "plain") return identityFromSeed(file.seed);
  const { publicKey } = file;
  if (!options.askPassphrase) {
    throw new MeshError("passphrase-wrong", `Cannot open identity "${path}": it has a passphrase`, {
      hint: "Run this in a terminal, or take the passphrase off a copy with: ssh-keygen -p -f FILE",
    });
  }
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
    const request = { path, fingerprint: fingerprint(publicKey), attempt };
    const passphrase = await options.askPassphrase(request);
    if (passphrase === null) break;
    const seed = await decryptSeed(path, text, passphrase);
    if (!seed) continue;
    const identity = identityFromSeed(seed);
    if (equalConstantTime(identity.publicKey, publicKey)) return identity;
    throw new MeshError(
      "key-invalid",
      `Cannot open identity "${path}": private and public key do not match`,
    );
  }
  throw new MeshError("passphrase-wrong", `Cannot open identity "${path}": wrong passphrase`, {
    hint: "Set another passphrase with: ssh-keygen -p -f FILE",
  });
}

/** What is used of ssh2; its own type package would bring old types of Node with it. */
interface Ssh2 {
  readonly utils: {
    parseKey(text: string, passphrase: string): Error | { getPrivatePEM(): string };
  };
}

/** The seed in an encrypted file, or null when the passphrase is wrong. */
async function decryptSeed(
  path: string,
  text: string,
  passphrase: string,
): Promise<Uint8Array | null> {
  if (passphrase === "") return null;
  // Loaded only here: ssh2 costs 20 MB of memory, and few identities have a passphrase.
  const { default: ssh2 } = await import("ssh2") as { default: Ssh2 };
  const key = ssh2.utils.parseKey(text, passphrase);
  if (key instanceof Error) {
    // Ciphers with a tag fail on the tag, the others on the check numbers inside.
    if (/bad passphrase|authenticate data/.test(key.message)) return null;
    throw inFile(path, key);
  }
  const pkcs8 = fromBase64(key.getPrivatePEM().replace(/-----[A-Z ]+-----|\s/g, ""));
  // PKCS #8 of an ed25519 key (RFC 8410 section 7) ends with the 32 bytes of the seed.
  return pkcs8.slice(-KEY_BYTES);
}

async function readPrivateFile(path: string): Promise<string | null> {
  try {
    using file = await Deno.open(path, { read: true });
    const { mode, isFile } = await file.stat();
    if (!isFile) throw new MeshError("key-invalid", `Cannot open identity "${path}": not a file`);
    if (mode !== null && (mode & 0o077) !== 0) {
      const octal = (mode & 0o777).toString(8).padStart(4, "0");
      throw new MeshError(
        "key-invalid",
        `Cannot open identity "${path}": others can read it (mode ${octal})`,
        { hint: `Close it with: chmod 600 ${path}` },
      );
    }
    return await readToEnd(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw inFile(path, error);
  }
}

/** An ed25519 key file has under 1 KiB; a wrong path (a disk image) must not fill the memory. */
const MAX_FILE_BYTES = 65_536;

async function readToEnd(file: Deno.FsFile): Promise<string> {
  const bytes = new Uint8Array(MAX_FILE_BYTES);
  let length = 0;
  while (length < bytes.length) {
    const count = await file.read(bytes.subarray(length));
    if (!count) break;
    length += count;
  }
  return new TextDecoder().decode(bytes.subarray(0, length));
}

/** Writes both halves; false when the private file exists already. */
async function createKeyFiles(path: string, seed: Uint8Array, comment: string): Promise<boolean> {
  const check = crypto.getRandomValues(new Uint32Array(1))[0]!;
  const publicLine = formatPublicKey(identityFromSeed(seed).publicKey, comment) + "\n";
  try {
    await Deno.mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await writeFileAtomic(path, formatPrivateKey(seed, comment, check), { createNew: true });
    await writeFileAtomic(`${path}.pub`, publicLine, { mode: 0o644 });
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return false;
    throw inFile(path, error);
  }
}

function inFile(path: string, error: unknown): MeshError {
  if (error instanceof MeshError && error.message.includes(path)) return error;
  const message = `Cannot open identity "${path}": ${errorMessage(error)}`;
  if (error instanceof MeshError) {
    const hint = error.hint === undefined ? {} : { hint: error.hint };
    return new MeshError(error.code, message, { cause: error, ...hint });
  }
  if (error instanceof Deno.errors.PermissionDenied) {
    return new MeshError("privilege-missing", message, {
      cause: error,
      hint: "Run this as the file's owner, or name another file with --identity",
    });
  }
  return new MeshError("key-invalid", message, { cause: error });
}
