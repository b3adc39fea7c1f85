/**
 * A network in memory with whole nodes on it, for tests: real machines and real encryption, a
 * virtual clock, and a wire that loses, doubles, delays and reorders as a seed tells.
 * @module
 */
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { assert, unreachable } from "../assert.ts";
import type { Endpoint } from "../ip.ts";
import type { Millis } from "../machine.ts";
import { type Random, SeededRandom, unit } from "../random.ts";
import { Device, type DeviceEffect, type DeviceEvent, type Keypair } from "./device.ts";
import {
  DATA,
  isData,
  newMessage,
  readDataCounter,
  readIndex,
  writeDataHeader,
} from "./messages.ts";
import { ReplayWindow } from "./replay_window.ts";
import { TimestampSource } from "./tai64n.ts";

/** How the wire treats datagrams. Shares are in [0, 1], delays in milliseconds. */
export interface WireOptions {
  loss?: number;
  duplication?: number;
  minDelay?: Millis;
  maxDelay?: Millis;
}

/** One datagram on its way. */
export interface FakeDatagram {
  readonly at: Millis;
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly bytes: Uint8Array;
}

/** What one end of a session holds of a keypair. */
export interface FakeKeypair extends Keypair {
  sent: number;
  readonly window: ReplayWindow;
}

/** Nodes by endpoint, datagrams between them, and the time. */
export class FakeWire {
  readonly random: Random;
  readonly options: WireOptions;
  /** Everything ever sent, lost or not. */
  readonly log: FakeDatagram[] = [];
  now: Millis = 1_000_000;
  readonly #nodes = new Map<Endpoint, FakeNode>();
  #flying: FakeDatagram[] = [];

  constructor(seed: number, options: WireOptions = {}) {
    this.random = new SeededRandom(seed);
    this.options = options;
  }

  /** Puts a node at an endpoint; what was there is unplugged. */
  plug(endpoint: Endpoint, node: FakeNode): void {
    for (const [at, other] of this.#nodes) if (other === node) this.#nodes.delete(at);
    this.#nodes.set(endpoint, node);
    node.endpoint = endpoint;
  }

  unplug(endpoint: Endpoint): void {
    this.#nodes.delete(endpoint);
  }

  transmit(from: Endpoint, to: Endpoint, bytes: Uint8Array): void {
    const { loss = 0, duplication = 0, minDelay = 1, maxDelay = minDelay } = this.options;
    this.log.push({ at: this.now, from, to, bytes: bytes.slice() });
    const copies = unit(this.random) < duplication ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (unit(this.random) < loss) continue;
      const at = this.now + minDelay + unit(this.random) * (maxDelay - minDelay);
      this.#flying.push({ at, from, to, bytes: bytes.slice() });
    }
  }

  /** Lets time pass; datagrams arrive and deadlines come in their order. */
  run(durationMs: Millis): void {
    const end = this.now + durationMs;
    for (;;) {
      this.#flying.sort((a, b) => a.at - b.at);
      const arrival = this.#flying[0]?.at ?? Infinity;
      const nodes = [...this.#nodes.values()];
      const due = Math.min(arrival, ...nodes.map(({ device }) => device.deadline));
      if (due > end) break;
      this.now = Math.max(this.now, due);
      if (arrival <= this.now) {
        const datagram = this.#flying.shift()!;
        this.#nodes.get(datagram.to)?.receive(datagram);
      }
      for (const node of nodes) node.handle({ type: "tick" });
    }
    this.now = end;
  }
}

/** What a fake node is made of. */
export interface FakeNodeOptions {
  readonly privateKey: Uint8Array;
  /** Absent: one without a past. */
  readonly timestamps?: TimestampSource;
  /** Wall time is the wire's time plus this. */
  readonly clockOffset?: Millis;
  readonly rekeyAfterMs?: number;
  readonly features?: number;
}

/** A device with a data plane of a few lines. */
export class FakeNode {
  readonly wire: FakeWire;
  readonly device: Device;
  readonly timestamps: TimestampSource;
  endpoint: Endpoint = "";
  clockOffset: Millis;
  isUnderLoad = false;
  /** Texts that arrived, in order. */
  readonly received: string[] = [];
  readonly effects: (DeviceEffect & { readonly at: Millis })[] = [];
  readonly keypairs = new Map<number, FakeKeypair>();
  readonly currentSlots = new Map<number, number>();
  readonly endpoints = new Map<number, Endpoint>();
  readonly #staged = new Map<number, Uint8Array[]>();
  readonly #used = new Set<FakeKeypair>();

  constructor(wire: FakeWire, endpoint: Endpoint, options: FakeNodeOptions) {
    this.wire = wire;
    this.timestamps = options.timestamps ?? new TimestampSource();
    this.clockOffset = options.clockOffset ?? 1_700_000_000_000;
    const { privateKey, rekeyAfterMs, features = 0 } = options;
    this.device = new Device({
      privateKey,
      random: new SeededRandom(wire.random.uint32()),
      timestamp: () => this.timestamps.next(wire.now + this.clockOffset),
      features,
      ...(rekeyAfterMs === undefined ? {} : { rekeyAfterMs }),
    });
    wire.plug(endpoint, this);
  }

  /** Effects of one type so far, with the time of each. */
  effectsOf<T extends DeviceEffect["type"]>(
    type: T,
  ): (DeviceEffect & { readonly type: T; readonly at: Millis })[] {
    return this.effects.filter((effect) => effect.type === type) as never;
  }

  current(peer: number): FakeKeypair | null {
    const slot = this.currentSlots.get(peer);
    return slot === undefined ? null : this.keypairs.get(slot) ?? null;
  }

  handle(event: DeviceEvent): void {
    for (const effect of this.device.handle(event, this.wire.now)) {
      this.effects.push({ ...effect, at: this.wire.now });
      this.#perform(effect);
    }
  }

  /** Sends a text, or holds it until there is a session. */
  send(peer: number, text: string): void {
    const packet = new TextEncoder().encode(text);
    if (this.#seal(peer, packet)) this.handle({ type: "data-sent", peer });
    else {
      const staged = this.#staged.get(peer) ?? [];
      this.#staged.set(peer, [...staged, packet].slice(-64));
      this.handle({ type: "session-wanted", peer });
    }
  }

  receive({ from, bytes }: FakeDatagram): void {
    if (isData(bytes)) this.#open(from, bytes);
    else this.handle({ type: "datagram", from, bytes, underLoad: this.isUnderLoad });
  }

  #perform(effect: DeviceEffect): void {
    switch (effect.type) {
      case "transmit":
        return this.wire.transmit(this.endpoint, effect.to, effect.bytes);
      case "install-keypair":
        return this.#install(effect.keypair);
      case "promote-keypair":
        assert(this.keypairs.has(effect.slot), "a promoted keypair is installed");
        this.currentSlots.set(effect.peer, effect.slot);
        return this.#flush(effect.peer);
      case "forget-keypair":
        assert(this.keypairs.delete(effect.slot), "a forgotten keypair was installed");
        if (this.currentSlots.get(effect.peer) === effect.slot) {
          this.currentSlots.delete(effect.peer);
        }
        return;
      case "send-keepalive":
        assert(this.#seal(effect.peer, new Uint8Array(0)), "a keepalive has a keypair");
        return this.handle({ type: "keepalive-sent", peer: effect.peer });
      case "use-endpoint":
        this.endpoints.set(effect.peer, effect.endpoint);
        return;
      case "session-up":
      case "session-down":
      case "drop":
        return;
      default:
        return unreachable(effect);
    }
  }

  #install(keypair: Keypair): void {
    assert(!this.keypairs.has(keypair.slot), "a slot is free before it is filled");
    this.keypairs.set(keypair.slot, { ...keypair, sent: 0, window: new ReplayWindow() });
    if (keypair.role === "next") return;
    this.currentSlots.set(keypair.peer, keypair.slot);
    this.#flush(keypair.peer);
  }

  #flush(peer: number): void {
    const staged = this.#staged.get(peer) ?? [];
    this.#staged.delete(peer);
    for (const packet of staged) this.#seal(peer, packet);
    if (staged.length > 0) this.handle({ type: "data-sent", peer });
  }

  #seal(peer: number, packet: Uint8Array): boolean {
    const keypair = this.current(peer);
    const endpoint = this.endpoints.get(peer);
    if (!keypair || !endpoint) return false;
    const counter = keypair.sent++;
    const bytes = newMessage({ type: DATA.type, size: DATA.size + packet.length });
    writeDataHeader(bytes, keypair.remoteIndex, counter);
    const nonce = nonceOf(counter);
    bytes.set(chacha20poly1305(keypair.sendKey, nonce).encrypt(packet), DATA.packet);
    this.wire.transmit(this.endpoint, endpoint, bytes);
    return true;
  }

  #open(from: Endpoint, bytes: Uint8Array): void {
    const index = readIndex(bytes, DATA.receiver);
    const keypair = [...this.keypairs.values()].find(({ localIndex }) => localIndex === index);
    if (!keypair) return this.handle({ type: "unknown-index", from });
    const counter = readDataCounter(bytes);
    if (!keypair.window.check(counter)) return;
    const cipher = chacha20poly1305(keypair.receiveKey, nonceOf(counter));
    const packet = cipher.decrypt(bytes.subarray(DATA.packet));
    keypair.window.accept(counter);
    const { peer, localIndex } = keypair;
    if (this.endpoints.get(peer) !== from) {
      this.endpoints.set(peer, from);
      this.handle({ type: "roamed", peer, endpoint: from });
    }
    if (!this.#used.has(keypair)) {
      this.#used.add(keypair);
      this.handle({ type: "keypair-used", localIndex });
    }
    if (packet.length === 0) return this.handle({ type: "keepalive-received", peer });
    this.received.push(new TextDecoder().decode(packet));
    this.handle({ type: "data-received", peer });
  }
}

function nonceOf(counter: number): Uint8Array {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setUint32(4, counter, true);
  return nonce;
}
