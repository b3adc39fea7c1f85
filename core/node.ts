/**
 * This machine in the mesh: which peers exist, where they are, what they are called.
 *
 * Owns the control client (what the coordinator says, verified) and the device (sessions with
 * peers), and keeps the second in step with the first. Everything goes on from the last netmap when
 * no coordinator answers.
 * @module
 */
import { assert } from "./assert.ts";
import { fromBase64 } from "./bytes.ts";
import { usableEndpoints } from "./control/candidates.ts";
import type { ControlClient } from "./control/client.ts";
import type { ControlEvent } from "./control/client_types.ts";
import type { MeshPeer, NetmapChanges } from "./control/netmap.ts";
import { FEATURE } from "./dataplane/features.ts";
import { MAX_PEERS } from "./dataplane/layout.ts";
import type { PeerId } from "./ids.ts";
import type { Endpoint, Prefix } from "./ip.ts";
import type { Machine, Millis } from "./machine.ts";
import {
  isSamePeer,
  type NodePeer,
  ofConfig,
  ofMesh,
  routesOf,
  type StaticPeer,
} from "./node_peer.ts";
import { NodeLog, type NodeLogEffect } from "./node_log.ts";
import type { NodeEffect, NodeEvent, NodeOptions } from "./node_types.ts";
import { sending, toldToDevice } from "./path/events.ts";
import { Recorder, type Recording } from "./path/recorder.ts";
import type { PathAgent, PathEvent } from "./path/agent.ts";
import type { Device, DeviceEffect, DeviceEvent, PeerSlot } from "./wireguard/device.ts";

export type { NodePeer, StaticPeer } from "./node_peer.ts";
export type { NamedNode, NodeEffect, NodeEvent, NodeOptions } from "./node_types.ts";

/**
 * Sessions with so many peers are made before anything is sent, so that the first packet to any of
 * them finds one; in a larger mesh they are made on demand, or their number would grow as its square.
 */
const WARM_PEERS = 16;

/** One node; its shell performs the effects. */
export class NodeMachine implements Machine<NodeEvent, NodeEffect> {
  readonly device: Device;
  readonly control: ControlClient;
  readonly paths: PathAgent;
  readonly #log: NodeLog;
  readonly #recorder: Recorder;
  readonly id: PeerId;
  readonly #peers = new Map<PeerSlot, NodePeer>();
  readonly #slots = new Map<PeerId, PeerSlot>();
  readonly #staticPeers: readonly StaticPeer[];
  readonly #freeSlots: PeerSlot[] = [];
  /** Which run of each peer was greeted last. */
  readonly #greeted = new Map<PeerId, string>();
  /** What the newest keypair of each peer can do. */
  readonly #features = new Map<PeerSlot, number>();
  #ways: ReadonlyMap<PeerId, readonly Prefix[]> = new Map();
  #nextSlot = 0;
  #isStarted = false;

  constructor(options: NodeOptions) {
    this.id = options.id;
    this.device = options.device;
    this.control = options.control;
    this.paths = options.paths;
    this.#log = new NodeLog(options.sync);
    this.#recorder = new Recorder(options.paths);
    this.#staticPeers = options.staticPeers;
  }

  get deadline(): Millis {
    if (!this.#isStarted) return -Infinity;
    const { device, control, paths } = this;
    return Math.min(device.deadline, control.deadline, paths.deadline, this.#log.deadline);
  }

  /** Peers by slot. */
  get peers(): ReadonlyMap<PeerSlot, NodePeer> {
    return this.#peers;
  }

  /** The slot of a mesh peer. */
  slotOf(id: PeerId): PeerSlot | undefined {
    return this.#slots.get(id);
  }

  /** The last minutes of decisions about paths. */
  get recording(): Recording {
    return this.#recorder.recording;
  }

  /** Verified facts of a mesh peer, oneself included. */
  meshPeer(id: PeerId): MeshPeer | undefined {
    return this.control.view.peers.get(id);
  }

  /** The first event starts the node with the peers that are known from before. */
  handle(event: NodeEvent, now: Millis): NodeEffect[] {
    const effects: NodeEffect[] = [];
    if (!this.#isStarted) this.#start(now, effects);
    switch (event.type) {
      case "tick":
        this.#device({ type: "tick" }, now, effects);
        this.#control({ type: "tick" }, now, effects);
        this.#path({ type: "tick" }, now, effects);
        this.#logged(this.#log.handle({ type: "tick" }, now), now, effects);
        break;
      case "device":
        this.#device(event.event, now, effects);
        break;
      case "control":
        this.#control(event.event, now, effects);
        break;
      case "path":
        this.#path(event.event, now, effects);
        break;
      case "log":
        this.#logged(this.#log.handle(event.event, now), now, effects);
        break;
      case "ways":
        this.#ways = event.ways;
        this.#publish(effects);
        break;
    }
    return effects;
  }

  #start(now: Millis, effects: NodeEffect[]): void {
    this.#isStarted = true;
    for (const peer of this.#staticPeers) this.#addStatic(peer, now, effects);
    for (const peer of this.control.view.peers.values()) this.#upsert(peer, now, effects);
    this.#nameRelays(now, effects);
    this.#publish(effects);
  }

  #device(event: DeviceEvent, now: Millis, effects: NodeEffect[]): void {
    const caused = this.device.handle(event, now);
    for (const effect of caused) this.#caused(effect, now, effects);
    if (event.type === "data-sent" || event.type === "data-received") {
      this.#path({ type: "traffic", peer: event.peer }, now, effects);
    }
    // A handshake begins: ask the peer to send from its side too, which opens its firewall.
    if (event.type !== "session-wanted" || !caused.some(({ type }) => type === "transmit")) return;
    const id = this.#peers.get(event.peer)?.id;
    if (id) this.#control({ type: "call", peer: id }, now, effects);
  }

  /** What the session's machine wants, as far as paths are not decided elsewhere. */
  #caused(effect: DeviceEffect, now: Millis, effects: NodeEffect[]): void {
    switch (effect.type) {
      case "use-endpoint": {
        const { peer, endpoint: path } = effect;
        if (!this.paths.isManaging(peer)) effects.push(effect);
        return this.#path({ type: "proved", peer, path }, now, effects);
      }
      case "install-keypair":
        this.#features.set(effect.keypair.peer, effect.keypair.features);
        effects.push(effect);
        return;
      case "session-up": {
        effects.push(effect);
        const { peer } = effect;
        const isUp = ((this.#features.get(peer) ?? 0) & FEATURE.paths) !== 0;
        this.#path({ type: "session", peer, isUp }, now, effects);
        if (isUp) this.#openLog(peer, now, effects);
        return;
      }
      case "session-down":
        effects.push(effect);
        this.#closeLog(effect.peer, now, effects);
        return this.#path({ type: "session", peer: effect.peer, isUp: false }, now, effects);
      default:
        effects.push(effect);
    }
  }

  #path(event: PathEvent, now: Millis, effects: NodeEffect[]): void {
    if (event.type === "message" && event.message.type === "log") {
      const id = this.#peers.get(event.peer)?.id;
      this.#openLog(event.peer, now, effects);
      if (id) this.#logged(this.#log.hear(id, event.message, now), now, effects);
      return;
    }
    for (const effect of this.#recorder.handle(this.#believed(event), now)) {
      effects.push(effect);
      const told = toldToDevice(effect);
      if (told) this.#device(told, now, effects);
    }
    if (event.type === "link" || event.type === "prefer") {
      this.#offerLinks(event.peer, now, effects);
    }
  }

  /** What may be tried of the endpoints that a peer names. */
  #believed(event: PathEvent): PathEvent {
    if (event.type !== "message" || event.message.type !== "offer") return event;
    const { offer } = event.message;
    const endpoints = usableEndpoints(offer.endpoints, this.control.view.facts);
    return { ...event, message: { type: "offer", offer: { ...offer, endpoints } } };
  }

  /** Handshakes may go over links too: says which there are. */
  #offerLinks(peer: PeerSlot | null, now: Millis, effects: NodeEffect[]): void {
    for (const { slot, id } of this.#peers.values()) {
      if (peer !== null && slot !== peer) continue;
      const mesh = id === null ? undefined : this.control.view.peers.get(id);
      if (mesh) this.#setEndpoints(slot, mesh.endpoints, now, effects);
    }
  }

  #setEndpoints(
    peer: PeerSlot,
    endpoints: readonly Endpoint[],
    now: Millis,
    effects: NodeEffect[],
  ): void {
    const usable = usableEndpoints(endpoints, this.control.view.facts);
    this.#path({ type: "candidates", peer, endpoints: usable }, now, effects);
    const isUdpExcluded = this.paths.pathsOf(peer)?.preference.exclude.includes("udp");
    const all = [...(isUdpExcluded ? [] : endpoints), ...this.paths.linksTo(peer)];
    this.#device({ type: "set-endpoints", peer, endpoints: all }, now, effects);
  }

  #control(event: ControlEvent, now: Millis, effects: NodeEffect[]): void {
    for (const effect of this.control.handle(event, now)) {
      effects.push(effect);
      if (effect.type === "netmap-changed") this.#follow(effect.changes, now, effects);
      if (effect.type === "called") this.#called(effect.peer, effect.endpoints, now, effects);
      this.#logged(this.#log.control(effect, now), now, effects);
    }
  }

  /** What the mesh's log wants. */
  #logged(wanted: readonly NodeLogEffect[], now: Millis, effects: NodeEffect[]): void {
    for (const effect of wanted) {
      switch (effect.type) {
        case "say":
          this.#control({ type: "send-log", text: effect.text }, now, effects);
          break;
        case "whisper": {
          const { peer, part } = effect;
          const path = this.paths.pathsOf(peer)?.current ?? this.device.report(peer)?.endpoint;
          if (path) effects.push(sending(peer, path, part));
          break;
        }
        case "grown":
          effects.push({ type: "log-grown", entries: effect.entries });
          this.#control({ type: "review" }, now, effects);
          break;
        case "alert":
          effects.push({ type: "log-alert", alert: effect.alert });
          break;
      }
    }
  }

  /** A peer with a session of our own kind hears of the mesh's log. */
  #openLog(peer: PeerSlot, now: Millis, effects: NodeEffect[]): void {
    const id = this.#peers.get(peer)?.id;
    const key = id && this.control.view.peers.get(id)?.record.identity;
    if (id && key) this.#logged(this.#log.open(peer, id, key, now), now, effects);
  }

  #closeLog(peer: PeerSlot, now: Millis, effects: NodeEffect[]): void {
    const id = this.#peers.get(peer)?.id;
    if (id) this.#logged(this.#log.close(id, now), now, effects);
  }

  /** Brings device, routes and names in step with the netmap. */
  #follow(changes: NetmapChanges, now: Millis, effects: NodeEffect[]): void {
    for (const id of changes.removed) this.#remove(id, now, effects);
    let isRenamed = changes.removed.length > 0 || changes.areCoordinatorsOther;
    for (const peer of changes.upserted) {
      if (this.#upsert(peer, now, effects)) isRenamed = true;
    }
    if (isRenamed || changes.upserted.some(({ id }) => id === this.id)) this.#publish(effects);
    this.#nameRelays(now, effects);
    for (const peer of changes.upserted) this.#greet(peer, now, effects);
    effects.push({ type: "save" });
  }

  /**
   * A peer came online or restarted: make a session with it. One of the two does it, so that they
   * need not cross.
   */
  #greet(peer: MeshPeer, now: Millis, effects: NodeEffect[]): void {
    const slot = this.#slots.get(peer.id);
    if (slot === undefined || !peer.online || this.#greeted.get(peer.id) === peer.bootId) return;
    const hasRestarted = this.#greeted.has(peer.id);
    this.#greeted.set(peer.id, peer.bootId);
    const hasSession = this.device.report(slot)?.state === "up";
    if (hasSession && hasRestarted) {
      this.#device({ type: "peer-restarted", peer: slot }, now, effects);
    } else if (!hasSession && this.#greeted.size <= WARM_PEERS && this.id < peer.id) {
      this.#device({ type: "session-wanted", peer: slot }, now, effects);
    }
  }

  /** Tells which nodes pass datagrams on. */
  #nameRelays(now: Millis, effects: NodeEffect[]): void {
    const nodes = [...this.#slots].flatMap(([id, peer]) =>
      this.control.view.peers.get(id)?.links.relays ? [{ id, peer }] : []
    );
    this.#path({ type: "relay-nodes", nodes }, now, effects);
  }

  /** A peer wants a session with this node: open the way from here. */
  #called(
    id: PeerId,
    endpoints: readonly Endpoint[],
    now: Millis,
    effects: NodeEffect[],
  ): void {
    const peer = this.#slots.get(id);
    if (peer === undefined) return;
    const known = this.control.view.peers.get(id)?.endpoints ?? [];
    this.#setEndpoints(peer, [...new Set([...endpoints, ...known])], now, effects);
    // Datagrams from here open this side's firewall for the peer's; crossing handshakes settle.
    if (this.device.report(peer)?.state === "up") return;
    for (const effect of this.device.handle({ type: "session-wanted", peer }, now)) {
      this.#caused(effect, now, effects);
    }
  }

  /** Adds or updates a peer; true when its name, addresses or key changed. */
  #upsert(mesh: MeshPeer, now: Millis, effects: NodeEffect[]): boolean {
    if (mesh.id === this.id) return false;
    const slot = this.#slots.get(mesh.id);
    if (slot === undefined) return this.#add(mesh, now, effects);

    this.#setEndpoints(slot, mesh.endpoints, now, effects);
    const before = this.#peers.get(slot)!;
    const after = ofMesh(slot, mesh);
    if (isSamePeer(before, after)) return false;
    this.#peers.set(slot, after);
    return true;
  }

  #add(mesh: MeshPeer, now: Millis, effects: NodeEffect[]): boolean {
    const slot = this.#freeSlots.pop() ?? this.#nextSlot++;
    if (slot >= MAX_PEERS) {
      this.#nextSlot--;
      return false;
    }
    const peer = ofMesh(slot, mesh);
    this.#peers.set(slot, peer);
    this.#slots.set(mesh.id, slot);
    effects.push({ type: "peer-added", peer });
    this.#path({ type: "peer-added", peer: slot, id: mesh.id }, now, effects);
    const options = { publicKey: fromBase64(peer.wireguardKey), endpoints: mesh.endpoints };
    this.#device({ type: "add-peer", peer: slot, options }, now, effects);
    this.#setEndpoints(slot, mesh.endpoints, now, effects);
    return true;
  }

  #addStatic(config: StaticPeer, now: Millis, effects: NodeEffect[]): void {
    const slot = this.#nextSlot++;
    assert(slot < MAX_PEERS, "the configuration holds fewer peers than there are slots");
    const peer = ofConfig(slot, config);
    this.#peers.set(slot, peer);
    effects.push({ type: "peer-added", peer });
    const options = {
      publicKey: config.publicKey,
      endpoints: config.endpoint ? [config.endpoint] : [],
      ...(config.presharedKey ? { presharedKey: config.presharedKey } : {}),
      ...(config.persistentKeepaliveMs !== null
        ? { persistentKeepaliveMs: config.persistentKeepaliveMs }
        : {}),
    };
    this.#device({ type: "add-peer", peer: slot, options }, now, effects);
  }

  #remove(id: PeerId, now: Millis, effects: NodeEffect[]): void {
    const slot = this.#slots.get(id);
    if (slot === undefined) return;
    this.#closeLog(slot, now, effects);
    this.#device({ type: "remove-peer", peer: slot }, now, effects);
    this.#path({ type: "peer-removed", peer: slot }, now, effects);
    this.#features.delete(slot);
    effects.push({ type: "peer-removed", peer: this.#peers.get(slot)! });
    this.#peers.delete(slot);
    this.#slots.delete(id);
    this.#greeted.delete(id);
    this.#freeSlots.push(slot);
  }

  /** Tells routes and names anew. */
  #publish(effects: NodeEffect[]): void {
    effects.push({ type: "routes", routes: routesOf([...this.#peers.values()], this.#ways) });
    const { view } = this.control;
    const own = view.peers.get(this.id)?.record;
    const nodes = [...(own ? [own] : []), ...this.#peers.values()];
    const coordinators = view.coordinators.flatMap((id) => view.peers.get(id)?.record.name ?? []);
    effects.push({ type: "names", nodes, coordinators });
  }
}
