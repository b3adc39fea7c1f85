/**
 * When does a search through two NATs begin, and when does it end? `punch.ts` does the searching.
 * @module
 */
import { parseEndpoint } from "../ip.ts";
import { type Millis, NEVER } from "../machine.ts";
import type { PeerSlot } from "../wireguard/events.ts";
import { extraSocket } from "./address.ts";
import { type PathEffect, sending } from "./events.ts";
import type { Offer, PathMessage } from "./messages.ts";
import { canBeDirect, type NatReport } from "./nat.ts";
import { hasDirect, type PeerState } from "./peer_state.ts";
import { Punch, type PunchEffect, type PunchState } from "./punch.ts";

/** Pings in a row that the path in use loses when a router is in distress. */
const DISTRESS_FAILURES = 3;

/** Sockets that found a way are kept so long, until it shows which the other end uses. */
const SETTLE_MS = 5_000;
/** A path in use is pinged several times in so long. */
const HEARD_MS = 1_500;

interface Found {
  readonly peer: PeerSlot;
  readonly sockets: readonly number[];
  at: Millis;
}

/** What {@link Punching} consists of. */
export interface PunchingState {
  readonly punch: PunchState;
  readonly offer: Offer | null;
  readonly found: readonly Found[];
}

/** The node's one search; see the module's doc. */
export class Punching {
  readonly #punch: Punch;
  readonly #peers: ReadonlyMap<PeerSlot, PeerState>;
  readonly #number: () => number;
  #offer: Offer | null = null;
  /** Sockets that found a way, some of which are not needed. */
  #found: readonly Found[] = [];

  /** @param number Gives numbers of pings. */
  constructor(seed: number, peers: ReadonlyMap<PeerSlot, PeerState>, number: () => number) {
    this.#punch = new Punch(seed);
    this.#peers = peers;
    this.#number = number;
  }

  /** Plain data, so that a recorder can keep it. */
  get state(): PunchingState {
    return { punch: this.#punch.state, offer: this.#offer, found: this.#found };
  }

  set state({ punch, offer, found }: PunchingState) {
    this.#punch.state = punch;
    this.#offer = offer;
    this.#found = found;
  }

  get deadline(): Millis {
    return Math.min(this.#punch.deadline, ...this.#found.map(({ at }) => at));
  }

  /** Traffic goes to a peer: where nothing simpler will do, begins, if this end is the one to. */
  consider(
    peer: PeerSlot,
    state: PeerState,
    offer: Offer | null,
    now: Millis,
    effects: PathEffect[],
  ): void {
    this.#offer = offer;
    const { paths, offered } = state;
    if (hasDirect(paths) || !paths.hasSession) return;
    if (paths.preference.exclude.includes("udp")) return;
    // The simpler ways get their time first.
    const hasTried = [...paths.paths.values()].some(({ state }) => state === "failed");
    if (!hasTried || !isOpener(offer?.nat ?? null, offered?.nat ?? null)) return;
    if (this.#punch.mayStart(peer, now)) this.#perform(this.#punch.open(peer, now), effects);
  }

  /** The sockets that were asked for are there. */
  opened(
    peer: PeerSlot,
    sockets: readonly number[],
    state: PeerState,
    now: Millis,
    effects: PathEffect[],
  ): void {
    const endpoint = state.offered?.nat?.mapped[0];
    if (endpoint) this.#perform(this.#punch.opened(peer, sockets, endpoint, now), effects);
    else effects.push({ type: "close-sockets", sockets });
  }

  /** The peer has sockets open. */
  asked(
    peer: PeerSlot,
    { offered, paths }: PeerState,
    { port, delta }: PathMessage & { type: "punch" },
    now: Millis,
    effects: PathEffect[],
  ): void {
    const ip = parseEndpoint(offered?.nat?.mapped[0] ?? "")?.ip;
    if (!ip || hasDirect(paths) || !this.#punch.mayStart(peer, now)) return;
    this.#perform(this.#punch.search(peer, ip, port, delta, now), effects);
  }

  /** Goes on with a search, and ends it when it has found a way or does harm. */
  watch(now: Millis, effects: PathEffect[]): void {
    for (const found of this.#found) if (now >= found.at) this.#settle(found, now, effects);
    const { peer } = this.#punch;
    if (peer === null) return;
    const paths = this.#peers.get(peer)?.paths;
    if (paths && !hasDirect(paths)) {
      const relayed = paths.current === null ? undefined : paths.paths.get(paths.current);
      // A router in distress drops what goes through it.
      const isInDistress = (relayed?.failures ?? 0) >= DISTRESS_FAILURES;
      return this.#perform(isInDistress ? this.#punch.end([]) : this.#punch.tick(now), effects);
    }
    this.#punch.succeeded(peer);
    // Those that heard something: this end does not know which of them the other one uses.
    const heard = [...paths?.paths.keys() ?? []].flatMap((path) => extraSocket(path)?.socket ?? []);
    if (heard.length > 0) {
      this.#found = [...this.#found, { peer, sockets: heard, at: now + SETTLE_MS }];
    }
    this.#perform(this.#punch.end(heard), effects);
  }

  /** Closes the sockets that neither end uses. */
  #settle(
    found: Found,
    now: Millis,
    effects: PathEffect[],
  ): void {
    const paths = this.#peers.get(found.peer)?.paths;
    // Without traffic nothing is pinged often enough to tell.
    if (paths && !paths.isActive(now)) {
      found.at = now + SETTLE_MS;
      return;
    }
    this.#found = this.#found.filter((other) => other !== found);
    const used = new Set([...paths?.paths.values() ?? []].flatMap(({ address, lastHeardAt }) => {
      const isUsed = address === paths!.current || (lastHeardAt ?? -NEVER) > now - HEARD_MS;
      return isUsed ? extraSocket(address)?.socket ?? [] : [];
    }));
    const sockets = found.sockets.filter((socket) => !used.has(socket));
    if (sockets.length > 0) this.#perform([{ type: "close-sockets", sockets }], effects);
  }

  #perform(punch: readonly PunchEffect[], effects: PathEffect[]): void {
    for (const effect of punch) {
      switch (effect.type) {
        case "punch":
          effects.push(sending(effect.peer, effect.to, { type: "ping", number: this.#number() }));
          break;
        case "tell":
          this.#tell(effect.peer, effects);
          break;
        case "close-sockets":
          this.#forget(effect.sockets);
          effects.push(effect);
          break;
        case "open-sockets":
          effects.push(effect);
      }
    }
  }

  #tell(peer: PeerSlot, effects: PathEffect[]): void {
    const nat = this.#offer?.nat;
    const port = parseEndpoint(nat?.mapped[0] ?? "")?.port ?? 0;
    const to = this.#peers.get(peer)?.paths.current;
    const message = { type: "punch", port, delta: nat?.portDelta ?? 0 } as const;
    if (to) effects.push(sending(peer, to, message));
  }

  /** Paths from sockets that are closed are none. */
  #forget(sockets: readonly number[]): void {
    for (const { paths } of this.#peers.values()) {
      for (const address of [...paths.paths.keys()]) {
        const extra = extraSocket(address);
        if (extra && sockets.includes(extra.socket)) paths.forget(address);
      }
    }
  }
}

/** Whether this end is the one whose ports nobody can know, and a search may help. */
function isOpener(own: NatReport | null, peer: NatReport | null): boolean {
  if (!own || !peer || canBeDirect(own, peer) !== "birthday") return false;
  return own.mapping !== "endpoint-independent" && own.mapping !== "none";
}
