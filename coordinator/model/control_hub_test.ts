import assert from "node:assert/strict";
import { toBase64Url } from "../../core/bytes.ts";
import { controlBytes } from "../../core/control/envelope.ts";
import type { NodeMessage, ServerMessage } from "../../core/control/messages.ts";
import { type ErrorCode, ERRORS } from "../../core/errors.ts";
import { type Identity, sign } from "../../core/identity/keys.ts";
import { type NodeFacts, signNodeRecord } from "../../core/identity/record.ts";
import { SeededRandom } from "../../core/random.ts";
import { World } from "../../tests/coordinator_world.ts";
import { EPOCH, identityOf } from "../../tests/mesh_fixture.ts";
import {
  ControlHub,
  FLUSH_MS,
  HELLO_WITHIN_MS,
  type HubEffect,
  MAX_WAITING,
  SILENCE_MS,
} from "./control_hub.ts";
import type { Registration } from "./service.ts";

const REMOTE = "198.51.100.7";

/** A hub with members, driven by hand. */
class Rig {
  readonly world = new World();
  readonly hub: ControlHub;
  readonly members: Registration[] = [];
  now = 0;
  /** What each connection got since it was last asked. */
  readonly #sent = new Map<number, ServerMessage[]>();
  readonly closed = new Set<number>();
  readonly told: HubEffect[] = [];

  constructor(count = 2, publicIps: string[] = []) {
    const { registry, mesh } = this.world;
    this.hub = new ControlHub({ registry, mesh, random: new SeededRandom(9), publicIps });
    const token = this.world.token();
    for (let n = 0; n < count; n++) {
      this.members.push(this.world.register(identityOf(n), { name: `n${n}` }, token));
    }
  }

  #perform(effects: ReturnType<ControlHub["handle"]>): void {
    for (const effect of effects) {
      if (effect.type === "gone" || effect.type === "alert") this.told.push(effect);
      else if (effect.type === "close") this.closed.add(effect.connection);
      else this.#sent.set(effect.connection, [...this.gotAll(effect.connection), effect.message]);
    }
  }

  /** What it got, but for the talk about the mesh's log. */
  got(connection: number): ServerMessage[] {
    return this.gotAll(connection).filter(({ type }) => type !== "log");
  }

  gotAll(connection: number): ServerMessage[] {
    const messages = this.#sent.get(connection) ?? [];
    this.#sent.delete(connection);
    return messages;
  }

  connect(connection: number, remote = REMOTE): string {
    const wallTime = EPOCH + this.now;
    this.#perform(this.hub.handle({ type: "connect", connection, remote, wallTime }, this.now));
    const [challenge] = this.got(connection);
    assert.ok(challenge?.type === "challenge");
    return challenge.nonce;
  }

  say(connection: number, message: NodeMessage | string): void {
    const text = typeof message === "string" ? message : JSON.stringify(message);
    const wallTime = EPOCH + this.now;
    this.#perform(this.hub.handle({ type: "message", connection, text, wallTime }, this.now));
  }

  close(connection: number): void {
    const wallTime = EPOCH + this.now;
    this.#perform(this.hub.handle({ type: "close", connection, wallTime }, this.now));
  }

  advance(ms: number): void {
    const end = this.now + ms;
    while (this.hub.deadline <= end) {
      this.now = Math.max(this.now, this.hub.deadline);
      const wallTime = EPOCH + this.now;
      this.#perform(this.hub.handle({ type: "tick", wallTime }, this.now));
    }
    this.now = end;
  }

  hello(n: number, nonce: string, over: Partial<NodeMessage> = {}, signer = identityOf(n)) {
    return {
      type: "hello",
      identity: toBase64Url(identityOf(n).publicKey),
      signature: toBase64Url(sign(signer, controlBytes(nonce))),
      record: this.record(n),
      endpoints: [`192.0.2.${n + 1}:51820`],
      udpPort: 51820,
      bootId: "boot",
      version: "test",
      ...over,
    } as NodeMessage;
  }

  record(n: number, over: Partial<NodeFacts> = {}, signer: Identity = identityOf(n)) {
    const { name, addresses, aliases, meshId } = this.members[n]!;
    const facts = { name, addresses: [...addresses], aliases, meshId, seq: 0, ...over };
    return signNodeRecord(signer, facts);
  }

  /** Connects a member and throws away what it was told so far. */
  join(n: number, connection: number, over: Partial<NodeMessage> = {}): void {
    this.say(connection, this.hello(n, this.connect(connection), over));
    this.advance(FLUSH_MS);
    assert.equal(this.got(connection)[0]?.type, "netmap");
  }
}

/** Asserts that the connection was told no, and why, and was closed. */
function assertRefused(rig: Rig, connection: number, code: ErrorCode): void {
  const last = rig.got(connection).at(-1);
  assert.ok(last?.type === "refused" && last.code === code, JSON.stringify(last));
  assert.ok(code in ERRORS);
  assert.ok(rig.closed.has(connection));
}

Deno.test("ControlHub sends a netmap to a node that proves itself, and tells the others", () => {
  const rig = new Rig();
  rig.join(0, 1);
  rig.say(2, rig.hello(1, rig.connect(2)));
  const [first] = rig.got(2);
  assert.ok(first?.type === "netmap");
  assert.equal(first.netmap.peers.length, 2);
  rig.advance(FLUSH_MS);
  const [delta] = rig.got(1);
  assert.ok(delta?.type === "delta");
  assert.deepEqual(delta.upsert.map(({ online, endpoints }) => [online, endpoints]), [
    [true, ["192.0.2.2:51820", `${REMOTE}:51820`]],
  ]);
  assert.deepEqual(rig.hub.counts, { online: 2, waiting: 0 });
});

const BAD_HELLOS: [
  name: string,
  make: (rig: Rig, nonce: string) => NodeMessage | string,
  code: ErrorCode,
][] = [
  ["from an unknown identity", (rig, nonce) => {
    const stranger = identityOf(99);
    return rig.hello(0, nonce, { identity: toBase64Url(stranger.publicKey) }, stranger);
  }, "peer-unknown"],
  [
    "signed by another",
    (rig, nonce) => rig.hello(0, nonce, {}, identityOf(1)),
    "identity-mismatch",
  ],
  ["over another nonce", (rig) => rig.hello(0, "AAAA"), "identity-mismatch"],
  ["with another's record", (rig, nonce) => {
    return rig.hello(0, nonce, { record: rig.record(1) });
  }, "record-invalid"],
  ["with a forged record", (rig, nonce) => {
    const record = { ...rig.record(0), signature: rig.record(1).signature };
    return rig.hello(0, nonce, { record });
  }, "record-invalid"],
  ["with a name that was not given", (rig, nonce) => {
    return rig.hello(0, nonce, { record: rig.record(0, { name: "other" }) });
  }, "record-invalid"],
  ["that is none", () => "hello", "protocol-invalid"],
  ["that is another message", () => ({ type: "ping", id: 1 }), "protocol-invalid"],
];

for (const [name, make, code] of BAD_HELLOS) {
  Deno.test(`ControlHub refuses a hello ${name}`, () => {
    const rig = new Rig();
    rig.say(1, make(rig, rig.connect(1)));
    assertRefused(rig, 1, code);
    assert.deepEqual(rig.hub.counts, { online: 0, waiting: 0 });
  });
}

Deno.test("ControlHub lets the newer of two connections win; the old one's end changes nothing", () => {
  const rig = new Rig();
  rig.join(0, 1);
  rig.join(1, 2);
  rig.say(3, rig.hello(1, rig.connect(3), { endpoints: ["192.0.2.99:1"] }));
  assertRefused(rig, 2, "already-running");
  rig.advance(FLUSH_MS);
  rig.got(1);
  rig.close(2);
  rig.advance(10 * FLUSH_MS);
  assert.deepEqual(rig.got(1), [], "no delta");
  assert.ok(rig.hub.isOnline(identityOf(1).peerId));
  rig.close(3);
  rig.advance(FLUSH_MS);
  const [delta] = rig.got(1);
  assert.ok(delta?.type === "delta" && delta.upsert[0]?.online === false);
  assert.equal(rig.hub.isOnline(identityOf(1).peerId), false);
});

Deno.test("ControlHub takes a node offline after 45 s of silence, not before", () => {
  const rig = new Rig();
  rig.join(0, 1);
  rig.advance(SILENCE_MS - 1000);
  rig.say(1, { type: "ping", id: 4 });
  assert.deepEqual(rig.got(1).at(-1), { type: "pong", id: 4, time: EPOCH + rig.now });
  rig.advance(SILENCE_MS - 1);
  assert.ok(rig.hub.isOnline(identityOf(0).peerId));
  rig.advance(1);
  assert.ok(rig.closed.has(1) && !rig.hub.isOnline(identityOf(0).peerId));
});

Deno.test("ControlHub drops who does not say hello, and bounds how many wait", () => {
  const rig = new Rig();
  for (let connection = 1; connection <= MAX_WAITING + 3; connection++) rig.connect(connection);
  assert.deepEqual([...rig.closed], [1, 2, 3]);
  rig.advance(HELLO_WITHIN_MS);
  assert.deepEqual(rig.hub.counts, { online: 0, waiting: 0 });
  assert.equal(rig.hub.deadline, Infinity);
});

Deno.test("ControlHub gathers changes for 50 ms and sends only what changed", () => {
  const rig = new Rig(3);
  rig.join(0, 1);
  rig.join(1, 2);
  rig.join(2, 3);
  rig.advance(1000);
  rig.got(1);
  for (let port = 1; port <= 20; port++) {
    rig.say(2, { type: "endpoints", endpoints: [`192.0.2.2:${port}`] });
  }
  rig.advance(FLUSH_MS);
  const deltas = rig.got(1);
  assert.equal(deltas.length, 2, "the first at once, the rest together");
  for (const delta of deltas) {
    assert.ok(delta.type === "delta" && delta.upsert.length === 1);
  }
});

Deno.test("ControlHub passes calls on to the peer, with the caller's endpoints, not too many", () => {
  const rig = new Rig();
  rig.join(0, 1);
  rig.join(1, 2);
  for (let i = 0; i < 600; i++) rig.say(1, { type: "call", peer: identityOf(1).peerId });
  const calls = rig.got(2).filter((message) => message.type === "call");
  assert.deepEqual(calls[0], {
    type: "call",
    peer: identityOf(0).peerId,
    endpoints: ["192.0.2.1:51820", `${REMOTE}:51820`],
  });
  assert.equal(calls.length, 256);
  rig.say(1, { type: "call", peer: identityOf(7).peerId });
  assert.deepEqual(rig.got(1).filter(({ type }) => type === "refused"), []);
});

Deno.test("ControlHub ends a connection that floods it", () => {
  const rig = new Rig();
  rig.join(0, 1);
  for (let i = 0; i < 1100 && !rig.closed.has(1); i++) rig.say(1, { type: "ping", id: i });
  assertRefused(rig, 1, "rate-limited");
});

Deno.test("ControlHub tells a farewell to those who are there and to those who come later", () => {
  const rig = new Rig();
  rig.join(0, 1);
  rig.join(1, 2);
  rig.got(1);
  const { id } = rig.members[1]!;
  const record = rig.record(1, { seq: 1, left: true });
  const at = EPOCH + rig.now;
  const events = rig.world.registry.execute({ type: "leave", at, id, record });
  rig.hub.handle({ type: "changed", events, wallTime: at }, rig.now).forEach((effect) => {
    if (effect.type === "close") rig.closed.add(effect.connection);
  });
  assert.ok(rig.closed.has(2));
  rig.advance(FLUSH_MS);
  rig.say(3, rig.hello(0, rig.connect(3)));
  const netmap = rig.got(3).find(({ type }) => type === "netmap");
  assert.ok(netmap?.type === "netmap");
  assert.deepEqual(netmap.netmap.peers.map((peer) => peer.record), [record, rig.record(0)]);
});

const OBSERVED: [name: string, remote: string, udpPort: number, expected: string[]][] = [
  ["a public address", REMOTE, 7, [`${REMOTE}:7`]],
  ["IPv6", "2001:db8::7", 7, ["[2001:db8::7]:7"]],
  ["loopback: the machine's public addresses", "127.0.0.1", 7, ["203.0.113.5:7"]],
  ["the mesh itself", "172.30.0.9", 7, []],
  ["no UDP port", REMOTE, 0, []],
];

for (const [name, remote, udpPort, expected] of OBSERVED) {
  Deno.test(`ControlHub adds where a node connects from: ${name}`, () => {
    const rig = new Rig(1, ["203.0.113.5"]);
    rig.say(1, rig.hello(0, rig.connect(1, remote), { udpPort, endpoints: ["127.0.0.1:9"] }));
    const [netmap] = rig.got(1);
    assert.ok(netmap?.type === "netmap");
    assert.deepEqual(netmap.netmap.peers[0]?.endpoints, expected);
  });
}
