/**
 * Which keypairs one peer has, and which of its four slots they occupy.
 *
 * | role | opens | seals | becomes |
 * | --- | --- | --- | --- |
 * | next: this end answered, the other has not used it yet | yes | no | current when used |
 * | current | yes | yes | older when another takes its place |
 * | older, at most three | yes | no | forgotten after 180 s, or when its slot is needed |
 *
 * A keypair that was replaced still opens what is under way, so rotation loses nothing (WireGuard
 * paper, section 6.4, with more than one previous keypair since there are slots for it).
 *
 * Crossing: when both ends initiate at once, both handshakes may complete, and each end seals with
 * the one it began. Both keypairs open at both ends, so nothing is lost; but there should be one
 * initiator. Once a message on the other's keypair proves that both ends hold both, the keypair
 * whose initiator has the greater public key becomes current. An end that drops its own initiation
 * when it answers another's, as others do, never comes to this.
 * @module
 */
import { assert } from "../assert.ts";
import { type Millis, NEVER } from "../machine.ts";
import type { Random } from "../random.ts";
import {
  CROSSING_TIME,
  KEYPAIR_SLOT_BITS,
  KEYPAIRS_PER_PEER,
  REJECT_AFTER_TIME,
} from "./constants.ts";
import type { DeviceEffect, PeerSlot } from "./events.ts";

const SLOT_MASK = 2 ** KEYPAIR_SLOT_BITS - 1;

/** What is kept of a keypair; its keys are in the data plane only. */
export interface KeypairFacts {
  readonly localIndex: number;
  readonly isInitiator: boolean;
  readonly createdAt: Millis;
}

/** The keypairs of one peer. Methods append what the data plane must do to `effects`. */
export class Keypairs {
  readonly #peer: PeerSlot;
  /** Whether this end's initiations win when two cross. */
  readonly #isPreferred: boolean;
  #current: KeypairFacts | null = null;
  #next: KeypairFacts | null = null;
  /** Newest first. */
  #older: KeypairFacts[] = [];
  /** Local index of an initiation under way, which holds a slot too. */
  #reserved: number | null = null;
  /** Local indices on which the peer has sent. */
  readonly #used = new Set<number>();

  constructor(peer: PeerSlot, isPreferred: boolean) {
    this.#peer = peer;
    this.#isPreferred = isPreferred;
  }

  get current(): KeypairFacts | null {
    return this.#current;
  }

  /** When {@link expire} has something to do. */
  get deadline(): Millis {
    let earliest = Math.min(expiry(this.#current), expiry(this.#next));
    for (const keypair of this.#older) earliest = Math.min(earliest, expiry(keypair));
    return earliest;
  }

  /** A local index in a free slot; forgets the oldest keypair when there is none. */
  newIndex(random: Random, effects: DeviceEffect[]): number {
    const high = random.uint32() >>> KEYPAIR_SLOT_BITS;
    return high * 2 ** KEYPAIR_SLOT_BITS + this.#freeSlot(effects);
  }

  /** Holds the slot of an initiation under way, one at a time; null lets go of it. */
  reserve(localIndex: number | null): void {
    this.#reserved = localIndex;
  }

  /** Takes a keypair that this end initiated: it is current at once. */
  adopt(keypair: KeypairFacts): void {
    if (this.#current) this.#older.unshift(this.#current);
    if (this.#next) this.#older.unshift(this.#next);
    this.#next = null;
    this.#current = keypair;
  }

  /** Makes way for {@link offer}: an unused next keypair gives place to the one that follows. */
  forgetNext(effects: DeviceEffect[]): void {
    if (this.#next) effects.push(this.#forget(this.#next));
    this.#next = null;
  }

  /** Takes a keypair that this end answered with; {@link forgetNext} comes first. */
  offer(keypair: KeypairFacts): void {
    assert(this.#next === null, "there is one next keypair");
    this.#next = keypair;
  }

  /**
   * The peer has sent on a keypair. Returns what that changed: `confirmed` when next became
   * current, `switched` when a crossing was settled, else null.
   */
  use(localIndex: number, effects: DeviceEffect[]): "confirmed" | "switched" | null {
    const isKnown = this.#used.has(localIndex);
    if (this.#next?.localIndex === localIndex) {
      this.#used.add(localIndex);
      if (this.#current) this.#older.unshift(this.#current);
      this.#current = this.#next;
      this.#next = null;
      effects.push(this.#promotion(this.#current));
      return "confirmed";
    }
    if (this.#current?.localIndex === localIndex) this.#used.add(localIndex);
    const older = this.#older.find((keypair) => keypair.localIndex === localIndex);
    if (!older || isKnown) return null;
    this.#used.add(localIndex);
    if (!this.#isCrossingWinner(older)) return null;
    this.#older = this.#older.filter((keypair) => keypair !== older);
    this.#older.unshift(this.#current!);
    this.#current = older;
    effects.push(this.#promotion(older));
    return "switched";
  }

  /** Says again which keypair seals. */
  promoteAgain(effects: DeviceEffect[]): void {
    if (this.#current) effects.push(this.#promotion(this.#current));
  }

  /** Forgets what is too old; true when the current keypair was. */
  expire(now: Millis, effects: DeviceEffect[]): boolean {
    const isOld = (keypair: KeypairFacts | null) => expiry(keypair) <= now;
    for (const keypair of this.#older.filter(isOld)) effects.push(this.#forget(keypair));
    this.#older = this.#older.filter((keypair) => !isOld(keypair));
    if (isOld(this.#next)) this.forgetNext(effects);
    if (!this.#current || !isOld(this.#current)) return false;
    effects.push(this.#forget(this.#current));
    this.#current = null;
    return true;
  }

  /** Forgets everything. */
  clear(effects: DeviceEffect[]): void {
    for (const keypair of [this.#current, this.#next, ...this.#older]) {
      if (keypair) effects.push(this.#forget(keypair));
    }
    this.#current = this.#next = this.#reserved = null;
    this.#older = [];
  }

  /** Whether `older` and the current keypair crossed and `older` is the one to keep. */
  #isCrossingWinner(older: KeypairFacts): boolean {
    const current = this.#current;
    return current !== null && current.isInitiator !== older.isInitiator &&
      Math.abs(current.createdAt - older.createdAt) < CROSSING_TIME &&
      older.isInitiator === this.#isPreferred;
  }

  #freeSlot(effects: DeviceEffect[]): number {
    const held = [this.#current, this.#next, ...this.#older].map((keypair) =>
      keypair === null ? -1 : slotOf(keypair.localIndex)
    );
    if (this.#reserved !== null) held.push(slotOf(this.#reserved));
    const first = this.#peer * KEYPAIRS_PER_PEER;
    for (let slot = first; slot < first + KEYPAIRS_PER_PEER; slot++) {
      if (!held.includes(slot)) return slot;
    }
    // Current, next and an initiation hold at most three.
    const oldest = this.#older.pop();
    assert(oldest !== undefined, "one of four slots is free or holds an older keypair");
    effects.push(this.#forget(oldest));
    return slotOf(oldest.localIndex);
  }

  #promotion({ localIndex }: KeypairFacts): DeviceEffect {
    return { type: "promote-keypair", peer: this.#peer, slot: slotOf(localIndex) };
  }

  #forget({ localIndex }: KeypairFacts): DeviceEffect {
    this.#used.delete(localIndex);
    return { type: "forget-keypair", peer: this.#peer, slot: slotOf(localIndex) };
  }
}

/** The keypair slot that a local index names; `peer * 4 + k`. */
export function slotOf(localIndex: number): number {
  return localIndex & SLOT_MASK;
}

function expiry(keypair: KeypairFacts | null): Millis {
  return keypair ? keypair.createdAt + REJECT_AFTER_TIME : NEVER;
}
