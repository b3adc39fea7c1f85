/**
 * A simulated machine's ways to others: sockets, relays and what it finds out about its NAT. Does
 * what `core/daemon/path_shell.ts`, `carriers.ts` and `reachability.ts` do.
 * @module
 */
import { RelayedTo } from "./relayed_to.ts";
import type { Sealer } from "../../core/dataplane/sealer.ts";
import type { PeerTable } from "../../core/dataplane/table.ts";
import type { PeerId } from "../../core/ids.ts";
import { type Endpoint, formatEndpoint, type Ip, parseEndpoint } from "../../core/ip.ts";
import type { Train } from "../../core/link.ts";
import { NEVER } from "../../core/machine.ts";
import type { NodeEvent, NodeMachine } from "../../core/node.ts";
import {
  extraSocket,
  kindOf,
  type PathAddress,
  relayingNode,
  socketPath,
} from "../../core/path/address.ts";
import type { PathEffect } from "../../core/path/agent.ts";
import { encodePathMessage } from "../../core/path/messages.ts";
import { NatDiscovery, type NatEvent } from "../../core/path/nat_discovery.ts";
import { isStun } from "../../core/stun/message.ts";
import type { PeerSlot } from "../../core/wireguard/device.ts";
import type { Network } from "./network.ts";
import { type SimRelay, SimRelayLink } from "./relay.ts";
import type { World } from "./world.ts";

/** The machine that these are the ways of. */
export interface PathOwner {
  readonly world: World;
  readonly network: Network;
  readonly id: PeerId;
  readonly node: NodeMachine;
  readonly table: PeerTable;
  readonly sealer: Sealer;
  readonly port: number;
  /** Its addresses, IPv4 first. */
  readonly ips: () => readonly Ip[];
  readonly relays: readonly SimRelay[];
  readonly stunServers: readonly Endpoint[];
  /** Whether it passes datagrams of others on, and how those reach it. */
  readonly viaNodes: RelayedTo | null;
  readonly emit: (event: NodeEvent) => void;
  /** Takes datagrams that came by a way that is no plain UDP. */
  readonly inbound: (from: Endpoint, bytes: Uint8Array) => void;
}

/** See the module's doc. */
export class HostPaths {
  readonly #owner: PathOwner;
  readonly #links: readonly SimRelayLink[];
  readonly #nat: NatDiscovery;
  /** What the packet path knows other ways by, as the daemon's loopback sockets. */
  readonly #byEndpoint = new Map<Endpoint, { path: PathAddress; peer: PeerSlot }>();
  readonly #byKey = new Map<string, Endpoint>();
  readonly #sockets = new Map<number, PeerSlot>();
  #nextSocket = 1;
  #observed: Endpoint[] = [];
  #timerFor = NEVER;
  #isClosed = false;
  /** Datagrams that went out on each kind of path. */
  readonly sent = { udp: 0, ssh: 0, node: 0, relay: 0 };
  /** Most packets of a hole punching search in a second, and sockets at once. */
  readonly punched = { sockets: 0 };

  constructor(owner: PathOwner) {
    this.#owner = owner;
    const { world, network, id, relays, node } = owner;
    this.#nat = new NatDiscovery({ random: world.random });
    const site = network.siteOf(owner.ips()[0]!);
    this.#links = relays.map((relay) => {
      const path = `relay:${relay.name}:${relay.port}`;
      return new SimRelayLink(world, relay, { peer: id, site, viaProxy: true }, {
        received: (from, train) => this.#arrived(path, from, train),
        changed: (about, isUp, why) => {
          const peer = about === null ? null : node.slotOf(about) ?? null;
          if (about !== null && peer === null) return;
          owner.emit({ type: "path", event: { type: "link", path, peer, isUp, why } });
        },
      });
    });
    owner.viaNodes?.listen(id, (relay, from, bytes) => {
      this.#arrived(`node:${relay}`, from, { bytes, segment: bytes.length });
    });
  }

  get nat(): NatDiscovery {
    return this.#nat;
  }

  /** Listens, and finds out where this machine is. */
  start(): void {
    const { network, ips, port } = this.#owner;
    for (const ip of ips()) {
      network.attach(formatEndpoint(ip, port), (from, bytes) => this.receive(from, bytes));
    }
    this.#discover();
    this.tell();
  }

  /** Other addresses: as the daemon's network monitor has it. */
  networkChanged(): void {
    this.#observed = [];
    this.tell();
    this.#owner.emit({ type: "path", event: { type: "network-changed" } });
    for (const link of this.#links) link.reconnect();
    this.#discover();
  }

  detach(): void {
    const { network, ips, port } = this.#owner;
    for (const ip of ips()) {
      network.detach(formatEndpoint(ip, port));
      for (const socket of this.#sockets.keys()) {
        network.detach(formatEndpoint(ip, 20_000 + socket));
      }
    }
  }

  close(): void {
    this.#isClosed = true;
    this.detach();
    for (const link of this.#links) void link.close();
  }

  /** A datagram came to the node's socket. */
  receive(from: Endpoint, bytes: Uint8Array): void {
    if (this.#isClosed) return;
    if (isStun(bytes)) this.#discovered({ type: "datagram", from, bytes });
    else this.#owner.inbound(from, bytes);
  }

  /** The path that a datagram came by. */
  origin(from: Endpoint): PathAddress {
    return this.#byEndpoint.get(from)?.path ?? from;
  }

  /** Sends a sealed datagram to where the packet path wants it. */
  forward(to: Endpoint, bytes: Uint8Array): void {
    const way = this.#byEndpoint.get(to);
    this.transmit(way?.path ?? to, way?.peer, bytes);
  }

  transmit(path: PathAddress, peer: PeerSlot | undefined, bytes: Uint8Array, df = false): void {
    const { network, node, id, viaNodes } = this.#owner;
    this.sent[kindOf(path)]++;
    const extra = extraSocket(path);
    if (kindOf(path) === "udp") {
      const to = extra?.endpoint ?? path;
      const from = this.#sourceFor(to, extra ? 20_000 + extra.socket : this.#owner.port);
      if (from) network.send(from, to, bytes, { df });
      return;
    }
    const target = peer === undefined ? null : node.peers.get(peer)?.id ?? null;
    if (target === null) return;
    const relay = relayingNode(path);
    if (relay !== null) viaNodes?.send(id, relay, target, bytes);
    this.#links.find(({ name }) => name === path)?.send(target, { bytes, segment: bytes.length });
  }

  /** Performs an effect of the path agent; true when the packet path must look at the table. */
  perform(effect: PathEffect): boolean {
    const { table, sealer, emit } = this.#owner;
    switch (effect.type) {
      case "send-path-message": {
        const { peer, to, message, size, df } = effect;
        const datagram = sealer.seal(peer, encodePathMessage(message, size));
        if (datagram) this.transmit(to, peer, datagram, df);
        return false;
      }
      case "use-path": {
        const { peer, path, standby, mtu } = effect;
        table.setEndpoint(peer, this.endpointOf(path, peer));
        table.setStandby(peer, standby === null ? null : this.endpointOf(standby, peer));
        table.setMtu(peer, mtu);
        return true;
      }
      case "observed":
        this.#observed = [effect.endpoint];
        this.tell();
        return false;
      case "open-sockets":
        emit({
          type: "path",
          event: { type: "sockets", peer: effect.peer, sockets: this.#open(effect) },
        });
        return false;
      case "close-sockets":
        for (const socket of effect.sockets) this.#close(socket);
        return false;
      default:
        return false;
    }
  }

  /** What the packet path knows a path by. */
  endpointOf(path: PathAddress, peer: PeerSlot): Endpoint {
    if (kindOf(path) === "udp" && extraSocket(path) === null) return path;
    const key = `${peer} ${path}`;
    const known = this.#byKey.get(key);
    if (known) return known;
    const endpoint = `127.0.0.1:${1024 + this.#byKey.size}`;
    this.#byKey.set(key, endpoint);
    this.#byEndpoint.set(endpoint, { path, peer });
    return endpoint;
  }

  /** Tells coordinator and peers where this machine is. */
  tell(): void {
    const { ips, port, emit, viaNodes, id } = this.#owner;
    const nat = this.#nat.report;
    const local = ips().map((ip) => formatEndpoint(ip, port));
    const endpoints = [...new Set([...local, ...nat.mapped, ...this.#observed])].slice(0, 16);
    const links = { relays: viaNodes?.relays(id) ?? false, sshPort: 0 };
    emit({
      type: "control",
      event: { type: "set-endpoints", endpoints, udpPort: port, links },
    });
    emit({ type: "path", event: { type: "offer", offer: { endpoints, nat } } });
  }

  #arrived(path: PathAddress, from: PeerId, { bytes, segment }: Train): void {
    const peer = this.#owner.node.slotOf(from);
    if (peer === undefined || this.#isClosed) return;
    const endpoint = this.endpointOf(path, peer);
    for (let at = 0; at < bytes.length; at += segment) {
      this.#owner.inbound(endpoint, bytes.slice(at, at + segment));
    }
  }

  #sourceFor(to: Endpoint, port: number): Endpoint | null {
    const isV6 = parseEndpoint(to)!.ip.includes(":");
    const ip = this.#owner.ips().find((each) => each.includes(":") === isV6);
    return ip === undefined ? null : formatEndpoint(ip, port);
  }

  #open({ peer, count }: { peer: PeerSlot; count: number }): number[] {
    const { network, ips } = this.#owner;
    const opened: number[] = [];
    for (let i = 0; i < count; i++) {
      const socket = this.#nextSocket++;
      this.#sockets.set(socket, peer);
      opened.push(socket);
      network.attach(formatEndpoint(ips()[0]!, 20_000 + socket), (from, bytes) => {
        const endpoint = this.endpointOf(socketPath(socket, from), peer);
        if (!this.#isClosed) this.#owner.inbound(endpoint, bytes);
      });
    }
    this.punched.sockets = Math.max(this.punched.sockets, this.#sockets.size);
    return opened;
  }

  #close(socket: number): void {
    this.#sockets.delete(socket);
    this.#owner.network.detach(formatEndpoint(this.#owner.ips()[0]!, 20_000 + socket));
  }

  #discover(): void {
    const { stunServers, ips, port } = this.#owner;
    const local = ips().map((ip) => formatEndpoint(ip, port));
    this.#discovered({ type: "start", servers: [{ endpoints: stunServers }], local });
  }

  #discovered(event: NatEvent): void {
    const { world } = this.#owner;
    for (const effect of this.#nat.handle(event, world.now)) {
      if (effect.type === "transmit") this.transmit(effect.to, undefined, effect.bytes);
      else this.tell();
    }
    const { deadline } = this.#nat;
    if (deadline === NEVER || this.#timerFor <= deadline) return;
    this.#timerFor = deadline;
    world.at(deadline, () => {
      this.#timerFor = NEVER;
      if (!this.#isClosed) this.#discovered({ type: "tick" });
    });
  }
}
