/**
 * A control client driven by hand: each event and each moment is the test's.
 * @module
 */
import assert from "node:assert/strict";
import { identityFromSeed } from "../core/identity/keys.ts";
import { signNodeRecord } from "../core/identity/record.ts";
import type { Millis } from "../core/machine.ts";
import { SeededRandom } from "../core/random.ts";
import { meshAddress6, meshPrefix6 } from "../core/control/addressing.ts";
import {
  ControlClient,
  type ControlClientOptions,
  type ControlEffect,
  type ControlEvent,
} from "../core/control/client.ts";
import type { Netmap, PeerEntry, ServerMessage } from "../core/control/messages.ts";

export const MESH_ID = "00112233445566778899aabbccddeeff";
export const FACTS = { meshId: MESH_ID, cidr4: "172.30.0.0/16", prefix6: meshPrefix6(MESH_ID) };
export const ME = identityFromSeed(new Uint8Array(32).fill(1));
export const PEER = identityFromSeed(new Uint8Array(32).fill(2));

export function recordOf(identity = ME, host = 1, seq = 0, name = `n${host}`) {
  return signNodeRecord(identity, {
    name,
    addresses: [`172.30.0.${host}`, meshAddress6(FACTS.prefix6, identity.peerId)],
    aliases: [],
    meshId: MESH_ID,
    seq,
  });
}

export function entryOf(identity = PEER, host = 2, over: Partial<PeerEntry> = {}): PeerEntry {
  const record = recordOf(identity, host);
  const endpoints = [`192.0.2.${host}:51820`];
  return { record, endpoints, online: true, bootId: "b", lastSeen: 5, ...over };
}

export function netmapOf(peers: PeerEntry[], version = 1): Netmap {
  return { version, ...FACTS, coordinators: [], peers };
}

/** A client under test, with its time and everything it said. */
export class Rig {
  now: Millis = 1000;
  readonly client: ControlClient;
  effects: ControlEffect[] = [];

  constructor(options: Partial<ControlClientOptions> = {}) {
    this.client = new ControlClient({
      identity: ME,
      urls: ["wss://a/api/v1/control"],
      facts: FACTS,
      isMember: () => true,
      record: recordOf(),
      bootId: "boot",
      version: "test",
      random: new SeededRandom(1),
      ...options,
    });
  }

  /** Hands over an event; returns what came of it. */
  give(event: ControlEvent): ControlEffect[] {
    this.effects = this.client.handle(event, this.now);
    return this.effects;
  }

  /** Waits for the deadline. */
  wait(): ControlEffect[] {
    assert.ok(Number.isFinite(this.client.deadline), "it waits for something");
    this.now = Math.max(this.now, this.client.deadline);
    return this.give({ type: "tick" });
  }

  say(message: ServerMessage, connection = this.connection): ControlEffect[] {
    const text = JSON.stringify(message);
    return this.give({ type: "message", connection, text, wallTime: 10_000 });
  }

  connection = 0;

  /** Dials, opens and greets. */
  open(): void {
    const dial = this.wait().find((effect) => effect.type === "connect");
    assert.ok(dial, "it dials");
    this.connection = dial.connection;
    this.give({ type: "open", connection: this.connection });
    this.say({ type: "challenge", nonce: "bm9uY2U" });
  }

  connect(peers: PeerEntry[] = [entryOf()]): void {
    this.open();
    this.say({ type: "netmap", netmap: netmapOf(peers) });
    assert.equal(this.client.report.state, "connected");
  }

  types(): string[] {
    return this.effects.map((effect) => effect.type);
  }
}
