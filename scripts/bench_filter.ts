/**
 * What does the packet filter cost with no rules, and with 1000? Nanoseconds of a packet, and
 * throughput in a tunnel.
 *
 * `train`: packets of one flow, as a transfer sends them. `flows`: packets of flows drawn at random
 * among 256, `many`: among so many that caches hold neither them nor their packets. `refused`:
 * packets that no rule allows and no flow knows. `began`: packets that a rule allows, each the first
 * of its flow, in a fresh table. `out`: what is sent, in 256 flows.
 *
 * In the tunnel TCP runs between two nodes whose rules are put in and taken out in turns; `ratio` is
 * what is left of the speed. It needs root and iperf3 and a machine that does nothing else.
 *
 * Usage: deno task bench:filter [--json] [--only packets|tunnel] [--rounds N] [--seconds N]
 * @module
 */
import { parseArgs } from "node:util";
import { compileFilter } from "../core/filter/compile.ts";
import { PacketFilter, PASS } from "../core/filter/filter.ts";
import {
  DEFAULT_FLOWS,
  FlowTable,
  flowTableWords,
  initFlowTable,
} from "../core/filter/flow_table.ts";
import { RuleTable } from "../core/filter/rule_table.ts";
import type { FilterRule } from "../core/filter/rules.ts";
import { parsePrefix } from "../core/ip.ts";
import { type Random, SeededRandom } from "../core/random.ts";
import { transportPacket } from "../tests/transport_packets.ts";
import { whySkip } from "../tests/skip.ts";
import { createTable } from "./bench_routes.ts";

/** How many rules the tables have. */
export const RULE_COUNTS = [0, 10, 1000] as const;

const PEERS = 256;
/** Flows in use at once: few enough that no set of the table has more than it has room for. */
const FLOWS = DEFAULT_FLOWS / 8;
const FEW_FLOWS = 256;
const PACKETS = 1 << 19;
/** Other programs only make a run slower, so the fastest counts. */
const RUNS = 7;
const PACKET_BYTES = 128;
const NOW = 1000;
/** Rules are about ports below; the flows of this node come from those above. */
const RULE_PORTS = 32_768;
const FIRST_LOCAL_PORT = 40_000;
const SERVICE = 5201;

const ADDRESSES = {
  IPv4: { node: "172.30.0.1", peer: (i: number) => `172.30.1.${i}` },
  IPv6: { node: "fd00::1", peer: (i: number) => `fd00::1:${i.toString(16)}` },
} as const;
/** A family of addresses. */
export type Family = keyof typeof ADDRESSES;

interface FilterCost {
  readonly family: Family;
  readonly rules: number;
  readonly trainNs: number;
  readonly flowsNs: number;
  readonly manyNs: number;
  readonly refusedNs: number;
  readonly beganNs: number | null;
  readonly outNs: number;
  readonly compileMs: number;
  readonly kilobytes: number;
}

/** So many rules, the same in each run: half name a few peers, one in eight denies. */
export function createRules(count: number): FilterRule[] {
  const random = new SeededRandom(count);
  return Array.from({ length: count }, (_, i) => {
    const first = i === 0 ? SERVICE : random.uint32() % RULE_PORTS;
    return {
      id: `rule-${i}`,
      layer: "coordinator",
      action: i > 0 && i % 8 === 0 ? "deny" : "allow",
      sources: i % 2 === 0 ? null : new Set(
        Array.from({ length: 8 }, () => peerId(random.uint32() % PEERS)),
      ),
      protocol: i % 3 === 2 ? "udp" : "tcp",
      ports: [{ first, last: first + (i === 0 ? 0 : random.uint32() % 16) }],
      destinations: null,
      origin: { where: "", comment: "" },
    };
  });
}

function peerId(slot: number): string {
  return slot.toString(16).padStart(16, "0");
}

/** A filter with rules and routes as in a node, and packets to judge. */
class Rig {
  readonly filter: PacketFilter;
  readonly bytes = new Uint8Array(PACKET_BYTES * FLOWS);
  readonly peers = new Int32Array(FLOWS);
  readonly #family: Family;
  readonly #random: Random = new SeededRandom(1);
  readonly compileMs: number;
  readonly kilobytes: number;

  constructor(family: Family, rules: number) {
    this.#family = family;
    const { node, peer } = ADDRESSES[family];
    const subjects = {
      peers: new Map(Array.from({ length: PEERS }, (_, slot) => [slot, peerId(slot)])),
      own: [parsePrefix(node)!],
    };
    const start = performance.now();
    const words = compileFilter(createRules(rules), subjects, 1);
    this.compileMs = round(2, performance.now() - start);
    this.kilobytes = Math.ceil(words.byteLength / 1000);
    const shared = new Int32Array(new SharedArrayBuffer(words.byteLength));
    shared.set(words);
    const flows = new Int32Array(new SharedArrayBuffer(4 * flowTableWords()));
    initFlowTable(flows, DEFAULT_FLOWS, 1);
    const routes = Array.from(
      { length: PEERS },
      (_, value) => ({ prefix: parsePrefix(peer(value))!, value }),
    );
    const table = new RuleTable(shared);
    const hits = new Float64Array(table.rules);
    this.filter = new PacketFilter(new FlowTable(flows), table, hits, createTable(routes));
  }

  /** Makes packets of as many flows; `port` gives the one on this node's side. */
  fill(isInbound: boolean, port: (i: number) => number): void {
    for (let i = 0; i < FLOWS; i++) {
      const slot = this.#random.uint32() % PEERS;
      const { node, peer } = ADDRESSES[this.#family];
      const packet = transportPacket({
        protocol: "tcp",
        source: isInbound ? peer(slot) : node,
        destination: isInbound ? node : peer(slot),
        payload: new Uint8Array(16),
      });
      const at = this.#family === "IPv4" ? 20 : 40;
      const view = new DataView(packet.buffer);
      view.setUint16(at + (isInbound ? 0 : 2), SERVICE);
      view.setUint16(at + (isInbound ? 2 : 0), port(i));
      this.bytes.set(packet, i * PACKET_BYTES);
      this.peers[i] = slot;
    }
  }

  get length(): number {
    return this.#family === "IPv4" ? 68 : 88;
  }

  /** Turns the packets round. */
  reverse(): void {
    const [first, size] = this.#family === "IPv4" ? [12, 4] : [8, 16];
    for (let i = 0; i < FLOWS; i++) {
      const at = i * PACKET_BYTES + first;
      this.#swap(at, size);
      this.#swap(at + 2 * size, 2);
    }
  }

  #swap(at: number, size: number): void {
    const former = this.bytes.slice(at, at + size);
    this.bytes.copyWithin(at, at + size, at + 2 * size);
    this.bytes.set(former, at + size);
  }
}

/** Judges packets; how many passed keeps the compiler from leaving them out. */
function judge(rig: Rig, order: Int32Array, count: number): number {
  const { filter, bytes, peers, length } = rig;
  const mask = order.length - 1;
  let passed = 0;
  for (let i = 0; i < count; i++) {
    const packet = order[i & mask]!;
    const at = packet * PACKET_BYTES;
    if (filter.inbound(peers[packet]!, bytes, at, length, NOW) === PASS) passed++;
  }
  return passed;
}

function send(rig: Rig, order: Int32Array, count: number): number {
  const { filter, bytes, peers, length } = rig;
  const mask = order.length - 1;
  for (let i = 0; i < count; i++) {
    const packet = order[i & mask]!;
    filter.outbound(peers[packet]!, bytes, packet * PACKET_BYTES, length, NOW);
  }
  return count;
}

function measure(family: Family, rules: number): FilterCost {
  const random = new SeededRandom(2);
  const any = Int32Array.from({ length: PACKETS }, () => random.uint32() % FLOWS);
  const each = Int32Array.from({ length: FLOWS }, (_, i) => i);
  const few = any.map((packet) => packet % FEW_FLOWS);
  const same = Int32Array.of(7);

  const rig = new Rig(family, rules);
  rig.fill(false, (i) => FIRST_LOCAL_PORT + i % 20_000);
  send(rig, each, FLOWS);
  const outNs = perPacket(() => send(rig, few, PACKETS), PACKETS, PACKETS);
  rig.reverse();
  judge(rig, each, FLOWS);
  const trainNs = perPacket(() => judge(rig, same, PACKETS), PACKETS, PACKETS);
  const flowsNs = perPacket(() => judge(rig, few, PACKETS), PACKETS, PACKETS);
  const manyNs = perPacket(() => judge(rig, any, PACKETS), PACKETS, PACKETS);
  rig.fill(true, (i) => 61_000 + i % 4_000);
  const refusedNs = perPacket(() => judge(rig, few, PACKETS), PACKETS, 0);
  return {
    family,
    rules,
    trainNs,
    flowsNs,
    manyNs,
    refusedNs,
    beganNs: rules === 0 ? null : measureBeginnings(family, rules, each),
    outNs,
    compileMs: rig.compileMs,
    kilobytes: rig.kilobytes,
  };
}

/** Each packet is the first of its flow, so that every run needs a fresh table. */
function measureBeginnings(family: Family, rules: number, each: Int32Array): number {
  let best = Infinity;
  for (let i = 0; i < RUNS; i++) {
    const rig = new Rig(family, rules);
    rig.fill(true, () => SERVICE);
    for (let flow = 0; flow < FLOWS; flow++) {
      const at = flow * PACKET_BYTES + (family === "IPv4" ? 20 : 40);
      rig.bytes[at] = 0x80 | (flow >> 8);
      rig.bytes[at + 1] = flow & 0xff;
    }
    const start = performance.now();
    const passed = judge(rig, each, FLOWS);
    best = Math.min(best, performance.now() - start);
    if (passed !== FLOWS) throw new Error(`Cannot measure: ${passed} of ${FLOWS} passed`);
  }
  return round(1, best * 1e6 / FLOWS);
}

/** Nanoseconds of a packet in the fastest of several runs, each of which lets `passes` through. */
function perPacket(run: () => number, packets: number, passes: number): number {
  let best = Infinity;
  for (let i = 0; i < RUNS; i++) {
    const start = performance.now();
    const passed = run();
    best = Math.min(best, performance.now() - start);
    if (passed !== passes) throw new Error(`Cannot measure: ${passed} of ${packets} passed`);
  }
  return round(1, best * 1e6 / packets);
}

function round(digits: number, value: number): number {
  return Number(value.toFixed(digits));
}

function measurePackets(): FilterCost[] {
  const families = Object.keys(ADDRESSES) as Family[];
  return families.flatMap((family) => RULE_COUNTS.map((count) => measure(family, count)));
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      json: { type: "boolean" },
      only: { type: "string" },
      rounds: { type: "string", default: "6" },
      seconds: { type: "string", default: "5" },
    },
  });
  const results = values.only === "tunnel" ? [] : measurePackets();
  const missing = whySkip({ tools: ["iperf3", "nft"] });
  const isTunnel = values.only !== "packets" && missing === null;
  if (!isTunnel && values.only !== "packets") console.error(`No tunnel is measured: ${missing}`);
  const rounds = { rounds: Number(values.rounds), seconds: Number(values.seconds) };
  const { measureFilterInTunnel } = await import("./throughput/filter_cost.ts");
  const tunnel = isTunnel ? await measureFilterInTunnel(rounds, (step) => console.error(step)) : [];
  if (values.json) return console.log(JSON.stringify({ results, tunnel }));
  for (const table of [results, tunnel]) if (table.length > 0) console.table(table);
}

if (import.meta.main) await main();
