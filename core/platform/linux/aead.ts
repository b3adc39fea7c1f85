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
const PROBE_ROUNDS = 12;
const PROBE_MESSAGES = 30;
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
  const [ours, theirs, aes] = measure([
    { aead: wasm, cipher: "chacha20-poly1305" },
    { aead: libcrypto, cipher: "chacha20-poly1305" },
    { aead: libcrypto, cipher: "aes-256-gcm" },
  ]);
  if (choice === "auto" && ours! < Math.min(theirs!, aes!)) return wasm;
  return { ...libcrypto, prefersAes: aes! < theirs! && agrees(libcrypto, "aes-256-gcm") };
}

/** An implementation of a cipher. */
interface Candidate {
  readonly aead: Aead;
  readonly cipher: CipherName;
}

/** Milliseconds that each takes for a round of messages; they take turns, so noise meets them all. */
function measure(candidates: readonly Candidate[]): number[] {
  const keys = candidates.map(({ aead, cipher }) => aead.key(new Uint8Array(32), cipher));
  const best = candidates.map(() => Infinity);
  const message = new Uint8Array(PROBE_BYTES + TAG);
  for (let round = 0; round < PROBE_ROUNDS; round++) {
    keys.forEach((key, k) => {
      const started = performance.now();
      for (let i = 0; i < PROBE_MESSAGES; i++) key.seal(message, 0, PROBE_BYTES, i);
      best[k] = Math.min(best[k]!, performance.now() - started);
    });
  }
  for (const key of keys) key.free();
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
