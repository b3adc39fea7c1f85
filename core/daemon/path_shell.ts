/**
 * Where the names of paths become sockets: what the node sends on a path goes out here, and what
 * comes in is told which path it came by.
 *
 * The packet workers know UDP endpoints only. A link is attached to them by a socket on loopback
 * for each peer, so a datagram for 127.0.0.1:P is one for that link and peer, and one from there
 * came by it.
 * @module
 */
import { mapped, unmapped } from "../dataplane/table.ts";
import type { PeerId } from "../ids.ts";
import { type Endpoint, formatEndpoint, parseEndpoint } from "../ip.ts";
import { SHORT_BYTES, splitShort, type Train } from "../link.ts";
import { extraSocket, kindOf, type PathAddress, relayingNode } from "../path/address.ts";
import type { PathEffect, PathEvent } from "../path/agent.ts";
import { decodePathMessage, encodePathMessage } from "../path/messages.ts";
import { Attachments } from "../platform/linux/attachments.ts";
import type { Readiness } from "../platform/linux/readiness.ts";
import type { PeerSlot } from "../wireguard/events.ts";
import type { DataPlane } from "./dataplane.ts";
import { PathDrains } from "./path_drain.ts";
import { systemRandom } from "./system_random.ts";
import type { PathDatagram } from "./worker.ts";

/** A marker is long, so that it waits behind long datagrams. */
const MARKER_BYTES = SHORT_BYTES;
/** Attachments at once; the one that was made first goes for another one. */
const MAX_ATTACHMENTS = 1024;

export interface PathShellOptions {
  readonly plane: DataPlane;
  readonly readiness: Readiness;
  readonly idOf: (peer: PeerSlot) => PeerId | null;
  readonly slotOf: (id: PeerId) => PeerSlot | undefined;
  readonly emit: (event: PathEvent) => void;
  /** A peer saw this node's socket there. */
  readonly observed: (endpoint: Endpoint) => void;
}

/** Takes datagrams to peers by another way than the node's UDP socket. */
export interface Carrier {
  send(to: PathAddress, peer: PeerId, train: Train): boolean;
}

interface Attachment {
  readonly id: number;
  readonly endpoint: Endpoint;
  readonly port: number;
  readonly peer: PeerSlot;
  readonly address: PathAddress;
}

/** See the module's doc. */
export class PathShell {
  readonly #options: PathShellOptions;
  readonly #attachments: Attachments;
  readonly #byKey = new Map<string, Attachment>();
  readonly #byPort = new Map<number, Attachment>();
  readonly #byId = new Map<number, Attachment>();
  readonly #carriers = new Map<string, Carrier>();
  /** The path that the agent chose. */
  readonly #inUse = new Map<PeerSlot, PathAddress>();
  readonly #drains: PathDrains;

  constructor(options: PathShellOptions) {
    this.#options = options;
    const { plane, readiness } = options;
    this.#attachments = new Attachments(
      plane.udpPort,
      (id, train) => this.#outbound(id, train),
      readiness,
    );
    this.#drains = new PathDrains({
      mark: (peer, path, number) => this.#mark(peer, path, number),
      send: (peer, path, train) => this.#sendTrain(peer, path, train),
      moved: (peer) => {
        this.#point(peer);
        plane.kick();
      },
      number: () => systemRandom.uint32(),
    });
  }

  /** Says what carries datagrams: `node` and `socket` name all paths of those, others one each. */
  addCarrier(name: PathAddress | "node" | "socket", carrier: Carrier): void {
    this.#carriers.set(name, carrier);
  }

  /** Nothing carries those any more. */
  removeCarrier(name: PathAddress): void {
    this.#carriers.delete(name);
  }

  /** The path that a datagram came by, and its peer where that is certain. */
  origin(
    ip: Uint8Array,
    port: number,
  ): { readonly from: PathAddress; readonly peer: PeerSlot | null } {
    const text = unmapped(ip);
    const attachment = text === "127.0.0.1" ? this.#byPort.get(port) : undefined;
    if (attachment) return { from: attachment.address, peer: attachment.peer };
    return { from: formatEndpoint(text, port), peer: null };
  }

  /** Sends one datagram on a path. */
  transmit(to: PathAddress, peer: PeerSlot | undefined, bytes: Uint8Array, df = false): void {
    if (kindOf(to) === "udp" && extraSocket(to) === null) {
      const parts = parseEndpoint(to);
      if (!parts) return;
      const ip = mapped(parts.ip);
      if (df) this.#options.plane.transmitWhole(bytes, ip, parts.port);
      else this.#options.plane.transmit(bytes, ip, parts.port);
      return;
    }
    const id = peer === undefined ? null : this.#options.idOf(peer);
    if (id !== null) this.#carrierOf(to)?.send(to, id, { bytes, segment: bytes.length });
  }

  /** Performs an effect; true when the packet workers must look at the table. */
  perform(effect: PathEffect): boolean {
    const { table, sealer } = this.#options.plane;
    switch (effect.type) {
      case "send-path-message": {
        const { peer, to, message, size, df } = effect;
        const datagram = sealer.seal(peer, encodePathMessage(message, size));
        if (datagram) this.transmit(to, peer, datagram, df);
        return false;
      }
      case "use-path": {
        const { peer, path, standby, mtu } = effect;
        table.setStandby(peer, standby === null ? null : this.endpointOf(standby, peer));
        table.setMtu(peer, mtu);
        this.#use(peer, path, effect.drain && standby === null);
        return true;
      }
      case "observed":
        this.#options.observed(effect.endpoint);
        return false;
      case "open-sockets":
      case "close-sockets":
      case "want-session":
      case "want-link":
        return false;
    }
  }

  #use(peer: PeerSlot, path: PathAddress, drain: boolean): void {
    const before = this.#inUse.get(peer);
    if (before === path && this.#drains.isMoving(peer)) return;
    this.#inUse.set(peer, path);
    // What is sent by the node's own socket is under way no longer than on the wire.
    const isQueued = before !== undefined && this.#byKey.has(`${peer} ${before}`);
    if (drain && isQueued) return this.#drains.begin(peer, before, path);
    this.#drains.end(peer);
    this.#point(peer);
  }

  /** Has the packet workers send where the peer's path leads. */
  #point(peer: PeerSlot): void {
    const path = this.#inUse.get(peer);
    const endpoint = path === undefined ? null : this.endpointOf(path, peer);
    if (endpoint) this.#options.plane.table.setEndpoint(peer, endpoint);
  }

  #mark(peer: PeerSlot, path: PathAddress, number: number): void {
    const marker = encodePathMessage({ type: "ping", number }, MARKER_BYTES);
    const datagram = this.#options.plane.sealer.seal(peer, marker);
    if (datagram) this.transmit(path, peer, datagram);
  }

  #sendTrain(peer: PeerSlot, path: PathAddress, { bytes, segment }: Train): void {
    for (let at = 0; at < bytes.length; at += segment) {
      this.transmit(path, peer, bytes.subarray(at, at + segment));
    }
  }

  /** What the packet workers send to for a path, or null when it cannot be sent on now. */
  endpointOf(address: PathAddress, peer: PeerSlot): Endpoint | null {
    if (kindOf(address) === "udp" && extraSocket(address) === null) return address;
    return this.#attachment(address, peer).endpoint;
  }

  /** Messages about paths that came inside sessions. */
  received(datagrams: readonly PathDatagram[]): void {
    for (const { peer, bytes, ip, port } of datagrams) {
      const message = decodePathMessage(bytes);
      const { from } = this.origin(ip, port);
      if (message?.type === "pong" && this.#drains.answered(peer, message.number)) continue;
      if (message) this.#options.emit({ type: "message", peer, from, message });
    }
  }

  /** Datagrams came by a carrier: the packet workers open them. */
  inbound(address: PathAddress, id: PeerId, train: Train): void {
    const peer = this.#options.slotOf(id);
    if (peer === undefined) return;
    this.#attachments.send(this.#attachment(address, peer).id, train);
  }

  /** Forgets what belongs to a peer. */
  removePeer(peer: PeerSlot): void {
    this.#drains.end(peer);
    this.#inUse.delete(peer);
    for (const attachment of [...this.#byId.values()]) {
      if (attachment.peer === peer) this.#detach(attachment);
    }
  }

  async close(): Promise<void> {
    this.#drains.close();
    await this.#attachments.shutdown();
  }

  #outbound(id: number, train: Train): void {
    const attachment = this.#byId.get(id);
    const peer = attachment && this.#options.idOf(attachment.peer);
    if (!attachment || !peer) return;
    const { address } = attachment;
    if (this.#drains.takes(attachment.peer, address, train)) return;
    for (const part of splitShort(train)) this.#carrierOf(address)?.send(address, peer, part);
  }

  #carrierOf(address: PathAddress): Carrier | undefined {
    if (relayingNode(address) !== null) return this.#carriers.get("node");
    return this.#carriers.get(extraSocket(address) === null ? address : "socket");
  }

  #attachment(address: PathAddress, peer: PeerSlot): Attachment {
    const key = `${peer} ${address}`;
    const known = this.#byKey.get(key);
    if (known) return known;
    if (this.#byId.size >= MAX_ATTACHMENTS) this.#detach(this.#byId.values().next().value!);
    const { id, endpoint } = this.#attachments.open();
    const attachment = { id, endpoint, port: parseEndpoint(endpoint)!.port, peer, address };
    this.#byKey.set(key, attachment);
    this.#byId.set(id, attachment);
    this.#byPort.set(attachment.port, attachment);
    return attachment;
  }

  #detach(attachment: Attachment): void {
    this.#attachments.close(attachment.id);
    this.#byKey.delete(`${attachment.peer} ${attachment.address}`);
    this.#byId.delete(attachment.id);
    this.#byPort.delete(attachment.port);
  }
}
