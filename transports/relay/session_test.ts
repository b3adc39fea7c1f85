import assert from "node:assert/strict";
import { identityOf } from "../../tests/mesh_fixture.ts";
import { fromBase64Url, fromHex } from "../../core/bytes.ts";
import { relayBytes } from "../../core/control/envelope.ts";
import { verify } from "../../core/identity/keys.ts";
import { SeededRandom } from "../../core/random.ts";
import { encodeData, encodeEcho, encodeGone, parseFrame } from "./frames.ts";
import {
  CONNECT_TIMEOUT_MS,
  FIRST_DELAY_MS,
  GONE_MS,
  MAX_DELAY_MS,
  PING_INTERVAL_MS,
  PONG_TIMEOUT_MS,
  RelaySession,
  type SessionEffect,
  type SessionEvent,
  WHY_ABSENT,
} from "./session.ts";

const ALICE = identityOf(1);
const BOB = "00112233445566ff";

/** A session with the shell's and the relay's part played by hand. */
class Rig {
  readonly session = new RelaySession({ identity: ALICE, random: new SeededRandom(1) });
  now = 1_000;
  /** The newest socket. */
  socket = 0;
  effects: SessionEffect[] = [];

  give(event: SessionEvent): SessionEffect[] {
    this.effects = this.session.handle(event, this.now);
    for (const effect of this.effects) if (effect.type === "connect") this.socket = effect.socket;
    return this.effects;
  }

  /** Lets time pass, with every tick that is due. */
  pass(ms: number): SessionEffect[] {
    const [end, all] = [this.now + ms, [] as SessionEffect[]];
    while (this.session.deadline <= end) {
      this.now = Math.max(this.now, this.session.deadline);
      all.push(...this.give({ type: "tick" }));
    }
    this.now = end;
    return all;
  }

  text(message: object): SessionEffect[] {
    return this.give({ type: "text", socket: this.socket, text: JSON.stringify(message) });
  }

  frame(frame: Uint8Array): SessionEffect[] {
    return this.give({ type: "frame", socket: this.socket, frame });
  }

  lose(why = "reset"): SessionEffect[] {
    return this.give({ type: "closed", socket: this.socket, why });
  }

  /** Connects until the relay's welcome. */
  up(): SessionEffect[] {
    while (!this.give({ type: "tick" }).some(({ type }) => type === "connect")) {
      this.now = this.session.deadline;
    }
    this.give({ type: "open", socket: this.socket });
    this.text({ type: "challenge", nonce: "abc" });
    return this.text({ type: "welcome" });
  }

  /** Answers the ping among the last effects. */
  pong(effects = this.effects): SessionEffect[] {
    const ping = effects.find((effect) => effect.type === "frame");
    assert.ok(ping);
    const echo = ping.frame.slice(1);
    assert.deepEqual(parseFrame(ping.frame), { type: "ping", echo });
    return this.frame(encodeEcho("pong", echo));
  }
}

function changes(effects: readonly SessionEffect[]): [string | null, boolean, string][] {
  return effects.flatMap((effect) =>
    effect.type === "changed" ? [[effect.peer, effect.isUp, effect.why]] : []
  );
}

Deno.test("RelaySession proves who it is, and is up when it is welcome", () => {
  const rig = new Rig();
  assert.deepEqual(rig.give({ type: "tick" }), [{ type: "connect", socket: 1 }]);
  rig.give({ type: "open", socket: 1 });
  const [hello] = rig.text({ type: "challenge", nonce: "abc" });
  assert.ok(hello?.type === "hello");
  const signature = fromBase64Url(hello.hello.signature);
  assert.ok(verify(ALICE.publicKey, relayBytes("abc"), signature));
  assert.equal(rig.session.isUp(BOB), false);
  assert.deepEqual(changes(rig.text({ type: "welcome" })).map(([, isUp]) => isUp), [true]);
  assert.equal(rig.session.isUp(BOB), true);
  assert.equal(rig.session.upSocket, 1);
});

Deno.test("RelaySession measures the round trip, again and again", () => {
  const rig = new Rig();
  rig.up();
  assert.equal(rig.session.rttMs, null);
  rig.now += 30;
  rig.pong();
  assert.equal(rig.session.rttMs, 30);
  const pings = rig.pass(PING_INTERVAL_MS).filter(({ type }) => type === "frame");
  assert.equal(pings.length, 1);
  rig.frame(encodeEcho("pong", fromHex("0000000000000000")));
  assert.equal(rig.session.rttMs, 30, "an echo that was not asked for");
});

Deno.test("RelaySession gives up a relay that is silent, not one that is busy", () => {
  const rig = new Rig();
  rig.up();
  rig.now += PONG_TIMEOUT_MS - 1;
  rig.frame(encodeData(BOB, { bytes: new Uint8Array(9), segment: 9 }));
  rig.pass(PONG_TIMEOUT_MS - 1);
  assert.ok(rig.session.isUp(BOB));
  const effects = rig.pass(1);
  assert.deepEqual(changes(effects), [[null, false, "the relay went silent"]]);
  assert.ok(effects.some(({ type }) => type === "close"));
  assert.equal(rig.session.problem, "the relay went silent");
});

Deno.test("RelaySession hands over what peers send, and answers pings", () => {
  const rig = new Rig();
  rig.up();
  const train = { bytes: Uint8Array.of(1, 2, 3), segment: 2 };
  assert.deepEqual(rig.frame(encodeData(BOB, train)), [{ type: "received", peer: BOB, train }]);
  const echo = fromHex("0102030405060708");
  assert.deepEqual(rig.frame(encodeEcho("ping", echo)), [
    { type: "frame", socket: 1, frame: encodeEcho("pong", echo) },
  ]);
});

Deno.test("RelaySession counts an absent peer as down for a while", () => {
  const rig = new Rig();
  rig.up();
  rig.pong();
  assert.deepEqual(changes(rig.frame(encodeGone(BOB))), [[BOB, false, WHY_ABSENT]]);
  assert.equal(rig.session.isUp(BOB), false);
  rig.now += 1_000;
  assert.deepEqual(changes(rig.frame(encodeGone(BOB))), [], "known already");
  rig.pass(GONE_MS - 1);
  assert.equal(rig.session.isUp(BOB), false);
  assert.deepEqual(changes(rig.pass(1)).map(([peer, isUp]) => [peer, isUp]), [[BOB, true]]);
  assert.equal(rig.session.isUp(BOB), true);

  rig.frame(encodeGone(BOB));
  const effects = rig.frame(encodeData(BOB, { bytes: new Uint8Array(9), segment: 9 }));
  assert.deepEqual(effects.map(({ type }) => type), ["changed", "received"]);
  assert.equal(rig.session.isUp(BOB), true);
});

Deno.test("RelaySession retries ever more slowly, and at once when told to", () => {
  const rig = new Rig();
  const pauses: number[] = [];
  rig.give({ type: "tick" });
  for (let i = 0; i < 9; i++) {
    rig.lose("refused");
    pauses.push(rig.session.deadline - rig.now);
    rig.pass(pauses.at(-1)!);
  }
  pauses.forEach((pause, i) => {
    const nominal = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** i);
    assert.ok(pause <= nominal && pause >= nominal * 0.75, `${i}: ${pause}`);
  });
  rig.lose();
  assert.equal(rig.give({ type: "reconnect" }).at(-1)?.type, "connect");
  rig.up();
  rig.pass(100);
  const effects = rig.give({ type: "reconnect" });
  assert.deepEqual(effects.map(({ type }) => type), ["close", "changed", "connect"]);
});

Deno.test("RelaySession starts small again after a connection that was good", () => {
  const rig = new Rig();
  for (const [livedMs, longest] of [[6_000, FIRST_DELAY_MS], [0, 2 * FIRST_DELAY_MS]] as const) {
    rig.up();
    rig.pong();
    rig.pass(livedMs);
    assert.deepEqual(changes(rig.lose("reset by peer")), [[null, false, "reset by peer"]]);
    assert.ok(rig.session.deadline - rig.now <= longest);
  }
});

Deno.test("RelaySession gives up an attempt that takes too long", () => {
  const rig = new Rig();
  rig.give({ type: "tick" });
  rig.give({ type: "open", socket: 1 });
  rig.text({ type: "challenge", nonce: "abc" });
  rig.pass(CONNECT_TIMEOUT_MS - 1);
  assert.equal(rig.socket, 1);
  assert.deepEqual(rig.pass(1)[0], { type: "close", socket: 1 });
  assert.deepEqual(changes(rig.effects), [], "it was never up");
});

Deno.test("RelaySession leaves a relay that refuses it or breaks the protocol", () => {
  const cases: ((rig: Rig) => SessionEffect[])[] = [
    (rig) => rig.text({ type: "refused", code: "already-running", message: "Cannot keep it" }),
    (rig) => rig.text({ type: "welcome" }),
    (rig) => rig.text({ type: "challenge", nonce: "abc" }),
    (rig) => rig.text({ type: "nonsense" }),
    (rig) => rig.frame(new Uint8Array()),
  ];
  for (const run of cases) {
    const rig = new Rig();
    rig.up();
    const effects = run(rig);
    assert.deepEqual(effects.map(({ type }) => type), ["close", "changed"]);
    assert.ok(rig.session.deadline - rig.now >= 0.75 * MAX_DELAY_MS);
  }
  const early = new Rig();
  early.give({ type: "tick" });
  assert.equal(early.frame(encodeGone(BOB))[0]?.type, "close");
});

Deno.test("RelaySession ignores a socket that it gave up", () => {
  const rig = new Rig();
  rig.up();
  rig.give({ type: "reconnect" });
  assert.equal(rig.socket, 2);
  assert.deepEqual(rig.give({ type: "closed", socket: 1, why: "late" }), []);
  assert.deepEqual(rig.give({ type: "text", socket: 1, text: '{"type":"welcome"}' }), []);
  assert.equal(rig.session.upSocket, null);
});

Deno.test("RelaySession survives whatever a relay sends", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const rig = new Rig();
    const random = new SeededRandom(seed);
    for (let step = 0; step < 500; step++) {
      rig.pass(random.uint32() % 500);
      const act = random.uint32() % 8;
      if (act === 0) rig.give({ type: "reconnect" });
      else if (act === 1) rig.lose();
      else if (act === 2 && rig.session.upSocket === null) rig.up();
      else if (act === 3) rig.frame(random.bytes(random.uint32() % 30));
      else if (act === 4) rig.text({ type: "refused", code: "internal", message: "" });
      else rig.frame(encodeGone(random.bytes(8).toHex()));
      assert.ok(Number.isFinite(rig.session.deadline));
    }
  }
});
