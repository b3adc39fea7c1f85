/**
 * Tests of the way out, through to the other node's way in: what passes, what waits, what is dropped.
 * @module
 */
import assert from "node:assert/strict";
import { DataPlaneNode, installKeys, introduce } from "../../tests/dataplane_node.ts";
import { ipPacket, payloadOf } from "../../tests/ip_packets.ts";
import { parsePrefix } from "../ip.ts";
import { SeededRandom } from "../random.ts";
import { DATA } from "../wireguard/messages.ts";
import { FLAG, KEYPAIR, keypairAt } from "./layout.ts";

const A4 = "172.30.0.1", B4 = "172.30.0.2", A6 = "fd00::1", B6 = "fd00::2";

function pair(mtu?: number): [DataPlaneNode, DataPlaneNode] {
  const a = new DataPlaneNode("192.0.2.1:51820", [A4, A6], mtu);
  const b = new DataPlaneNode("192.0.2.2:51820", [B4, B6], mtu);
  introduce(a, b);
  return [a, b];
}

/** A pair with a session. */
function connectedPair(mtu?: number): [DataPlaneNode, DataPlaneNode] {
  const [a, b] = pair(mtu);
  installKeys(a, b, new SeededRandom(1));
  return [a, b];
}

/** A packet whose payload is a number, from A to B. */
function numbered(n: number, destination = B4): Uint8Array {
  return ipPacket(A4, destination, Uint8Array.of(n >> 8, n & 0xff));
}

function numbersOf(node: DataPlaneNode): number[] {
  return node.delivered.map((packet) => (payloadOf(packet)[0]! << 8) | payloadOf(packet)[1]!);
}

Deno.test("packet() carries IPv4 and IPv6 packets of every size unchanged", () => {
  const [a, b] = connectedPair();
  const random = new SeededRandom(2);
  const packets: Uint8Array[] = [];
  for (let size = 0; size <= 1380; size += size < 70 ? 1 : 131) {
    packets.push(ipPacket(A4, B4, random.bytes(size)), ipPacket(A6, B6, random.bytes(size)));
  }
  a.send(...packets);
  a.deliverTo(b);
  assert.deepEqual(b.delivered, packets);
  b.send(ipPacket(B4, A4, random.bytes(9)));
  b.deliverTo(a);
  assert.equal(a.delivered.length, 1);
  assert.deepEqual({ ...a.drops, ...b.drops }, {});
});

Deno.test("packet() pads to 16 bytes with zeros, and never beyond the mtu", () => {
  const mtu = 1420;
  const [a, b] = connectedPair(mtu);
  for (const [length, padded] of [[21, 32], [32, 32], [33, 48], [1408, 1408], [1409, 1420]]) {
    a.send(ipPacket(A4, B4, new Uint8Array(length! - 20).fill(1)));
    const { bytes } = a.sent[0]!;
    assert.equal(bytes.length, DATA.size + padded!, `packet of ${length}`);
    a.deliverTo(b);
    assert.equal(b.delivered.pop()!.length, length);
  }
  const whole = ipPacket(A4, B4, new Uint8Array(mtu - 20));
  a.send(whole);
  assert.equal(a.sent[0]!.bytes.length, DATA.size + mtu);
  a.deliverTo(b);
  assert.deepEqual(b.delivered.pop(), whole);
});

Deno.test("packet() trims what follows the packet's own length", () => {
  const [a, b] = connectedPair();
  const packet = ipPacket(A4, B4, Uint8Array.of(1, 2, 3));
  const trailing = new Uint8Array(packet.length + 20).fill(0xaa);
  trailing.set(packet);
  a.send(trailing);
  assert.equal(a.sent[0]!.bytes.length, DATA.size + 32);
  a.deliverTo(b);
  assert.deepEqual(b.delivered, [packet]);
});

Deno.test("packet() numbers messages from 0 and uses the other side's index", () => {
  const [a] = connectedPair();
  a.send(numbered(0), numbered(1));
  a.send(numbered(2));
  const remote = a.shared.words[(keypairAt(0) + KEYPAIR.remoteIndex) >> 2];
  const headers = a.sent.map(({ bytes }) => {
    const view = new DataView(bytes.buffer);
    return [view.getUint32(0, true), view.getUint32(4, true), view.getBigUint64(8, true)];
  });
  assert.deepEqual(headers, [[4, remote, 0n], [4, remote, 1n], [4, remote, 2n]]);
});

Deno.test("packet() drops what is no IP packet and what has no route", () => {
  const [a] = connectedPair();
  const short = ipPacket(A4, B4, new Uint8Array(30)).subarray(0, 40);
  a.send(new Uint8Array(0), new Uint8Array(60), Uint8Array.of(0x45), short);
  a.send(ipPacket(A6, B6, new Uint8Array(30)).subarray(0, 50));
  assert.deepEqual(a.drops, { "malformed": 5 });
  a.send(ipPacket(A4, "172.30.0.3", new Uint8Array(4)), ipPacket(A6, "ff02::2", new Uint8Array(4)));
  assert.deepEqual(a.drops, { "malformed": 5, "no-route": 2 });
  assert.equal(a.sent.length, 0);
});

Deno.test("packet() keeps packets in order until there is a session, then behind none", () => {
  const [a, b] = pair();
  a.send(numbered(0), numbered(1));
  a.send(numbered(2));
  assert.equal(a.sent.length, 0);
  assert.ok(a.tx.notify);
  assert.equal(a.table.takeFlags(0, FLAG.sessionWanted), FLAG.sessionWanted);

  installKeys(a, b, new SeededRandom(3));
  // The control thread has promoted, the worker is not yet woken: order must hold all the same.
  a.send(numbered(3));
  assert.equal(a.sent.length, 0);
  a.tx.commands();
  a.send(numbered(4));
  a.deliverTo(b);
  assert.deepEqual(numbersOf(b), [0, 1, 2, 3, 4]);
});

Deno.test("packet() keeps packets while a peer has keys but no endpoint", () => {
  const [a, b] = connectedPair();
  a.table.addPeer(0);
  a.table.promote(0, 0);
  a.send(numbered(1));
  assert.equal(a.sent.length, 0);
  a.table.setEndpoint(0, b.endpoint);
  a.table.promote(0, 0);
  a.tx.commands();
  a.deliverTo(b);
  assert.deepEqual(numbersOf(b), [1]);
});

Deno.test("packet() keeps the newest 64 packets of a peer that has no session", () => {
  const [a, b] = pair();
  for (let i = 0; i < 200; i++) a.send(numbered(i));
  assert.deepEqual(a.drops, { "queue-full": 200 - 64 });
  installKeys(a, b, new SeededRandom(4));
  a.tx.commands();
  a.deliverTo(b);
  assert.deepEqual(numbersOf(b), Array.from({ length: 64 }, (_, i) => 200 - 64 + i));
});

Deno.test("packet() bounds what waits over all peers, and those that wait go on first come", () => {
  const a = new DataPlaneNode("192.0.2.1:51820", [A4]);
  const destinations = Array.from({ length: 300 }, (_, i) => `172.30.${1 + (i >> 8)}.${i & 255}`);
  for (const i of destinations.keys()) a.table.addPeer(i);
  a.table.setRoutes(destinations.map((ip, value) => ({ prefix: parsePrefix(ip)!, value })));
  for (let round = 0; round < 20; round++) {
    a.send(...destinations.map((ip) => numbered(round, ip)));
  }
  assert.deepEqual(a.drops, { "queue-full": 300 * 20 - 4096 });
  for (const i of destinations.keys()) a.table.removePeer(i);
  a.tx.commands();
  assert.deepEqual(a.drops, { "queue-full": 300 * 20 - 4096, "no-session": 4096 });
  a.table.addPeer(0);
  a.send(numbered(7, destinations[0]));
  assert.equal(a.drops["queue-full"], 300 * 20 - 4096, "what was forgotten makes room");
});

Deno.test("commands() sends a keepalive of 32 bytes on the current key", () => {
  const [a, b] = connectedPair();
  a.table.sendKeepalive(0);
  a.tx.commands();
  assert.equal(a.sent[0]!.bytes.length, DATA.size);
  assert.equal(a.table.takeFlags(0, FLAG.keepaliveSent | FLAG.dataSent), FLAG.keepaliveSent);
  a.deliverTo(b);
  assert.equal(b.delivered.length, 0);
  assert.equal(b.table.flags(0) & (FLAG.keepaliveReceived | FLAG.dataReceived), 4);
  a.tx.commands();
  assert.equal(a.sent.length, 0, "a command is done once");
});

Deno.test("commands() lets waiting packets go before the keepalive that was asked with the key", () => {
  const [a, b] = pair();
  a.send(numbered(1));
  installKeys(a, b, new SeededRandom(5));
  a.table.sendKeepalive(0);
  a.tx.commands();
  assert.deepEqual(a.sent.map(({ bytes }) => bytes.length), [DATA.size + 32, DATA.size]);
});

Deno.test("packet() asks for a new key far before the counter ends, and stops at its end", () => {
  const [a] = connectedPair();
  const counter = (keypairAt(0) + KEYPAIR.sendCounter) >> 2;
  a.shared.words[counter] = 2 ** 31;
  a.send(numbered(1));
  assert.equal(a.table.takeFlags(0, FLAG.counterLimit), FLAG.counterLimit);
  assert.equal(a.sent.splice(0).length, 1);
  a.shared.words[counter] = 2 ** 32 - 2 ** 16;
  a.send(numbered(2));
  assert.equal(a.sent.length, 0);
  assert.deepEqual(a.drops, { "expired-key": 1 });
});

Deno.test("packet() seals with the new key as soon as it is promoted; the old one still opens", () => {
  const [a, b] = connectedPair();
  a.send(numbered(1));
  const [late] = a.sent.splice(0);
  installKeys(a, b, new SeededRandom(6), { k: 1 });
  a.send(numbered(2));
  a.deliverTo(b);
  b.receive(late!.bytes, a.endpoint);
  assert.deepEqual(numbersOf(b), [2, 1]);
  b.table.forget(0, 0);
  assert.equal(b.receive(late!.bytes, a.endpoint), 3);
  assert.equal(b.drops["unknown-peer"], 1);
});

Deno.test("packet() waits again once the key was forgotten, and a slot may be used anew", () => {
  const [a, b] = connectedPair();
  a.send(numbered(1));
  a.deliverTo(b);
  a.table.forget(0, 0);
  a.send(numbered(2));
  assert.equal(a.sent.length, 0);
  installKeys(a, b, new SeededRandom(7));
  a.tx.commands();
  a.send(numbered(3));
  a.deliverTo(b);
  assert.deepEqual(numbersOf(b), [1, 2, 3], "the cached cipher of the old key is not used");
});
