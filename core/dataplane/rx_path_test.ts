/**
 * Tests of the way in: what is delivered, what is told to the control thread, and the reason of each
 * drop.
 * @module
 */
import assert from "node:assert/strict";
import { DataPlaneNode, installKeys, introduce } from "../../tests/dataplane_node.ts";
import { ipPacket, payloadOf } from "../../tests/ip_packets.ts";
import { compileFilter } from "../filter/compile.ts";
import type { FilterRule } from "../filter/rules.ts";
import { parsePrefix, type Prefix } from "../ip.ts";
import { SeededRandom } from "../random.ts";
import { DATA } from "../wireguard/messages.ts";
import { WINDOW_SIZE } from "../wireguard/replay_window.ts";
import { nobleAead } from "./aead.ts";
import { FLAG, KEYPAIR, keypairAt } from "./layout.ts";
import { VERDICT } from "./rx_path.ts";

const A4 = "172.30.0.1", B4 = "172.30.0.2", A6 = "fd00::1", B6 = "fd00::2";
const SEED = 1;
const PEER_A = "00000000000000aa";
const EVERYTHING: FilterRule = {
  id: "all",
  layer: "coordinator",
  action: "allow",
  sources: null,
  protocol: "any",
  ports: null,
  destinations: null,
  origin: { where: "test", comment: "" },
};

function connectedPair(): [DataPlaneNode, DataPlaneNode] {
  const a = new DataPlaneNode("192.0.2.1:51820", [A4, A6]);
  const b = new DataPlaneNode("[2001:db8::2]:51820", [B4, B6]);
  introduce(a, b);
  installKeys(a, b, new SeededRandom(SEED));
  return [a, b];
}

/** One datagram from A that carries `packet`. */
function sealed(a: DataPlaneNode, packet: Uint8Array): Uint8Array {
  a.send(packet);
  return a.sent.splice(0)[0]!.bytes;
}

/** A datagram sealed with A's key around any bytes at all, which the way out would not send. */
function forged(a: DataPlaneNode, plain: Uint8Array, counter: number): Uint8Array {
  const at = keypairAt(0);
  const key = nobleAead.key(a.shared.bytes.slice(at + KEYPAIR.sendKey, at + KEYPAIR.sendKey + 32));
  const bytes = new Uint8Array(DATA.size + plain.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, DATA.type, true);
  view.setUint32(4, a.shared.words[(at + KEYPAIR.remoteIndex) >> 2]!, true);
  view.setBigUint64(8, BigInt(counter), true);
  bytes.set(plain, DATA.packet);
  key.seal(bytes, DATA.packet, plain.length, counter);
  return bytes;
}

const HELLO = ipPacket(A4, B4, Uint8Array.of(1, 2, 3));

Deno.test("datagram() refuses packets whose source is not the peer's", () => {
  const [a, b] = connectedPair();
  for (const from of ["172.30.0.9", B4, "0.0.0.0", "255.255.255.255"]) {
    assert.equal(
      b.receive(sealed(a, ipPacket(from, B4, new Uint8Array(4))), a.endpoint),
      VERDICT.done,
    );
  }
  for (const from of ["fd00::9", B6, "::", "::1", `::ffff:${A4}`]) {
    b.receive(sealed(a, ipPacket(from, B6, new Uint8Array(4))), a.endpoint);
  }
  assert.deepEqual(b.drops, { "source-mismatch": 9 });
  assert.equal(b.delivered.length, 0);
});

Deno.test("datagram() refuses another peer's address as source", () => {
  const [a, b] = connectedPair();
  const c = new DataPlaneNode("192.0.2.3:51820", ["172.30.0.3"]);
  c.table.addPeer(0);
  c.table.setEndpoint(0, b.endpoint);
  b.table.addPeer(1);
  installKeys(c, b, new SeededRandom(9), { slots: { a: 0, b: 1 } });
  c.table.setRoutes([{ prefix: parsePrefix(B4)!, value: 0 }]);
  b.table.setRoutes([
    { prefix: parsePrefix(A4)!, value: 0 },
    { prefix: parsePrefix("172.30.0.3")!, value: 1 },
  ]);
  b.receive(sealed(c, HELLO), c.endpoint);
  assert.deepEqual(b.drops, { "source-mismatch": 1 });
  b.receive(sealed(c, ipPacket("172.30.0.3", B4, new Uint8Array(1))), c.endpoint);
  b.receive(sealed(a, HELLO), a.endpoint);
  assert.equal(b.delivered.length, 2);
});

Deno.test("datagram() refuses packets for others", () => {
  const [a, b] = connectedPair();
  const others = ["172.30.0.3", "10.0.0.1", "255.255.255.255", "224.0.0.1"];
  for (const to of others) {
    b.receive(forged(a, ipPacket(A4, to, new Uint8Array(4)), others.indexOf(to)), a.endpoint);
  }
  b.receive(forged(a, ipPacket(A6, "fd00::3", new Uint8Array(4)), 10), a.endpoint);
  b.receive(forged(a, ipPacket(A6, "ff02::1", new Uint8Array(4)), 11), a.endpoint);
  assert.deepEqual(b.drops, { "no-route": 6 });
  assert.equal(b.delivered.length, 0);
});

Deno.test("datagram() passes packets for others on where the node leads to them, and the filter lets it", () => {
  const [a, b] = connectedPair();
  const routes = [A4, A6].map((ip) => ({ prefix: parsePrefix(ip)!, value: 0 }));
  const own = [B4, B6].map((ip) => parsePrefix(ip)!);
  const lan = parsePrefix("192.168.7.0/24")!;
  let generation = 0;
  let counter = 0;
  const receive = (to: string) => {
    // A UDP header: ports, length, no checksum.
    const packet = ipPacket(A4, to, Uint8Array.of(0x80, 0, 0, 53, 0, 8, 0, 0));
    return b.receive(forged(a, packet, counter++), a.endpoint);
  };
  const publish = (destinations: readonly Prefix[] | null) => {
    const rule = { ...EVERYTHING, destinations };
    const words = compileFilter([rule], { peers: new Map([[0, PEER_A]]), own }, ++generation);
    assert.ok(b.table.setRoutesAndRules(routes, { words, ids: [rule.id] }));
  };
  b.table.openFlows(SEED);
  b.table.setForwards(true);
  // Before there are rules nothing is passed on; afterwards what they name.
  assert.equal(receive("192.168.7.9"), VERDICT.done);
  assert.equal(receive(B4), VERDICT.deliver);
  publish(null);
  assert.equal(receive("192.168.7.9"), VERDICT.done);
  publish([lan]);
  assert.equal(receive("192.168.7.9"), VERDICT.deliver);
  assert.equal(receive("192.168.8.9"), VERDICT.done);
  assert.equal(receive("203.0.113.1"), VERDICT.done);
  // Whoever offers nothing passes nothing on, whatever the policy says.
  b.table.setForwards(false);
  assert.equal(receive("192.168.7.9"), VERDICT.done);
  assert.deepEqual(b.drops, { "no-route": 2, "no-rule": 3 });
});

Deno.test("datagram() refuses what authenticates but is no IP packet", () => {
  const [a, b] = connectedPair();
  const long = ipPacket(A4, B4, new Uint8Array(40));
  const bad = [
    Uint8Array.of(0),
    new Uint8Array(16),
    new Uint8Array(64).fill(0xff),
    long.subarray(0, 30),
    ipPacket(A6, B6, new Uint8Array(40)).subarray(0, 60),
    ipPacket(A6, B6, new Uint8Array(0)).subarray(0, 39),
    Uint8Array.from(long, (byte, i) => i === 0 ? 0x44 : byte),
    Uint8Array.from(long, (byte, i) => i === 0 ? 0x4f : byte).subarray(0, 50),
    Uint8Array.from(long, (byte, i) => i === 2 || i === 3 ? 0 : byte),
  ];
  bad.forEach((plain, counter) => {
    assert.equal(b.receive(forged(a, plain, counter), a.endpoint), VERDICT.done, `case ${counter}`);
  });
  assert.deepEqual(b.drops, { "malformed": bad.length });
});

Deno.test("datagram() trims padding, however long, and delivers nothing behind the packet", () => {
  const [a, b] = connectedPair();
  const plain = new Uint8Array(500).fill(0xcc);
  plain.set(HELLO);
  assert.equal(b.receive(forged(a, plain, 0), a.endpoint), VERDICT.deliver);
  assert.deepEqual(b.delivered, [HELLO]);
});

Deno.test("datagram() delivers each message once, in any order within the window", () => {
  const [a, b] = connectedPair();
  const datagrams = Array.from(
    { length: 50 },
    (_, i) => sealed(a, ipPacket(A4, B4, Uint8Array.of(i))),
  );
  const random = new SeededRandom(4);
  const order = datagrams.concat(datagrams).map((bytes) => ({ bytes, key: random.uint32() }))
    .sort((x, y) => x.key - y.key);
  for (const { bytes } of order) b.receive(bytes, a.endpoint);
  const got = b.delivered.map((packet) => payloadOf(packet)[0]!).sort((x, y) => x - y);
  assert.deepEqual(got, datagrams.map((_, i) => i));
  assert.deepEqual(b.drops, { "replay": 50 });
});

Deno.test("datagram() refuses counters behind the window and beyond exactness", () => {
  const [a, b] = connectedPair();
  b.receive(forged(a, HELLO, WINDOW_SIZE), a.endpoint);
  b.receive(forged(a, HELLO, 1), a.endpoint);
  assert.equal(b.delivered.length, 2, "the oldest that the window holds");
  b.receive(forged(a, HELLO, 0), a.endpoint);
  b.receive(forged(a, HELLO, 2 ** 53 - 1), a.endpoint);
  assert.deepEqual(b.drops, { "replay": 2 });
  b.receive(forged(a, HELLO, WINDOW_SIZE + 1), a.endpoint);
  assert.equal(b.delivered.length, 3, "a huge counter that is refused does not slide the window");
});

Deno.test("datagram() does not let forged counters slide the window", () => {
  const [a, b] = connectedPair();
  const good = sealed(a, HELLO);
  const huge = good.slice();
  new DataView(huge.buffer).setBigUint64(8, 2n ** 40n, true);
  assert.equal(b.receive(huge, a.endpoint), VERDICT.done);
  assert.deepEqual(b.drops, { "bad-tag": 1 });
  assert.equal(b.receive(good, a.endpoint), VERDICT.deliver);
});

Deno.test("datagram() drops every truncation and every change of one bit", () => {
  const [a, b] = connectedPair();
  const good = sealed(a, HELLO);
  for (let length = 0; length < good.length; length++) {
    assert.equal(b.receive(good.subarray(0, length), a.endpoint), VERDICT.done, `${length} bytes`);
  }
  const { "malformed": malformed, "bad-tag": badTag } = b.drops;
  assert.deepEqual([malformed, badTag], [DATA.size, good.length - DATA.size]);

  const seen = new Map<string, number>();
  for (let bit = 0; bit < good.length * 8; bit++) {
    const bad = good.slice();
    bad[bit >> 3]! ^= 1 << (bit & 7);
    const before = b.drops;
    const verdict = b.receive(bad, a.endpoint);
    const reasons = Object.entries(b.drops).filter(([reason, n]) => n !== (before[reason] ?? 0));
    const field = bit < 8
      ? "type"
      : bit < 32
      ? "reserved"
      : bit < 64
      ? "index"
      : bit < 128
      ? "n"
      : "";
    const outcome = `${field} ${verdict} ${reasons.map(([reason]) => reason).join()}`;
    seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
  }
  assert.deepEqual(
    Object.fromEntries(seen),
    {
      "type 0 malformed": 8,
      "reserved 0 malformed": 24,
      "index 3 unknown-peer": 32,
      "n 0 bad-tag": 53,
      "n 0 replay": 11,
      " 0 bad-tag": (good.length - 16) * 8,
    },
  );
  assert.equal(b.delivered.length, 0);
  assert.equal(b.receive(good, a.endpoint), VERDICT.deliver, "the original still counts");
});

Deno.test("datagram() hands handshake messages to the control thread and drops unknown types", () => {
  const [a, b] = connectedPair();
  for (const [type, size] of [[1, 148], [2, 92], [3, 64]]) {
    const bytes = new Uint8Array(size!);
    bytes[0] = type!;
    assert.equal(b.receive(bytes, a.endpoint), VERDICT.control);
    bytes[2] = 1;
    assert.equal(b.receive(bytes, a.endpoint), VERDICT.done);
  }
  for (const type of [0, 5, 255]) {
    assert.equal(b.receive(new Uint8Array(64).fill(type, 0, 1), a.endpoint), VERDICT.done);
  }
  assert.deepEqual(b.drops, { "malformed": 6 });
});

Deno.test("datagram() reports transport data for an index that is not ours", () => {
  const [a, b] = connectedPair();
  const good = sealed(a, HELLO);
  b.table.forget(0, 0);
  assert.equal(b.receive(good, a.endpoint), VERDICT.unknown);
  const empty = new Uint8Array(DATA.size);
  empty[0] = DATA.type;
  assert.equal(b.receive(empty, a.endpoint), VERDICT.unknown, "index 0 of untouched memory");
  assert.deepEqual(b.drops, { "unknown-peer": 2 });
});

Deno.test("datagram() raises each flag once until it is taken", () => {
  const [a, b] = connectedPair();
  b.receive(sealed(a, HELLO), a.endpoint);
  assert.ok(b.rx.notify);
  assert.equal(b.table.flags(0), FLAG.keypairUsed | FLAG.dataReceived);
  const indexOfB = b.shared.words[(keypairAt(0) + KEYPAIR.localIndex) >> 2]!;
  assert.deepEqual(b.table.usedKeypairs(0), [indexOfB]);
  b.rx.notify = false;
  b.receive(sealed(a, HELLO), a.endpoint);
  assert.equal(b.rx.notify, false, "nothing that the control thread does not know");
  b.table.takeFlags(0, 255);
  b.receive(sealed(a, HELLO), a.endpoint);
  assert.equal(b.table.flags(0), FLAG.dataReceived, "a keypair is first used once");
});

Deno.test("datagram() follows a peer that roams, and nobody else", () => {
  const [a, b] = connectedPair();
  const good = sealed(a, HELLO);
  const bad = good.slice();
  bad[20]! ^= 1;
  b.receive(bad, "198.51.100.66:666");
  assert.equal(b.table.endpoint(0), a.endpoint, "a forged datagram moves nothing");
  b.receive(good, "198.51.100.7:4000");
  assert.equal(b.table.endpoint(0), "198.51.100.7:4000");
  assert.equal(b.table.takeFlags(0, FLAG.roamed), FLAG.roamed);
  b.receive(good, "198.51.100.66:666");
  assert.equal(b.table.endpoint(0), "198.51.100.7:4000", "a replayed datagram moves nothing");
  b.receive(sealed(a, HELLO), "[2001:db8::7]:4000");
  assert.equal(b.table.endpoint(0), "[2001:db8::7]:4000");
  b.receive(sealed(a, HELLO), "[2001:db8::7]:4001");
  assert.equal(b.table.endpoint(0), "[2001:db8::7]:4001", "a new port alone is a move");
  b.send(ipPacket(B4, A4, new Uint8Array(1)));
  assert.equal(b.sent[0]!.to, "[2001:db8::7]:4001");
});

Deno.test("datagram() counts packets and bytes as they were on the wire", () => {
  const [a, b] = connectedPair();
  const sizes = [HELLO, ipPacket(A6, B6, new Uint8Array(100))].map((packet) => {
    const bytes = sealed(a, packet);
    b.receive(bytes, a.endpoint);
    return bytes.length;
  });
  b.receive(new Uint8Array(40), a.endpoint);
  const total = sizes[0]! + sizes[1]!;
  assert.deepEqual(a.table.counters(0), {
    packetsSent: 2,
    bytesSent: total,
    packetsReceived: 0,
    bytesReceived: 0,
    loss: null,
  });
  assert.deepEqual(b.table.counters(0), {
    packetsSent: 0,
    bytesSent: 0,
    packetsReceived: 2,
    bytesReceived: total,
    loss: 0,
  });
});
