/**
 * What are nodes told of the mesh? Whole netmaps, and deltas with what changed since the last.
 *
 * Put together of what the {@link Registry} keeps, of who is connected here, and, at a follower, of
 * what it is told of those who are connected elsewhere.
 * @module
 */
import type { Delta, Netmap, PeerEntry } from "../../core/control/messages.ts";
import { fromBase64Url } from "../../core/bytes.ts";
import { peerIdOf } from "../../core/identity/keys.ts";
import type { PeerId } from "../../core/ids.ts";
import type { Endpoint, Ip } from "../../core/ip.ts";
import { Elsewhere } from "./elsewhere.ts";
import type { Mesh } from "./mesh.ts";
import { type ConnectionId, endpointsOf, type Presence } from "./presence.ts";
import type { Registry } from "./registry.ts";
import type { State } from "./state.ts";

export interface DirectoryOptions {
  readonly registry: Registry;
  readonly mesh: Mesh;
  readonly publicIps?: readonly Ip[];
  readonly stunPorts?: readonly number[];
  readonly isFollower: boolean;
}

/** See the module's doc. */
export class Directory {
  /** Who is, or was, connected here. */
  readonly presence = new Map<PeerId, Presence>();
  readonly elsewhere = new Elsewhere();
  readonly #options: DirectoryOptions;
  readonly #dirty = new Set<PeerId>();
  /** As they were told. */
  #coordinators: string;
  #version = 1;

  constructor(options: DirectoryOptions) {
    this.#options = options;
    this.#coordinators = this.#coordinatorIds().join();
  }

  /** The live connection of a member, or null. */
  connectionOf(id: PeerId): ConnectionId | null {
    return this.presence.get(id)?.connection ?? null;
  }

  endpointsOf(id: PeerId): Endpoint[] {
    const presence = this.presence.get(id);
    return presence ? endpointsOf(presence, this.#options.publicIps ?? [], this.#state) : [];
  }

  /** Whether other nodes coordinate the mesh than the ones that were told. */
  get areCoordinatorsOther(): boolean {
    return this.#coordinatorIds().join() !== this.#coordinators;
  }

  /** Something about a peer is news. */
  mark(id: PeerId): void {
    this.#dirty.add(id);
  }

  /** Takes what is told of members that are connected elsewhere; returns of whom it is news. */
  told(peers: readonly PeerEntry[]): PeerId[] {
    return peers.flatMap((entry) => {
      const id = peerIdOf(fromBase64Url(entry.record.signer));
      return this.#state.nodes.has(id) && this.elsewhere.take(id, entry) ? [id] : [];
    });
  }

  /** It has left. */
  forget(id: PeerId): void {
    this.presence.delete(id);
    this.elsewhere.forget(id);
  }

  /** What is news since the last time; null for nothing. */
  delta(): Delta | null {
    const upsert: PeerEntry[] = [];
    const remove: PeerId[] = [];
    for (const id of this.#dirty) {
      const entry = this.#entryOf(id);
      if (entry) upsert.push(entry);
      else if (!this.#state.nodes.has(id)) remove.push(id);
    }
    this.#dirty.clear();
    const coordinators = this.#coordinatorIds();
    const areOther = coordinators.join() !== this.#coordinators;
    if (upsert.length === 0 && remove.length === 0 && !areOther) return null;
    this.#coordinators = coordinators.join();
    const version = ++this.#version;
    return { type: "delta", version, upsert, remove, ...(areOther ? { coordinators } : {}) };
  }

  /** Everything; deltas go on from here. */
  netmap(): Netmap {
    const { meshId, cidr4, prefix6, nodes, departed } = this.#state;
    const { mesh, stunPorts = [], isFollower } = this.#options;
    const peers = [...departed.keys(), ...nodes.keys()].flatMap((id) => this.#entryOf(id) ?? []);
    return {
      version: this.#version,
      meshId,
      cidr4,
      prefix6,
      coordinators: this.#coordinatorIds(),
      peers,
      stunPorts: [...stunPorts],
      logKey: mesh.key,
      ...(isFollower ? { isFollower } : {}),
    };
  }

  /** A peer as the others see it; null for one that never published a record. */
  #entryOf(id: PeerId): PeerEntry | null {
    const node = this.#state.nodes.get(id);
    const record = node?.record;
    if (!record) {
      const farewell = this.#state.departed.get(id);
      if (!farewell) return null;
      const { record, at: lastSeen } = farewell;
      return { record, endpoints: [], online: false, bootId: "", lastSeen };
    }
    const presence = this.presence.get(id);
    const online = typeof presence?.connection === "number";
    const told = online ? undefined : this.elsewhere.of(id);
    const lastSeen = presence?.lastSeen ?? node!.seenAt;
    if (told) return { ...told, record, lastSeen: Math.max(told.lastSeen, lastSeen) };
    return {
      record,
      endpoints: this.endpointsOf(id),
      ...(presence?.links ? { links: presence.links } : {}),
      online,
      bootId: presence?.bootId ?? "",
      lastSeen,
    };
  }

  #coordinatorIds(): PeerId[] {
    return [...this.#state.nodes.keys()].filter((id) => this.#options.mesh.isCoordinator(id));
  }

  get #state(): State {
    return this.#options.registry.state;
  }
}
