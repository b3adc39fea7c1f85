/**
 * Keeps datagrams in order when a peer's traffic moves from a link, where much may be queued, to a
 * path that is faster.
 *
 * What followed would arrive before what is under way, by as much as the queues are long, and TCP
 * takes so late a segment for an old duplicate (RFC 7323 section 5: PAWS) and stands still until a
 * timeout. So a marker is sent after the last datagram on the old path, what the packet workers send
 * meanwhile is held back, and it goes out on the new path once the marker was answered.
 *
 * ```
 * begin --> holding --marker answered, HOLD_MS, too much held--> forwarding --FORWARD_MS--> over
 * ```
 *
 * Forwarding takes care of what the workers sent before they learned of the new path.
 * @module
 */
import type { Train } from "../link.ts";
import type { Millis } from "../machine.ts";
import type { PathAddress } from "../path/address.ts";
import type { PeerSlot } from "../wireguard/events.ts";

/** Longest time for which datagrams are held: TCP retransmits after 200 ms at the earliest. */
const HOLD_MS: Millis = 100;
/** Workers have learned of the new path, and what they sent before was read, by then. */
const FORWARD_MS: Millis = 50;
/** More than a queue of a relay and what a second of calls and games sends. */
const MAX_HELD_BYTES = 4 << 20;

export interface PathDrainOptions {
  /** Sends a marker on the old path, with a number that its answer repeats. */
  readonly mark: (peer: PeerSlot, path: PathAddress, number: number) => void;
  /** Sends on the new path. */
  readonly send: (peer: PeerSlot, path: PathAddress, train: Train) => void;
  /** Has the packet workers use the new path. */
  readonly moved: (peer: PeerSlot) => void;
  /** 32 bits. */
  readonly number: () => number;
}

interface Drain {
  readonly from: PathAddress;
  readonly to: PathAddress;
  readonly number: number;
  /** Null when nothing is held any more. */
  held: Train[] | null;
  bytes: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** The moves under way, at most one of each peer. */
export class PathDrains {
  readonly #options: PathDrainOptions;
  readonly #byPeer = new Map<PeerSlot, Drain>();

  constructor(options: PathDrainOptions) {
    this.#options = options;
  }

  /** Moves a peer's traffic; `moved` is called in a while. */
  begin(peer: PeerSlot, from: PathAddress, to: PathAddress): void {
    this.end(peer);
    const number = this.#options.number();
    const drain: Drain = { from, to, number, held: [], bytes: 0, timer: undefined };
    this.#byPeer.set(peer, drain);
    drain.timer = setTimeout(() => this.#release(peer, drain), HOLD_MS);
    this.#options.mark(peer, from, number);
  }

  /** Whether the workers are yet to be told of the new path. */
  isMoving(peer: PeerSlot): boolean {
    return (this.#byPeer.get(peer)?.held ?? null) !== null;
  }

  /** Takes what the workers sent on `path`; false when it is to go there. */
  takes(peer: PeerSlot, path: PathAddress, train: Train): boolean {
    const drain = this.#byPeer.get(peer);
    if (drain?.from !== path) return false;
    if (drain.held === null) {
      this.#options.send(peer, drain.to, train);
      return true;
    }
    drain.held.push({ bytes: train.bytes.slice(), segment: train.segment });
    drain.bytes += train.bytes.length;
    if (drain.bytes > MAX_HELD_BYTES) this.#release(peer, drain);
    return true;
  }

  /** A ping was answered; true when it was a marker. */
  answered(peer: PeerSlot, number: number): boolean {
    const drain = this.#byPeer.get(peer);
    if (drain?.number !== number) return false;
    this.#release(peer, drain);
    return true;
  }

  /** Ends a move at once: what is held goes to the new path. */
  end(peer: PeerSlot): void {
    const drain = this.#byPeer.get(peer);
    if (!drain) return;
    this.#release(peer, drain);
    clearTimeout(drain.timer);
    this.#byPeer.delete(peer);
  }

  /** Ends all. */
  close(): void {
    for (const peer of [...this.#byPeer.keys()]) this.end(peer);
  }

  #release(peer: PeerSlot, drain: Drain): void {
    const { held } = drain;
    if (held === null) return;
    drain.held = null;
    clearTimeout(drain.timer);
    drain.timer = setTimeout(() => this.end(peer), FORWARD_MS);
    for (const train of held) this.#options.send(peer, drain.to, train);
    this.#options.moved(peer);
  }
}
