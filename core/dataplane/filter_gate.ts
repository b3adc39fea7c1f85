/**
 * The packet filter as one worker has it: the rules that are published beside the routes in use,
 * its own counts, the flows of all.
 *
 * Before any rules are published everything passes.
 * @module
 */
import { HEADER as RULES } from "../filter/compile.ts";
import { PacketFilter, PASS } from "../filter/filter.ts";
import { FlowTable } from "../filter/flow_table.ts";
import { RuleTable } from "../filter/rule_table.ts";
import { IPPROTO } from "../filter/key.ts";
import { FILTERED_PROTOCOLS, type SharedState } from "./layout.ts";

const TCP = FILTERED_PROTOCOLS.indexOf("tcp");
const UDP = FILTERED_PROTOCOLS.indexOf("udp");
const ICMP = FILTERED_PROTOCOLS.indexOf("icmp");
const OTHER = FILTERED_PROTOCOLS.indexOf("other");

/** See the module's doc. */
export class FilterGate {
  readonly #shared: SharedState;
  readonly #worker: number;
  #filter: PacketFilter | null = null;
  /** Which rules the filter has. */
  #generation = 0;
  #area = 0;
  #now = 0;

  constructor(shared: SharedState, worker: number) {
    this.#shared = shared;
    this.#worker = worker;
  }

  /**
   * Must follow `beginRoutes` and precede the packets of a batch.
   * @param now Whole seconds of a clock that all workers share.
   */
  begin(routes: Uint32Array, now: number): void {
    const { routeAreas, filterAreas } = this.#shared;
    const area = routes === routeAreas[0] ? 0 : 1;
    const generation = filterAreas[area]![RULES.generation]!;
    this.#now = now;
    if (generation === 0) return;
    if (generation !== this.#generation || area !== this.#area) {
      this.#adopt(area, generation, routes);
    } else this.#filter!.useRoutes(routes);
  }

  /** Whether rules were published. */
  get hasRules(): boolean {
    return this.#filter !== null;
  }

  /** The verdict on a packet from `peer`: `PASS`, or as `filter.ts` says. */
  inbound(peer: number, bytes: Uint8Array, at: number, length: number): number {
    if (this.#filter === null) return PASS;
    return this.#filter.inbound(peer, bytes, at, length, this.#now);
  }

  /** The protocol of the last packet that came in, as an index of `FILTERED_PROTOCOLS`. */
  get protocol(): number {
    const protocol = this.#filter?.protocol;
    if (protocol === IPPROTO.tcp) return TCP;
    if (protocol === IPPROTO.udp) return UDP;
    return protocol === IPPROTO.icmp || protocol === IPPROTO.icmpv6 ? ICMP : OTHER;
  }

  /** Notes a packet to `peer`. */
  outbound(peer: number, bytes: Uint8Array, at: number, length: number): void {
    this.#filter?.outbound(peer, bytes, at, length, this.#now);
  }

  #adopt(area: number, generation: number, routes: Uint32Array): void {
    const { filterAreas, flows } = this.#shared;
    const rules = new RuleTable(filterAreas[area]!);
    const hits = this.#shared.ruleHits(area, this.#worker);
    if (this.#filter === null) {
      this.#filter = new PacketFilter(new FlowTable(flows), rules, hits, routes);
    } else {
      this.#filter.useRules(rules, hits);
      this.#filter.useRoutes(routes);
    }
    this.#generation = generation;
    this.#area = area;
  }
}
