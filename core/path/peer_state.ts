/**
 * What the path agent keeps of a peer beside its paths.
 * @module
 */
import type { Endpoint } from "../ip.ts";
import { type Millis, NEVER } from "../machine.ts";
import { kindOf, type PathAddress } from "./address.ts";
import type { Offer } from "./messages.ts";
import { type PathPreference, PeerPaths } from "./peer_paths.ts";

/** After an event that peers should know of, the offer is sent at these delays. */
const OFFER_MS = [0, 300, 1_500];
/** See the module's doc. */
export interface PeerState {
  readonly id: string;
  readonly paths: PeerPaths;
  /** Named by the coordinator and by the peer itself. */
  endpoints: readonly Endpoint[];
  offered: Offer | null;
  /** Links that reach it. */
  readonly links: Set<PathAddress>;
  offerStep: number;
  offerAt: Millis;
  /** When it must be looked at next. */
  deadline: Millis;
  /** When a session with it, as a relay, was asked for. */
  wantedAt: Millis;
  /** When a link to it was asked for; or since when it has no direct path. */
  linkWantedAt: Millis;
}

/** Of a peer that was just added. */
export function newPeer(id: string, preference?: PathPreference): PeerState {
  const paths = new PeerPaths();
  if (preference) paths.preference = preference;
  return {
    id,
    paths,
    endpoints: [],
    offered: null,
    links: new Set(),
    offerStep: 0,
    offerAt: NEVER,
    deadline: NEVER,
    wantedAt: -NEVER,
    linkWantedAt: NEVER,
  };
}

/** The peer should hear soon where this node may be reached. */
export function offerSoon(state: PeerState, now: Millis): void {
  if (!state.paths.hasSession) return;
  state.offerStep = 0;
  state.offerAt = now;
}

/** An offer went out: another one follows, in case this one is lost. */
export function offerSent(state: PeerState, now: Millis): void {
  state.offerStep++;
  const pause = OFFER_MS[state.offerStep];
  state.offerAt = pause === undefined ? NEVER : now + pause;
}

/** Whether the path in use works and needs nobody else. */
export function hasDirect({ paths, current }: PeerPaths): boolean {
  const path = current === null ? undefined : paths.get(current);
  return path !== undefined && path.state === "up" && kindOf(path.address) === "udp";
}
