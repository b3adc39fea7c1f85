/**
 * Coordinators that lie, and a node that hears them: the real machines of both sides, without
 * sockets and in virtual time.
 * @module
 */
import assert from "node:assert/strict";
import { ControlHub, type HubEffect } from "../coordinator/model/control_hub.ts";
import { Registry } from "../coordinator/model/registry.ts";
import { emptyState } from "../coordinator/model/state.ts";
import { ControlClient, type ControlEffect } from "../core/control/client.ts";
import { meshAddress6, meshPrefix6 } from "../core/control/addressing.ts";
import type { ServerMessage } from "../core/control/messages.ts";
import { readLog } from "../core/daemon/registration.ts";
import type { Identity } from "../core/identity/keys.ts";
import { signNodeRecord } from "../core/identity/record.ts";
import { NodeMachine } from "../core/node.ts";
import type { NodeEffect, NodeEvent } from "../core/node_types.ts";
import { PathAgent } from "../core/path/agent.ts";
import { SeededRandom } from "../core/random.ts";
import { policyHash } from "../core/state/bodies.ts";
import { signHead } from "../core/state/head.ts";
import type { MeshLog } from "../core/state/log.ts";
import type { SyncAlert, SyncMessage } from "../core/state/sync.ts";
import { Device } from "../core/wireguard/device.ts";
import {
  admission,
  admitted,
  copyOf,
  drafted,
  entriesOf,
  EPOCH,
  identityOf,
  keyOf,
  membership,
  meshLog,
  meshOf,
  newMeshLog,
  revoked,
  stated,
  syncOf,
} from "./mesh_fixture.ts";

const CIDR4 = "172.30.0.0/16";
const [ME, PEER, STRANGER, COORDINATOR_A, COORDINATOR_B] = [0, 1, 2, 900, 901].map(
  identityOf,
) as [Identity, Identity, Identity, Identity, Identity];

function recordOf(identity: Identity, host: number, meshId: string) {
  return signNodeRecord(identity, {
    name: `n${host}`,
    addresses: [`172.30.0.${host}`, meshAddress6(meshPrefix6(meshId), identity.peerId)],
    aliases: [],
    meshId,
    seq: 0,
  });
}

/** A mesh of two nodes. */
function meshOfTwo(): MeshLog {
  const log = meshLog();
  for (const identity of [ME, PEER]) admitted(log, identity);
  return log;
}

/** A coordinator with a log and a registry of its own. */
class Liar {
  readonly log: MeshLog;
  readonly key: string;
  readonly hub: ControlHub;
  readonly registry: Registry;
  isUp = true;
  /** Whether what nodes say of the log is thrown away. */
  isDeaf = true;

  constructor(log: MeshLog, identity: Identity) {
    this.log = log;
    this.key = keyOf(identity);
    this.registry = new Registry(emptyState(log.meshId, CIDR4));
    const { registry } = this;
    const mesh = meshOf(log, [], identity);
    this.hub = new ControlHub({ registry, mesh, random: new SeededRandom(3) });
    this.list(ME, 1);
    this.list(PEER, 2);
  }

  /** Puts somebody into the registry, whatever the log says. */
  list(identity: Identity, host: number): void {
    const { registry } = this;
    const fields = { identity: keyOf(identity), name: `n${host}`, aliases: [] };
    registry.execute({ type: "register", at: EPOCH, ...fields });
    const record = recordOf(identity, host, this.log.meshId);
    registry.execute({ type: "update-record", at: EPOCH, id: identity.peerId, record });
  }
}

/** A node that may talk to two coordinators; the first that is up has it. */
class Rig {
  now = 0;
  readonly log: MeshLog;
  readonly machine: NodeMachine;
  readonly effects: NodeEffect[] = [];
  readonly #liars: readonly Liar[];
  #live: { readonly liar: Liar; readonly connection: number } | null = null;

  constructor(log: MeshLog, ...liars: Liar[]) {
    this.log = log;
    this.#liars = liars;
    const { meshId } = log;
    const random = new SeededRandom(5);
    const wallTime = () => EPOCH + this.now;
    const control = new ControlClient({
      identity: ME,
      urls: liars.map((_, i) => `wss://c${i}/`),
      facts: { meshId, cidr4: CIDR4, prefix6: meshPrefix6(meshId) },
      isMember: membership(log, wallTime),
      record: recordOf(ME, 1, meshId),
      bootId: "boot",
      version: "test",
      random,
    });
    const { privateKey } = ME.wireguard;
    const device = new Device({ privateKey, random, timestamp: () => new Uint8Array(12) });
    const paths = new PathAgent({ mtu: 1280, seed: 1 });
    const sync = syncOf(log, ME, wallTime);
    const id = ME.peerId;
    this.machine = new NodeMachine({ id, device, control, paths, sync, staticPeers: [] });
    this.run(2000);
  }

  get peers(): string[] {
    return [...this.machine.peers.values()].flatMap(({ id }) => id ?? []);
  }

  get alerts(): SyncAlert[] {
    return this.effects.flatMap((effect) => effect.type === "log-alert" ? effect.alert : []);
  }

  /** Why records were refused. */
  get refusals(): [string, string | null][] {
    return this.effects.flatMap((effect) =>
      effect.type === "record-refused" ? [[effect.refusal.reason, effect.refusal.id]] : []
    );
  }

  give(event: NodeEvent): void {
    for (const effect of this.machine.handle(event, this.now)) {
      this.effects.push(effect);
      if (effect.type === "connect" || effect.type === "close") this.#dial(effect);
      else if (effect.type === "send") this.#toLiar(effect.message);
    }
  }

  /** Says something to the node in the coordinator's place. */
  say(message: ServerMessage): void {
    if (!this.#live) return;
    const { connection } = this.#live;
    const text = JSON.stringify(message);
    const event = { type: "message", connection, text, wallTime: EPOCH + this.now } as const;
    this.give({ type: "control", event });
  }

  sayOfLog(message: SyncMessage): void {
    this.say({ type: "log", text: JSON.stringify(message) });
  }

  /** Takes one coordinator down and the other up. */
  moveTo(liar: Liar): void {
    for (const each of this.#liars) each.isUp = each === liar;
    if (this.#live) {
      const { connection, liar } = this.#live;
      this.#live = null;
      liar.hub.handle({ type: "close", connection, wallTime: EPOCH + this.now }, this.now);
      this.give({ type: "control", event: { type: "closed", connection, reason: "reset" } });
    }
    this.run(5000);
    assert.ok(this.#isAt(liar), "it has moved");
  }

  #isAt(liar: Liar): boolean {
    return this.#live?.liar === liar;
  }

  run(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const liar = this.#live?.liar;
      const at = Math.min(this.machine.deadline, liar?.hub.deadline ?? Infinity);
      if (at > end) break;
      this.now = Math.max(this.now, at);
      if (liar && liar.hub.deadline <= this.now) {
        this.#perform(
          liar,
          liar.hub.handle({ type: "tick", wallTime: EPOCH + this.now }, this.now),
        );
      }
      if (this.machine.deadline <= this.now) this.give({ type: "tick" });
    }
    this.now = end;
  }

  #dial(effect: Extract<ControlEffect, { type: "connect" | "close" }>): void {
    const { connection } = effect;
    if (effect.type === "close") {
      if (this.#live?.connection === connection) this.#live = null;
      return;
    }
    const liar = this.#liars[Number(/c(\d)/.exec(effect.url)![1])]!;
    if (!liar.isUp) {
      const event = { type: "closed", connection, reason: "refused" } as const;
      return this.give({ type: "control", event });
    }
    this.#live = { liar, connection };
    this.give({ type: "control", event: { type: "open", connection } });
    const remote = "198.51.100.7";
    const event = { type: "connect", connection, remote, wallTime: EPOCH + this.now } as const;
    this.#perform(liar, liar.hub.handle(event, this.now));
  }

  #toLiar(message: { readonly type: string }): void {
    const { liar, connection } = this.#live!;
    if (message.type === "log" && liar.isDeaf) return;
    const text = JSON.stringify(message);
    const event = { type: "message", connection, text, wallTime: EPOCH + this.now } as const;
    this.#perform(liar, liar.hub.handle(event, this.now));
  }

  #perform(liar: Liar, effects: readonly HubEffect[]): void {
    for (const effect of effects) {
      if (effect.type === "send" && this.#live?.liar === liar) this.say(effect.message);
    }
  }
}

Deno.test("a coordinator cannot put a node into the mesh that nobody admitted", () => {
  const log = meshOfTwo();
  const liar = new Liar(copyOf(log), COORDINATOR_A);
  liar.list(STRANGER, 3);
  const rig = new Rig(log, liar);
  assert.deepEqual(rig.peers, [PEER.peerId]);
  assert.deepEqual(rig.refusals, [["not-member", STRANGER.peerId]]);
  // Neither does it help to make it call, nor to admit it in the coordinator's own name.
  rig.effects.length = 0;
  rig.say({ type: "call", peer: STRANGER.peerId, endpoints: ["192.0.2.3:1"] });
  const forged = drafted(log, admission(log, STRANGER), { by: COORDINATOR_A });
  const head = { ...log.head, seq: log.head.seq + 1, hash: "f".repeat(64), at: EPOCH };
  const heads = [signHead(COORDINATOR_A, { meshId: log.meshId, ...head })];
  rig.sayOfLog({ type: "heads", heads });
  rig.sayOfLog({ type: "entries", entries: [forged] });
  assert.deepEqual(rig.alerts.map((each) => each.type === "refused" && each.code), [
    "entry-forbidden",
  ]);
  assert.deepEqual(rig.peers, [PEER.peerId]);
  assert.ok(!rig.effects.some(({ type }) => type === "peer-added" || type === "called"));
});

Deno.test("a node that the log admits later is taken in when the log says so", () => {
  const log = meshOfTwo();
  const liar = new Liar(copyOf(log), COORDINATOR_A);
  liar.isDeaf = false;
  liar.list(STRANGER, 3);
  const rig = new Rig(log, liar);
  admitted(liar.log, STRANGER);
  const wallTime = EPOCH + rig.now;
  for (const effect of liar.hub.handle({ type: "changed", events: [], wallTime }, rig.now)) {
    if (effect.type === "send") rig.say(effect.message);
  }
  rig.run(1000);
  assert.deepEqual(log.head, liar.log.head);
  assert.deepEqual(rig.peers.sort(), [PEER.peerId, STRANGER.peerId].sort());
});

Deno.test("a coordinator cannot take a revocation back that another one told of", () => {
  const log = meshOfTwo();
  const liar = new Liar(copyOf(log), COORDINATOR_A);
  const honest = new Liar(copyOf(log), COORDINATOR_B);
  honest.isDeaf = false;
  const rig = new Rig(log, liar, honest);
  assert.deepEqual(rig.peers, [PEER.peerId]);
  revoked(honest.log, PEER.peerId);
  rig.moveTo(honest);
  assert.deepEqual(rig.peers, []);
  rig.effects.length = 0;
  rig.moveTo(liar);
  assert.deepEqual(rig.refusals, [["not-member", PEER.peerId]]);
  rig.run(15_000);
  const theirs = liar.log.head.seq;
  assert.deepEqual(rig.alerts, [{ type: "stale", source: "coordinator", theirs }]);
  assert.deepEqual(rig.peers, []);
  // One that only had not heard of it is told by the node.
  liar.isDeaf = false;
  rig.moveTo(honest);
  rig.moveTo(liar);
  assert.ok(liar.log.state.revoked.has(PEER.peerId));
  assert.equal(liar.registry.state.nodes.has(PEER.peerId), false);
});

/** A policy of one file. */
function policy(text: string) {
  const documents = [{ file: "policy.yaml", text }];
  return { type: "policy-set", documents, hash: policyHash(documents) } as const;
}

Deno.test("a coordinator cannot show an older policy", async () => {
  const log = meshOfTwo();
  stated(log, policy("old: 1"));
  const liar = new Liar(copyOf(log), COORDINATOR_A);
  stated(log, policy("new: 1"));
  const { head } = log;
  const rig = new Rig(log, liar);
  rig.run(15_000);
  assert.equal(log.state.policy?.documents[0]?.text, "new: 1");
  assert.deepEqual(rig.alerts.map(({ type }) => type), ["stale"]);
  // Over HTTP, where the entries of before are given out as the next ones.
  const entries = entriesOf(liar.log).slice(-1);
  const reply = { entries, head: head.seq + 1, challenge: "c" };
  await assert.rejects(readLog(log, log.meshId, () => Promise.resolve(reply)), {
    code: "log-rollback",
  });
  assert.deepEqual(log.head, head);
});

Deno.test("a coordinator cannot show another history than was believed first", () => {
  const log = meshOfTwo();
  const liar = new Liar(copyOf(log), COORDINATOR_A);
  stated(log, policy("ours: 1"));
  // An admin told two stories, or was made to; the liar's is the longer one.
  for (const text of ["theirs: 1", "theirs: 2"]) stated(liar.log, policy(text));
  liar.isDeaf = false;
  const { head } = log;
  const rig = new Rig(log, liar);
  rig.run(15_000);
  assert.deepEqual(log.head, head);
  assert.equal(log.state.policy?.documents[0]?.text, "ours: 1");
  const codes = rig.alerts.flatMap((each) => each.type === "refused" ? each.code : []);
  assert.ok(codes.length > 0 && codes.every((code) => code === "log-fork"), codes.join());
});

Deno.test("a coordinator cannot pass another mesh's log for this one's", async () => {
  const log = meshOfTwo();
  const other = newMeshLog("7");
  await assert.rejects(
    readLog(
      null,
      log.meshId,
      () => Promise.resolve({ entries: entriesOf(other), head: 0, challenge: "c" }),
    ),
    { code: "entry-foreign" },
  );
  const liar = new Liar(copyOf(log), COORDINATOR_A);
  const rig = new Rig(log, liar);
  const { head } = log;
  const seq = head.seq + 9;
  const foreign = { meshId: other.meshId, seq, hash: other.head.hash, at: EPOCH };
  rig.sayOfLog({ type: "heads", heads: [signHead(COORDINATOR_A, foreign)] });
  rig.sayOfLog({
    type: "heads",
    heads: [signHead(COORDINATOR_A, { ...foreign, meshId: log.meshId })],
  });
  rig.sayOfLog({ type: "entries", entries: entriesOf(other) });
  const codes = rig.alerts.flatMap((each) => each.type === "refused" ? each.code : []);
  assert.deepEqual(codes, ["entry-foreign", "entry-foreign"]);
  assert.deepEqual(log.head, head);
  assert.deepEqual(rig.peers, [PEER.peerId]);
});
