/**
 * The packet filter allocates nothing for a packet, whatever becomes of it.
 * @module
 */
import assert from "node:assert/strict";
import { packetBytes, type TestPacket } from "../core/filter/_packets.ts";
import { compileFilter } from "../core/filter/compile.ts";
import { PacketFilter } from "../core/filter/filter.ts";
import {
  DEFAULT_FLOWS,
  FlowTable,
  flowTableWords,
  initFlowTable,
} from "../core/filter/flow_table.ts";
import { RuleTable } from "../core/filter/rule_table.ts";
import { parseIp, parsePrefix } from "../core/ip.ts";
import { createRules } from "../scripts/bench_filter.ts";
import { createTable } from "../scripts/bench_routes.ts";
import { allocatedBy } from "./heap_sample.ts";

const PACKETS = 100_000;
/** Until V8 has compiled everything for good, code allocates; after so many rounds it has. */
const ROUNDS = 10;
/** What the sampling itself and a late compilation may leave, in bytes per packet. */
const NOISE = 2;
const PEER = 1;

/** Packets whose addresses, hashes and identifiers have their highest bits set. */
const BASE: TestPacket = {
  source: parseIp("240.0.0.1")!,
  destination: parseIp("240.0.0.100")!,
  protocol: 6,
  sourcePort: 60_000,
  destinationPort: 5201,
  flags: 0x10,
  icmp: null,
  quote: null,
  fragment: null,
  headers: [],
};
const SIX = { ...BASE, source: parseIp("fd00::1")!, destination: parseIp("fd00::ffff:ffff")! };

/** Judges one packet again and again, each time in another second or from another port. */
class Loop {
  readonly #filter: PacketFilter;
  readonly #bytes: Uint8Array;
  readonly #port: number;
  #now = 2 ** 31 - 50_000;

  constructor(packet: TestPacket) {
    const flows = new Int32Array(new SharedArrayBuffer(4 * flowTableWords()));
    initFlowTable(flows, DEFAULT_FLOWS, -5);
    const own = [BASE.destination, SIX.destination].map((bytes) => ({
      bytes,
      bits: 8 * bytes.length,
    }));
    const peers = new Map([[PEER, "0".repeat(16)]]);
    const table = new RuleTable(compileFilter(createRules(100), { peers, own }, 1));
    const routes = createTable([
      { prefix: parsePrefix("240.0.0.1")!, value: PEER },
      { prefix: parsePrefix("fd00::1")!, value: PEER },
    ]);
    this.#filter = new PacketFilter(new FlowTable(flows), table, new Float64Array(100), routes);
    this.#bytes = packetBytes(packet);
    this.#port = this.#bytes[0]! >> 4 === 4 ? 20 : 40;
  }

  run(count: number, isNew: boolean): void {
    const bytes = this.#bytes;
    for (let i = 0; i < count; i++) {
      if (isNew) {
        bytes[this.#port] = i >> 8;
        bytes[this.#port + 1] = i;
      } else this.#now = (this.#now + 1) | 0;
      this.#filter.outbound(PEER, bytes, 0, bytes.length, this.#now);
      this.#filter.inbound(PEER, bytes, 0, bytes.length, this.#now);
    }
  }
}

const fragment = { id: 0xffff, from: 0, length: 24, isMore: true };
const CASES: readonly [string, TestPacket][] = [
  ["TCP over IPv4", BASE],
  ["TCP over IPv6", SIX],
  ["UDP that no rule allows", { ...BASE, protocol: 17, destinationPort: 65_535 }],
  ["fragments", { ...BASE, fragment }],
  ["ICMP errors", { ...BASE, protocol: 1, icmp: { type: 3, id: 0 }, quote: packetBytes(BASE) }],
  ["what is malformed", { ...SIX, flags: 0 }],
];

for (const [name, packet] of CASES) {
  for (const isNew of [false, true]) {
    Deno.test(`the packet filter allocates nothing for ${name}, ${isNew ? "new" : "known"} flows`, async () => {
      const loop = new Loop(packet);
      let bytes = Infinity;
      for (let i = 0; i < ROUNDS && bytes >= NOISE * PACKETS; i++) {
        bytes = await allocatedBy(() => loop.run(PACKETS, isNew));
      }
      assert.ok(bytes < NOISE * PACKETS, `${bytes} bytes for ${PACKETS} packets`);
    });
  }
}
