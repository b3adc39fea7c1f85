/**
 * Whatever bytes reach the packet path from the socket or the interface: it never throws, delivers
 * nothing that no peer sent, and counts every datagram once.
 *
 * A failure names the seed and the run; a seed always gives the same runs.
 * @module
 */
import assert from "node:assert/strict";
import { concatBytes } from "../../core/bytes.ts";
import { packetLength } from "../../core/dataplane/packet.ts";
import { VERDICT } from "../../core/dataplane/rx_path.ts";
import { parsePrefix } from "../../core/ip.ts";
import { SeededRandom } from "../../core/random.ts";
import { DataPlaneNode, installKeys, introduce } from "../dataplane_node.ts";
import { ipPacket } from "../ip_packets.ts";

const RUNS = 100_000;
const A4 = "172.30.0.1", B4 = "172.30.0.2", A6 = "fd00::1", B6 = "fd00::2";

function pick<T>(random: SeededRandom, choices: readonly T[]): T {
  return choices[random.uint32() % choices.length]!;
}

function connectedPair(random: SeededRandom): [DataPlaneNode, DataPlaneNode] {
  const a = new DataPlaneNode("192.0.2.1:51820", [A4, A6]);
  const b = new DataPlaneNode("192.0.2.2:51820", [B4, B6]);
  introduce(a, b);
  installKeys(a, b, random);
  return [a, b];
}

/** Drops of all reasons together. */
function total(node: DataPlaneNode): number {
  return Object.values(node.drops).reduce((sum, count) => sum + count, 0);
}

/** Random bytes, or a genuine datagram that was changed, cut, grown or mixed with another. */
function hostile(random: SeededRandom, genuine: readonly Uint8Array[]): Uint8Array {
  const bytes = pick(random, genuine).slice();
  switch (random.uint32() % 8) {
    case 0:
      return random.bytes(random.uint32() % 150);
    case 1: {
      const header = random.bytes(32 + random.uint32() % 100);
      header.set(bytes.subarray(0, 8 + 8 * (random.uint32() % 2)));
      if (random.uint32() % 4 === 0) header[0] = random.uint32() % 6;
      return header;
    }
    case 2:
      return bytes.subarray(0, random.uint32() % bytes.length);
    case 3:
      return concatBytes(bytes, random.bytes(1 + random.uint32() % 40));
    case 4:
      return concatBytes(bytes.subarray(0, 16), pick(random, genuine).subarray(16));
    case 5:
      return bytes;
    default:
      for (let n = 1 + random.uint32() % 3; n > 0; n--) {
        bytes[random.uint32() % bytes.length]! ^= 1 << (random.uint32() % 8);
      }
      return bytes;
  }
}

Deno.test("RxPath.datagram() survives 100 000 hostile datagrams and delivers none", () => {
  const seed = 0xda7a;
  console.log(`seed ${seed}`);
  const random = new SeededRandom(seed);
  const [a, b] = connectedPair(random);
  const genuine: Uint8Array[] = [];
  for (let i = 0; i < 40; i++) {
    a.send(ipPacket(A4, B4, random.bytes(i % 20)));
    genuine.push(...a.sent.splice(0).map(({ bytes }) => bytes));
  }
  for (const bytes of genuine) b.receive(bytes, a.endpoint);
  assert.equal(b.delivered.splice(0).length, genuine.length);
  const counters = b.table.counters(0);

  const verdicts = { done: 0, deliver: 0, control: 0, unknown: 0, path: 0 };
  const names = Object.keys(VERDICT) as (keyof typeof VERDICT)[];
  for (let run = 0; run < RUNS; run++) {
    const bytes = hostile(random, genuine);
    const from = `198.51.100.${run % 250}:${1 + random.uint32() % 65_535}`;
    const before = total(b);
    const verdict = b.receive(bytes, from);
    const where = `seed ${seed}, run ${run}: ${bytes.toHex()}`;
    verdicts[names.find((name) => VERDICT[name] === verdict)!]++;
    assert.equal(total(b) - before, verdict === VERDICT.control ? 0 : 1, where);
  }
  assert.equal(b.delivered.length, 0);
  assert.equal(b.table.endpoint(0), a.endpoint, "nobody moved the peer");
  assert.deepEqual(b.table.counters(0), counters, "nothing counts as the peer's");
  for (const reason of ["malformed", "unknown-peer", "bad-tag", "replay"]) {
    assert.ok(b.drops[reason]! > 1000, `${reason}: ${b.drops[reason]}`);
  }
  assert.ok(verdicts.control > 10, `${verdicts.control} for the control thread`);

  a.send(ipPacket(A4, B4, Uint8Array.of(1)));
  a.deliverTo(b);
  assert.equal(b.delivered.length, 1, "the session goes on");
});

/** Bytes as an interface could hand over: mostly packets, with wrong fields, cut or random. */
function fromInterface(random: SeededRandom): Uint8Array {
  const source = pick(random, [A4, A4, A4, "10.1.1.1", B4]);
  const destination = pick(random, [B4, B4, "172.30.0.3", "0.0.0.0", "255.255.255.255"]);
  const payload = random.bytes(random.uint32() % 120);
  const packet = random.uint32() % 3 > 0
    ? ipPacket(source, destination, payload)
    : ipPacket(pick(random, [A6, "fe80::1"]), pick(random, [B6, "fd00::9", "::"]), payload);
  switch (random.uint32() % 6) {
    case 0:
      return random.bytes(random.uint32() % 100);
    case 1:
      return packet.subarray(0, random.uint32() % packet.length);
    case 2:
      packet[random.uint32() % Math.min(8, packet.length)] = random.uint32() & 0xff;
      return packet;
    default:
      return packet;
  }
}

Deno.test("TxPath.packet() survives 100 000 hostile packets, and what it seals opens again", () => {
  const seed = 0x7a9e;
  console.log(`seed ${seed}`);
  const random = new SeededRandom(seed);
  const [a, b] = connectedPair(random);
  let [sent, delivered] = [0, 0];
  for (let run = 0; run < RUNS; run++) {
    const packet = fromInterface(random);
    const where = `seed ${seed}, run ${run}: ${packet.toHex()}`;
    const [droppedAtA, droppedAtB] = [total(a), total(b)];
    a.send(packet);
    assert.equal(a.sent.length + total(a) - droppedAtA, 1, where);
    for (const { bytes } of a.sent.splice(0)) {
      sent++;
      const verdict = b.receive(bytes, a.endpoint);
      assert.equal(b.delivered.length + total(b) - droppedAtB, 1, where);
      if (verdict !== VERDICT.deliver) continue;
      const length = packetLength(packet, 0, packet.length);
      assert.deepEqual(b.delivered.pop(), packet.slice(0, length), where);
      delivered++;
    }
  }
  assert.ok(sent > 20_000 && delivered > 10_000, `${sent} sent, ${delivered} delivered`);
  assert.deepEqual(Object.keys(a.drops).sort(), ["malformed", "no-route"]);
  assert.deepEqual(Object.keys(b.drops), ["source-mismatch"]);
});

Deno.test("TxPath keeps few packets however many peers without a session are asked for", () => {
  const seed = 0xf00d;
  console.log(`seed ${seed}`);
  const random = new SeededRandom(seed);
  const a = new DataPlaneNode("192.0.2.1:51820", [A4]);
  const destinations = Array.from({ length: 1000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
  for (const peer of destinations.keys()) a.table.addPeer(peer);
  a.table.setRoutes(destinations.map((ip, value) => ({ prefix: parsePrefix(ip)!, value })));
  const runs = 20_000;
  for (let run = 0; run < runs; run++) {
    a.send(ipPacket(A4, pick(random, destinations), random.bytes(random.uint32() % 20)));
    if (run % 100 === 0) a.tx.commands();
  }
  assert.equal(a.sent.length, 0);
  const full = a.drops["queue-full"]!;
  for (const peer of destinations.keys()) a.table.removePeer(peer);
  a.tx.commands();
  const waited = a.drops["no-session"]!;
  assert.equal(full + waited, runs, "every packet is accounted for");
  assert.ok(waited <= 4096, `${waited} packets waited`);
});
