/**
 * Which rules does the packet filter have? Four layers put together, and compiled for the peers
 * that there are.
 *
 * | layer | whose | how long |
 * | --- | --- | --- |
 * | coordinator | the policy of the mesh | as long as it holds |
 * | config | this node's file | until the next start |
 * | temporary | `filter add` | until removed, expired, or the next start |
 * | service | what this node itself offers the mesh | as long as it does |
 *
 * All weigh the same (`core/filter/rules.ts`): any of them may open what none denies, none opens
 * what another denies. A node whose rules cannot be used lets nobody begin anything.
 * @module
 */
import type { CompiledRules } from "../dataplane/table.ts";
import { FILTER_WORDS, MAX_RULES } from "../dataplane/layout.ts";
import { errorMessage, MeshError } from "../errors.ts";
import { offeredRules } from "../exit/offers.ts";
import { compileFilter } from "../filter/compile.ts";
import type { FilterRule, PortRange, Protocol } from "../filter/rules.ts";
import { EVERYONE, type FilterConfig, isEveryone, type WrittenRule } from "../filter/written.ts";
import type { PeerId } from "../ids.ts";
import type { Prefix } from "../ip.ts";
import type { Millis } from "../machine.ts";
import type { NodePeer } from "../node_peer.ts";
import { mergeLayers } from "../policy/compile.ts";
import type { Action } from "../policy/policy.ts";
import type { Subject } from "../policy/subject.ts";
import type { Log } from "./log.ts";

/** Whom a subject names; `MeshSubjects` knows for the whole mesh. */
export type SourceResolver = (subject: Subject, action: Action) => ReadonlySet<PeerId>;

/** A rule of this node's own layers, its sources still in words. */
export interface OwnRule extends WrittenRule {
  readonly id: string;
  readonly layer: "config" | "temporary" | "service";
  /** When a temporary one goes; null for never. */
  readonly expiresAt: Millis | null;
}

/** Something that this node serves on its mesh addresses. */
export interface Service {
  /** One word, unique. */
  readonly name: string;
  readonly protocol: Protocol;
  readonly ports: readonly PortRange[];
  readonly comment: string;
}

/** What {@link FilterRules} needs. */
export interface FilterRulesOptions {
  /** This node's addresses. */
  readonly own: readonly Prefix[];
  /** What this node leads to, and its other addresses; rules about anything else do not count. */
  readonly offered: () => {
    readonly destinations: readonly Prefix[];
    readonly own: readonly Prefix[];
  };
  readonly config: FilterConfig;
  readonly clock: () => Millis;
  /** Rules changed: {@link FilterRules.compile} says something else now. */
  readonly changed: () => void;
  readonly log: Log;
}

/** What is in force, in the order of the compiled rules. */
export interface InForce extends CompiledRules {
  readonly rules: readonly FilterRule[];
  /** Why the rules are not used and nothing may begin; null when they are. */
  readonly problem: string | null;
}

/** The longest wait that timers know. */
const MAX_TIMER_MS = 2 ** 31 - 1;
/** Stands for the coordinator's word where there is none yet. */
const DEFAULT_ALLOW_ID = "default-allow";

/** See the module's doc. */
export class FilterRules {
  readonly #options: FilterRulesOptions;
  #policy: readonly FilterRule[] | null = null;
  #policySeq: number | null = null;
  #own: readonly OwnRule[];
  #resolver: SourceResolver | null = null;
  #peers: readonly NodePeer[] = [];
  #peersName = "";
  #inForce: InForce | null = null;
  #generation = 0;
  #lastTemporary = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: FilterRulesOptions) {
    this.#options = options;
    this.#own = options.config.rules.map((rule, i) => ({
      ...rule,
      id: `config-${i + 1}`,
      layer: "config",
      expiresAt: null,
    }));
  }

  /** Rules of the node's own layers. */
  get own(): readonly OwnRule[] {
    return this.#own;
  }

  get isDefaultDeny(): boolean {
    return this.#options.config.isDefaultDeny;
  }

  /** Whether the coordinators' word is known. */
  get hasPolicy(): boolean {
    return this.#policy !== null;
  }

  /** Number of the policy that the coordinators' rules are of, if they have one. */
  get policySeq(): number | null {
    return this.#policySeq;
  }

  /**
   * The policy's rules for this node; null before they are known, which allows nothing.
   * @param seq Number of the policy.
   */
  setCoordinatorRules(rules: readonly FilterRule[] | null, seq: number | null = null): void {
    this.#policy = rules;
    this.#policySeq = seq;
    this.#change();
  }

  /** Who says whom subjects name; called again whenever that may have changed. */
  setResolver(resolver: SourceResolver | null): void {
    this.#resolver = resolver;
    this.#change();
  }

  /** Opens what this node serves, to all members whom nothing denies it; call the answer to end it. */
  openServicePort({ name, protocol, ports, comment }: Service): () => void {
    const rule: OwnRule = {
      id: `service-${name}`,
      layer: "service",
      action: "allow",
      from: EVERYONE,
      protocol,
      ports,
      origin: { where: `service ${name}`, comment },
      expiresAt: null,
    };
    this.#setOwn([...this.#own.filter(({ id }) => id !== rule.id), rule]);
    return () => {
      if (this.#own.includes(rule)) this.#setOwn(this.#own.filter((each) => each !== rule));
    };
  }

  /**
   * Adds a temporary rule.
   * @param ttlMs Null for one without end.
   * @throws {MeshError} `usage` when the node has no room for more.
   */
  add(rule: WrittenRule, ttlMs: number | null): OwnRule {
    if (this.#merged().length >= MAX_RULES) {
      throw new MeshError("usage", `Cannot add a rule: this node has ${MAX_RULES} already`);
    }
    const added: OwnRule = {
      ...rule,
      id: `t${++this.#lastTemporary}`,
      layer: "temporary",
      expiresAt: ttlMs === null ? null : this.#options.clock() + ttlMs,
    };
    this.#setOwn([...this.#own, added]);
    return added;
  }

  /** Removes temporary rules by their ids. */
  remove(ids: ReadonlySet<string>): void {
    this.#setOwn(this.#own.filter(({ id, layer }) => layer !== "temporary" || !ids.has(id)));
  }

  /** The rules as workers read them, compiled anew only when they or the peers are others. */
  compile(peers: Iterable<NodePeer>): InForce {
    this.#peers = [...peers];
    const name = this.#peers.map(({ slot, id, name }) => `${slot} ${id} ${name}`).join();
    if (this.#inForce === null || name !== this.#peersName) this.#inForce = this.#compile();
    this.#peersName = name;
    return this.#inForce;
  }

  /** What was compiled last; null before that. */
  get inForce(): InForce | null {
    return this.#inForce;
  }

  /** Whom a subject names at present; null is every member. */
  sourcesOf(from: Subject, action: Action): ReadonlySet<PeerId> | null {
    if (isEveryone(from)) return null;
    const found = new Set(this.#resolver?.(from, action) ?? []);
    // A plain WireGuard peer is known to this node alone.
    if (from.kind === "node" || (from.kind === "bare" && this.#resolver === null)) {
      for (const peer of this.#peers) {
        const isMeant = peer.name === from.name || peer.id === from.name;
        if (isMeant && (peer.id === null || this.#resolver === null)) found.add(subjectId(peer));
      }
    }
    return found;
  }

  /** What this node leads to changed. */
  offeredChanged(): void {
    this.#change();
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #setOwn(own: readonly OwnRule[]): void {
    this.#own = own;
    clearTimeout(this.#timer);
    const next = Math.min(...own.map(({ expiresAt }) => expiresAt ?? Infinity));
    if (next < Infinity) {
      const delay = Math.min(Math.max(0, Math.ceil(next - this.#options.clock())), MAX_TIMER_MS);
      this.#timer = setTimeout(() => this.#expire(), delay);
    }
    this.#change();
  }

  #expire(): void {
    const now = this.#options.clock();
    this.#setOwn(this.#own.filter(({ expiresAt }) => expiresAt === null || expiresAt > now));
  }

  #change(): void {
    this.#inForce = null;
    this.#options.changed();
  }

  #merged(): readonly FilterRule[] {
    const own = this.#own.map(({ from, expiresAt: _, ...rule }): FilterRule => ({
      ...rule,
      sources: this.sourcesOf(from, rule.action),
      destinations: null,
    }));
    const merged = mergeLayers(this.#policy ?? [], own);
    return this.isDefaultDeny ? merged : [...merged, this.#defaultAllow()];
  }

  /** Behind all others, so that those that say the same are named. */
  #defaultAllow(): FilterRule {
    return {
      id: DEFAULT_ALLOW_ID,
      layer: "config",
      action: "allow",
      sources: null,
      protocol: "any",
      ports: null,
      destinations: null,
      origin: { where: this.#options.config.defaultWhere, comment: "filter.default_deny is off" },
    };
  }

  #compile(): InForce {
    const rules = this.#merged();
    try {
      return { ...this.#tableOf(rules), problem: null };
    } catch (error) {
      const problem = `The packet filter lets nobody in: ${errorMessage(error)}`;
      this.#options.log("error", problem);
      return { ...this.#tableOf([]), problem };
    }
  }

  #tableOf(rules: readonly FilterRule[]): Omit<InForce, "problem"> {
    if (rules.length > MAX_RULES) {
      throw new RangeError(`Cannot use ${rules.length} filter rules: ${MAX_RULES} are the most`);
    }
    const { destinations, own } = this.#options.offered();
    const peers = new Map(this.#peers.map((peer) => [peer.slot, subjectId(peer)]));
    // 0 says that there are none.
    this.#generation = (this.#generation % 0x7fffffff) + 1;
    const addresses = [...this.#options.own, ...own];
    const usable = offeredRules(rules, destinations);
    const words = compileFilter(usable, { peers, own: addresses }, this.#generation);
    if (words.length > FILTER_WORDS) {
      throw new RangeError(`Cannot use ${rules.length} filter rules: their table is too large`);
    }
    return { rules: usable, words, ids: usable.map(({ id }) => id) };
  }
}

/** What rules know a peer by. A plain WireGuard peer has a name alone, which no id looks like. */
export function subjectId({ id, name }: NodePeer): PeerId {
  return id ?? `wireguard:${name}`;
}
