/**
 * A way between a NAT that gives every destination another port and one that lets only known
 * endpoints in (address-and-port-dependent mapping against such filtering, RFC 4787).
 *
 * Nobody can know the port, but many can be open: the first side opens {@link SOCKETS} sockets and
 * sends from each to the other's one endpoint, which makes as many outer ports ready. The other side
 * tries ports, first those that the NAT would give next if it counts, then random ones. By the
 * birthday bound 1800 tries meet one of 128 ports of 64,512 with 97 %.
 *
 * Home routers have died of less, so there is a budget for the whole node: one peer at a time,
 * at most {@link SOCKETS} sockets, {@link PACKETS_PER_SECOND} packets a second for
 * {@link SEARCH_MS}, an end at the first success or when the path in use suffers, and long pauses.
 * @module
 */
import { type Endpoint, formatEndpoint, type Ip } from "../ip.ts";
import { type Millis, NEVER } from "../machine.ts";
import type { PeerSlot } from "../wireguard/events.ts";
import { type PathAddress, socketPath } from "./address.ts";

/** Sockets open at once. */
export const SOCKETS = 128;
/** Of a search; with the pings of other paths a node stays below 200. */
export const PACKETS_PER_SECOND = 180;
/** How long ports are tried. */
export const SEARCH_MS = 10_000;
/** Packets go out in groups, this far apart. */
const STEP_MS = 50;
const PER_STEP = PACKETS_PER_SECOND * STEP_MS / 1000;
/** Sockets stay open for the search, and for its last answer. */
const HOLD_MS = SEARCH_MS + 4_000;
/** After an attempt that failed; doubles up to an hour for the same peer. */
const FIRST_PAUSE_MS = 120_000;
const MAX_PAUSE_MS = 3_600_000;
/** Ports below are reserved for systems, and no NAT gives them out. */
const FIRST_PORT = 1024;
const PORTS = 65_536 - FIRST_PORT;
/** Ports tried because a NAT that counts would give them. */
const PREDICTED = SOCKETS + 32;

export type PunchEffect =
  | { readonly type: "open-sockets"; readonly peer: PeerSlot; readonly count: number }
  | { readonly type: "close-sockets"; readonly sockets: readonly number[] }
  /** Send a ping there. */
  | { readonly type: "punch"; readonly peer: PeerSlot; readonly to: PathAddress }
  /** Tell the peer that sockets are open. */
  | { readonly type: "tell"; readonly peer: PeerSlot };

/** What goes on: opening sockets, holding them, or trying ports. */
interface Work {
  readonly peer: PeerSlot;
  readonly role: "open" | "search";
  readonly until: Millis;
  readonly targets: PathAddress[];
  sockets: number[];
  at: number;
  tellAt: Millis[];
}

interface History {
  attempts: number;
  notBefore: Millis;
}

/** All that a search consists of. */
export interface PunchState {
  work: Work | null;
  /** When the next group of packets may go out, for whatever peer. */
  nextAt: Millis;
  seed: number;
  readonly history: Map<PeerSlot, History>;
}

/** The budget and what is done within it. Deterministic: its chance comes from a seed. */
export class Punch {
  /** Plain data, so that a recorder can keep it. */
  state: PunchState;

  /** @param seed Any 32 bits but zero. */
  constructor(seed: number) {
    this.state = { work: null, nextAt: 0, seed: seed >>> 0 || 1, history: new Map() };
  }

  get deadline(): Millis {
    const work = this.state.work;
    if (!work) return NEVER;
    const next = work.at < work.targets.length ? this.state.nextAt : work.until;
    return Math.min(next, work.until, work.tellAt[0] ?? NEVER);
  }

  /** The peer that is worked on, or null. */
  get peer(): PeerSlot | null {
    return this.state.work?.peer ?? null;
  }

  /** Whether an attempt with a peer may begin now. */
  mayStart(peer: PeerSlot, now: Millis): boolean {
    return this.state.work === null && now >= (this.state.history.get(peer)?.notBefore ?? -NEVER);
  }

  /** Opens sockets towards the peer's `endpoints`; {@link opened} goes on. */
  open(peer: PeerSlot, now: Millis): PunchEffect[] {
    this.#begin(peer, "open", [], HOLD_MS, now);
    return [{ type: "open-sockets", peer, count: SOCKETS }];
  }

  /** The sockets for a peer are there. */
  opened(
    peer: PeerSlot,
    sockets: readonly number[],
    endpoint: Endpoint,
    now: Millis,
  ): PunchEffect[] {
    const work = this.state.work;
    // They may come late, when something else goes on.
    if (work?.role !== "open" || work.peer !== peer || work.sockets.length > 0) {
      return [{ type: "close-sockets", sockets }];
    }
    work.sockets = [...sockets];
    work.targets.push(...sockets.map((socket) => socketPath(socket, endpoint)));
    const sendingMs = sockets.length / PER_STEP * STEP_MS;
    work.tellAt = [0, 300, 1_000].map((delay) => now + sendingMs / 2 + delay);
    return this.tick(now);
  }

  /** The peer has sockets open: tries ports of `ip`. `port` and `delta` are what it was given last. */
  search(peer: PeerSlot, ip: Ip, port: number, delta: number, now: Millis): PunchEffect[] {
    const targets: PathAddress[] = [];
    const seen = new Set<number>();
    const add = (candidate: number) => {
      if (candidate < FIRST_PORT || candidate > 65_535 || seen.has(candidate)) return;
      seen.add(candidate);
      targets.push(formatEndpoint(ip, candidate));
    };
    for (let k = 1; delta !== 0 && k <= PREDICTED; k++) add(port + delta * k);
    const most = SEARCH_MS / 1000 * PACKETS_PER_SECOND;
    while (targets.length < most) add(FIRST_PORT + this.#random() % PORTS);
    this.#begin(peer, "search", targets, SEARCH_MS + STEP_MS, now);
    return this.tick(now);
  }

  tick(now: Millis): PunchEffect[] {
    const work = this.state.work;
    if (!work) return [];
    const effects: PunchEffect[] = [];
    if (now >= this.state.nextAt && work.at < work.targets.length) {
      for (const to of work.targets.slice(work.at, work.at + PER_STEP)) {
        effects.push({ type: "punch", peer: work.peer, to });
      }
      work.at += PER_STEP;
      this.state.nextAt = now + STEP_MS;
    }
    if (now >= (work.tellAt[0] ?? NEVER)) {
      work.tellAt.shift();
      effects.push({ type: "tell", peer: work.peer });
    }
    if (now >= work.until) effects.push(...this.end([]));
    return effects;
  }

  /**
   * Ends what goes on.
   * @param winners Sockets that found a way and stay open.
   */
  end(winners: readonly number[]): PunchEffect[] {
    const sockets = this.state.work?.sockets.filter((socket) => !winners.includes(socket)) ?? [];
    this.state.work = null;
    return sockets.length > 0 ? [{ type: "close-sockets", sockets }] : [];
  }

  /** A way was found: the next attempt with the peer may come soon. */
  succeeded(peer: PeerSlot): void {
    this.state.history.delete(peer);
  }

  #begin(
    peer: PeerSlot,
    role: Work["role"],
    targets: PathAddress[],
    duration: Millis,
    now: Millis,
  ): void {
    const history = this.state.history.get(peer) ?? { attempts: 0, notBefore: now };
    history.notBefore = now + Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** history.attempts++);
    this.state.history.set(peer, history);
    const until = now + duration;
    this.state.work = { peer, role, until, targets, sockets: [], at: 0, tellAt: [] };
    this.state.nextAt = Math.max(now, this.state.nextAt);
  }

  /** Marsaglia's xorshift32: chance is not secret here, and a replay must draw the same. */
  #random(): number {
    let x = this.state.seed;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state.seed = x >>> 0;
    return this.state.seed;
  }
}
