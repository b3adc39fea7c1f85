/**
 * Tests of the bridge: effects reach the table, flags become events, streams cost few of them; and
 * of both halves of a node together over a wire in memory.
 * @module
 */
import assert from "node:assert/strict";
import { DataPlaneNode, installKeys, introduce } from "../../tests/dataplane_node.ts";
import { ipPacket, payloadOf } from "../../tests/ip_packets.ts";
import { type SessionNode, sessionPair, SessionWire } from "../../tests/session_pair.ts";
import { NEVER } from "../machine.ts";
import { SeededRandom } from "../random.ts";
import type { DeviceEvent } from "../wireguard/device.ts";
import { DataPlaneBridge } from "./bridge.ts";
import { FLAG, KEYPAIR, keypairAt, raiseFlag } from "./layout.ts";

const THERE = ipPacket("10.0.0.1", "10.0.0.2", Uint8Array.of(1));
const BACK = ipPacket("10.0.0.2", "10.0.0.1", Uint8Array.of(2));

/** A node with a session in slot 0, its bridge, and the other end. */
function connected(): [DataPlaneNode, DataPlaneBridge, DataPlaneNode] {
  const a = new DataPlaneNode("192.0.2.1:1", ["10.0.0.1"]);
  const b = new DataPlaneNode("192.0.2.2:1", ["10.0.0.2"]);
  introduce(a, b);
  installKeys(a, b, new SeededRandom(1));
  return [a, new DataPlaneBridge(a.table), b];
}

function typesOf(events: readonly DeviceEvent[]): string[] {
  return events.map(({ type }) => type).sort();
}

Deno.test("perform() installs, promotes and forgets keypairs", () => {
  const a = new DataPlaneNode("192.0.2.1:1", ["10.0.0.1"]);
  const bridge = new DataPlaneBridge(a.table);
  a.table.addPeer(0);
  const keypair = {
    peer: 0,
    slot: 1,
    localIndex: 0x4001,
    remoteIndex: 9,
    sendKey: new Uint8Array(32).fill(1),
    receiveKey: new Uint8Array(32).fill(2),
    features: 0,
    isInitiator: false,
    createdAt: 0,
  };
  a.table.setRoutes([{ prefix: { bytes: Uint8Array.of(10, 0, 0, 2), bits: 32 }, value: 0 }]);
  assert.ok(bridge.perform({ type: "use-endpoint", peer: 0, endpoint: "192.0.2.2:1" }));
  assert.equal(a.table.endpoint(0), "192.0.2.2:1");

  assert.ok(bridge.perform({ type: "install-keypair", keypair: { ...keypair, role: "next" } }));
  a.send(THERE);
  assert.equal(a.sent.length, 0, "next opens only");
  assert.ok(bridge.perform({ type: "promote-keypair", peer: 0, slot: 1 }));
  a.tx.commands();
  assert.equal(a.sent.splice(0).length, 1);

  assert.ok(bridge.perform({ type: "send-keepalive", peer: 0 }));
  a.tx.commands();
  assert.equal(a.sent.splice(0)[0]!.bytes.length, 32);

  const current = { ...keypair, slot: 2, localIndex: 0x4002, role: "current" } as const;
  assert.ok(bridge.perform({ type: "install-keypair", keypair: current }));
  a.send(THERE);
  assert.equal(a.shared.words[(keypairAt(2) + KEYPAIR.sendCounter) >> 2], 1, "current seals");
  assert.ok(bridge.perform({ type: "forget-keypair", peer: 0, slot: 2 }));
  a.sent.length = 0;
  a.send(THERE);
  assert.equal(a.sent.length, 0);

  for (
    const effect of [
      { type: "transmit", to: "192.0.2.2:1", bytes: new Uint8Array(1) },
      { type: "session-down", peer: 0, reason: "expired" },
      { type: "drop", reason: "replay" },
    ] as const
  ) assert.equal(bridge.perform(effect), false);
});

Deno.test("collect() tells each urgent flag once", () => {
  const [a, bridge] = connected();
  const flags: [number, string[]][] = [
    [FLAG.keepaliveReceived, ["keepalive-received"]],
    [FLAG.keepaliveSent, ["keepalive-sent"]],
    [FLAG.sessionWanted, ["session-wanted"]],
    [FLAG.counterLimit, ["counter-limit"]],
    [FLAG.roamed, ["roamed"]],
  ];
  for (const [flag, expected] of flags) {
    raiseFlag(a.shared, 0, flag);
    assert.deepEqual(typesOf(bridge.collect([0], 0)), expected);
    assert.deepEqual(bridge.collect([0], 0), []);
  }
  for (const [flag] of flags) raiseFlag(a.shared, 0, flag);
  assert.deepEqual(typesOf(bridge.collect([0], 0)), flags.flatMap(([, types]) => types).sort());
  assert.equal(bridge.deadline, NEVER);
});

Deno.test("collect() tells which keypairs were used and where the peer is", () => {
  const [a, bridge, b] = connected();
  b.send(BACK);
  for (const { bytes } of b.sent.splice(0)) a.receive(bytes, "198.51.100.1:99");
  const events = bridge.collect([0], 0);
  const localIndex = a.shared.words[(keypairAt(0) + KEYPAIR.localIndex) >> 2]!;
  assert.deepEqual(events.filter(({ type }) => type === "keypair-used"), [{
    type: "keypair-used",
    localIndex,
  }]);
  assert.deepEqual(events.filter(({ type }) => type === "roamed"), [{
    type: "roamed",
    peer: 0,
    endpoint: "198.51.100.1:99",
  }]);
  assert.ok(
    events.findIndex(({ type }) => type === "keypair-used") <
      events.findIndex(({ type }) => type === "data-received"),
    "a session is confirmed before its data counts",
  );
});

Deno.test("collect() tells of a stream a few times a second, not per packet", () => {
  const [a, bridge] = connected();
  let told = 0;
  for (let now = 0; now < 10_000; now++) {
    a.send(THERE);
    a.sent.length = 0;
    const wantsTurn = a.tx.notify || now >= bridge.deadline;
    a.tx.notify = false;
    if (wantsTurn) told += bridge.collect([0], now).length;
  }
  assert.ok(told >= 40 && told <= 100, `${told} events in 10 s`);
});

Deno.test("collect() tells once of a single packet, and again of the next after a while", () => {
  const [a, bridge] = connected();
  a.send(THERE);
  assert.deepEqual(bridge.collect([0], 0), [{ type: "data-sent", peer: 0 }]);
  assert.deepEqual(bridge.collect([0], 10), []);
  assert.ok(bridge.deadline > 10 && bridge.deadline <= 1000);
  assert.deepEqual(bridge.collect([0], bridge.deadline), [], "nothing went on since");
  assert.equal(bridge.deadline, NEVER, "idle needs no turn");
  a.send(THERE);
  assert.ok(a.tx.notify);
  assert.deepEqual(bridge.collect([0], 5000), [{ type: "data-sent", peer: 0 }]);
});

Deno.test("collect() tells at the end of the window what went on within it", () => {
  const [a, bridge, b] = connected();
  a.send(THERE);
  b.send(BACK);
  b.deliverTo(a);
  assert.deepEqual(typesOf(bridge.collect([0], 0)), ["data-received", "data-sent", "keypair-used"]);
  a.send(THERE);
  assert.deepEqual(bridge.collect([0], 100), []);
  assert.deepEqual(bridge.collect([0], bridge.deadline), [{ type: "data-sent", peer: 0 }]);
});

Deno.test("collect() looks at the peers asked for only, and remove() forgets a stream", () => {
  const [a, bridge] = connected();
  a.send(THERE);
  assert.deepEqual(bridge.collect([], 0), []);
  assert.equal(bridge.collect([0], 0).length, 1);
  bridge.remove(0);
  assert.equal(bridge.deadline, NEVER);
});

/** The last byte of each packet that reached a node's interface. */
function numbersAt(node: SessionNode): number[] {
  return node.plane.delivered.map((packet) => payloadOf(packet)[0]!);
}

function packet(n: number): Uint8Array {
  return ipPacket("10.0.0.1", "10.0.0.2", Uint8Array.of(n));
}

Deno.test("two nodes: the first packet makes a session and none is lost or reordered", () => {
  const wire = new SessionWire(1, [20, 20]);
  const [a, b] = sessionPair(wire);
  for (let i = 0; i < 30; i++) {
    a.send(packet(i));
    wire.run(5);
  }
  wire.run(100);
  assert.deepEqual(numbersAt(b), Array.from({ length: 30 }, (_, i) => i));
  assert.deepEqual({ ...a.plane.drops, ...b.plane.drops }, {});
  assert.equal(a.initiations + b.initiations, 1);
});

Deno.test("two nodes: IPv6 and IPv4 pass both ways when both start at once", () => {
  const wire = new SessionWire(2, [5, 30]);
  const [a, b] = sessionPair(wire);
  a.send(THERE);
  b.send(ipPacket("fd00::2", "fd00::1", Uint8Array.of(6)));
  wire.run(200);
  assert.deepEqual(numbersAt(a), [6]);
  assert.deepEqual(numbersAt(b), [1]);
  a.send(ipPacket("fd00::1", "fd00::2", Uint8Array.of(7)));
  b.send(BACK);
  wire.run(200);
  assert.deepEqual([numbersAt(a), numbersAt(b)], [[6, 2], [1, 7]]);
});

Deno.test("two nodes: ten minutes of traffic over a slow wire lose nothing at any rekey", () => {
  const wire = new SessionWire(3, [40, 60]);
  const [a, b] = sessionPair(wire);
  let sent = 0;
  for (; wire.now < 600_000; sent++) {
    a.send(packet(sent & 0xff));
    if (sent % 3 === 0) b.send(BACK);
    wire.run(250);
  }
  wire.run(1000);
  assert.equal(b.plane.delivered.length, sent);
  assert.equal(a.plane.delivered.length, Math.ceil(sent / 3));
  assert.deepEqual({ ...a.plane.drops, ...b.plane.drops }, {});
  const initiations = a.initiations + b.initiations;
  assert.ok(initiations >= 5 && initiations <= 6, `${initiations} handshakes in 600 s`);
});

Deno.test("two nodes: a session that is idle ends, and leaves no key in shared memory", () => {
  const wire = new SessionWire(4);
  const [a, b] = sessionPair(wire);
  a.send(THERE);
  wire.run(400_000);
  for (const node of [a, b]) {
    assert.ok(
      node.effects.some(({ effect }) =>
        effect.type === "session-down" && effect.reason === "expired"
      ),
    );
    for (let slot = 0; slot < 4; slot++) {
      const at = keypairAt(slot);
      const keys = node.plane.shared.bytes.subarray(at + KEYPAIR.sendKey, at + KEYPAIR.used);
      assert.ok(keys.every((byte) => byte === 0), `slot ${slot}`);
    }
    assert.equal(node.deadline, NEVER, "an idle node needs no timer");
  }
  a.send(THERE);
  wire.run(10);
  assert.equal(b.plane.delivered.length, 2);
});
