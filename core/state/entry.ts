/**
 * What is one entry of the mesh's log, and how does anyone check it alone?
 *
 * Who is a member, whose nodes are whose, tags and policy are stated in a log. An entry is
 * a record (`core/identity/record.ts`) of kind "log-entry": JSON text, signed byte for byte. Entries
 * are numbered from 0 and each names the hash of the one before, so that the newest hash stands for
 * the whole history.
 *
 * **The mesh id is a commitment to the first entry**: the first 16 bytes of its hash. The
 * alternative, a random id and a genesis that is pinned beside it when a node joins, would let a
 * coordinator tell a new node the right id with a genesis of its own. That node would take real
 * peers' records for its mesh's and forged admissions too. Here another genesis is another mesh id,
 * and node records, netmaps and IPv6 addresses all carry the id: whoever is shown a false genesis
 * is in a mesh in which no real peer exists. Finding a second genesis for an id takes 2^128 hashes.
 * (Somebody who makes both can try 2^64, to deceive their own mesh.) What remains is to tell a new
 * node the right id, which is the join token's job. A coordinator that starts before there is an
 * admin signs the genesis itself, makes the first user an admin and removes itself
 * (`bootstrap.ts`); who is first is its word anyway, and the log shows it.
 *
 * **`admins`** is a second, shorter chain through the same entries: the hash of the last one that
 * changed who is an admin. Along it a new node checks a snapshot's signer without the entries
 * between (`bundle.ts`).
 *
 * The hash covers signer and payload, not the signature: the same statement of the same key is the
 * same entry, however often it is signed.
 * @module
 */
import { z } from "zod";
import { errorMessage, MeshError } from "../errors.ts";
import type { Identity } from "../identity/keys.ts";
import { SignedRecord, signRecord, verifyRecord } from "../identity/record.ts";
import { MeshId } from "../control/messages.ts";
import { Body, Hash, hashText } from "./bodies.ts";

/** Longest payload, in UTF-16 units: a policy of the largest size, with its escapes. */
export const MAX_ENTRY_LENGTH = 524_288;

const KIND = "log-entry";

/** What the genesis has where other entries name the one before. */
export const NO_HASH: Hash = "0".repeat(64);
/** What the genesis has for a mesh id, since the id follows from it. */
export const NO_MESH = "0".repeat(32);

/** The payload. */
export const Entry = z.strictObject({
  seq: z.int().nonnegative(),
  /** Hash of the entry before. */
  previous: Hash,
  /** Hash of the last entry before that changed who is an admin. */
  admins: Hash,
  /** The signer's wall time, milliseconds since 1970. */
  at: z.int().nonnegative().max(8.64e15),
  meshId: MeshId,
  body: Body,
});
export type Entry = Readonly<z.infer<typeof Entry>>;

/** An entry as it travels and is kept. */
export const SignedEntry = SignedRecord.extend({
  kind: z.literal(KIND),
  payload: z.string().max(MAX_ENTRY_LENGTH),
});
export type SignedEntry = Readonly<z.infer<typeof SignedEntry>>;

/** An entry whose shape and signature are right; whether its signer may say that is the log's to tell. */
export interface VerifiedEntry {
  readonly entry: Entry;
  /** base64url of the key that signed it. */
  readonly signer: string;
  readonly hash: Hash;
  readonly signed: SignedEntry;
}

/**
 * Signs an entry.
 * @throws {MeshError} "entry-invalid" when it breaks the schema or is too long.
 */
export function signEntry(identity: Identity, entry: Entry): SignedEntry {
  const parsed = Entry.safeParse(entry);
  if (!parsed.success) throw invalidEntry(z.prettifyError(parsed.error));
  try {
    return { ...signRecord(identity, KIND, parsed.data, MAX_ENTRY_LENGTH), kind: KIND };
  } catch (error) {
    throw invalidEntry(errorMessage(error), error);
  }
}

/**
 * Checks what can be checked of an entry alone.
 * @throws {MeshError} "entry-invalid", nothing else, whatever `signed` is.
 */
export function verifyEntry(signed: unknown): VerifiedEntry {
  const shape = SignedEntry.safeParse(signed);
  if (!shape.success) throw invalidEntry(z.prettifyError(shape.error).slice(0, 400));
  let payload: unknown;
  try {
    payload = verifyRecord(shape.data, KIND, SignedEntry).payload;
  } catch (error) {
    throw invalidEntry(errorMessage(error), error);
  }
  const parsed = Entry.safeParse(payload);
  if (!parsed.success) throw invalidEntry(z.prettifyError(parsed.error).slice(0, 400));
  const { signer } = shape.data;
  return { entry: parsed.data, signer, hash: hashEntry(shape.data), signed: shape.data };
}

/** How entries are checked: {@link verifyEntry}, or that of an {@link EntryVerifier}. */
export type VerifyEntry = (signed: unknown) => VerifiedEntry;

/**
 * Checks entries, each byte sequence once; bounded, forgets the oldest. For many logs with the same
 * entries in one process.
 */
export class EntryVerifier {
  readonly #verified = new Map<string, VerifiedEntry>();
  readonly #capacity: number;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** As {@link verifyEntry}. @throws {MeshError} "entry-invalid" */
  readonly verify: VerifyEntry = (signed) => {
    const text = JSON.stringify(signed);
    const known = this.#verified.get(text);
    if (known) return known;
    const verified = verifyEntry(signed);
    if (this.#verified.size >= this.#capacity) {
      this.#verified.delete(this.#verified.keys().next().value!);
    }
    this.#verified.set(text, verified);
    return verified;
  };
}

/** The hash by which the next entry names this one. */
export function hashEntry({ signer, payload }: SignedEntry): Hash {
  return hashText(`tunnelmesh-${KIND}-hash-v1\0${signer}\0${payload}`);
}

/** The id of the mesh that begins with `genesis`. */
export function meshIdOf(genesis: VerifiedEntry): string {
  return genesis.hash.slice(0, 32);
}

/** A refusal of an entry for what it is, whoever shows it. */
export function invalidEntry(why: string, cause?: unknown): MeshError {
  return new MeshError("entry-invalid", `Cannot accept entry: ${why}`, { cause });
}
