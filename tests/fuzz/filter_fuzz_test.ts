/**
 * The compiled packet filter and the reference model agree on a million packets: on the verdict, and
 * on the rule that decided. And whatever bytes come, reading them is bounded and decides the same.
 *
 * A failure names the world and the packet in it; a world is a seed and always runs the same way.
 * @module
 */
import assert from "node:assert/strict";
import { packetBytes } from "../../core/filter/_packets.ts";
import { type Outcome, ReferenceFilter } from "../../core/filter/_reference.ts";
import { compileFilter } from "../../core/filter/compile.ts";
import { FILTER_DROPS, PacketFilter } from "../../core/filter/filter.ts";
import { FlowTable, flowTableWords, initFlowTable } from "../../core/filter/flow_table.ts";
import { RuleTable } from "../../core/filter/rule_table.ts";
import { SeededRandom } from "../../core/random.ts";
import { buildRouteTable, routeTableWords } from "../../core/route/lpm.ts";
import { Generator, OWNERS, type Passing } from "./filter_generator.ts";

const WORLDS = 1_400;
const POLICIES_PER_WORLD = 5;
/** In both directions; about as many in as out. */
const PACKETS_PER_POLICY = 200;
/** So many for so few packets that no set is ever full; the reference has room for all. */
const FLOWS = 1 << 13;
const MAX_RULES = 64;
/** Seconds between two packets; the long ones are around the lifetimes of flows. */
const PAUSES = [1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 29, 31, 59, 61, 241, 301, 7441];

const flowWords = new Int32Array(new SharedArrayBuffer(4 * flowTableWords(FLOWS)));
const routes = new Uint32Array(routeTableWords(OWNERS.length));
buildRouteTable(routes, OWNERS.map(({ prefix, peer }) => ({ prefix, value: peer })));

/** One node with its policies, one after the other, and packets in both directions. */
class World {
  readonly #generator: Generator;
  readonly #reference = new ReferenceFilter(OWNERS);
  readonly #hits = new Float64Array(MAX_RULES);
  readonly #rx: PacketFilter;
  readonly #tx: PacketFilter;
  readonly #recent: Passing[] = [];
  #rules = "";
  #generation = 0;
  #now: number;
  /** How often each outcome was seen. */
  readonly seen: Map<string, number>;

  constructor(seed: number, seen: Map<string, number>) {
    const random = new SeededRandom(seed);
    this.#generator = new Generator(random);
    this.seen = seen;
    flowWords.fill(0);
    initFlowTable(flowWords, FLOWS, random.uint32() | 0);
    // Filters count in signed words, and a clock may pass their end.
    this.#now = seed % 4 === 0 ? 2 ** 31 - 2_000 : random.uint32() % 100_000;
    const none = new RuleTable(compileFilter([], this.#generator.subjects, -1));
    this.#rx = new PacketFilter(new FlowTable(flowWords), none, this.#hits, routes);
    this.#tx = new PacketFilter(new FlowTable(flowWords), none, this.#hits, routes);
  }

  changeRules(): void {
    const rules = this.#generator.rules();
    const { subjects } = this.#generator;
    const words = compileFilter(rules, subjects, ++this.#generation);
    // As workers see them: somewhere in memory, with other things around.
    const shared = new Int32Array(new SharedArrayBuffer(4 * words.length + 128));
    shared.fill(-1).set(words, 16);
    this.#rx.useRules(new RuleTable(shared.subarray(16)), this.#hits);
    this.#reference.useRules(rules, subjects);
    this.#rules = JSON.stringify(rules, (_, value) => value instanceof Set ? [...value] : value);
  }

  /** Carries one packet, and perhaps the same one again in the same second; returns how many. */
  step(): number {
    this.#now += this.#generator.pick(PAUSES);
    const passing = this.#generator.packet(this.#recent);
    this.#recent.push(passing);
    if (this.#recent.length > 12) this.#recent.shift();
    const count = 1 + (this.#generator.below(3) === 0 ? this.#generator.below(3) : 0);
    for (let i = 0; i < count; i++) this.#carry(passing);
    return count;
  }

  #carry({ peer, isInbound, packet, quoted }: Passing): void {
    const packed = packetBytes(packet);
    const at = this.#generator.below(40);
    const bytes = new Uint8Array(at + packed.length + 40).fill(0x45);
    bytes.set(packed, at);
    const now = this.#now | 0;
    if (!isInbound) {
      this.#tx.outbound(peer, bytes, at, packed.length, now);
      this.#reference.outbound(peer, packet, this.#now);
      return;
    }
    const verdict = this.#rx.inbound(peer, bytes, at, packed.length, now);
    const actual: Outcome = {
      drop: verdict === 0 ? null : FILTER_DROPS[verdict - 1]!,
      rule: this.#rx.rule,
    };
    const expected = this.#reference.inbound(peer, packet, quoted, this.#now);
    const kind = `${expected.drop} ${expected.rule >= 0 ? "by rule" : ""}`;
    this.seen.set(kind, (this.seen.get(kind) ?? 0) + 1);
    if (actual.drop === expected.drop && actual.rule === expected.rule) return;
    assert.deepEqual(
      actual,
      expected,
      `refusal ${this.#rx.refusal}, peer ${peer}, ${packed.toHex()}\n${this.#rules}`,
    );
  }
}

Deno.test("PacketFilter agrees with the reference on a million packets", () => {
  const seen = new Map<string, number>();
  let packets = 0;
  for (let seed = 0; seed < WORLDS; seed++) {
    const world = new World(seed, seen);
    for (let i = 0; i < POLICIES_PER_WORLD * PACKETS_PER_POLICY; i++) {
      try {
        if (i % PACKETS_PER_POLICY === 0) world.changeRules();
        packets += world.step();
      } catch (error) {
        throw new Error(`World ${seed}, step ${i}`, { cause: error });
      }
    }
  }
  const judged = [...seen.values()].reduce((a, b) => a + b, 0);
  console.log(`${packets} packets, ${judged} judged`, Object.fromEntries(seen));
  assert.ok(judged >= 1_000_000);
  for (const drop of FILTER_DROPS) {
    if (drop === "bad-headers") continue;
    const count = (seen.get(`${drop} by rule`) ?? 0) + (seen.get(`${drop} `) ?? 0);
    assert.ok(count > 1_000, `${drop} hardly ever happened: ${count}`);
  }
});
