/**
 * ChaCha20-Poly1305 and AES-256-GCM of the system's OpenSSL, where there is one: about twenty times
 * as fast as the portable implementation, which remains the reference.
 *
 * Every address is declared `usize` and passed straight out of a BigUint64Array, whose halves are
 * written as 32-bit numbers: in this form alone a call allocates nothing once its code is hot.
 * Pointer objects and BigInt sums cost a hundred bytes per packet (measured on Deno 2.9.6).
 * @module
 */
import { type Aead, type AeadKey, type CipherName, TAG, writeNonce } from "../../dataplane/aead.ts";

const SYMBOLS = {
  EVP_chacha20_poly1305: { parameters: [], result: "usize" },
  EVP_aes_256_gcm: { parameters: [], result: "usize" },
  EVP_CIPHER_CTX_new: { parameters: [], result: "usize" },
  EVP_CIPHER_CTX_free: { parameters: ["usize"], result: "void" },
  EVP_CIPHER_CTX_ctrl: { parameters: ["usize", "i32", "i32", "usize"], result: "i32" },
  EVP_EncryptInit_ex: {
    parameters: ["usize", "usize", "usize", "usize", "usize"],
    result: "i32",
  },
  EVP_EncryptUpdate: { parameters: ["usize", "usize", "usize", "usize", "i32"], result: "i32" },
  EVP_EncryptFinal_ex: { parameters: ["usize", "usize", "usize"], result: "i32" },
  EVP_DecryptInit_ex: {
    parameters: ["usize", "usize", "usize", "usize", "usize"],
    result: "i32",
  },
  EVP_DecryptUpdate: { parameters: ["usize", "usize", "usize", "usize", "i32"], result: "i32" },
  EVP_DecryptFinal_ex: { parameters: ["usize", "usize", "usize"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** A null pointer. */
const NULL = 0n;
/** Places in a context's table of addresses. */
const CONTEXT = 0, NONCE = 1, UNUSED = 2, TEXT = 3, TAG_AT = 4;
const CTRL_GET_TAG = 0x10, CTRL_SET_TAG = 0x11;
const NAMES = ["libcrypto.so.3", "libcrypto.so.1.1"];

type Symbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** The system's OpenSSL, or null where there is none with these ciphers. */
export function openLibcrypto(): Aead | null {
  for (const name of NAMES) {
    try {
      const { symbols } = Deno.dlopen(name, SYMBOLS);
      return {
        name: "libcrypto",
        prefersAes: true,
        key: (key, cipher = "chacha20-poly1305") => new LibcryptoKey(symbols, key, cipher),
      };
    } catch {
      continue;
    }
  }
  return null;
}

/** One context, for the one direction that a worker uses, so that a call only sets the nonce. */
class LibcryptoKey implements AeadKey {
  readonly #c: Symbols;
  readonly #cipher: bigint;
  readonly #key: Uint8Array<ArrayBuffer>;
  readonly #nonce = new Uint8Array(12);
  readonly #nonceView = new DataView(this.#nonce.buffer);
  /** Where calls write what nobody reads. */
  readonly #unused = new Uint8Array(32);
  readonly #addresses = new BigUint64Array(TAG_AT + 1);
  readonly #halves = new Uint32Array(this.#addresses.buffer);
  #direction: "none" | "seal" | "open" = "none";

  constructor(symbols: Symbols, key: Uint8Array, cipher: CipherName) {
    this.#c = symbols;
    this.#key = key.slice();
    this.#cipher = cipher === "aes-256-gcm"
      ? symbols.EVP_aes_256_gcm()
      : symbols.EVP_chacha20_poly1305();
    this.#addresses[CONTEXT] = symbols.EVP_CIPHER_CTX_new();
    this.#addresses[NONCE] = pointerTo(this.#nonce);
    this.#addresses[UNUSED] = pointerTo(this.#unused);
  }

  seal(bytes: Uint8Array, at: number, length: number, counter: number): void {
    const c = this.#c, to = this.#addresses;
    if (this.#direction !== "seal") {
      const key = pointerTo(this.#key);
      c.EVP_EncryptInit_ex(to[CONTEXT]!, this.#cipher, NULL, key, to[NONCE]!);
      this.#direction = "seal";
    }
    writeNonce(this.#nonceView, counter);
    this.#point(bytes, at, length);
    c.EVP_EncryptInit_ex(to[CONTEXT]!, NULL, NULL, NULL, to[NONCE]!);
    if (length > 0) c.EVP_EncryptUpdate(to[CONTEXT]!, to[TEXT]!, to[UNUSED]!, to[TEXT]!, length);
    c.EVP_EncryptFinal_ex(to[CONTEXT]!, to[UNUSED]!, to[UNUSED]!);
    c.EVP_CIPHER_CTX_ctrl(to[CONTEXT]!, CTRL_GET_TAG, TAG, to[TAG_AT]!);
  }

  open(bytes: Uint8Array, at: number, length: number, counter: number): boolean {
    if (length < TAG) return false;
    const c = this.#c, to = this.#addresses;
    if (this.#direction !== "open") {
      const key = pointerTo(this.#key);
      c.EVP_DecryptInit_ex(to[CONTEXT]!, this.#cipher, NULL, key, to[NONCE]!);
      this.#direction = "open";
    }
    writeNonce(this.#nonceView, counter);
    const size = length - TAG;
    this.#point(bytes, at, size);
    c.EVP_DecryptInit_ex(to[CONTEXT]!, NULL, NULL, NULL, to[NONCE]!);
    c.EVP_CIPHER_CTX_ctrl(to[CONTEXT]!, CTRL_SET_TAG, TAG, to[TAG_AT]!);
    if (
      size > 0 &&
      c.EVP_DecryptUpdate(to[CONTEXT]!, to[TEXT]!, to[UNUSED]!, to[TEXT]!, size) !== 1
    ) return false;
    return c.EVP_DecryptFinal_ex(to[CONTEXT]!, to[UNUSED]!, to[UNUSED]!) === 1;
  }

  free(): void {
    this.#c.EVP_CIPHER_CTX_free(this.#addresses[CONTEXT]!);
    this.#key.fill(0);
  }

  /** Notes where a text of `length` bytes at `bytes[at]` and the tag behind it lie. */
  #point(bytes: Uint8Array, at: number, length: number): void {
    const text = addressOf(bytes) + at;
    const tag = text + length;
    this.#halves[2 * TEXT] = text;
    this.#halves[2 * TEXT + 1] = text / 2 ** 32;
    this.#halves[2 * TAG_AT] = tag;
    this.#halves[2 * TAG_AT + 1] = tag / 2 ** 32;
  }
}

let known: Uint8Array | null = null;
let knownAddress = 0;

/** Address of the first byte; the packet memory is asked for again and again. */
function addressOf(bytes: Uint8Array): number {
  if (bytes !== known) {
    known = bytes;
    knownAddress = Number(pointerTo(bytes));
  }
  return knownAddress;
}

function pointerTo(bytes: Uint8Array): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes as Uint8Array<ArrayBuffer>));
}
