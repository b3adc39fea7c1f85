/**
 * Nothing is allocated for a packet: a heap sample while packets are sealed, opened and joined.
 * @module
 */
import assert from "node:assert/strict";
import code from "../build/kernel.wasm" with { type: "bytes" };
import type { Aead } from "../core/dataplane/aead.ts";
import { FEATURE } from "../core/dataplane/features.ts";
import { SharedState } from "../core/dataplane/layout.ts";
import { createMemory, SUPER_PACKET, txMemory } from "../core/dataplane/memory.ts";
import { RxPath, VERDICT } from "../core/dataplane/rx_path.ts";
import { mapped } from "../core/dataplane/table.ts";
import { DATA_HEADER, TxPath } from "../core/dataplane/tx_path.ts";
import { kernelAead } from "../core/kernel/aead.ts";
import { instantiateKernel, JOIN, type Kernel, VNET, VNET_BYTES } from "../core/kernel/kernel.ts";
import { openLibcrypto } from "../core/platform/linux/libcrypto.ts";
import { allocatedBy } from "./heap_sample.ts";
import { DataPlaneNode, installKeys, introduce } from "./dataplane_node.ts";
import { SeededRandom } from "../core/random.ts";
import { transportPacket } from "./transport_packets.ts";

const MTU = 1420;
const PACKETS = 100_000;
/** Until V8 has compiled everything for good, code allocates; after so many rounds it has. */
const ROUNDS = 10;
/** What the sampling itself and a late compilation may leave, in bytes per packet. */
const NOISE = 2;

/** One worker of each direction without their system calls: what is sealed is opened in place. */
class Loop {
  readonly #a: DataPlaneNode;
  readonly #b = new DataPlaneNode("192.0.2.2:51820", ["172.30.0.2", "fd00::2"]);
  readonly #bytes: Uint8Array;
  readonly #tx: TxPath;
  readonly #rx: RxPath;
  readonly #kernel: Kernel;
  readonly #part = txMemory(0);
  readonly #source = { bytes: mapped("192.0.2.1"), at: 0, port: 51820 };
  delivered = 0;

  constructor(makeAead: (kernel: Kernel, bytes: Uint8Array, at: number) => Aead, features: number) {
    const memory = createMemory(1);
    const shared = new SharedState(memory.buffer as unknown as SharedArrayBuffer);
    this.#a = new DataPlaneNode("192.0.2.1:51820", ["172.30.0.1", "fd00::1"], MTU, shared);
    introduce(this.#a, this.#b);
    installKeys(this.#a, this.#b, new SeededRandom(1), { features });
    this.#bytes = new Uint8Array(memory.buffer);
    this.#kernel = instantiateKernel(code, memory);
    this.#kernel.setScratch(this.#part.scratch);
    const aead = makeAead(this.#kernel, this.#bytes, this.#part.cipher);
    const sink = {
      send: (_peer: number, bytes: Uint8Array, at: number, length: number) =>
        this.#receive(bytes, at, length),
      flush: () => {},
    };
    this.#tx = new TxPath(shared, aead, sink, MTU, { kernel: this.#kernel, bytes: this.#bytes });
    this.#rx = new RxPath(this.#b.shared, aead);
  }

  /** Carries `packet` until `count` more packets have arrived. */
  run(packet: Uint8Array, gsoType: number, count: number): void {
    const { packets, end } = this.#part;
    const until = this.delivered + count;
    const at = packets + DATA_HEADER - VNET_BYTES;
    while (this.delivered < until) {
      this.#bytes.fill(0, at, at + VNET_BYTES);
      this.#bytes[at + VNET.gsoType] = gsoType;
      this.#bytes[at + VNET.gsoSize] = 1360 & 0xff;
      this.#bytes[at + VNET.gsoSize + 1] = 1360 >> 8;
      this.#bytes.set(packet, at + VNET_BYTES);
      this.#tx.begin(0);
      this.#rx.begin(0);
      this.#tx.fromTun(packets, VNET_BYTES + packet.length, end - SUPER_PACKET);
      this.#kernel.finish();
      this.#rx.end();
      this.#tx.end();
    }
  }

  #receive(bytes: Uint8Array, at: number, length: number): void {
    if (this.#rx.datagram(bytes, at, length, this.#source) !== VERDICT.deliver) return;
    this.delivered++;
    const { packetAt, packetBytes, isPiece } = this.#rx;
    const piece = isPiece ? 1 : 0;
    const fit = this.#kernel.join(packetAt, packetBytes, piece, 1, 1);
    if (fit === JOIN.joined) return;
    this.#kernel.finish();
    if (fit === JOIN.starts) this.#kernel.start(packetAt, packetBytes, piece);
  }
}

const libcrypto = Deno.permissions.querySync({ name: "ffi" }).state === "granted"
  ? openLibcrypto()
  : null;
const random = new SeededRandom(2);
const CASES = [
  {
    name: "super-packets of TCP over IPv4",
    packet: transportPacket({ protocol: "tcp", payload: random.bytes(40_000) }),
    gsoType: 1,
  },
  {
    name: "super-packets of UDP over IPv6",
    packet: transportPacket({ protocol: "udp", source: "fd00::1", payload: random.bytes(40_000) }),
    gsoType: 5,
  },
  {
    name: "small packets of UDP",
    packet: transportPacket({ protocol: "udp", payload: random.bytes(64) }),
    gsoType: 0,
  },
];

for (const { name, packet, gsoType } of CASES) {
  for (const cipher of ["wasm", "libcrypto"] as const) {
    for (const features of [0, FEATURE.pieces]) {
      const how = `${cipher}, ${features === 0 ? "plain" : "pieces"}`;
      Deno.test(`nothing is allocated for ${name} (${how})`, async () => {
        if (cipher === "libcrypto" && !libcrypto) {
          console.log(`SKIP: ${name} (${how}): this system has no libcrypto`);
          return;
        }
        const loop = new Loop(cipher === "wasm" ? kernelAead : () => libcrypto!, features);
        let bytes = Infinity;
        for (let i = 0; i < ROUNDS && bytes >= NOISE * PACKETS; i++) {
          bytes = await allocatedBy(() => loop.run(packet, gsoType, PACKETS));
        }
        assert.ok(bytes < NOISE * PACKETS, `${bytes} bytes for ${PACKETS} packets`);
      });
    }
  }
}
