/**
 * Finds and keeps the paths to all peers of a node.
 *
 * It hears of candidates (from the coordinator, from peers inside the session, from links), of
 * traffic and of messages; it says where pings go and which path a peer's datagrams take. How one
 * peer's paths are judged is in `peer_paths.ts`, what a path is in `path.ts`.
 *
 * No chance and no clock: the same events give the same effects, which is what a bug report replays.
 * @module
 */
import type { Machine, Millis } from "../machine.ts";
import { NEVER } from "../machine.ts";
import type { PeerSlot } from "../wireguard/events.ts";
import {
  extraSocket,
  headerBytes,
  isDirect,
  kindOf,
  nodePath,
  type PathAddress,
} from "./address.ts";
import type { Offer } from "./messages.ts";
import { type PathAgentOptions, type PathEffect, type PathEvent, sending } from "./events.ts";
import { pingBytes, ponged, SEAL_BYTES, startBurst } from "./path.ts";
import type { PeerPaths } from "./peer_paths.ts";
import { hasDirect, newPeer, offerSent, offerSoon, type PeerState } from "./peer_state.ts";
import { Punching } from "./punching.ts";
import { type AgentState, decodeState, encodeState } from "./snapshot.ts";

export type { PathAgentOptions, PathEffect, PathEvent } from "./events.ts";

/** Paths from extra sockets that are followed. */
const MAX_SOCKET_PATHS = 8;
/** Relaying nodes that are tried for a peer. */
const MAX_RELAY_NODES = 2;
/** So long traffic goes without a direct path before links are dialled, and how often again. */
const LINK_AFTER_MS = 3_000;
const LINK_AGAIN_MS = 30_000;
/** How often a session with such a node is asked for. */
const WANT_MS = 10_000;

/** See the module's doc. */
export class PathAgent implements Machine<PathEvent, PathEffect> {
  #options: PathAgentOptions;
  readonly #peers = new Map<PeerSlot, PeerState>();
  /** Links that reach every peer. */
  readonly #links = new Set<PathAddress>();
  #relayNodes: readonly { id: string; peer: PeerSlot }[] = [];
  #offer: Offer | null = null;
  readonly #punching: Punching;
  #number = 0;
  #deadline: Millis = NEVER;

  constructor(options: PathAgentOptions) {
    this.#options = options;
    this.#punching = new Punching(options.seed, this.#peers, () => this.#next());
  }

  get deadline(): Millis {
    return this.#deadline;
  }

  /** Whether the agent decides where a peer's datagrams go; otherwise its handshakes do. */
  isManaging(peer: PeerSlot): boolean {
    const paths = this.#peers.get(peer)?.paths;
    return paths !== undefined && paths.hasSession && paths.current !== null;
  }

  /** Paths over links that may reach a peer: handshakes go there too. */
  linksTo(peer: PeerSlot): PathAddress[] {
    const state = this.#peers.get(peer);
    if (!state) return [];
    const all = [...this.#links, ...state.links, ...this.#throughNodes(state)];
    return all.filter((address) => !state.paths.preference.exclude.includes(kindOf(address)));
  }

  /** All that later decisions depend on, as text. */
  snapshot(): string {
    return encodeState({
      options: this.#options,
      peers: this.#peers,
      links: this.#links,
      relayNodes: this.#relayNodes,
      offer: this.#offer,
      number: this.#number,
      deadline: this.#deadline,
      punching: this.#punching.state,
    });
  }

  /** Goes on from a {@link snapshot}; the agent must be fresh. */
  restore(text: string): void {
    const state = decodeState(text) as AgentState;
    this.#options = state.options;
    for (const [slot, peer] of state.peers) this.#peers.set(slot, peer);
    for (const link of state.links) this.#links.add(link);
    this.#relayNodes = state.relayNodes;
    this.#offer = state.offer;
    this.#number = state.number;
    this.#deadline = state.deadline;
    this.#punching.state = state.punching;
  }

  /** For reports: the paths of a peer. */
  pathsOf(peer: PeerSlot): PeerPaths | null {
    return this.#peers.get(peer)?.paths ?? null;
  }

  /** For reports: what a peer said about itself. */
  offerOf(peer: PeerSlot): Offer | null {
    return this.#peers.get(peer)?.offered ?? null;
  }

  handle(event: PathEvent, now: Millis): PathEffect[] {
    const effects: PathEffect[] = [];
    this.#take(event, now, effects);
    const touched = "peer" in event ? event.peer : null;
    const touchesAll = touched === null && event.type !== "tick";
    for (const [peer, state] of this.#peers) {
      if (!touchesAll && peer !== touched && now < state.deadline) continue;
      this.#tick(peer, state, now, effects);
      state.deadline = Math.min(state.paths.deadline(now), state.offerAt);
    }
    this.#punching.watch(now, effects);
    this.#deadline = this.#punching.deadline;
    // Only now: what one peer's tick does may be due for another one.
    for (const { deadline } of this.#peers.values()) {
      this.#deadline = Math.min(this.#deadline, deadline);
    }
    return effects;
  }

  #take(event: PathEvent, now: Millis, effects: PathEffect[]): void {
    switch (event.type) {
      case "tick":
        return;
      case "peer-added":
        this.#peers.set(event.peer, newPeer(event.id, this.#options.preference));
        return;
      case "peer-removed":
        this.#peers.delete(event.peer);
        return;
      case "link":
        return this.#link(event, now);
      case "relay-nodes":
        if (JSON.stringify(event.nodes) === JSON.stringify(this.#relayNodes)) return;
        this.#relayNodes = event.nodes;
        for (const state of this.#peers.values()) this.#name(state, now);
        return;
      case "offer":
        if (JSON.stringify(event.offer) === JSON.stringify(this.#offer)) return;
        this.#offer = event.offer;
        for (const state of this.#peers.values()) offerSoon(state, now);
        return;
      case "network-changed":
        for (const state of this.#peers.values()) {
          state.paths.restart(now);
          offerSoon(state, now);
        }
        return;
      default: {
        const state = this.#peers.get(event.peer);
        if (state) this.#takePeers(event, state, now, effects);
      }
    }
  }

  #takePeers(
    event: Extract<PathEvent, { peer: PeerSlot }> & {
      type: "candidates" | "session" | "proved" | "message" | "traffic" | "prefer" | "sockets";
    },
    state: PeerState,
    now: Millis,
    effects: PathEffect[],
  ): void {
    const { paths } = state;
    switch (event.type) {
      case "candidates":
        if (event.endpoints.join() === state.endpoints.join()) return;
        state.endpoints = event.endpoints;
        return this.#name(state, now);
      case "session":
        if (paths.hasSession === event.isUp) return;
        paths.hasSession = event.isUp;
        if (!event.isUp) return;
        paths.traffic(now);
        paths.restart(now);
        this.#name(state, now);
        return offerSoon(state, now);
      case "proved": {
        const path = paths.at(event.path, true, now);
        // Without a session nothing else is known; within one, pings decide, and soon.
        if (!paths.hasSession || paths.current === null) paths.adopt(event.path);
        else if (path && path.state !== "up") startBurst(path, now);
        return;
      }
      case "message":
        return this.#message(event, state, now, effects);
      case "traffic":
        paths.traffic(now);
        this.#keepRelays(state, now, effects);
        this.#wantLink(event.peer, state, now, effects);
        return this.#punching.consider(event.peer, state, this.#offer, now, effects);
      case "prefer":
        paths.preference = event.preference;
        for (const address of [...paths.paths.keys()]) {
          if (event.preference.exclude.includes(kindOf(address))) paths.forget(address);
        }
        return this.#name(state, now);
      case "sockets":
        return this.#punching.opened(event.peer, event.sockets, state, now, effects);
    }
  }

  #message(
    { peer, from, message }: PathEvent & { type: "message" },
    state: PeerState,
    now: Millis,
    effects: PathEffect[],
  ): void {
    const { paths } = state;
    // Of many sockets that are found at once a few are enough; the others stay silent, so that the
    // peer uses none of them.
    if (!paths.paths.has(from) && extraSocket(from) && countSockets(paths) >= MAX_SOCKET_PATHS) {
      return;
    }
    const path = paths.at(from, true, now);
    if (path) path.lastHeardAt = now;
    switch (message.type) {
      case "ping": {
        const observed = kindOf(from) === "udp" && !from.startsWith("socket:") ? from : null;
        const pong = { type: "pong", number: message.number, observed } as const;
        effects.push(sending(peer, from, pong));
        // What came this way says that the other way may be open now.
        if (path && path.state !== "up" && path.burst > 0) startBurst(path, now);
        return;
      }
      case "pong":
        if (path && ponged(path, message.number, this.#wanted(from), now) && message.observed) {
          effects.push({ type: "observed", endpoint: message.observed });
        }
        return;
      case "log":
        // Not about paths; the node has taken it already.
        return;
      case "offer":
        state.offered = message.offer;
        return this.#name(state, now);
      case "punch":
        return this.#punching.asked(peer, state, message, now, effects);
    }
  }

  /** A node that passes datagrams on is of use only while there is a session with it. */
  #keepRelays(state: PeerState, now: Millis, effects: PathEffect[]): void {
    if (hasDirect(state.paths)) return;
    for (const { id, peer } of this.#relayNodes.slice(0, MAX_RELAY_NODES)) {
      const relay = this.#peers.get(peer);
      if (!relay || id === state.id) continue;
      if (relay.paths.hasSession) {
        if (relay.paths.isActive(now)) continue;
        relay.paths.keep(now);
        relay.deadline = Math.min(relay.deadline, relay.paths.deadline(now));
      } else if (now >= relay.wantedAt + WANT_MS) {
        relay.wantedAt = now;
        effects.push({ type: "want-session", peer });
      }
    }
  }

  /** Traffic without a direct path for a while: links that have to be dialled get their turn. */
  #wantLink(peer: PeerSlot, state: PeerState, now: Millis, effects: PathEffect[]): void {
    if (hasDirect(state.paths)) state.linkWantedAt = NEVER;
    else if (state.linkWantedAt === NEVER) state.linkWantedAt = now + LINK_AFTER_MS - LINK_AGAIN_MS;
    else if (now >= state.linkWantedAt + LINK_AGAIN_MS) {
      state.linkWantedAt = now;
      if (!state.paths.preference.exclude.includes("ssh")) {
        effects.push({ type: "want-link", peer });
      }
    }
  }

  #next(): number {
    return ++this.#number >>> 0;
  }

  #wanted(address: PathAddress): number {
    const { mtu } = this.#options;
    // What a node passes on has to fit into the tunnel to it.
    return kindOf(address) === "node" ? mtu : mtu + SEAL_BYTES + headerBytes(address);
  }

  #link(event: PathEvent & { type: "link" }, now: Millis): void {
    const { path, peer, isUp, why } = event;
    const links = peer === null ? this.#links : this.#peers.get(peer)?.links;
    if (isUp) links?.add(path);
    else links?.delete(path);
    for (const [slot, state] of this.#peers) {
      if (peer !== null && peer !== slot) continue;
      if (isUp) {
        this.#name(state, now);
        const known = state.paths.paths.get(path);
        if (known && known.state !== "up") startBurst(known, now);
      } else state.paths.linkDown(path, why, now);
    }
  }

  /** Brings the paths of a peer in step with what names them. */
  #name(state: PeerState, now: Millis): void {
    const { paths } = state;
    const offered = state.offered?.endpoints ?? [];
    const named = new Set<PathAddress>([
      ...offered,
      ...state.endpoints,
      ...this.#links,
      ...state.links,
      ...this.#throughNodes(state),
    ]);
    for (const address of named) paths.at(address, false, now);
    for (const [address, path] of paths.paths) {
      if (named.has(address) || path.isReflexive || path.state === "up") continue;
      if (paths.current !== address) paths.forget(address);
    }
    state.deadline = Math.min(state.deadline, paths.deadline(now));
  }

  /** Ways through other nodes: those that are reached directly, the nearest first. */
  #throughNodes(state: PeerState): PathAddress[] {
    const near = this.#relayNodes.flatMap(({ id, peer }) => {
      const paths = this.#peers.get(peer)?.paths;
      const path = paths?.current ? paths.paths.get(paths.current) : undefined;
      if (id === state.id || !path || path.state !== "up" || !isDirect(path.address)) return [];
      return [{ id, rttMs: path.quality.rttMs ?? NEVER }];
    });
    near.sort((a, b) => a.rttMs - b.rttMs);
    return near.slice(0, MAX_RELAY_NODES).map(({ id }) => nodePath(id));
  }

  #tick(peer: PeerSlot, state: PeerState, now: Millis, effects: PathEffect[]): void {
    const { paths } = state;
    for (const effect of paths.tick(() => this.#next(), now)) {
      if (effect.type === "use") {
        effects.push({ ...effect, type: "use-path", peer });
        if (this.#relayNodes.some((node) => node.peer === peer)) this.#nameAll(now);
        continue;
      }
      const path = paths.paths.get(effect.path)!;
      const message = { type: "ping", number: effect.number! } as const;
      const size = effect.probe === null ? 0 : pingBytes(path, effect.probe);
      effects.push({ ...sending(peer, effect.path, message), size, df: effect.probe !== null });
    }
    if (now < state.offerAt) return;
    this.#sendOffer(peer, state, effects);
    offerSent(state, now);
  }

  #nameAll(now: Millis): void {
    for (const state of this.#peers.values()) this.#name(state, now);
  }

  /** On every path that works: some may not any more, and the offer helps to find others. */
  #sendOffer(peer: PeerSlot, { paths }: PeerState, effects: PathEffect[]): void {
    if (!this.#offer || !paths.hasSession) return;
    const message = { type: "offer", offer: this.#offer } as const;
    for (const { address, state } of paths.paths.values()) {
      if (state !== "up" && address !== paths.current) continue;
      effects.push(sending(peer, address, message));
    }
  }
}

function countSockets({ paths }: PeerPaths): number {
  return [...paths.keys()].filter((address) => extraSocket(address) !== null).length;
}
