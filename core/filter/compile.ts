/**
 * Rules into flat tables, so that a thousand of them cost about as much as ten.
 *
 * Peers that the same rules name are one class, and so are destinations that the same rules name.
 * Each pair of classes has a block: for TCP and UDP the intervals of ports in which one decision
 * holds, for other packets the decision itself. Pairs that the same rules are about share a block.
 * Decisions are made here, once for all ports; a look-up is two loads, a search among networks, and
 * a binary search among ports.
 *
 * ```
 * header   generation | rules | slots | peer classes | classes at | pairs at | networks at
 * classes  the class of each peer slot
 * pairs    destination classes x peer classes: where the block is
 * block    TCP intervals at | UDP intervals at | ICMP | echo requests | other | answers
 * list     count | first ports, ascending from 0 | decisions
 * networks a route table (`route/lpm.ts`): destination -> class; this node itself is class 0
 * ```
 *
 * A decision is 0 when no rule matches, `i + 1` when rule `i` allows, `-(i + 1)` when it denies. Of
 * several rules that could decide the first one is named. Offsets count from the table's start, so
 * that it can be copied into memory that threads share.
 * @module
 */
import type { PeerId } from "../ids.ts";
import { formatPrefix, maskBytes, type Prefix } from "../ip.ts";
import { buildRouteTable, type Route, routeTableWords } from "../route/lpm.ts";
import { type PeerClasses, peerClasses } from "./peer_classes.ts";
import { PortCuts } from "./port_cuts.ts";
import { intersectInto, nameOf, nextInBoth, RuleOrder, type RuleSet } from "./rule_sets.ts";
import type { FilterRule, Protocol } from "./rules.ts";
import { Words } from "./words.ts";

/** Word offsets in the header. */
export const HEADER = {
  generation: 0,
  rules: 1,
  slots: 2,
  peerClasses: 3,
  classesAt: 4,
  pairsAt: 5,
  networksAt: 6,
  words: 7,
} as const;

/** Word offsets in a block. */
export const BLOCK = { tcp: 0, udp: 1, icmp: 2, echo: 3, other: 4, answers: 5, words: 6 } as const;

/** Quarter of a gigabyte of rules is a mistake or an attack. */
const MAX_WORDS = 1 << 26;

/** Whom the rules are about. */
export interface FilterSubjects {
  /** Peer slots of members; nothing from other slots is allowed. */
  readonly peers: ReadonlyMap<number, PeerId>;
  /** This node's own addresses; rules without `destinations` are about packets to them alone. */
  readonly own: readonly Prefix[];
}

/**
 * Compiles `rules` into the words of a table.
 *
 * @param generation Above 0 and another one than that of the last tables.
 * @throws {RangeError} when the tables would be too large.
 */
export function compileFilter(
  rules: readonly FilterRule[],
  subjects: FilterSubjects,
  generation: number,
): Int32Array<ArrayBuffer> {
  const classes = peerClasses(rules, subjects.peers);
  const destinations = destinationClasses(rules, subjects.own);
  const writer = new BlockWriter(rules);
  const classesAt = HEADER.words;
  const pairsAt = classesAt + classes.ofSlot.length;
  const pairs = destinations.rules.length * classes.count;
  const networksAt = pairsAt + pairs;
  const blocksAt = networksAt + routeTableWords(destinations.routes.length);
  if (blocksAt > MAX_WORDS) throw tooLarge();

  const blocks = writePairs(destinations, classes, writer);
  const words = new Int32Array(blocksAt + writer.length);
  words[HEADER.generation] = generation;
  words[HEADER.rules] = rules.length;
  words[HEADER.slots] = classes.ofSlot.length;
  words[HEADER.peerClasses] = classes.count;
  words[HEADER.classesAt] = classesAt;
  words[HEADER.pairsAt] = pairsAt;
  words[HEADER.networksAt] = networksAt;
  words.set(classes.ofSlot, classesAt);
  words.set(blocks.map((at) => blocksAt + at), pairsAt);
  buildRouteTable(new Uint32Array(words.buffer, 4 * networksAt), destinations.routes);
  writer.copyTo(words, blocksAt);
  return words;
}

/** Where the block of each pair of classes is, from the first block on. */
function writePairs(
  destinations: DestinationClasses,
  classes: PeerClasses,
  writer: BlockWriter,
): Int32Array {
  const sources = writer.setsOf(classes);
  const blocks = new Int32Array(destinations.rules.length * classes.count);
  destinations.rules.forEach((about, destination) => {
    const here = writer.setOf(about);
    sources.forEach((set, peerClass) =>
      blocks[destination * classes.count + peerClass] = writer.blockOf(here, set)
    );
  });
  return blocks;
}

interface DestinationClasses {
  /** Indices of the rules about each class, ascending. */
  readonly rules: readonly (readonly number[])[];
  readonly routes: readonly Route[];
}

/** Destinations by the rules that name them: this node itself is class 0. */
function destinationClasses(
  rules: readonly FilterRule[],
  own: readonly Prefix[],
): DestinationClasses {
  const here: number[] = [];
  const named = new Map<string, { readonly prefix: Prefix; readonly rules: Set<number> }>();
  rules.forEach(({ destinations }, index) => {
    if (!destinations) here.push(index);
    for (const { bytes, bits } of destinations ?? []) {
      const prefix = { bytes: maskBytes(bytes, bits), bits };
      const entry = named.get(formatPrefix(prefix)) ?? { prefix, rules: new Set<number>() };
      named.set(formatPrefix(prefix), entry);
      entry.rules.add(index);
    }
  });
  const lengths = [...new Set([...named.values()].map(({ prefix }) => prefix.bits))];
  const classOf = new Map<string, number>();
  const classes: (readonly number[])[] = [here];
  const routes: Route[] = [];
  for (const { prefix } of named.values()) {
    const found = new Set<number>();
    for (const bits of lengths) {
      if (bits > prefix.bits) continue;
      const around = formatPrefix({ bytes: maskBytes(prefix.bytes, bits), bits });
      for (const rule of named.get(around)?.rules ?? []) found.add(rule);
    }
    const about = [...found].sort((a, b) => a - b);
    const value = classOf.get(about.join()) ?? classes.push(about) - 1;
    classOf.set(about.join(), value);
    routes.push({ prefix, value });
  }
  // Behind the rules' networks, so that what is this node itself stays so whatever they name.
  for (const prefix of own) routes.push({ prefix, value: 0 });
  return { rules: classes, routes };
}

/** Collects blocks; equal ones are kept once. */
class BlockWriter {
  readonly #order: RuleOrder;
  readonly #rules: readonly FilterRule[];
  readonly #cuts: PortCuts;
  /** The decision of each rule by its number. */
  readonly #decisions: Int32Array;
  readonly #about: Readonly<Record<"tcp" | "udp" | "icmp" | "echo" | "any" | "cutting", RuleSet>>;
  readonly #common: RuleSet;
  readonly #known = new Map<string, number>();
  /** Where offsets are, which count from the first block until they are copied. */
  readonly #offsets: number[] = [];
  readonly #words = new Words();

  constructor(rules: readonly FilterRule[]) {
    const order = new RuleOrder(rules);
    this.#order = order;
    this.#rules = rules;
    this.#cuts = new PortCuts(order.indices.map((index) => rules[index]!.ports));
    this.#decisions = Int32Array.from(
      order.indices,
      (index) => rules[index]!.action === "allow" ? index + 1 : -(index + 1),
    );
    const about = (...protocols: Protocol[]) => (rule: FilterRule) =>
      protocols.includes(rule.protocol) && !rule.icmpTypes;
    this.#about = {
      tcp: order.where(rules, about("any", "tcp")),
      udp: order.where(rules, about("any", "udp")),
      icmp: order.where(rules, (rule) => !rule.ports && about("any", "icmp")(rule)),
      echo: order.where(
        rules,
        ({ protocol, ports }) => !ports && (protocol === "any" || protocol === "icmp"),
      ),
      any: order.where(rules, (rule) => !rule.ports && about("any")(rule)),
      cutting: order.where(rules, cutsOff),
    };
    this.#common = order.empty();
  }

  get length(): number {
    return this.#words.length;
  }

  /** The set of rules with those indices. */
  setOf(indices: readonly number[]): RuleSet {
    const set = this.#order.empty();
    for (const index of indices) this.#order.add(set, index);
    return set;
  }

  /** The rules about the peers of each class; there are none about strangers, class 0. */
  setsOf(classes: PeerClasses): RuleSet[] {
    const everyone = this.#order.where(this.#rules, ({ sources }) => sources === null);
    const sets = Array.from(
      { length: classes.count },
      (_, peerClass) => peerClass === 0 ? this.#order.empty() : everyone.slice(),
    );
    this.#rules.forEach((_, index) => {
      for (const peerClass of classes.classesOf(index) ?? []) {
        this.#order.add(sets[peerClass]!, index);
      }
    });
    return sets;
  }

  /** Offset of the block for packets that exactly the rules in both sets could match. */
  blockOf(a: RuleSet, b: RuleSet): number {
    const common = this.#common;
    intersectInto(common, a, b);
    const name = nameOf(common);
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const words = this.#words;
    const at = words.length;
    this.#known.set(name, at);
    for (let i = 0; i < BLOCK.words; i++) words.push(0);
    this.#offsets.push(at + BLOCK.tcp, at + BLOCK.udp);
    for (const protocol of ["tcp", "udp"] as const) {
      words.set(at + BLOCK[protocol], words.length);
      this.#cuts.append(words, common, this.#about[protocol], this.#decisions);
    }
    words.set(at + BLOCK.icmp, this.#first(common, this.#about.icmp));
    words.set(at + BLOCK.echo, this.#first(common, this.#about.echo));
    words.set(at + BLOCK.other, this.#first(common, this.#about.any));
    words.set(at + BLOCK.answers, this.#first(common, this.#about.cutting));
    if (words.length > MAX_WORDS) throw tooLarge();
    return at;
  }

  /** Copies all words behind `blocksAt`. */
  copyTo(words: Int32Array, blocksAt: number): void {
    words.set(this.#words.all, blocksAt);
    for (const at of this.#offsets) words[blocksAt + at]! += blocksAt;
  }

  /** The decision of the first rule that is in both sets. */
  #first(common: RuleSet, about: RuleSet): number {
    const first = nextInBoth(common, about, 0);
    return first < 0 ? 0 : this.#decisions[first]!;
  }
}

/**
 * Whether a rule takes also the answers from the peers it names to what this node sends them: it
 * denies them everything. One that denies a protocol or ports is about what this node offers, and
 * one that denies everything to everyone means that nobody may begin, not that nobody may answer.
 */
export function cutsOff(rule: FilterRule): boolean {
  return rule.action === "deny" && rule.sources !== null && rule.protocol === "any" &&
    rule.ports === null && !rule.icmpTypes;
}

function tooLarge(): RangeError {
  return new RangeError(`Cannot compile filter rules: tables would exceed ${MAX_WORDS} words`);
}
