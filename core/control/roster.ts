/**
 * Which node records does this node believe? Those that their own identity signed and that take
 * nothing from somebody seen before.
 *
 * A coordinator only carries records. Whatever it sends, a node accepts a record only when the
 * signature is the identity's own, the record belongs to this mesh, its addresses are ones the mesh
 * may give, it is not older than what was seen of the identity, and no other identity holds its
 * names or addresses. First seen wins: a name moves to another identity only after its holder
 * signed a record that gives it up (another name, or `left`). What was seen is kept as pins, on
 * disk across restarts.
 *
 * Whether an identity is a member at all is the mesh's log to say (`core/state`), asked through
 * {@link RosterOptions.isMember}.
 * @module
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { z } from "zod";
import { toHex, utf8 } from "../bytes.ts";
import { errorMessage } from "../errors.ts";
import { type NodeRecord, type SignedRecord, verifyNodeRecord } from "../identity/record.ts";
import { Alias, PeerId, PeerName, RESERVED_NAMES } from "../ids.ts";
import { parsePrefix, type Prefix } from "../ip.ts";
import { isHostAddress4, meshAddress6 } from "./addressing.ts";
import { MAX_PEERS } from "./messages.ts";

/** Most identities remembered, those that left included. */
export const MAX_PINS = 2 * MAX_PEERS;

/** What is remembered of one identity's newest record. */
export const Pin = z.strictObject({
  id: PeerId,
  seq: z.int().nonnegative(),
  /** Hex of the first 16 bytes of SHA-256 over the record's payload. */
  digest: z.string().regex(/^[0-9a-f]{32}$/),
  name: PeerName,
  aliases: z.array(Alias).max(32),
  addresses: z.array(z.string().max(64)).max(8),
  left: z.literal(true).optional(),
});
export type Pin = z.infer<typeof Pin>;

/** The content of `seen.json`. */
export const Pins = z.array(Pin).max(MAX_PINS);

/** Why a record was refused. */
export type RefusalReason =
  | "signature"
  | "not-member"
  | "other-mesh"
  | "addresses"
  | "name-reserved"
  | "rollback"
  | "equivocation"
  | "name-taken"
  | "address-taken"
  | "table-full";

/** A record that was refused, for the log and for `status`. */
export interface Refusal {
  readonly reason: RefusalReason;
  /** The peer that the record is about, as far as it could be read. */
  readonly id: PeerId | null;
  /** One sentence part, e.g. `name "a" belongs to 1234567890abcdef`. */
  readonly detail: string;
}

export type Verdict =
  | { readonly ok: true; readonly record: NodeRecord }
  | { readonly ok: false; readonly refusal: Refusal };

/** Verifies records, each byte sequence once; bounded, forgets the oldest. May be shared. */
export class RecordVerifier {
  readonly #verified = new Map<string, { signed: SignedRecord; record: NodeRecord }>();
  readonly #capacity: number;

  constructor(capacity: number = MAX_PINS) {
    this.#capacity = capacity;
  }

  /** @throws {MeshError} "record-invalid" */
  verify(signed: SignedRecord): NodeRecord {
    const known = this.#verified.get(signed.signature);
    if (known && isSameRecord(known.signed, signed)) return known.record;
    const record = verifyNodeRecord(signed);
    if (this.#verified.size >= this.#capacity) {
      this.#verified.delete(this.#verified.keys().next().value!);
    }
    this.#verified.set(signed.signature, { signed, record });
    return record;
  }
}

/** Whether two signed records are the same bytes. */
export function isSameRecord(a: SignedRecord, b: SignedRecord): boolean {
  return a.signature === b.signature && a.payload === b.payload && a.signer === b.signer &&
    a.kind === b.kind;
}

/**
 * Whether an identity is a member.
 * @param lastSeen Wall time when it was last heard of, Infinity for now: who is away too long is none.
 */
export type IsMember = (id: PeerId, lastSeen: number) => boolean;

export interface RosterOptions {
  readonly meshId: string;
  readonly cidr4: string;
  readonly prefix6: string;
  /** Whether the mesh's log, as far as it is known here, has this identity as a member. */
  readonly isMember: IsMember;
  /** What earlier runs saw. */
  readonly pins?: readonly Pin[];
  readonly verifier?: RecordVerifier;
}

/** The pins and the policy over them. */
export class Roster {
  readonly #options: RosterOptions;
  readonly #cidr4: Prefix;
  readonly #verifier: RecordVerifier;
  readonly #pins = new Map<PeerId, Pin>();
  readonly #nameOwners = new Map<string, PeerId>();
  readonly #addressOwners = new Map<string, PeerId>();
  #revision = 0;

  /** @throws {RangeError} when `cidr4` is no IPv4 prefix. */
  constructor(options: RosterOptions) {
    const cidr4 = parsePrefix(options.cidr4);
    if (cidr4?.bytes.length !== 4) throw new RangeError(`Cannot use prefix "${options.cidr4}"`);
    this.#options = options;
    this.#cidr4 = cidr4;
    this.#verifier = options.verifier ?? new RecordVerifier();
    for (const pin of options.pins ?? []) this.#hold(pin);
    this.releaseStrangers();
  }

  /** What to keep on disk. */
  get pins(): Pin[] {
    return [...this.#pins.values()];
  }

  /** Grows with each change of {@link pins}. */
  get revision(): number {
    return this.#revision;
  }

  /**
   * Judges one record and, when it is accepted, remembers it. A `left` record is accepted too.
   * @param lastSeen As for {@link IsMember}.
   */
  accept(signed: SignedRecord, lastSeen: number): Verdict {
    let record: NodeRecord;
    try {
      record = this.#verifier.verify(signed);
    } catch (error) {
      return refuse("signature", null, errorMessage(error));
    }
    const pin = pinOf(record, signed);
    const held = this.#pins.get(record.id);
    if (!record.left && !this.#options.isMember(record.id, lastSeen)) {
      return refuse("not-member", record.id, "no entry of the mesh's log admits it");
    }
    const isHeld = held?.digest === pin.digest && held.seq === pin.seq && held.left === pin.left;
    if (isHeld) return { ok: true, record };
    const refusal = this.#objection(record, pin.digest, held);
    if (refusal) return { ok: false, refusal };
    if (!held && !this.#makeRoom()) return refuse("table-full", record.id, `${MAX_PINS} are known`);
    this.#release(record.id);
    this.#hold(pin);
    this.#revision++;
    return { ok: true, record };
  }

  /** Takes what an identity that is no member any more holds from it, for others to have. */
  release(id: PeerId): void {
    const pin = this.#pins.get(id);
    if (!pin || pin.left) return;
    this.#release(id);
    this.#pins.set(id, { ...pin, left: true });
    this.#revision++;
  }

  /** {@link release} for all whom the log has no more, whenever they were seen last. */
  releaseStrangers(): void {
    for (const id of [...this.#pins.keys()]) if (!this.isMember(id, Infinity)) this.release(id);
  }

  /** Whether the identity is a member, as far as is known. */
  isMember(id: PeerId, lastSeen: number): boolean {
    return this.#options.isMember(id, lastSeen);
  }

  #objection(record: NodeRecord, digest: string, held: Pin | undefined): Refusal | null {
    const { id } = record;
    const because = (reason: RefusalReason, detail: string) => ({ reason, id, detail });
    if (record.meshId !== this.#options.meshId) {
      return because("other-mesh", `it is for mesh ${record.meshId}`);
    }
    if (held && record.seq < held.seq) {
      return because("rollback", `sequence ${record.seq} is older than ${held.seq}`);
    }
    // The same record again is good: whoever the log had let go may have been let in again.
    if (held && record.seq === held.seq && digest !== held.digest) {
      return because("equivocation", `two records have sequence ${record.seq}`);
    }
    const [ip4, ip6, ...more] = record.addresses;
    const isProper = ip4 !== undefined && isHostAddress4(this.#cidr4, ip4) && more.length === 0 &&
      ip6 === meshAddress6(this.#options.prefix6, id);
    if (!isProper) {
      return because("addresses", `${record.addresses.join(", ")} are not its to have`);
    }
    if (record.left) return null;
    const names = [record.name, ...record.aliases];
    const reserved = names.find((name) => RESERVED_NAMES.includes(name));
    if (reserved) return because("name-reserved", `name "${reserved}" is reserved`);
    for (const name of names) {
      const owner = this.#nameOwners.get(name);
      if (owner && owner !== id) return because("name-taken", `name "${name}" belongs to ${owner}`);
    }
    for (const address of record.addresses) {
      const owner = this.#addressOwners.get(address);
      if (owner && owner !== id) return because("address-taken", `${address} belongs to ${owner}`);
    }
    return null;
  }

  /** Frees a place by forgetting an identity that left; the one seen first goes first. */
  #makeRoom(): boolean {
    if (this.#pins.size < MAX_PINS) return true;
    for (const pin of this.#pins.values()) {
      if (pin.left) return this.#pins.delete(pin.id);
    }
    return false;
  }

  #hold(pin: Pin): void {
    this.#pins.set(pin.id, pin);
    if (pin.left) return;
    for (const name of [pin.name, ...pin.aliases]) this.#nameOwners.set(name, pin.id);
    for (const address of pin.addresses) this.#addressOwners.set(address, pin.id);
  }

  #release(id: PeerId): void {
    const pin = this.#pins.get(id);
    if (!pin || pin.left) return;
    for (const name of [pin.name, ...pin.aliases]) this.#nameOwners.delete(name);
    for (const address of pin.addresses) this.#addressOwners.delete(address);
  }
}

function refuse(reason: RefusalReason, id: PeerId | null, detail: string): Verdict {
  return { ok: false, refusal: { reason, id, detail } };
}

function pinOf(record: NodeRecord, signed: SignedRecord): Pin {
  return {
    id: record.id,
    seq: record.seq,
    digest: toHex(sha256(utf8(signed.payload)).subarray(0, 16)),
    name: record.name,
    aliases: record.aliases,
    addresses: record.addresses,
    ...(record.left ? { left: true } : {}),
  };
}
