/**
 * Does a pair of devices do what the WireGuard paper says, in the second that it says it?
 * @module
 */
import assert from "node:assert/strict";
import { toHex } from "../bytes.ts";
import { FakeNode, FakeWire, type WireOptions } from "./fake.ts";

const A = "192.0.2.1:51820";
const B = "192.0.2.2:51820";
/** Either node has one peer, the other, in this slot. */
const PEER = 7;

interface PairOptions extends WireOptions {
  readonly seed?: number;
  readonly rekeyAfterMs?: number;
  readonly keepaliveMs?: number;
  readonly psk?: readonly [number, number];
}

/** Two nodes that know each other. */
function pair(options: PairOptions = {}): { wire: FakeWire; a: FakeNode; b: FakeNode } {
  const wire = new FakeWire(options.seed ?? 1, options);
  const { rekeyAfterMs } = options;
  const rekey = rekeyAfterMs === undefined ? {} : { rekeyAfterMs };
  const a = new FakeNode(wire, A, { privateKey: wire.random.bytes(32), ...rekey });
  const b = new FakeNode(wire, B, { privateKey: wire.random.bytes(32), ...rekey });
  const psk = (i: 0 | 1) =>
    options.psk ? { presharedKey: new Uint8Array(32).fill(options.psk[i]) } : {};
  b.handle({
    type: "add-peer",
    peer: PEER,
    options: { publicKey: a.device.publicKey, endpoints: [A], ...psk(1) },
  });
  const keepalive = options.keepaliveMs ? { persistentKeepaliveMs: options.keepaliveMs } : {};
  a.handle({
    type: "add-peer",
    peer: PEER,
    options: { publicKey: b.device.publicKey, endpoints: [B], ...psk(0), ...keepalive },
  });
  return { wire, a, b };
}

/** How many datagrams of a message type a node sent. */
function sentOf(wire: FakeWire, from: string, type: number): number {
  return wire.log.filter((datagram) => datagram.from === from && datagram.bytes[0] === type).length;
}

Deno.test("Device makes a session when a packet wants one, with the same keys at both ends", () => {
  const { wire, a, b } = pair({ minDelay: 40 });
  assert.equal(a.device.report(PEER)!.state, "down");
  a.send(PEER, "hello");
  assert.equal(a.device.report(PEER)!.state, "handshaking");
  wire.run(200);

  assert.deepEqual(b.received, ["hello"]);
  const [mine, theirs] = [a.current(PEER)!, b.current(PEER)!];
  assert.equal(toHex(mine.sendKey), toHex(theirs.receiveKey));
  assert.equal(toHex(mine.receiveKey), toHex(theirs.sendKey));
  assert.equal(mine.remoteIndex, theirs.localIndex);
  assert.equal(mine.localIndex, theirs.remoteIndex);
  assert.equal(mine.localIndex & 0x3fff, mine.slot);
  assert.equal(Math.floor(mine.slot / 4), PEER);
  assert.deepEqual([mine.isInitiator, theirs.isInitiator], [true, false]);

  b.send(PEER, "and back");
  wire.run(200);
  assert.deepEqual(a.received, ["and back"]);
  const { state, rtt, endpoint, attempts } = a.device.report(PEER)!;
  assert.deepEqual([state, rtt!.ms, endpoint, attempts], ["up", 80, B, 0]);
  assert.deepEqual(a.effectsOf("session-up").map(({ rttMs }) => rttMs), [80]);
  assert.deepEqual(b.effectsOf("session-up").map(({ rttMs }) => rttMs), [80]);
});

Deno.test("Device needs the same pre-shared key at both ends", () => {
  const same = pair({ psk: [5, 5] });
  same.a.send(PEER, "x");
  same.wire.run(100);
  assert.deepEqual(same.b.received, ["x"]);

  const other = pair({ psk: [5, 6] });
  other.a.send(PEER, "x");
  other.wire.run(100);
  assert.deepEqual(other.b.received, []);
  assert.deepEqual(other.a.effectsOf("drop").map(({ reason }) => reason), ["bad-tag"]);
});

Deno.test("Device: only the initiator rekeys, each 120 s of traffic, and nothing is lost", () => {
  const { wire, a, b } = pair({ minDelay: 1, maxDelay: 300 });
  a.send(PEER, "0");
  wire.run(1_000);
  const sent: string[] = ["0"];
  for (let i = 1; i < 6000; i++) {
    sent.push(`${i}`);
    a.send(PEER, `${i}`);
    b.send(PEER, `${i}`);
    wire.run(100);
  }
  wire.run(400);
  const numeric = (x: string, y: string) => Number(x) - Number(y);
  assert.deepEqual(b.received.toSorted(numeric), sent);
  assert.deepEqual(["0", ...a.received.toSorted(numeric)], sent);
  assert.equal(sentOf(wire, B, 1), 0);
  const starts = wire.log.filter(({ bytes }) => bytes[0] === 1).map(({ at }) => at);
  assert.equal(starts.length, 5);
  for (let i = 1; i < starts.length; i++) {
    assert.ok(starts[i]! - starts[i - 1]! >= 120_000 && starts[i]! - starts[i - 1]! < 121_000);
  }
  assert.ok(a.keypairs.size <= 4 && b.keypairs.size <= 4);
  assert.deepEqual(a.effectsOf("session-down"), []);
});

Deno.test("Device: an initiator that only receives rekeys with its first keepalive from 120 s", () => {
  const { wire, a, b } = pair();
  a.send(PEER, "open");
  wire.run(10);
  for (let i = 0; i < 1400; i++) {
    b.send(PEER, `${i}`);
    wire.run(100);
  }
  assert.equal(a.received.length, 1400);
  assert.deepEqual([sentOf(wire, A, 1), sentOf(wire, B, 1)], [2, 0]);
  const [first, second] = wire.log.filter(({ bytes }) => bytes[0] === 1);
  const age = second!.at - first!.at;
  assert.ok(age >= 120_000 && age <= 130_100, `${age}`);
});

Deno.test("Device: an initiator that receives, and whose keepalives fail, rekeys at 165 s", () => {
  const { wire, a, b } = pair();
  a.send(PEER, "open");
  wire.run(10);
  const start = a.current(PEER)!.createdAt;
  for (const type of ["data-received", "keepalive-received"] as const) {
    assert.deepEqual(a.device.handle({ type, peer: PEER }, start + 164_999), []);
  }
  const effects = a.device.handle({ type: "keepalive-received", peer: PEER }, start + 165_000);
  assert.deepEqual(effects.map(({ type }) => type), ["transmit"]);
  assert.deepEqual(
    b.device.handle({ type: "keepalive-received", peer: PEER }, start + 179_000),
    [],
  );
});

for (const keepalives of [[25_000, 0], [0, 25_000], [25_000, 25_000]] as const) {
  Deno.test(`Device rekeys a session of nothing but keepalives (${keepalives})`, () => {
    const { wire, a, b } = pair();
    for (const [i, node] of [a, b].entries()) {
      const { publicKey } = (node === a ? b : a).device;
      const endpoints = [node === a ? B : A];
      node.handle({ type: "remove-peer", peer: PEER });
      node.effects.length = 0;
      const options = { publicKey, endpoints, persistentKeepaliveMs: keepalives[i]! };
      node.handle({ type: "add-peer", peer: PEER, options });
    }
    wire.run(1_000_000);
    assert.deepEqual([...a.effectsOf("session-down"), ...b.effectsOf("session-down")], []);
    const sessions = a.effectsOf("session-up").length;
    assert.ok(sessions >= 7 && sessions <= 9, `${sessions} in 1000 s`);
  });
}

Deno.test("Device: a responder steps in at 170 s when the initiator does not rekey", () => {
  const { wire, a, b } = pair();
  a.send(PEER, "open");
  wire.run(10);
  wire.unplug(A);
  // As if a had forgotten that it began: its initiations are held back, its data is not.
  for (let i = 0; i < 1690; i++) {
    b.handle({ type: "data-received", peer: PEER });
    b.handle({ type: "data-sent", peer: PEER });
    wire.run(100);
  }
  assert.equal(sentOf(wire, B, 1), 0);
  for (let i = 0; i < 30; i++) {
    b.handle({ type: "data-sent", peer: PEER });
    wire.run(100);
  }
  assert.equal(sentOf(wire, B, 1), 1);
  assert.equal(a.device.report(PEER)!.state, "up");
});

Deno.test("Device rekeys sooner when a test says so", () => {
  const { wire, a, b } = pair({ rekeyAfterMs: 10_000 });
  for (let i = 0; i < 100; i++) {
    a.send(PEER, `${i}`);
    wire.run(1000);
  }
  assert.equal(b.received.length, 100);
  assert.ok(sentOf(wire, A, 1) >= 9);
});

Deno.test("Device forgets an idle session's keys at 180 s and makes another on demand", () => {
  const { wire, a, b } = pair();
  a.send(PEER, "x");
  const start = wire.now;
  wire.run(179_000);
  assert.equal(a.device.report(PEER)!.state, "up");
  wire.run(2_000);
  for (const node of [a, b]) {
    assert.equal(node.keypairs.size, 0);
    assert.equal(node.device.report(PEER)!.state, "down");
    const [down] = node.effectsOf("session-down");
    assert.equal(down!.reason, "expired");
    assert.ok(Math.abs(down!.at - start - 180_000) < 10);
  }
  assert.equal(a.device.deadline, Infinity);
  b.send(PEER, "y");
  wire.run(10);
  assert.deepEqual(a.received, ["y"]);
});

Deno.test("Device repeats an initiation each 5 s with jitter and gives up after 90 s", () => {
  const { wire, a } = pair({ loss: 1 });
  const start = wire.now;
  a.send(PEER, "x");
  for (let i = 0; i < 90; i++) {
    wire.run(999);
    a.send(PEER, "more does not prolong it");
  }
  wire.run(1_000);
  const at = wire.log.map((datagram) => datagram.at - start);
  assert.ok(at.length >= 17 && at.length <= 18, `${at.length} initiations`);
  for (let i = 1; i < at.length; i++) {
    assert.ok(at[i]! - at[i - 1]! >= 5_000 && at[i]! - at[i - 1]! < 5_334);
  }
  assert.equal(new Set(wire.log.map(({ bytes }) => toHex(bytes))).size, at.length, "each is fresh");
  const [down] = a.effectsOf("session-down");
  assert.deepEqual([down!.reason, down!.at - start], ["gave-up", 90_000]);
  assert.equal(a.device.report(PEER)!.state, "unreachable");
  wire.run(60_000);
  assert.equal(wire.log.length, at.length);

  wire.options.loss = 0;
  a.send(PEER, "again");
  wire.run(100);
  assert.equal(a.device.report(PEER)!.state, "up");
});

Deno.test("Device answers data with a keepalive after 10 s of having nothing to say", () => {
  const { wire, a, b } = pair();
  a.send(PEER, "x");
  wire.run(5_000);
  b.send(PEER, "y");
  wire.run(9_000);
  const before = [sentOf(wire, A, 4), sentOf(wire, B, 4)];
  assert.deepEqual(before, [2, 1], "data and the confirming keepalive; data");
  wire.run(60_000);
  assert.deepEqual([sentOf(wire, A, 4), sentOf(wire, B, 4)], [3, 1]);
  assert.deepEqual([sentOf(wire, A, 1), sentOf(wire, B, 1)], [1, 0], "and the session is not lost");
});

Deno.test("Device starts a handshake after 15 s of sending without an answer", () => {
  const { wire, a, b } = pair();
  a.send(PEER, "x");
  wire.run(1_000);
  b.send(PEER, "y");
  wire.run(1_000);
  a.handle({ type: "set-endpoints", peer: PEER, endpoints: [B, "198.51.100.9:1"] });
  wire.unplug(B);
  const start = wire.now;
  const begun = wire.log.length;
  for (let i = 0; i < 20; i++) {
    a.send(PEER, "x");
    wire.run(1_000);
  }
  const initiations = wire.log.slice(begun).filter(({ bytes }) => bytes[0] === 1);
  const after = initiations[0]!.at - start;
  assert.ok(after >= 15_000 && after <= 15_334, `${after} ms`);
  assert.deepEqual(initiations.slice(0, 2).map(({ to }) => to), [B, "198.51.100.9:1"]);
});

Deno.test("Device keeps a NAT's mapping open with a persistent keepalive", () => {
  const { wire, a, b } = pair({ keepaliveMs: 25_000 });
  wire.run(20);
  assert.equal(b.device.report(PEER)!.state, "up", "it makes the session without a packet");
  wire.run(25_000 * 20);
  assert.equal(a.device.report(PEER)!.state, "up");
  const gaps = wire.log.filter(({ from }) => from === A).map(({ at }, i, all) =>
    i === 0 ? 0 : at - all[i - 1]!.at
  );
  assert.ok(Math.max(...gaps) <= 25_001);

  wire.unplug(B);
  wire.run(400_000);
  assert.ok(a.effectsOf("session-down").some(({ reason }) => reason === "gave-up"));
  wire.plug(B, b);
  wire.run(130_000);
  assert.equal(a.device.report(PEER)!.state, "up", "it never stops trying");
});

Deno.test("Device tries a proven endpoint alone first, then all", () => {
  const { wire, a } = pair();
  const others = ["198.51.100.1:1", "198.51.100.2:2"];
  a.handle({ type: "set-endpoints", peer: PEER, endpoints: [...others, B] });
  a.send(PEER, "x");
  const targets = () => wire.log.filter(({ bytes }) => bytes[0] === 1).map(({ to }) => to);
  assert.deepEqual(targets(), [...others, B], "nothing is proven yet");
  wire.run(100);
  assert.equal(a.device.report(PEER)!.endpoint, B);

  wire.log.length = 0;
  wire.unplug(B);
  wire.run(6_000);
  a.handle({ type: "counter-limit", peer: PEER });
  assert.deepEqual(targets(), [B]);
  wire.run(5_400);
  assert.deepEqual(targets(), [B, B, ...others]);
  a.handle({ type: "set-endpoints", peer: PEER, endpoints: [B, "203.0.113.5:5"] });
  assert.deepEqual(targets().slice(4), ["203.0.113.5:5"], "a candidate that comes late is tried");
});

Deno.test("Device follows a peer that moves, by handshake and by data", () => {
  const { wire, a, b } = pair();
  const elsewhere = "203.0.113.77:4242";
  a.send(PEER, "x");
  wire.run(6_000);
  wire.plug(elsewhere, a);
  a.handle({ type: "counter-limit", peer: PEER });
  wire.run(100);
  assert.equal(b.effectsOf("use-endpoint").at(-1)!.endpoint, elsewhere);
  b.send(PEER, "found you");
  wire.run(100);
  assert.deepEqual(a.received, ["found you"]);

  wire.plug(A, a);
  a.send(PEER, "moved again");
  wire.run(100);
  assert.equal(b.device.report(PEER)!.endpoint, A);
});

Deno.test("Device erases everything of a removed peer", () => {
  const { wire, a, b } = pair();
  a.send(PEER, "x");
  wire.run(100);
  a.handle({ type: "remove-peer", peer: PEER });
  assert.equal(a.keypairs.size, 0);
  assert.deepEqual(a.effectsOf("session-down").map(({ reason }) => reason), ["removed"]);
  assert.deepEqual([a.device.report(PEER), a.device.deadline], [null, Infinity]);
  for (const type of ["data-sent", "session-wanted", "counter-limit", "peer-restarted"] as const) {
    a.handle({ type, peer: PEER });
  }
  b.handle({ type: "counter-limit", peer: PEER });
  wire.run(30_000);
  assert.equal(a.effectsOf("drop").at(-1)!.reason, "unknown-peer");
  assert.equal(a.keypairs.size, 0);
});

Deno.test("Device says again where the data plane should be when that lost its place", () => {
  const { wire, a } = pair();
  a.send(PEER, "x");
  wire.run(100);
  const { slot } = a.current(PEER)!;
  const effects = a.device.handle({ type: "session-wanted", peer: PEER }, wire.now);
  assert.deepEqual(effects, [
    { type: "use-endpoint", peer: PEER, endpoint: B },
    { type: "promote-keypair", peer: PEER, slot },
  ]);
});
