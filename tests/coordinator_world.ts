/**
 * A coordinator and its nodes in one process, without sockets, in virtual time: what the tests of
 * the control plane run on.
 * @module
 */
import assert from "node:assert/strict";
import { PATHS, signRegistration } from "../core/control/envelope.ts";
import { ControlClient, type ControlEffect } from "../core/control/client.ts";
import type { RegisterBody } from "../core/control/messages.ts";
import { RecordVerifier } from "../core/control/roster.ts";
import type { Identity } from "../core/identity/keys.ts";
import { signNodeRecord } from "../core/identity/record.ts";
import type { Millis } from "../core/machine.ts";
import { SeededRandom } from "../core/random.ts";
import type { SignedEntry } from "../core/state/entry.ts";
import type { MeshLog } from "../core/state/log.ts";
import { ControlHub, type HubEffect } from "../coordinator/model/control_hub.ts";
import type { Mesh } from "../coordinator/model/mesh.ts";
import { Registry } from "../coordinator/model/registry.ts";
import { type Registration, Service } from "../coordinator/model/service.ts";
import { emptyState } from "../coordinator/model/state.ts";
import {
  EPOCH,
  joining,
  keyOf,
  membership,
  meshLog,
  meshOf,
  secretOf,
  type TokenLimits,
  tokenMade,
} from "./mesh_fixture.ts";

const LATENCY_MS = 5;
const REFUSED_MS = 1;

/** One node's control client and what it reported. */
export class WorldNode {
  readonly effects: ControlEffect[] = [];
  readonly client: ControlClient;
  readonly identity: Identity;
  readonly registration: Registration;
  isAlive = true;

  constructor(identity: Identity, registration: Registration, client: ControlClient) {
    this.identity = identity;
    this.registration = registration;
    this.client = client;
  }

  /** Effects of one type, in order. */
  all<T extends ControlEffect["type"]>(type: T): Extract<ControlEffect, { type: T }>[] {
    return this.effects.filter((e): e is Extract<ControlEffect, { type: T }> => e.type === type);
  }
}

interface Wire {
  readonly node: WorldNode;
  readonly clientSide: number;
  readonly serverSide: number;
  /** Which life of the coordinator it leads to. */
  readonly life: number;
}

/** How a world begins. */
export interface WorldOptions {
  readonly seed?: number;
  readonly cidr4?: string;
  /** The coordinator's log; one with an admin and nobody else when absent. */
  readonly log?: MeshLog;
}

/**
 * The world. The coordinator can be killed and started again over the same state. Its nodes read the
 * mesh's log where the coordinator has it, so that no test pays for a copy in each.
 */
export class World {
  now: Millis = 0;
  readonly nodes: WorldNode[] = [];
  readonly verifier = new RecordVerifier(100_000);
  readonly random: SeededRandom;
  /** Text messages that the coordinator sent, by type. */
  readonly sent = new Map<string, number>();
  readonly log: MeshLog;
  /** Entries of the log that the coordinator has put on the disk. */
  readonly kept: SignedEntry[] = [];
  readonly mesh: Mesh;
  registry: Registry;
  service: Service;
  hub: ControlHub;
  isListening = true;
  #life = 0;
  #nextWire = 1;
  #wires: Wire[] = [];
  #queue: { readonly at: Millis; readonly order: number; readonly run: () => void }[] = [];
  #order = 0;
  #tokens = 0;

  constructor({ seed = 1, cidr4 = "172.30.0.0/16", log = meshLog() }: WorldOptions = {}) {
    this.random = new SeededRandom(seed);
    this.log = log;
    this.mesh = meshOf(log, this.kept);
    this.registry = new Registry(emptyState(log.meshId, cidr4));
    [this.service, this.hub] = this.#boot();
  }

  get wallTime(): number {
    return EPOCH + this.now;
  }

  get moment() {
    return { now: this.now, wallTime: this.wallTime };
  }

  #boot(): [Service, ControlHub] {
    const { registry, mesh, random, verifier } = this;
    return [
      new Service({ registry, mesh, random, version: "test" }),
      new ControlHub({ registry, mesh, random, verifier }),
    ];
  }

  /** Ends the coordinator without a goodbye; its sockets break at once. */
  kill(): void {
    this.isListening = false;
    const broken = this.#wires;
    this.#wires = [];
    for (const wire of broken) {
      this.#later(REFUSED_MS, () => this.#toNode(wire.node, "closed", wire.clientSide, "reset"));
    }
  }

  /** Starts it again over what it had on disk. */
  start(): void {
    this.#life++;
    this.registry = new Registry(this.registry.state);
    [this.service, this.hub] = this.#boot();
    this.isListening = true;
  }

  /** The secret of a new join token. */
  token(limits: TokenLimits = {}): Uint8Array {
    const secret = secretOf(this.#tokens++);
    tokenMade(this.log, secret, limits, { at: this.wallTime });
    return secret;
  }

  /** Registers as a node would over HTTP. */
  register(
    identity: Identity,
    fields: Partial<RegisterBody> = {},
    secret?: Uint8Array,
  ): Registration {
    const text = keyOf(identity);
    const { challenge } = this.service.challenge({ identity: text }, this.moment);
    const body: RegisterBody = {
      challenge,
      identity: text,
      name: "node",
      aliases: [],
      version: "test",
      time: this.wallTime,
      ...(secret ? { entries: joining(this.log, secret, identity, this.wallTime) } : {}),
      ...fields,
    };
    const { reply, events } = this.service.register(
      signRegistration(identity, body),
      this.moment,
    );
    this.perform(this.hub.handle({ type: "changed", events, wallTime: this.wallTime }, this.now));
    return reply;
  }

  /** Adds a registered node that keeps a control connection. */
  join(identity: Identity, name: string, secret?: Uint8Array): WorldNode {
    const registration = this.register(identity, { name }, secret);
    const { meshId, cidr4, prefix6, addresses, aliases, recordSeq } = registration;
    const record = signNodeRecord(identity, {
      name: registration.name,
      addresses: [...addresses],
      aliases,
      meshId,
      seq: recordSeq + 1,
    });
    const client = new ControlClient({
      identity,
      urls: [`wss://coordinator:8443${PATHS.control}`],
      facts: { meshId, cidr4, prefix6 },
      isMember: membership(this.log, () => this.wallTime),
      record,
      endpoints: [`192.0.2.${1 + this.nodes.length % 250}:51820`],
      udpPort: 51820,
      bootId: "boot",
      version: "test",
      random: this.random,
      verifier: this.verifier,
    });
    const node = new WorldNode(identity, registration, client);
    this.nodes.push(node);
    this.tell(node, { type: "tick" });
    return node;
  }

  /** Hands an event to a node's client and does what it says. */
  tell(node: WorldNode, event: Parameters<ControlClient["handle"]>[0]): void {
    if (!node.isAlive) return;
    for (const effect of node.client.handle(event, this.now)) {
      node.effects.push(effect);
      if (effect.type === "connect") this.#dial(node, effect.connection);
      else if (effect.type === "close") this.#hangUp(node, effect.connection);
      else if (effect.type === "send") {
        const wire = this.#wireOf(node, effect.connection);
        const text = JSON.stringify(effect.message);
        if (wire) this.#later(LATENCY_MS, () => this.#toServer(wire, text));
      }
    }
  }

  /** Runs virtual time forward. */
  run(ms: Millis): void {
    const end = this.now + ms;
    for (;;) {
      const next = this.#nextAt();
      if (next > end) break;
      this.now = Math.max(this.now, next);
      this.#step();
    }
    this.now = end;
  }

  #nextAt(): Millis {
    let at = Math.min(...this.#queue.slice(0, 1).map((item) => item.at), Infinity);
    if (this.isListening) at = Math.min(at, this.hub.deadline);
    for (const node of this.nodes) if (node.isAlive) at = Math.min(at, node.client.deadline);
    return at;
  }

  #step(): void {
    while (this.#queue[0] && this.#queue[0].at <= this.now) this.#queue.shift()!.run();
    if (this.isListening && this.hub.deadline <= this.now) {
      this.perform(this.hub.handle({ type: "tick", wallTime: this.wallTime }, this.now));
    }
    for (const node of this.nodes) {
      if (node.isAlive && node.client.deadline <= this.now) this.tell(node, { type: "tick" });
    }
  }

  /** Does what the hub says. */
  perform(effects: readonly HubEffect[]): void {
    const texts = new Map<unknown, string>();
    for (const effect of effects) {
      if (effect.type === "gone" || effect.type === "alert") continue;
      const wire = this.#wires.find((wire) => wire.serverSide === effect.connection);
      if (!wire) continue;
      if (effect.type === "close") {
        this.#wires = this.#wires.filter((other) => other !== wire);
        this.#later(LATENCY_MS, () => this.#toNode(wire.node, "closed", wire.clientSide, "closed"));
        continue;
      }
      const text = texts.get(effect.message) ?? JSON.stringify(effect.message);
      texts.set(effect.message, text);
      this.sent.set(effect.message.type, (this.sent.get(effect.message.type) ?? 0) + 1);
      this.#later(LATENCY_MS, () => this.#toNode(wire.node, "message", wire.clientSide, text));
    }
  }

  #dial(node: WorldNode, connection: number): void {
    if (!this.isListening) {
      this.#later(REFUSED_MS, () => this.#toNode(node, "closed", connection, "refused"));
      return;
    }
    const wire = { node, clientSide: connection, serverSide: this.#nextWire++, life: this.#life };
    this.#later(LATENCY_MS, () => {
      if (!this.isListening || wire.life !== this.#life) {
        return this.#toNode(node, "closed", connection, "refused");
      }
      this.#wires.push(wire);
      this.#toNode(node, "open", connection, "");
      const remote = "198.51.100.7";
      const event = { type: "connect", connection: wire.serverSide, remote } as const;
      this.perform(this.hub.handle({ ...event, wallTime: this.wallTime }, this.now));
    });
  }

  #hangUp(node: WorldNode, connection: number): void {
    const wire = this.#wireOf(node, connection);
    if (!wire) return;
    this.#wires = this.#wires.filter((other) => other !== wire);
    this.#later(LATENCY_MS, () => this.#closeServerSide(wire));
  }

  #closeServerSide(wire: Wire): void {
    if (!this.isListening || wire.life !== this.#life) return;
    const event = { type: "close", connection: wire.serverSide, wallTime: this.wallTime } as const;
    this.perform(this.hub.handle(event, this.now));
  }

  #toServer(wire: Wire, text: string): void {
    if (!this.isListening || wire.life !== this.#life) return;
    const event = { type: "message", connection: wire.serverSide, text } as const;
    this.perform(this.hub.handle({ ...event, wallTime: this.wallTime }, this.now));
  }

  #toNode(node: WorldNode, type: "open" | "closed" | "message", id: number, text: string): void {
    if (type === "open") this.tell(node, { type, connection: id });
    else if (type === "closed") this.tell(node, { type, connection: id, reason: text });
    else this.tell(node, { type, connection: id, text, wallTime: this.wallTime });
  }

  #wireOf(node: WorldNode, connection: number): Wire | undefined {
    return this.#wires.find((wire) => wire.node === node && wire.clientSide === connection);
  }

  #later(ms: Millis, run: () => void): void {
    const item = { at: this.now + ms, order: this.#order++, run };
    let i = this.#queue.length;
    while (i > 0 && this.#queue[i - 1]!.at > item.at) i--;
    this.#queue.splice(i, 0, item);
  }
}

/** Asserts that every node is connected and sees `count` peers. */
export function assertMeshed(world: World, count: number): void {
  for (const { client } of world.nodes.filter((node) => node.isAlive)) {
    assert.equal(client.report.state, "connected", client.report.lastError ?? "");
    assert.equal(client.view.peers.size, count);
  }
}
