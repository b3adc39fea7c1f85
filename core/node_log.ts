/**
 * The mesh's log at a node: with whom it is talked about, and by which way.
 *
 * With the coordinator over the control channel, and with a few peers inside their sessions, so that
 * what a coordinator withholds, or cannot carry since it is gone, goes round all the same.
 * @module
 */
import type { ControlEffect } from "./control/client_types.ts";
import type { PeerId } from "./ids.ts";
import { type Machine, type Millis } from "./machine.ts";
import { LogGossip, type LogPart } from "./state/gossip.ts";
import type { LogSync, SourceId, SyncEffect, SyncEvent } from "./state/sync.ts";
import type { PeerSlot } from "./wireguard/events.ts";

/** The coordinator, among those who have the log; peers go by their ids. */
const COORDINATOR: SourceId = "coordinator";
/** Peers that the log is talked about with: who hears of an entry tells so many others. */
const LOG_PEERS = 8;

export type NodeLogEffect =
  | Exclude<SyncEffect, { type: "send" }>
  /** Say it to the coordinator. */
  | { readonly type: "say"; readonly text: string }
  /** Say it to a peer, inside the session. */
  | { readonly type: "whisper"; readonly peer: PeerSlot; readonly part: LogPart };

/** See the module's doc. */
export class NodeLog implements Machine<SyncEvent, NodeLogEffect> {
  readonly #sync: LogSync;
  readonly #gossip = new LogGossip();
  readonly #peers = new Map<PeerId, PeerSlot>();

  constructor(sync: LogSync) {
    this.#sync = sync;
  }

  get deadline(): Millis {
    return this.#sync.deadline;
  }

  handle(event: SyncEvent, now: Millis): NodeLogEffect[] {
    return this.#sync.handle(event, now).flatMap((effect): NodeLogEffect[] => {
      if (effect.type !== "send") return [effect];
      const text = JSON.stringify(effect.message);
      if (effect.to === COORDINATOR) return [{ type: "say", text }];
      const peer = this.#peers.get(effect.to);
      if (peer === undefined) return [];
      return this.#gossip.cut(text).map((part) => ({ type: "whisper", peer, part }));
    });
  }

  /** What happened on the control channel. */
  control(effect: ControlEffect, now: Millis): NodeLogEffect[] {
    const source = COORDINATOR;
    switch (effect.type) {
      case "log-open":
        return this.handle(
          { type: "connected", source, key: effect.key, isCoordinator: true },
          now,
        );
      case "log-message":
        return this.handle({ type: "message", source, text: effect.text }, now);
      case "log-closed":
        return this.handle({ type: "disconnected", source }, now);
      default:
        return [];
    }
  }

  /**
   * A peer can be talked to.
   * @param key base64url of its identity.
   */
  open(peer: PeerSlot, id: PeerId, key: string, now: Millis): NodeLogEffect[] {
    if (this.#peers.has(id) || this.#peers.size >= LOG_PEERS) return [];
    this.#peers.set(id, peer);
    return this.handle({ type: "connected", source: id, key, isCoordinator: false }, now);
  }

  /** It cannot any more. */
  close(id: PeerId, now: Millis): NodeLogEffect[] {
    if (!this.#peers.delete(id)) return [];
    this.#gossip.forget(id);
    return this.handle({ type: "disconnected", source: id }, now);
  }

  /** A peer that is talked to said something. */
  hear(id: PeerId, part: LogPart, now: Millis): NodeLogEffect[] {
    const text = this.#peers.has(id) ? this.#gossip.join(id, part) : null;
    return text === null ? [] : this.handle({ type: "message", source: id, text }, now);
  }
}
