import assert from "node:assert/strict";
import { toBase64Url } from "../../core/bytes.ts";
import { meshAddress6, meshPrefix6 } from "../../core/control/addressing.ts";
import { controlBytes, PATHS } from "../../core/control/envelope.ts";
import type { FeedMessage } from "../../core/control/feed.ts";
import type { Netmap, NodeMessage, PeerEntry, ServerMessage } from "../../core/control/messages.ts";
import { sign } from "../../core/identity/keys.ts";
import { type NodeFacts, signNodeRecord } from "../../core/identity/record.ts";
import { SeededRandom } from "../../core/random.ts";
import { call, registration } from "../../tests/coordinator_requests.ts";
import { World } from "../../tests/coordinator_world.ts";
import {
  admission,
  admitted,
  copyOf,
  drafted,
  entriesOf,
  EPOCH,
  identityOf,
  keyOf,
  meshLog,
  meshOf,
  revoked,
} from "../../tests/mesh_fixture.ts";
import { Adoption } from "./adoption.ts";
import { ControlHub, FLUSH_MS, type HubEffect } from "./control_hub.ts";
import type { HubEvent } from "./hub_types.ts";
import { Registry } from "./registry.ts";
import { Service } from "./service.ts";
import { decodeCommand, emptyState, type State } from "./state.ts";

const REMOTE = "198.51.100.7";
const ids = [0, 1, 2].map((n) => identityOf(n).peerId);

/** A follower's hub with three members in its log, and nobody registered. */
class Rig {
  /** The leading coordinator's log. */
  readonly log = meshLog();
  readonly registry: Registry;
  readonly hub: ControlHub;
  readonly commands: string[] = [];
  readonly told: HubEffect[] = [];
  readonly closed = new Set<number>();
  readonly #sent = new Map<number, ServerMessage[]>();
  now = 0;

  constructor(state?: State) {
    for (const n of [0, 1, 2]) admitted(this.log, identityOf(n));
    const mesh = meshOf(copyOf(this.log));
    const journal = { append: (command: unknown) => this.commands.push(JSON.stringify(command)) };
    this.registry = new Registry(state ?? emptyState(this.log.meshId, "172.30.0.0/16"), journal);
    const adoption = new Adoption(this.registry, mesh);
    const random = new SeededRandom(9);
    this.hub = new ControlHub({ registry: this.registry, mesh, random, adoption });
  }

  give(event: Omit<HubEvent, "wallTime">): void {
    const whole = { ...event, wallTime: EPOCH + this.now } as HubEvent;
    for (const effect of this.hub.handle(whole, this.now)) {
      if (effect.type === "gone" || effect.type === "alert") this.told.push(effect);
      else if (effect.type === "close") this.closed.add(effect.connection);
      else {
        const all = [...this.#sent.get(effect.connection) ?? [], effect.message];
        this.#sent.set(effect.connection, all);
      }
    }
  }

  feed(message: FeedMessage): void {
    this.give({ type: "fed", message } as Omit<HubEvent, "wallTime">);
    this.rest();
  }

  /** Lets changes be told. */
  rest(): void {
    this.now += 2 * FLUSH_MS;
    this.give({ type: "tick" });
  }

  /** What a connection got since it was last asked, but for talk about the log. */
  got(connection: number): ServerMessage[] {
    const messages = this.#sent.get(connection) ?? [];
    this.#sent.delete(connection);
    return messages.filter(({ type }) => type !== "log");
  }

  record(n: number, over: Partial<NodeFacts> = {}) {
    const { meshId } = this.log;
    const ip6 = meshAddress6(meshPrefix6(meshId), ids[n]!);
    const addresses = [`172.30.0.${n + 1}`, ip6];
    const facts = { name: `n${n}`, addresses, aliases: [], meshId, seq: 0, ...over };
    return signNodeRecord(identityOf(n), facts);
  }

  entry(n: number, over: Partial<PeerEntry> = {}): PeerEntry {
    const endpoints = [`192.0.2.${n + 1}:51820`];
    const record = this.record(n);
    return { record, endpoints, online: true, bootId: "b", lastSeen: EPOCH, ...over };
  }

  /** Says hello as a member. */
  greet(n: number, connection: number, record = this.record(n)): void {
    this.give({ type: "connect", connection, remote: REMOTE } as Omit<HubEvent, "wallTime">);
    const [challenge] = this.got(connection);
    assert.ok(challenge?.type === "challenge");
    const hello: NodeMessage = {
      type: "hello",
      identity: toBase64Url(identityOf(n).publicKey),
      signature: toBase64Url(sign(identityOf(n), controlBytes(challenge.nonce))),
      record,
      endpoints: [`192.0.2.${n + 1}:51820`],
      udpPort: 51820,
      bootId: "boot",
      version: "test",
    };
    const text = JSON.stringify(hello);
    this.give({ type: "message", connection, text } as Omit<HubEvent, "wallTime">);
  }

  netmap(connection: number): Netmap {
    const netmap = this.got(connection).find(({ type }) => type === "netmap");
    assert.ok(netmap?.type === "netmap");
    return netmap.netmap;
  }
}

/** Who is online by a netmap or delta, by number. */
function online(peers: readonly PeerEntry[]): string {
  return peers.map(({ record, online }) => {
    const { name } = JSON.parse(record.payload);
    return online ? name : `(${name})`;
  }).sort().join(" ");
}

Deno.test("a follower adopts a member by its hello, and says that it follows", () => {
  const rig = new Rig();
  rig.greet(0, 1);
  const { isFollower, peers, logKey } = rig.netmap(1);
  assert.equal(isFollower, true);
  assert.ok(logKey);
  assert.equal(online(peers), "n0");
  const node = rig.registry.state.nodes.get(ids[0]!)!;
  assert.deepEqual([node.name, node.ip4], ["n0", "172.30.0.1"]);
  // What it keeps is read back at the next start.
  assert.deepEqual(rig.commands.map((text) => decodeCommand(text).type), ["adopt"]);
});

for (
  const [what, code, record] of [
    ["another's name", "record-invalid", (rig: Rig) => rig.record(1, { name: "n0" })],
    ["another's address", "record-invalid", (rig: Rig) => {
      const [, ip6] = JSON.parse(rig.record(1).payload).addresses;
      return rig.record(1, { addresses: ["172.30.0.1", ip6] });
    }],
    ["an address outside of the mesh", "record-invalid", (rig: Rig) => {
      return rig.record(1, { addresses: ["192.0.2.1", "2001:db8::1"] });
    }],
    ["another mesh's record", "record-invalid", (rig: Rig) => {
      return rig.record(1, { meshId: "f".repeat(32) });
    }],
    ["another's record", "peer-unknown", (rig: Rig) => rig.record(2)],
  ] as const
) {
  Deno.test(`a follower refuses a hello with ${what}`, () => {
    const rig = new Rig();
    rig.greet(0, 1);
    rig.greet(1, 2, record(rig));
    const last = rig.got(2).at(-1);
    assert.ok(last?.type === "refused" && last.code === code, JSON.stringify(last));
    assert.ok(rig.closed.has(2));
  });
}

Deno.test("a follower passes on who is online elsewhere, until nobody says so any more", () => {
  const rig = new Rig();
  rig.greet(0, 1);
  rig.rest();
  rig.got(1);
  const peers = [rig.entry(0), rig.entry(1), rig.entry(2, { online: false })];
  rig.feed({ type: "peers", peers, isPresence: true });
  const [delta] = rig.got(1);
  assert.ok(delta?.type === "delta");
  assert.equal(online(delta.upsert), "(n2) n0 n1");
  const one = delta.upsert.find(({ record }) => record.payload.includes('"n1"'))!;
  assert.deepEqual(one.endpoints, ["192.0.2.2:51820"]);
  rig.feed({ type: "peers", peers, isPresence: true });
  assert.deepEqual(rig.got(1), [], "no news");
  rig.feed({ type: "alone" });
  const [alone] = rig.got(1);
  assert.ok(alone?.type === "delta");
  assert.equal(online(alone.upsert), "(n1) n0");
  rig.greet(2, 3);
  assert.equal(online(rig.netmap(3).peers), "(n1) n0 n2");
});

Deno.test("what is connected here counts more than what is told of it", () => {
  const rig = new Rig();
  rig.greet(0, 1);
  rig.got(1);
  rig.feed({ type: "peers", peers: [rig.entry(0, { online: false })], isPresence: true });
  rig.greet(1, 2);
  assert.equal(online(rig.netmap(2).peers), "n0 n1");
});

Deno.test("a follower takes records without presence from a node that is not told of any", () => {
  const rig = new Rig();
  rig.feed({ type: "peers", peers: [rig.entry(1), rig.entry(2)], isPresence: false });
  rig.greet(0, 1);
  assert.equal(online(rig.netmap(1).peers), "(n1) (n2) n0");
});

Deno.test("names that moved are adopted whatever the order in which they are told", () => {
  const rig = new Rig();
  rig.feed({ type: "peers", peers: [rig.entry(0), rig.entry(1)], isPresence: false });
  const taken = rig.entry(1, { record: rig.record(1, { name: "n0", seq: 1 }) });
  const given = rig.entry(0, { record: rig.record(0, { name: "old", seq: 1 }) });
  rig.feed({ type: "peers", peers: [taken, given], isPresence: false });
  const names = [0, 1].map((n) => rig.registry.state.nodes.get(ids[n]!)!.name);
  assert.deepEqual(names, ["old", "n0"]);
});

Deno.test("a follower that starts again knows whom it adopted", () => {
  const before = new Rig();
  before.feed({ type: "peers", peers: [before.entry(0), before.entry(1)], isPresence: true });
  const rig = new Rig(before.registry.state);
  rig.greet(2, 1, rig.record(2, { name: "n1" }));
  assert.equal(rig.got(1).at(-1)?.type, "refused");
  rig.greet(2, 2);
  assert.equal(online(rig.netmap(2).peers), "(n0) (n1) n2");
});

Deno.test("who left is not adopted again by a record of before", () => {
  const rig = new Rig();
  rig.feed({ type: "peers", peers: [rig.entry(0)], isPresence: true });
  const farewell = rig.entry(0, { record: rig.record(0, { seq: 1, left: true }), online: false });
  rig.feed({ type: "peers", peers: [farewell], isPresence: true });
  assert.equal(rig.registry.state.nodes.size, 0);
  rig.feed({ type: "peers", peers: [rig.entry(0)], isPresence: true });
  assert.equal(rig.registry.state.nodes.size, 0);
  // The same where it told this coordinator itself.
  rig.feed({ type: "peers", peers: [rig.entry(1)], isPresence: true });
  const record = rig.record(1, { seq: 1, left: true });
  rig.registry.execute({ type: "leave", at: EPOCH, id: ids[1]!, record });
  rig.feed({ type: "peers", peers: [rig.entry(1, { lastSeen: EPOCH + 1 })], isPresence: true });
  assert.equal(rig.registry.state.nodes.size, 0);
});

Deno.test("a revocation that is fed ends the connection; what is known already is passed over", () => {
  const rig = new Rig();
  rig.greet(0, 1);
  revoked(rig.log, ids[0]!);
  rig.feed({ type: "entries", entries: entriesOf(rig.log).slice(-3) });
  assert.ok(rig.closed.has(1));
  assert.deepEqual(rig.told, [{ type: "gone", peers: [ids[0]] }]);
  rig.greet(0, 2);
  const last = rig.got(2).at(-1);
  assert.ok(last?.type === "refused" && /revoked/.test(last.message));
});

Deno.test("who is no member any more is told of, adopted or not: its relay link has to end", () => {
  const rig = new Rig();
  revoked(rig.log, ids[1]!);
  rig.feed({ type: "entries", entries: entriesOf(rig.log).slice(-1) });
  assert.deepEqual(rig.told, [{ type: "gone", peers: [ids[1]] }]);
});

Deno.test("entries that do not follow are told of and change nothing", () => {
  const rig = new Rig();
  revoked(rig.log, ids[0]!);
  revoked(rig.log, ids[1]!);
  rig.feed({ type: "entries", entries: entriesOf(rig.log).slice(-1) });
  const [alert] = rig.told;
  assert.ok(alert?.type === "alert" && alert.alert.type === "refused", JSON.stringify(alert));
  assert.equal(alert.alert.code, "log-gap");
  rig.greet(1, 1);
  assert.equal(online(rig.netmap(1).peers), "n1");
});

Deno.test("a follower registers nobody and orders nothing: it names who does; farewells it takes", () => {
  const world = new World();
  const token = world.token();
  const { id, meshId, name, addresses, aliases } = world.register(identityOf(0), {}, token);
  const leader = "https://lead.example:8443";
  const { registry, mesh, random } = world;
  const follower = new Service({ registry, mesh, random, version: "test", leader });
  const identity = keyOf(identityOf(0));
  const challenge = () => follower.challenge({ identity }, world.moment).challenge;
  const called = (method: "POST" | "DELETE", path: string, body: object) =>
    call(world, identityOf(0), method, path, { challenge: challenge(), ...body });
  const named = /only the coordinator at https:\/\/lead\.example:8443 does/;
  assert.throws(
    () => follower.register(registration(world, identityOf(0)), world.moment),
    { code: "not-leading", message: named },
  );
  const entries = [drafted(world.log, admission(world.log, identityOf(1)))];
  assert.throws(
    () => follower.appendLog(called("POST", PATHS.log, { entries }), world.moment),
    { code: "not-leading", message: named },
  );
  const read = follower.readLog(called("POST", PATHS.logRead, { from: 0 }), world.moment);
  assert.equal(read.read(world.moment).head, world.log.head.seq);
  const facts = { name, addresses: [...addresses], aliases, meshId, seq: 0 };
  const record = signNodeRecord(identityOf(0), { ...facts, left: true });
  const farewell = called("DELETE", `${PATHS.nodes}/${id}`, { record });
  assert.deepEqual(follower.leave(id, farewell, world.moment).events, [{ type: "node-left", id }]);
});

Deno.test("a registration has a coordinator certified only for who is one by the log", () => {
  const world = new World();
  const wanted = { tlsPublicKey: "key", hosts: ["b.example"] };
  for (const [n, tags] of [[0, []], [1, ["coordinator"]]] as const) {
    const identity = identityOf(n);
    admitted(world.log, identity, { tags: [...tags] });
    const envelope = registration(world, identity, { coordinator: wanted });
    const { coordinator } = world.service.register(envelope, world.moment);
    assert.deepEqual(coordinator, n === 0 ? null : wanted);
  }
});
