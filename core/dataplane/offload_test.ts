import assert from "node:assert/strict";
import code from "../../build/kernel.wasm" with { type: "bytes" };
import { DataPlaneNode, installKeys, introduce } from "../../tests/dataplane_node.ts";
import { hasRightChecksums, payloadAt, transportPacket } from "../../tests/transport_packets.ts";
import { instantiateKernel, NEEDS_CHECKSUM, VNET, VNET_BYTES } from "../kernel/kernel.ts";
import { SeededRandom } from "../random.ts";
import { nobleAead } from "./aead.ts";
import { FEATURE } from "./features.ts";
import { SharedState } from "./layout.ts";
import { createMemory, SUPER_PACKET, txMemory } from "./memory.ts";
import { DATA_HEADER, TxPath } from "./tx_path.ts";

const A = "172.30.0.1", B = "172.30.0.2", MTU = 1420;
const random = new SeededRandom(21);

/** A node whose interface has offloads, and an ordinary one. */
class OffloadPair {
  readonly a: DataPlaneNode;
  readonly b = new DataPlaneNode("192.0.2.2:51820", [B]);
  readonly #part = txMemory(0);
  readonly #path: TxPath;
  readonly #bytes: Uint8Array;
  /** What has left, oldest first. */
  readonly sent: Uint8Array[] = [];
  flushes = 0;
  readonly #features: number;

  constructor(features = 0) {
    const memory = createMemory(1);
    const shared = new SharedState(memory.buffer as unknown as SharedArrayBuffer);
    this.a = new DataPlaneNode("192.0.2.1:51820", [A], MTU, shared);
    introduce(this.a, this.b);
    this.#bytes = new Uint8Array(memory.buffer);
    const kernel = instantiateKernel(code, memory);
    kernel.setScratch(this.#part.scratch);
    const sink = {
      send: (_peer: number, bytes: Uint8Array, at: number, length: number) =>
        void this.sent.push(bytes.slice(at, at + length)),
      flush: () => void this.flushes++,
    };
    this.#path = new TxPath(shared, nobleAead, sink, MTU, { kernel, bytes: this.#bytes });
    this.#features = features;
  }

  connect(): void {
    installKeys(this.a, this.b, new SeededRandom(3), { features: this.#features });
    this.#path.commands();
  }

  /** Reads a packet from the interface, with what its vnet header says. */
  read(packet: Uint8Array, vnet: Partial<Record<keyof typeof VNET | "flags", number>> = {}): void {
    const at = this.#part.packets + DATA_HEADER - VNET_BYTES;
    const header = new DataView(this.#bytes.buffer, at, VNET_BYTES);
    for (let i = 0; i < VNET_BYTES; i++) header.setUint8(i, 0);
    header.setUint8(0, vnet.flags ?? 0);
    header.setUint8(VNET.gsoType, vnet.gsoType ?? 0);
    header.setUint16(VNET.gsoSize, vnet.gsoSize ?? 0, true);
    header.setUint16(VNET.checksumStart, vnet.checksumStart ?? 0, true);
    header.setUint16(VNET.checksumOffset, vnet.checksumOffset ?? 0, true);
    this.#bytes.set(packet, at + VNET_BYTES);
    this.#path.begin(0);
    const limit = this.#part.end - SUPER_PACKET;
    const end = this.#path.fromTun(this.#part.packets, VNET_BYTES + packet.length, limit);
    assert.ok(end >= this.#part.packets && end <= limit);
    this.#path.end();
  }

  /** The packets that `b` takes out of what was sent. */
  received(): Uint8Array[] {
    for (const datagram of this.sent.splice(0)) this.b.receive(datagram, this.a.endpoint);
    return this.b.delivered.splice(0);
  }
}

const superPacket = transportPacket({ protocol: "tcp", payload: random.bytes(30_000) });
const gso = { flags: NEEDS_CHECKSUM, gsoType: 1, gsoSize: 1360, checksumStart: 20 } as const;

Deno.test("fromTun() sends a super-packet to a stock peer as whole packets", () => {
  const pair = new OffloadPair();
  pair.connect();
  pair.read(superPacket, { ...gso, checksumOffset: 16 });
  const packets = pair.received();
  assert.equal(packets.length, Math.ceil(30_000 / 1360));
  assert.ok(packets.every(hasRightChecksums));
  const payload = packets.flatMap((packet) => [...packet.subarray(payloadAt(packet))]);
  assert.deepEqual(Uint8Array.from(payload), superPacket.slice(payloadAt(superPacket)));
});

Deno.test("fromTun() marks the pieces for an own node, and only for one that agreed", () => {
  const pair = new OffloadPair(FEATURE.pieces);
  pair.connect();
  pair.read(superPacket, { ...gso, checksumOffset: 16 });
  pair.read(transportPacket({ protocol: "udp", payload: random.bytes(9) }), {
    flags: NEEDS_CHECKSUM,
    checksumStart: 20,
    checksumOffset: 6,
  });
  assert.ok(pair.sent.length > 20);
  for (const datagram of pair.sent.splice(0)) {
    assert.equal(pair.b.receive(datagram, pair.a.endpoint), 1);
    assert.ok(pair.b.rx.isPiece);
  }
});

Deno.test("fromTun() keeps the segments of a super-packet until there is a session", () => {
  const pair = new OffloadPair();
  pair.read(superPacket, { ...gso, checksumOffset: 16 });
  assert.deepEqual(pair.sent, []);
  pair.connect();
  assert.equal(pair.received().length, Math.ceil(30_000 / 1360));
});

Deno.test("fromTun() sends in parts what is more than its memory holds", () => {
  const pair = new OffloadPair();
  pair.connect();
  const tiny = transportPacket({ protocol: "tcp", payload: random.bytes(60_000) });
  pair.flushes = 0;
  pair.read(tiny, { ...gso, gsoSize: 8, checksumOffset: 16 });
  assert.ok(pair.flushes > 1);
  assert.equal(pair.sent.length, 7_500);
});

Deno.test("fromTun() finishes the checksum of a single packet", () => {
  const pair = new OffloadPair();
  pair.connect();
  const whole = transportPacket({ protocol: "udp", payload: random.bytes(100) });
  const begun = whole.slice();
  const pseudo = [12, 14, 16, 18].reduce((sum, at) => sum + (begun[at]! << 8) + begun[at + 1]!, 0);
  const sum = pseudo + 17 + begun.length - 20;
  new DataView(begun.buffer).setUint16(26, (sum & 0xffff) + (sum >> 16));
  pair.read(begun, { flags: NEEDS_CHECKSUM, checksumStart: 20, checksumOffset: 6 });
  assert.deepEqual(pair.received(), [whole]);
});

Deno.test("fromTun() drops what is malformed, and counts it", () => {
  const pair = new OffloadPair();
  pair.connect();
  const icmp = superPacket.slice();
  icmp[9] = 1;
  pair.read(icmp, { ...gso, checksumOffset: 16 });
  pair.read(superPacket, { ...gso, gsoSize: 0, checksumOffset: 16 });
  pair.read(superPacket.subarray(0, 60), { ...gso, checksumOffset: 16 });
  pair.read(superPacket, { flags: NEEDS_CHECKSUM, checksumStart: 65_000, checksumOffset: 600 });
  assert.deepEqual(pair.sent, []);
  assert.deepEqual(pair.a.drops, { malformed: 4 });
});
