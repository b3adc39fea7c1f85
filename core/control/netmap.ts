/**
 * What does the mesh look like, as far as this node believes what it was told?
 *
 * Keeps the verified view of the peers from a full netmap and the deltas after it. Records pass
 * through the {@link Roster}; endpoints and presence are hints that need no signature, since a
 * wrong one only costs a handshake that fails.
 *
 * A full netmap that lacks a known peer does not remove it: absence is not a statement, and a
 * coordinator that lost its data must not take the mesh with it. Only a signed `left` record or an
 * explicit removal in a delta does, and the mesh's log when it says that a member is none any more
 * ({@link NetmapView.review}). Whom the log does not know yet waits aside until it does.
 * @module
 */
import { MeshError } from "../errors.ts";
import type { NodeRecord, SignedRecord } from "../identity/record.ts";
import type { PeerId } from "../ids.ts";
import type { Endpoint } from "../ip.ts";
import { type Delta, MAX_PEERS, type Netmap, type NodeLinks, type PeerEntry } from "./messages.ts";
import type { Pin, Refusal, Roster } from "./roster.ts";

/** A peer whose record was verified. */
export interface MeshPeer {
  readonly id: PeerId;
  readonly record: NodeRecord;
  readonly signed: SignedRecord;
  /** Where to try it, most wanted first; the last known ones while it is offline. */
  readonly endpoints: readonly Endpoint[];
  readonly links: NodeLinks;
  readonly online: boolean;
  readonly bootId: string;
  /** The coordinator's wall time. */
  readonly lastSeen: number;
}

/** What a netmap or delta changed. */
export interface NetmapChanges {
  /** Peers that are new or different, oneself included. */
  readonly upserted: readonly MeshPeer[];
  readonly removed: readonly PeerId[];
  readonly refused: readonly Refusal[];
  /** Whether the set of coordinators is another one, which no peer's entry shows. */
  readonly areCoordinatorsOther: boolean;
}

/** What entries changed, and which peers they were about. */
type EntryChanges =
  & Pick<NetmapChanges, "upserted" | "removed" | "refused">
  & { readonly told: readonly PeerId[] };

/** The facts of a mesh that never change. */
export interface MeshFacts {
  readonly meshId: string;
  readonly cidr4: string;
  readonly prefix6: string;
}

const NO_LINKS: NodeLinks = { relays: false, sshPort: 0 };

/** The verified view. */
export class NetmapView {
  readonly facts: MeshFacts;
  readonly #roster: Roster;
  readonly #peers = new Map<PeerId, MeshPeer>();
  /** What was told of those whom the log does not know. */
  readonly #strangers = new Map<PeerId, PeerEntry>();
  #coordinators: readonly PeerId[] = [];
  #stunPorts: readonly number[] = [];
  #version = 0;
  #isFollowers = false;

  constructor(facts: MeshFacts, roster: Roster) {
    this.facts = facts;
    this.#roster = roster;
  }

  /** Verified peers that have not left, oneself included. */
  get peers(): ReadonlyMap<PeerId, MeshPeer> {
    return this.#peers;
  }

  get coordinators(): readonly PeerId[] {
    return this.#coordinators;
  }

  /** The coordinator's STUN ports. */
  get stunPorts(): readonly number[] {
    return this.#stunPorts;
  }

  /** Whether the last whole netmap is of a coordinator that follows another one. */
  get isFollowers(): boolean {
    return this.#isFollowers;
  }

  get version(): number {
    return this.#version;
  }

  /** What to keep on disk as `seen.json`. */
  get pins(): Pin[] {
    return this.#roster.pins;
  }

  /** What to keep on disk as `netmap.json`. */
  get snapshot(): Netmap {
    const peers = [...this.#peers.values()].map((peer) => ({
      record: peer.signed,
      endpoints: [...peer.endpoints],
      links: peer.links,
      online: peer.online,
      bootId: peer.bootId,
      lastSeen: peer.lastSeen,
    }));
    const coordinators = [...this.#coordinators];
    const stunPorts = [...this.#stunPorts];
    return { version: this.#version, ...this.facts, coordinators, peers, stunPorts };
  }

  /**
   * Takes a full netmap.
   * @throws {MeshError} "identity-mismatch" when it is of another mesh.
   */
  replace(netmap: Netmap): NetmapChanges {
    const { meshId, cidr4, prefix6 } = this.facts;
    const isOurs = netmap.meshId === meshId && netmap.cidr4 === cidr4 &&
      netmap.prefix6 === prefix6;
    if (!isOurs) {
      const found = `${netmap.meshId} (${netmap.cidr4}, ${netmap.prefix6})`;
      throw new MeshError("identity-mismatch", `Cannot use netmap: it is of mesh ${found}`);
    }
    this.#version = netmap.version;
    this.#stunPorts = netmap.stunPorts ?? [];
    this.#isFollowers = netmap.isFollower ?? false;
    const areCoordinatorsOther = this.#setCoordinators(netmap.coordinators);
    const changes = this.#upsert(netmap.peers);
    const told = new Set([...changes.told]);
    const faded: MeshPeer[] = [];
    for (const peer of this.#peers.values()) {
      if (told.has(peer.id) || !peer.online) continue;
      const offline = { ...peer, online: false };
      this.#peers.set(peer.id, offline);
      faded.push(offline);
    }
    return { ...changes, upserted: [...changes.upserted, ...faded], areCoordinatorsOther };
  }

  /**
   * Takes a delta.
   * @throws {MeshError} "protocol-invalid" when one before it is missing.
   */
  apply(delta: Delta): NetmapChanges {
    if (delta.version !== this.#version + 1) {
      const gap = `version ${delta.version} does not follow ${this.#version}`;
      throw new MeshError("protocol-invalid", `Cannot apply delta: ${gap}`);
    }
    this.#version = delta.version;
    const areCoordinatorsOther = this.#setCoordinators(delta.coordinators ?? this.#coordinators);
    const removed = delta.remove.filter((id) => this.#peers.delete(id));
    for (const id of delta.remove) this.#strangers.delete(id);
    const changes = this.#upsert(delta.upsert);
    return { ...changes, removed: [...removed, ...changes.removed], areCoordinatorsOther };
  }

  /** This node itself hears from these peers, whatever coordinators know of that. */
  heard(ids: readonly PeerId[], wallTime: number): void {
    for (const id of ids) {
      const peer = this.#peers.get(id);
      if (peer) this.#peers.set(id, { ...peer, lastSeen: Math.max(peer.lastSeen, wallTime) });
    }
  }

  /** The mesh's log has grown: who is a member now, and who is none any more? */
  review(): NetmapChanges {
    const peers = [...this.#peers.values()];
    const gone = peers.flatMap((peer) =>
      this.#roster.isMember(peer.id, seenAt(peer)) ? [] : peer.id
    );
    for (const id of gone) {
      this.#peers.delete(id);
      this.#roster.release(id);
    }
    // A coordinator's word may have taken them out of the view before the log said so.
    this.#roster.releaseStrangers();
    const entries = [...this.#strangers.values()];
    this.#strangers.clear();
    const changes = this.#upsert(entries);
    const removed = [...gone, ...changes.removed];
    return { ...changes, removed, refused: [], areCoordinatorsOther: false };
  }

  #setCoordinators(ids: readonly PeerId[]): boolean {
    const areOther = ids.join() !== this.#coordinators.join();
    this.#coordinators = ids;
    return areOther;
  }

  /**
   * Entries that give names up come first and refused ones get a second try, so that the order in
   * which a coordinator lists them does not matter.
   */
  #upsert(entries: readonly PeerEntry[]): EntryChanges {
    const upserted = new Map<PeerId, MeshPeer>();
    const removed: PeerId[] = [];
    const told: PeerId[] = [];
    let refused = new Map<PeerEntry, Refusal>();
    let pending = entries;
    for (let round = 0; round < 2 && pending.length > 0; round++) {
      const failed = new Map<PeerEntry, Refusal>();
      for (const entry of pending) {
        const verdict = this.#roster.accept(entry.record, seenAt(entry));
        if (!verdict.ok) {
          failed.set(entry, verdict.refusal);
          continue;
        }
        const { record } = verdict;
        told.push(record.id);
        this.#strangers.delete(record.id);
        if (record.left) {
          if (this.#peers.delete(record.id)) removed.push(record.id);
          upserted.delete(record.id);
          continue;
        }
        const next = this.#place(record, entry.record, entry);
        if (next) upserted.set(record.id, next);
      }
      refused = failed;
      pending = [...failed.keys()];
    }
    for (const [entry, refusal] of refused) {
      if (refusal.reason === "not-member" && this.#strangers.size < MAX_PEERS) {
        this.#strangers.set(refusal.id!, entry);
      }
      const known = refusal.id === null ? undefined : this.#peers.get(refusal.id);
      if (!known) continue;
      told.push(known.id);
      const next = this.#place(known.record, known.signed, entry);
      if (next) upserted.set(known.id, next);
    }
    return { upserted: [...upserted.values()], removed, refused: [...refused.values()], told };
  }

  /** Puts a peer into the view; null when nothing of it changed. */
  #place(record: NodeRecord, signed: SignedRecord, entry: PeerEntry): MeshPeer | null {
    const before = this.#peers.get(record.id);
    if (!before && this.#peers.size >= MAX_PEERS) return null;
    // A coordinator that just started knows nothing of who was where; old hints may still be right.
    const endpoints = entry.endpoints.length > 0 ? entry.endpoints : before?.endpoints ?? [];
    const { online, bootId } = entry;
    const links = entry.links ?? before?.links ?? NO_LINKS;
    const lastSeen = Math.max(entry.lastSeen, before?.lastSeen ?? 0);
    const peer = { id: record.id, record, signed, endpoints, links, online, bootId, lastSeen };
    if (before && isSamePeer(before, peer)) return null;
    this.#peers.set(record.id, peer);
    return peer;
  }
}

/** When somebody was heard of, for {@link Roster}. */
function seenAt({ online, lastSeen }: Pick<PeerEntry, "online" | "lastSeen">): number {
  return online ? Infinity : lastSeen;
}

function isSameLinks(a: NodeLinks, b: NodeLinks): boolean {
  return a.relays === b.relays && a.sshPort === b.sshPort &&
    (a.coordinatorUrls ?? []).join() === (b.coordinatorUrls ?? []).join();
}

function isSamePeer(a: MeshPeer, b: MeshPeer): boolean {
  return a.signed.signature === b.signed.signature && a.online === b.online &&
    a.bootId === b.bootId && a.lastSeen === b.lastSeen &&
    isSameLinks(a.links, b.links) &&
    a.endpoints.length === b.endpoints.length && a.endpoints.every((e, i) => e === b.endpoints[i]);
}
