/**
 * Which implementation of the ciphers does this machine use?
 * @module
 */
import { type Aead, type CipherName, nobleAead, TAG } from "../../dataplane/aead.ts";
import type { AeadChoice } from "../../dataplane/settings.ts";
import { assert } from "../../assert.ts";
import { MeshError } from "../../errors.ts";
import { SeededRandom } from "../../random.ts";
import { openLibcrypto } from "./libcrypto.ts";

/** A probe is the best of so many rounds of so many messages: other programs disturb single ones. */
const PROBE_ROUNDS = 8;
const PROBE_MESSAGES = 40;
const PROBE_BYTES = 1420;

/**
 * The AEAD that `choice` names; for `auto` the system's libcrypto where it agrees with the
 * reference and is the faster one.
 *
 * @throws {MeshError} `unsupported` when libcrypto is asked for and cannot be used.
 */
export function chooseAead(choice: AeadChoice, wasm: Aead): Aead {
  assert(agrees(wasm, "chacha20-poly1305"), "the packet kernel disagrees with the reference");
  if (choice === "wasm") return wasm;
  const libcrypto = openLibcrypto();
  const isUsable = libcrypto !== null && agrees(libcrypto, "chacha20-poly1305");
  if (!isUsable) {
    if (choice === "auto") return wasm;
    throw new MeshError("unsupported", "Cannot use libcrypto: no OpenSSL 1.1 or 3 was found", {
      hint: "Install it (Debian: apt-get install libssl3), or use --aead auto",
    });
  }
  const ms = measure(libcrypto, "chacha20-poly1305");
  if (choice === "auto" && measure(wasm, "chacha20-poly1305") < ms) return wasm;
  const prefersAes = agrees(libcrypto, "aes-256-gcm") && measure(libcrypto, "aes-256-gcm") < ms;
  return { ...libcrypto, prefersAes };
}

/** Milliseconds that a round of messages takes. */
function measure(aead: Aead, cipher: CipherName): number {
  const key = aead.key(new Uint8Array(32), cipher);
  const message = new Uint8Array(PROBE_BYTES + TAG);
  let best = Infinity;
  for (let round = 0; round < PROBE_ROUNDS; round++) {
    const started = performance.now();
    for (let i = 0; i < PROBE_MESSAGES; i++) key.seal(message, 0, PROBE_BYTES, i);
    best = Math.min(best, performance.now() - started);
  }
  key.free();
  return best;
}

/** Whether `aead` seals like the reference, opens it, and refuses a changed tag. */
function agrees(aead: Aead, cipher: CipherName): boolean {
  const random = new SeededRandom(1);
  const secret = random.bytes(32);
  const [ours, theirs] = [aead.key(secret, cipher), aead.key(secret, cipher)];
  const reference = nobleAead.key(secret, cipher);
  try {
    for (const length of [0, 1, 16, 63, 64, 65, 1420]) {
      const plain = random.bytes(length + TAG);
      const [a, b] = [plain.slice(), plain.slice()];
      ours.seal(a, 0, length, 2 ** 33 + length);
      reference.seal(b, 0, length, 2 ** 33 + length);
      if (a.some((byte, i) => byte !== b[i])) return false;
      if (!theirs.open(a, 0, length + TAG, 2 ** 33 + length)) return false;
      b[length]! ^= 1;
      if (theirs.open(b, 0, length + TAG, 2 ** 33 + length)) return false;
    }
    return true;
  } finally {
    for (const key of [ours, theirs, reference]) key.free();
  }
}
