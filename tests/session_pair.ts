/**
 * Whole nodes on a wire in memory: the session machine, the packet path and the bridge between them,
 * put together as the daemon does, under a virtual clock.
 * @module
 */
import { DataPlaneBridge } from "../core/dataplane/bridge.ts";
import { VERDICT } from "../core/dataplane/rx_path.ts";
import type { Endpoint, Ip } from "../core/ip.ts";
import { parsePrefix } from "../core/ip.ts";
import type { Millis } from "../core/machine.ts";
import { type Random, SeededRandom, unit } from "../core/random.ts";
import { Device, type DeviceEffect, type DeviceEvent } from "../core/wireguard/device.ts";
import { TimestampSource } from "../core/wireguard/tai64n.ts";
import { DataPlaneNode } from "./dataplane_node.ts";

/** Wall time at the wire's time 0. */
const WALL = 1_700_000_000_000;

/** A datagram under way. */
interface Flying {
  readonly at: Millis;
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly bytes: Uint8Array;
}

/** A wire between session nodes, with a delay from `random`; what `lose` picks does not arrive. */
export class SessionWire {
  readonly random: Random;
  readonly delay: readonly [least: Millis, most: Millis];
  lose: (bytes: Uint8Array, from: Endpoint) => boolean = () => false;
  now: Millis = 0;
  readonly nodes: SessionNode[] = [];
  #flying: Flying[] = [];

  constructor(seed: number, delay: readonly [Millis, Millis] = [1, 1]) {
    this.random = new SeededRandom(seed);
    this.delay = delay;
  }

  transmit(from: Endpoint, to: Endpoint, bytes: Uint8Array): void {
    if (this.lose(bytes, from)) return;
    const [least, most] = this.delay;
    const at = this.now + least + unit(this.random) * (most - least);
    this.#flying.push({ at, from, to, bytes });
  }

  /** Lets time pass until `end`, in the order of arrivals and deadlines. */
  runUntil(end: Millis): void {
    for (;;) {
      this.#flying.sort((a, b) => a.at - b.at);
      const arrival = this.#flying[0]?.at ?? Infinity;
      const due = Math.min(arrival, ...this.nodes.map((node) => node.deadline));
      if (due > end) break;
      this.now = Math.max(this.now, due);
      if (arrival <= this.now) {
        const { from, to, bytes } = this.#flying.shift()!;
        for (const node of this.nodes) if (node.endpoint === to) node.receive(bytes, from);
      } else for (const node of this.nodes) node.tick();
    }
    this.now = end;
  }

  run(duration: Millis): void {
    this.runUntil(this.now + duration);
  }
}

/** One node on the wire; its peers' slots are in the order of {@link SessionNode.meet}. */
export class SessionNode {
  readonly wire: SessionWire;
  readonly endpoint: Endpoint;
  readonly plane: DataPlaneNode;
  readonly device: Device;
  readonly bridge: DataPlaneBridge;
  readonly effects: { readonly at: Millis; readonly effect: DeviceEffect }[] = [];
  readonly #peers: { readonly slot: number; readonly addresses: readonly Ip[] }[] = [];

  constructor(wire: SessionWire, endpoint: Endpoint, addresses: readonly Ip[]) {
    this.wire = wire;
    this.endpoint = endpoint;
    this.plane = new DataPlaneNode(endpoint, addresses);
    const stamps = new TimestampSource();
    this.device = new Device({
      privateKey: wire.random.bytes(32),
      random: new SeededRandom(wire.random.uint32()),
      timestamp: () => stamps.next(WALL + wire.now),
    });
    this.bridge = new DataPlaneBridge(this.plane.table);
    wire.nodes.push(this);
  }

  get deadline(): Millis {
    return Math.min(this.device.deadline, this.bridge.deadline);
  }

  /** Adds a peer in the next slot. */
  meet(other: SessionNode): void {
    const slot = this.#peers.length;
    const { endpoint, plane: { addresses }, device: { publicKey } } = other;
    this.#peers.push({ slot, addresses });
    this.plane.table.addPeer(slot);
    const routes = this.#peers.flatMap((peer) =>
      peer.addresses.map((ip) => ({ prefix: parsePrefix(ip)!, value: peer.slot }))
    );
    this.plane.table.setRoutes(routes);
    this.handle({ type: "add-peer", peer: slot, options: { publicKey, endpoints: [endpoint] } });
  }

  /** Reads one packet from the interface. */
  send(packet: Uint8Array): void {
    this.plane.send(packet);
    this.settle();
  }

  receive(bytes: Uint8Array, from: Endpoint): void {
    const verdict = this.plane.receive(bytes, from);
    if (verdict === VERDICT.control) {
      this.handle({ type: "datagram", from, bytes, underLoad: false });
    } else if (verdict === VERDICT.unknown) this.handle({ type: "unknown-index", from });
    this.settle();
  }

  tick(): void {
    this.settle();
    this.handle({ type: "tick" });
    this.settle();
  }

  handle(event: DeviceEvent): void {
    for (const effect of this.device.handle(event, this.wire.now)) {
      this.effects.push({ at: this.wire.now, effect });
      if (effect.type === "transmit") {
        this.wire.transmit(this.endpoint, effect.to, effect.bytes);
      } else if (this.bridge.perform(effect)) this.plane.tx.commands();
    }
  }

  /** Sends what the path has sealed and tells the machine what the path has seen. */
  settle(): void {
    this.#flush();
    const slots = this.#peers.map(({ slot }) => slot);
    for (const event of this.bridge.collect(slots, this.wire.now)) this.handle(event);
    this.#flush();
  }

  #flush(): void {
    for (const { to, bytes } of this.plane.sent.splice(0)) {
      if (to) this.wire.transmit(this.endpoint, to, bytes);
    }
  }

  /** Initiations sent so far. */
  get initiations(): number {
    return this.effects.filter(({ effect }) => effect.type === "transmit" && effect.bytes[0] === 1)
      .length;
  }
}

/** Two nodes that are peers of each other in slot 0, `10.0.0.1`/`fd00::1` and `.2`/`::2`. */
export function sessionPair(wire: SessionWire): [SessionNode, SessionNode] {
  const a = new SessionNode(wire, "192.0.2.1:51820", ["10.0.0.1", "fd00::1"]);
  const b = new SessionNode(wire, "192.0.2.2:51820", ["10.0.0.2", "fd00::2"]);
  a.meet(b);
  b.meet(a);
  return [a, b];
}
