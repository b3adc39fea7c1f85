import assert from "node:assert/strict";
import { identityOf } from "../../tests/mesh_fixture.ts";
import { fromHex, toBase64Url } from "../../core/bytes.ts";
import { relayBytes } from "../../core/control/envelope.ts";
import { type Identity, sign } from "../../core/identity/keys.ts";
import { NEVER } from "../../core/machine.ts";
import { SeededRandom } from "../../core/random.ts";
import { encodeData, encodeEcho, encodeGone, type Frame, parseFrame } from "./frames.ts";
import {
  GONE_INTERVAL_MS,
  HELLO_WITHIN_MS,
  MAX_WAITING,
  type RelayEffect,
  type RelayEvent,
  RelayHub,
  SILENCE_MS,
  WINDOW_BYTES,
} from "./hub.ts";

const [ALICE, BOB, CAROL, EVE] = [1, 2, 3, 4].map(identityOf) as [
  Identity,
  Identity,
  Identity,
  Identity,
];
const KEYS = new Map([ALICE, BOB, CAROL].map((one) => [one.peerId, toBase64Url(one.publicKey)]));

/** A hub with the shell's part played by hand. */
class Rig {
  readonly hub = new RelayHub({
    identityOf: (peer) => KEYS.get(peer) ?? null,
    random: new SeededRandom(1),
  });
  now = 1_000;
  effects: RelayEffect[] = [];
  #next = 1;

  give(event: RelayEvent): RelayEffect[] {
    return this.effects = this.hub.handle(event, this.now);
  }

  connect(): { connection: number; nonce: string } {
    const connection = this.#next++;
    this.give({ type: "connect", connection });
    const challenge = this.effects.find((effect) => effect.type === "text")!;
    assert.equal(challenge.text.type, "challenge");
    return { connection, nonce: challenge.text.type === "challenge" ? challenge.text.nonce : "" };
  }

  /** Connects and greets; returns the connection's number. */
  join(identity: Identity): number {
    const { connection, nonce } = this.connect();
    this.give({ type: "text", connection, text: helloOf(identity, nonce) });
    assert.deepEqual(this.effects.at(-1), {
      type: "text",
      connection,
      text: { type: "welcome" },
    });
    return connection;
  }

  send(connection: number, frame: Uint8Array): RelayEffect[] {
    return this.give({ type: "frame", connection, frame });
  }

  /** Tells that everything sent just now is written; returns what follows. */
  write(effects: readonly RelayEffect[]): RelayEffect[] {
    return effects.flatMap((effect) =>
      effect.type === "frame" ? this.give({ ...effect, type: "written" }) : []
    );
  }
}

function helloOf(identity: Identity, nonce: string, signer = identity): string {
  return JSON.stringify({
    type: "hello",
    identity: toBase64Url(identity.publicKey),
    signature: toBase64Url(sign(signer, relayBytes(nonce))),
  });
}

function train(length: number, fill = 7) {
  return { bytes: new Uint8Array(length).fill(fill), segment: Math.max(1, length) };
}

function framesOf(effects: readonly RelayEffect[]): Frame[] {
  return effects.flatMap((effect) => effect.type === "frame" ? [parseFrame(effect.frame)!] : []);
}

/** What a refused connection gets. */
function refusal(effects: readonly RelayEffect[], connection: number): string {
  const own = effects.filter((effect) => effect.connection === connection);
  assert.deepEqual(own.map(({ type }) => type), ["text", "close"]);
  const [text] = own;
  assert.ok(text?.type === "text" && text.text.type === "refused");
  assert.match(text.text.message, /^Cannot /);
  return text.text.code;
}

Deno.test("RelayHub passes a member's train on, with the source in place of the destination", () => {
  const rig = new Rig();
  const [alice, bob] = [rig.join(ALICE), rig.join(BOB)];
  const sent = encodeData(BOB.peerId, train(1420));
  const effects = rig.send(alice, sent);
  assert.equal(effects.length, 1);
  assert.ok(effects[0]?.type === "frame" && effects[0].connection === bob);
  assert.equal(effects[0].frame, sent, "the same buffer");
  assert.deepEqual(parseFrame(sent), { type: "data", peer: ALICE.peerId, train: train(1420) });
  assert.equal(rig.hub.counts.forwardedFrames, 1);
});

Deno.test("RelayHub copies frames that would keep large read buffers alive", () => {
  const rig = new Rig();
  const [alice] = [rig.join(ALICE), rig.join(BOB)];
  const sent: RelayEffect[] = [];
  for (let i = 0; i < 1_000; i++) {
    const chunk = new Uint8Array(65_536);
    const frame = encodeData(BOB.peerId, train(1_420, i));
    chunk.set(frame, 5);
    sent.push(...rig.send(alice, chunk.subarray(5, 5 + frame.length)));
  }
  for (let wave = rig.write(sent); wave.length > 0; wave = rig.write(wave)) sent.push(...wave);
  const frames = sent.flatMap((effect) => effect.type === "frame" ? [effect.frame] : []);
  const alive = [...new Set(frames.map(({ buffer }) => buffer))];
  assert.ok(alive.reduce((sum, { byteLength }) => sum + byteLength, 0) < 3 << 20);
  const fills = framesOf(sent).map((frame) => frame.type === "data" && frame.train.bytes[0]!);
  assert.deepEqual(fills.slice(0, 100), [...Array(100).keys()]);
});

Deno.test("RelayHub welcomes members only, by their own signature over its nonce", () => {
  const rig = new Rig();
  const cases: [code: string, text: (nonce: string) => string][] = [
    ["peer-unknown", (nonce) => helloOf(EVE, nonce)],
    ["identity-mismatch", (nonce) => helloOf(ALICE, nonce, EVE)],
    ["identity-mismatch", () => helloOf(ALICE, "another")],
    ["protocol-invalid", () => "{}"],
    ["protocol-invalid", () => "x"],
  ];
  for (const [code, text] of cases) {
    const { connection, nonce } = rig.connect();
    rig.give({ type: "text", connection, text: text(nonce) });
    assert.equal(refusal(rig.effects, connection), code);
  }
  assert.deepEqual(rig.hub.connected, { live: 0, waiting: 0 });
});

Deno.test("RelayHub ends a connection that breaks the protocol", () => {
  const bad: [name: string, frame: Uint8Array][] = [
    ["gone", encodeGone(BOB.peerId)],
    ["segment 0", encodeData(BOB.peerId, { bytes: new Uint8Array(9), segment: 0 })],
    ["beyond limits", encodeData(BOB.peerId, { bytes: new Uint8Array(65), segment: 1 })],
    ["nothing", new Uint8Array()],
  ];
  for (const [name, frame] of bad) {
    const rig = new Rig();
    const alice = rig.join(ALICE);
    rig.send(alice, frame);
    assert.equal(refusal(rig.effects, alice), "protocol-invalid", name);
    assert.deepEqual(rig.send(alice, frame), [], "it is forgotten");
  }
  const rig = new Rig();
  const alice = rig.join(ALICE);
  rig.give({ type: "text", connection: alice, text: helloOf(ALICE, "x") });
  assert.equal(refusal(rig.effects, alice), "protocol-invalid");
  const { connection } = rig.connect();
  rig.send(connection, encodeEcho("ping", new Uint8Array(8)));
  assert.equal(refusal(rig.effects, connection), "protocol-invalid");
});

Deno.test("RelayHub answers pings", () => {
  const rig = new Rig();
  const alice = rig.join(ALICE);
  const echo = fromHex("0102030405060708");
  assert.deepEqual(framesOf(rig.send(alice, encodeEcho("ping", echo))), [{ type: "pong", echo }]);
  assert.deepEqual(rig.send(alice, encodeEcho("pong", echo)), []);
});

Deno.test("RelayHub says that a peer is absent, once per second", () => {
  const rig = new Rig();
  const alice = rig.join(ALICE);
  const count = () => framesOf(rig.send(alice, encodeData(BOB.peerId, train(9)))).length;
  assert.deepEqual(rig.send(alice, encodeData(BOB.peerId, train(9))), [
    { type: "frame", connection: alice, frame: encodeGone(BOB.peerId) },
  ]);
  assert.equal(count(), 0);
  const other = framesOf(rig.send(alice, encodeData(CAROL.peerId, train(9))));
  assert.deepEqual(other, [{ type: "gone", peer: CAROL.peerId }]);
  rig.now += GONE_INTERVAL_MS;
  assert.equal(count(), 1);
  assert.equal(framesOf(rig.send(alice, encodeData(ALICE.peerId, train(9)))).length, 1);
  assert.equal(rig.hub.counts.drops["peer-absent"], 5);
});

Deno.test("RelayHub keeps the newest connection of an identity", () => {
  const rig = new Rig();
  const [bob, older] = [rig.join(BOB), rig.join(ALICE)];
  const { connection: newer, nonce } = rig.connect();
  rig.give({ type: "text", connection: newer, text: helloOf(ALICE, nonce) });
  assert.equal(refusal(rig.effects, older), "already-running");
  assert.equal(rig.effects.at(-1)?.connection, newer);
  rig.give({ type: "close", connection: older });
  const [effect] = rig.send(bob, encodeData(ALICE.peerId, train(9)));
  assert.equal(effect?.connection, newer);
  assert.deepEqual(rig.hub.connected, { live: 2, waiting: 0 });
});

Deno.test("RelayHub cuts off a node that left the mesh", () => {
  const rig = new Rig();
  const [alice, bob] = [rig.join(ALICE), rig.join(BOB)];
  rig.give({ type: "left", peer: BOB.peerId });
  assert.equal(refusal(rig.effects, bob), "peer-unknown");
  assert.deepEqual(framesOf(rig.send(alice, encodeData(BOB.peerId, train(9)))), [
    { type: "gone", peer: BOB.peerId },
  ]);
  assert.deepEqual(rig.give({ type: "left", peer: EVE.peerId }), []);
});

Deno.test("RelayHub ends who does not greet, and who is silent", () => {
  const rig = new Rig();
  const alice = rig.join(ALICE);
  rig.now += 1_000;
  const { connection } = rig.connect();
  rig.now += HELLO_WITHIN_MS - 1;
  assert.deepEqual(rig.give({ type: "tick" }), []);
  rig.now += 1;
  assert.deepEqual(rig.give({ type: "tick" }), [{ type: "close", connection }]);
  rig.send(alice, encodeEcho("ping", new Uint8Array(8)));
  const end = rig.now + SILENCE_MS;
  let ticks = 0;
  while (rig.hub.deadline !== NEVER && ticks++ < 10) {
    rig.now = rig.hub.deadline;
    if (rig.give({ type: "tick" }).length > 0) break;
  }
  assert.deepEqual(rig.effects, [{ type: "close", connection: alice }]);
  assert.equal(rig.now, end);
  assert.equal(rig.hub.deadline, NEVER);
});

Deno.test("RelayHub bounds those that have not greeted", () => {
  const rig = new Rig();
  const { connection: first } = rig.connect();
  for (let i = 1; i < MAX_WAITING; i++) rig.connect();
  assert.ok(!rig.effects.some(({ type }) => type === "close"));
  rig.connect();
  assert.ok(rig.effects.some(({ type, connection }) => type === "close" && connection === first));
  assert.equal(rig.hub.connected.waiting, MAX_WAITING);
});

Deno.test("RelayHub queues beyond the window, and goes on as the socket writes", () => {
  const rig = new Rig();
  const [alice, bob] = [rig.join(ALICE), rig.join(BOB)];
  const sent: RelayEffect[] = [];
  for (let i = 0; i < 12; i++) {
    sent.push(...rig.send(alice, encodeData(BOB.peerId, train(60_000, i))));
  }
  assert.ok(sent.length * 60_000 < WINDOW_BYTES + 60_000 && sent.length * 60_000 >= WINDOW_BYTES);
  assert.ok(rig.hub.queuedBytes >= (12 - sent.length) * 60_000);
  // A pong waits for room too, and only the newest one is kept.
  for (const byte of [1, 2]) {
    assert.deepEqual(rig.send(bob, encodeEcho("ping", new Uint8Array(8).fill(byte))), []);
  }
  for (let wave = rig.write(sent); wave.length > 0; wave = rig.write(wave)) sent.push(...wave);
  const frames = framesOf(sent);
  assert.deepEqual(frames.flatMap((f) => f.type === "data" ? [f.train.bytes[0]] : []), [
    ...Array(12).keys(),
  ]);
  const pongs = frames.flatMap((frame) => frame.type === "pong" ? [frame.echo[0]] : []);
  assert.deepEqual(pongs, [2]);
  assert.equal(rig.hub.queuedBytes, 0);
});

Deno.test("RelayHub keeps little for a client that sends and does not read", () => {
  const rig = new Rig();
  const [alice, bob] = [rig.join(ALICE), rig.join(BOB)];
  let unwritten = 0;
  const give = (connection: number, frame: Uint8Array) => {
    for (const effect of rig.send(connection, frame)) {
      if (effect.type === "frame") unwritten += effect.frame.length;
    }
  };
  for (let i = 0; i < 5_000; i++) {
    give(alice, encodeEcho("ping", new Uint8Array(8)));
    give(alice, encodeData(i.toString(16).padStart(16, "0"), train(9)));
    give(bob, encodeData(ALICE.peerId, train(1_420)));
    give(alice, encodeData(BOB.peerId, train(60_000)));
  }
  assert.ok(unwritten < 3 * WINDOW_BYTES, `${unwritten}`);
  assert.ok(rig.hub.queuedBytes < 3 << 20, `${rig.hub.queuedBytes}`);
  assert.ok(rig.hub.counts.drops["source-full"] > 0);
  rig.give({ type: "close", connection: alice });
  rig.give({ type: "close", connection: bob });
  assert.equal(rig.hub.queuedBytes, 0);
  assert.ok(rig.hub.counts.drops["peer-left"] > 0);
});

Deno.test("RelayHub survives any events in any order", () => {
  for (let seed = 1; seed <= 30; seed++) {
    const rig = new Rig();
    const random = new SeededRandom(seed);
    const nonces = new Map<number, string>();
    const pending: RelayEffect[] = [];
    const pick = <T>(list: readonly T[]) => list[random.uint32() % list.length]!;
    for (let step = 0; step < 2_000; step++) {
      rig.now += random.uint32() % (step % 100 === 0 ? 9_000 : 30);
      const connection = 1 + random.uint32() % Math.max(1, nonces.size + 1);
      const identity = pick([ALICE, BOB, CAROL, EVE]);
      const act = random.uint32() % 12;
      if (act === 0) {
        const made = rig.connect();
        nonces.set(made.connection, made.nonce);
      } else if (act === 1) {
        // Signing is slow; most greetings are nonsense.
        const isHello = random.uint32() % 4 === 0;
        const text = isHello ? helloOf(identity, nonces.get(connection) ?? "") : "{}";
        if (isHello || step % 50 === 0) rig.give({ type: "text", connection, text });
      } else if (act === 2 && step % 20 === 0) rig.give({ type: "close", connection });
      else if (act === 3 && step % 20 === 0) rig.give({ type: "left", peer: identity.peerId });
      else if (act === 4 && step % 20 === 0) {
        rig.send(connection, random.bytes(random.uint32() % 40));
      } else if (act === 5) rig.give({ type: "tick" });
      else if (act === 6) rig.send(connection, encodeEcho("ping", random.bytes(8)));
      else if (act === 7) pending.push(...rig.write(pending.splice(0)));
      else {
        const length = 1 + random.uint32() % 60_000;
        rig.send(connection, encodeData(identity.peerId, train(length)));
      }
      pending.push(...rig.effects);
      assert.ok(rig.hub.connected.live <= 3);
    }
    rig.now += SILENCE_MS;
    rig.give({ type: "tick" });
    assert.deepEqual(rig.hub.connected, { live: 0, waiting: 0 });
    assert.equal(rig.hub.queuedBytes, 0);
  }
});
