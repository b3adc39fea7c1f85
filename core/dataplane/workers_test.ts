import assert from "node:assert/strict";
import { DataPlaneNode, installKeys, introduce } from "../../tests/dataplane_node.ts";
import { ipPacket } from "../../tests/ip_packets.ts";
import { SeededRandom } from "../random.ts";
import { nobleAead } from "./aead.ts";
import { HEADER, RX, TX } from "./layout.ts";
import { RxPath, VERDICT } from "./rx_path.ts";
import { DATA_HEADER, DATA_TRAILER, TxPath } from "./tx_path.ts";

const A = "172.30.0.1", B = "172.30.0.2";

function connectedPair(): [DataPlaneNode, DataPlaneNode] {
  const a = new DataPlaneNode("192.0.2.1:51820", [A]);
  const b = new DataPlaneNode("192.0.2.2:51820", [B]);
  introduce(a, b);
  installKeys(a, b, new SeededRandom(1));
  return [a, b];
}

/** One more worker that seals for `node`, and what it has sent. */
function secondTx(node: DataPlaneNode): { path: TxPath; sent: Uint8Array[] } {
  const sent: Uint8Array[] = [];
  const sink = {
    send: (_peer: number, bytes: Uint8Array, at: number, length: number) =>
      void sent.push(bytes.slice(at, at + length)),
    flush: () => {},
  };
  const path = new TxPath(node.shared, nobleAead, sink, 1420, null, TX + 1);
  Atomics.store(node.shared.atomics, HEADER.workers, 2);
  return { path, sent };
}

function seal(path: TxPath, packet: Uint8Array): void {
  const bytes = new Uint8Array(DATA_HEADER + packet.length + DATA_TRAILER);
  bytes.set(packet, DATA_HEADER);
  path.begin(0);
  path.packet(bytes, DATA_HEADER, packet.length);
  path.end();
}

/** Opens a copy with `path`; answers its verdict. */
function open(path: RxPath, datagram: Uint8Array): number {
  const source = { bytes: new Uint8Array(16).fill(0, 0, 10), at: 0, port: 51820 };
  source.bytes.set([0xff, 0xff, 192, 0, 2, 1], 10);
  path.begin(0);
  const verdict = path.datagram(datagram.slice(), 0, datagram.length, source);
  path.end();
  return verdict;
}

Deno.test("two workers that seal for one peer never use a counter twice", () => {
  const [a, b] = connectedPair();
  const second = secondTx(a);
  const packet = ipPacket(A, B, new Uint8Array(20));
  for (let i = 0; i < 50; i++) {
    seal(a.tx, packet);
    seal(second.path, packet);
  }
  const datagrams = [...a.sent.map(({ bytes }) => bytes), ...second.sent];
  const counters = datagrams.map((each) => new DataView(each.buffer).getUint32(8, true));
  assert.equal(new Set(counters).size, 100);
  for (const each of datagrams) assert.equal(open(b.rx, each), VERDICT.deliver);
  assert.equal(a.table.counters(0).packetsSent, 100);
});

Deno.test("two workers that open for one peer take each datagram once", () => {
  const [a, b] = connectedPair();
  const second = new RxPath(b.shared, nobleAead, RX + 1);
  for (let i = 0; i < 20; i++) seal(a.tx, ipPacket(A, B, new Uint8Array(20)));
  a.sent.forEach(({ bytes }, i) => {
    const [first, other] = i % 2 === 0 ? [b.rx, second] : [second, b.rx];
    assert.equal(open(first, bytes), VERDICT.deliver);
    assert.equal(open(other, bytes), VERDICT.done);
  });
  assert.equal(b.drops["replay"], 20);
  assert.equal(b.table.counters(0).packetsReceived, 20);
});

Deno.test("packets that wait in any worker go when there is a session", () => {
  const a = new DataPlaneNode("192.0.2.1:51820", [A]);
  const b = new DataPlaneNode("192.0.2.2:51820", [B]);
  introduce(a, b);
  const second = secondTx(a);
  const packet = ipPacket(A, B, new Uint8Array(20));
  seal(a.tx, packet);
  seal(second.path, packet);
  assert.equal(a.sent.length + second.sent.length, 0);
  installKeys(a, b, new SeededRandom(2));
  a.tx.commands();
  second.path.commands();
  assert.deepEqual([a.sent.length, second.sent.length], [1, 1]);
  a.table.sendKeepalive(0);
  a.tx.commands();
  second.path.commands();
  assert.deepEqual([a.sent.length, second.sent.length], [2, 1], "one keepalive is enough");
});
