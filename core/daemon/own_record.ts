/**
 * This node's own signed record while it runs: what it offers changes, and each change is a new
 * record with the next number.
 * @module
 */
import type { Offers } from "../exit/offers.ts";
import type { Identity } from "../identity/keys.ts";
import type { SignedRecord } from "../identity/record.ts";
import { type Membership, offering, saveMembership } from "./membership.ts";
import type { StateDir } from "./state_dir.ts";

/** See the module's doc. */
export class OwnRecord {
  readonly #identity: Identity;
  readonly #state: StateDir;
  readonly #tell: (record: SignedRecord) => void;
  #membership: Membership;

  /** @param tell Brings a new record to the coordinator. */
  constructor(
    { identity, state, membership }: {
      identity: Identity;
      state: StateDir;
      membership: Membership;
    },
    tell: (record: SignedRecord) => void,
  ) {
    this.#identity = identity;
    this.#state = state;
    this.#membership = membership;
    this.#tell = tell;
  }

  /** With the newest record. */
  get membership(): Membership {
    return this.#membership;
  }

  /** States these offers; does nothing when the record does already. */
  async offer(offers: Offers): Promise<void> {
    const next = offering(this.#identity, this.#membership, offers);
    if (next === this.#membership) return;
    this.#membership = next;
    // Kept before it is told: a number must never be used for two records.
    await saveMembership(this.#state, next);
    this.#tell(next.record);
  }
}
