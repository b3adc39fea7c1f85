/**
 * Does an entry follow, and what is the mesh's state after it?
 *
 * {@link MeshLog} is the one way from entries to state. It takes entries in order and checks all of
 * it: signature, mesh, number, the hash of the one before, that time does not run backwards, that
 * the signer was allowed to at that point, and that the state permits it. What is refused changes
 * nothing. The same entries always give the same state.
 *
 * What is refused, and as what: an entry of another mesh `entry-foreign`; one that is known already
 * or older `log-rollback`; one that stands where another one is known, or follows another one,
 * `log-fork`; one with others missing before it `log-gap`. The log that was believed first stays.
 * @module
 */
import { MeshError } from "../errors.ts";
import type { Identity } from "../identity/keys.ts";
import {
  type AdminKeys,
  adminKeysOf,
  changesAdmins,
  expectGenesis,
  followAdmins,
} from "./admin_chain.ts";
import { apply, begin } from "./apply.ts";
import { type Body, type Hash, hashText } from "./bodies.ts";
import {
  type Entry,
  invalidEntry,
  NO_HASH,
  NO_MESH,
  type SignedEntry,
  signEntry,
  type VerifiedEntry,
  type VerifyEntry,
  verifyEntry,
} from "./entry.ts";
import { permit } from "./permit.ts";
import { decodeState, encodeState, type MeshState } from "./state.ts";

/**
 * How far an entry may be dated before one that it follows: two admins' clocks differ. Only admins'
 * entries move the log's clock forward, so a token's holder cannot make theirs seem too old.
 */
export const MAX_CLOCK_SKEW_MS = 300_000;

/** The newest entry, by which two logs are compared. */
export interface Head {
  readonly seq: number;
  readonly hash: Hash;
}

/** What a new node needs instead of the whole log. */
export interface Bundle {
  /** Entries that changed the admins up to the snapshot, genesis first. */
  readonly admins: readonly SignedEntry[];
  readonly snapshot: SignedEntry;
  /** The text of the state that the snapshot names by its hash. */
  readonly state: string;
}

/** Where a log stands. */
interface Position {
  readonly head: VerifiedEntry;
  readonly state: MeshState;
  readonly keys: AdminKeys;
  /** Greatest time that an admin dated an entry with. */
  readonly clock: number;
}

/** Entries, checked, and what they amount to. */
export class MeshLog {
  readonly #entries: VerifiedEntry[];
  readonly #adminEntries: VerifiedEntry[];
  readonly #verify: VerifyEntry;
  #position: Position;
  #snapshot: { readonly at: number; readonly state: MeshState } | null;

  private constructor(
    adminEntries: VerifiedEntry[],
    position: Position,
    isSnapshot: boolean,
    verify: VerifyEntry,
  ) {
    this.#verify = verify;
    this.#entries = [position.head];
    this.#adminEntries = adminEntries;
    this.#position = position;
    const { seq } = position.head.entry;
    this.#snapshot = isSnapshot ? { at: seq, state: position.state } : null;
  }

  /**
   * Begins a log.
   * @param meshId What the genesis must be of; null only where the mesh is made.
   * @param verify Checks the signatures of this and later entries.
   * @throws {MeshError} "entry-invalid", "entry-foreign"
   */
  static begin(
    genesis: unknown,
    meshId: string | null,
    verify: VerifyEntry = verifyEntry,
  ): MeshLog {
    const head = verify(genesis);
    expectGenesis(head, meshId);
    const state = begin(head);
    const position = { head, state, keys: adminKeysOf(state), clock: head.entry.at };
    return new MeshLog([head], position, false, verify);
  }

  /**
   * Begins in the middle: with a snapshot that an admin signed, as the chain of admins from the
   * genesis shows. What was before it cannot be asked of this log.
   * @throws {MeshError} "snapshot-invalid" and what {@link followAdmins} throws
   */
  static resume(bundle: Bundle, meshId: string): MeshLog {
    const { keys, hash, entries } = followAdmins(bundle.admins, meshId);
    const head = verifyEntry(bundle.snapshot);
    const { entry, signer } = head;
    const { body } = entry;
    const state = decodeState(bundle.state);
    const stated = adminKeysOf(state);
    const isSame = stated.size === keys.size &&
      keys.entries().every(([id, key]) => stated.get(id) === key);
    const why = body.type !== "snapshot"
      ? "it is none"
      : entry.meshId !== meshId || state.meshId !== meshId
      ? "it is of another mesh"
      : entry.admins !== hash || entry.seq <= entries.at(-1)!.entry.seq
      ? "the admins at that point are not known"
      : ![...keys.values()].includes(signer)
      ? "no admin signed it"
      : body.stateHash !== hashText(bundle.state)
      ? "the state has another hash"
      : isSame
      ? null
      : "the state has other admins than the log";
    if (why !== null) throw new MeshError("snapshot-invalid", `Cannot use snapshot: ${why}`);
    const position = { head, state, keys, clock: entry.at };
    return new MeshLog(entries, position, true, verifyEntry);
  }

  get meshId(): string {
    return this.state.meshId;
  }

  get state(): MeshState {
    return this.#position.state;
  }

  get head(): Head {
    const { entry, hash } = this.#position.head;
    return { seq: entry.seq, hash };
  }

  /** The oldest entry held: 0, or that of the snapshot this log began with. */
  get first(): number {
    return this.#entries[0]!.entry.seq;
  }

  /** An entry that is held. */
  entry(seq: number): VerifiedEntry | undefined {
    return this.#entries[seq - this.first];
  }

  /** Entries held from `from` on, at most `max`. */
  since(from: number, max = Infinity): VerifiedEntry[] {
    const start = Math.max(0, from - this.first);
    return this.#entries.slice(start, start + max);
  }

  /** Whether that head is this log's at its number; null when this log does not reach there. */
  contains(head: Head): boolean | null {
    const held = this.entry(head.seq);
    return held ? held.hash === head.hash : null;
  }

  /** What a new node needs, with the newest snapshot; null while there is none. */
  get bundle(): Bundle | null {
    if (!this.#snapshot) return null;
    const { at, state } = this.#snapshot;
    const admins = this.#adminEntries.filter(({ entry }) => entry.seq < at);
    return {
      admins: admins.map(({ signed }) => signed),
      snapshot: this.entry(at)!.signed,
      state: encodeState(state),
    };
  }

  /** A log that stands where this one does, to try what could follow; it holds the newest entry. */
  branch(): MeshLog {
    return new MeshLog([...this.#adminEntries], this.#position, false, this.#verify);
  }

  /** An entry that follows, to be signed; dated no earlier than the log's clock. */
  draft(body: Body, at: number): Entry {
    const { head, clock } = this.#position;
    return {
      seq: head.entry.seq + 1,
      previous: head.hash,
      admins: this.#adminEntries.at(-1)!.hash,
      at: Math.max(at, clock),
      meshId: this.meshId,
      body,
    };
  }

  /**
   * Takes the next entry.
   * @throws {MeshError} when it is refused; nothing has changed then.
   */
  append(signed: unknown): VerifiedEntry {
    const next = this.#verify(signed);
    this.#expectPlace(next);
    const { state, keys, clock } = this.#position;
    const { entry } = next;
    const actor = permit(state, next);
    this.#expectTime(entry);
    const after = apply(state, entry, actor);
    const changes = changesAdmins(keys, entry);
    this.#position = {
      head: next,
      state: after,
      keys: changes ? adminKeysOf(after) : keys,
      clock: actor.type === "admin" ? Math.max(clock, entry.at) : clock,
    };
    this.#entries.push(next);
    if (changes) this.#adminEntries.push(next);
    if (entry.body.type === "snapshot") this.#snapshot = { at: entry.seq, state: after };
    return next;
  }

  #expectPlace({ entry, hash }: VerifiedEntry): void {
    const { head } = this.#position;
    const { seq, previous, meshId, admins } = entry;
    // A genesis has no mesh id of its own; that of this log is caught as known.
    if (meshId !== this.meshId && hash !== this.entry(0)?.hash) {
      throw new MeshError("entry-foreign", `Cannot accept entry ${seq}: it is of mesh ${meshId}`);
    }
    if (seq <= head.entry.seq) {
      const held = this.entry(seq);
      if (held && held.hash !== hash) throw fork(seq, "another one is known at its place");
      throw new MeshError(
        "log-rollback",
        `Cannot accept entry ${seq}: the log has reached ${head.entry.seq}`,
      );
    }
    if (seq > head.entry.seq + 1) {
      const missing = `entries from ${head.entry.seq + 1} on are missing`;
      throw new MeshError("log-gap", `Cannot accept entry ${seq}: ${missing}`);
    }
    if (previous !== head.hash) throw fork(seq, "it follows another history");
    if (admins !== this.#adminEntries.at(-1)!.hash) {
      throw invalidEntry("it names another entry as the last that changed the admins");
    }
  }

  #expectTime({ at, seq, body }: Entry): void {
    const { clock } = this.#position;
    // A log that begins with a snapshot takes its clock from it.
    const earliest = body.type === "snapshot" ? clock : clock - MAX_CLOCK_SKEW_MS;
    if (at >= earliest) return;
    throw new MeshError(
      "entry-time",
      `Cannot accept entry ${seq}: it is dated ${clock - at} ms before what it follows`,
      { hint: "Check the clock of the machine where it was signed" },
    );
  }
}

/** The first entry of a mesh, to be signed by its first admin. */
export function draftGenesis(name: string, nonce: string, at: number): Entry {
  const body = { type: "genesis", name, nonce } as const;
  return { seq: 0, previous: NO_HASH, admins: NO_HASH, at, meshId: NO_MESH, body };
}

/**
 * Entries that say `bodies` one after the other. They are tried, but `log` stays as it is.
 * @throws {MeshError} as {@link MeshLog.append} does, at the first that would be refused.
 */
export function signAll(
  log: MeshLog,
  signer: Identity,
  bodies: readonly Body[],
  at: number,
): SignedEntry[] {
  const trial = log.branch();
  return bodies.map((body) => trial.append(signEntry(signer, trial.draft(body, at))).signed);
}

/**
 * Reads a whole log.
 * @throws {MeshError} at the first entry that is refused.
 */
export function fold(entries: readonly unknown[], meshId: string): MeshLog {
  const log = MeshLog.begin(entries[0], meshId);
  for (const signed of entries.slice(1)) log.append(signed);
  return log;
}

function fork(seq: number, why: string): MeshError {
  return new MeshError("log-fork", `Cannot accept entry ${seq}: ${why}`, {
    hint: "Ask the admins which history is theirs; this one is not used",
  });
}
