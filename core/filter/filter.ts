/**
 * May this packet pass? Rules, flows and fragments together, for one packet worker.
 *
 * | what comes in | verdict |
 * | --- | --- |
 * | what does not parse (`flow_key.ts`) | refused |
 * | a source that is not the peer's | refused, before the flow table or a rule is asked |
 * | a later fragment | as its first one, which must have come before it and not be overlapped |
 * | an ICMP error | as the flow of the packet of this node that it quotes; refused without one |
 * | a packet of a flow that this node began | allowed, unless a rule cuts the peer off (`cutsOff`) |
 * | a packet of a flow that the peer began | as the rules say: when it began, and again when they change |
 * | a SYN, and all else | as the rules say |
 *
 * Rules are about who may begin; so a rule that denies a port does not take the answers that come
 * to it. A flow that new rules deny is remembered as denied as long as either side goes on with it,
 * for else what this node still sends in it would look like the beginning of a flow of its own.
 *
 * A flow is this node's when it sent the first packet known of it. TCP flows are also joined
 * midway, since a node that starts again has forgotten its connections; but a SYN with ACK, an RST
 * and an ICMP reply answer and never begin anything. What goes out is noted and never refused, so a
 * worker that only sends need not follow the rules.
 * @module
 */
import { lookup4, lookup6 } from "../route/lpm.ts";
import { readFlowKey, readQuotedKey } from "./flow_key.ts";
import { advance, firstState, opens, STATE } from "./flow_state.ts";
import type { FlowTable } from "./flow_table.ts";
import { FRAGMENT, IPPROTO, KEY, KEY_WORDS, KIND, REFUSALS, TCP_FLAG } from "./key.ts";
import type { RuleTable } from "./rule_table.ts";
import { Train } from "./train.ts";

/** Why a packet is dropped; verdict `i + 1` is reason `i`. */
export const FILTER_DROPS = [
  "bad-headers",
  "bad-fragment",
  "source-mismatch",
  "denied",
  "no-rule",
  "unrelated-error",
] as const;
export type FilterDrop = typeof FILTER_DROPS[number];

/** The verdict on a packet that may pass. */
export const PASS = 0;

function verdict(drop: FilterDrop): number {
  return FILTER_DROPS.indexOf(drop) + 1;
}
const BAD_HEADERS = verdict("bad-headers");
const BAD_FRAGMENT = verdict("bad-fragment");
const SOURCE_MISMATCH = verdict("source-mismatch");
const DENIED = verdict("denied");
const NO_RULE = verdict("no-rule");
const UNRELATED = verdict("unrelated-error");

const TINY = REFUSALS.indexOf("tiny-fragment");
const PARTIAL = REFUSALS.indexOf("bad-fragment");

/** Of an ICMP error, before what it quotes. */
const ICMP_HEADER = 8;
/** The generation of no rules: a flow's first answer is always judged. */
const UNJUDGED = 0;
const NO_DECISION = 0;

/** Judges packets; `now` is in whole seconds of a clock that all workers share. */
export class PacketFilter {
  readonly #flows: FlowTable;
  readonly #key = new Int32Array(KEY_WORDS);
  readonly #quote = new Int32Array(KEY_WORDS);
  readonly #in = new Train();
  readonly #out = new Train();
  #bytes: Uint8Array = new Uint8Array(0);
  #view: DataView = new DataView(this.#bytes.buffer);
  #rules: RuleTable;
  #hits: Float64Array;
  #routes: Uint32Array;
  /** Of the flow that {@link #settle} judged. */
  #state = 0;
  #decision = 0;
  /** Which rule decided of the last packet that came in, -1 for none. */
  rule = -1;
  /** Index in `REFUSALS` of what was wrong with it, after `bad-headers` or `bad-fragment`. */
  refusal = 0;

  /**
   * @param hits How many packets each rule decided of; this worker's own.
   * @param routes Whose addresses are whose (`route/lpm.ts`).
   */
  constructor(flows: FlowTable, rules: RuleTable, hits: Float64Array, routes: Uint32Array) {
    this.#flows = flows;
    this.#rules = rules;
    this.#hits = hits;
    this.#routes = routes;
  }

  /** Number of the protocol of the last packet that came in; 0 when its headers are bad. */
  get protocol(): number {
    return this.refusal === 0 ? this.#key[KEY.protocol]! : 0;
  }

  /** Must precede the packets that come in after the rules changed. */
  useRules(rules: RuleTable, hits: Float64Array): void {
    this.#rules = rules;
    this.#hits = hits;
    this.#in.forget();
  }

  /** Must precede the packets of a batch: routes may be others now, at the same place too. */
  useRoutes(routes: Uint32Array): void {
    this.#routes = routes;
    this.#in.forget();
  }

  /**
   * Judges the packet at `bytes[at, at + length)` that came from `peer`: {@link PASS}, or 1 more
   * than the index of the reason in {@link FILTER_DROPS}.
   */
  inbound(peer: number, bytes: Uint8Array, at: number, length: number, now: number): number {
    const key = this.#key;
    this.rule = -1;
    this.refusal = readFlowKey(key, this.#viewOf(bytes), at, length);
    if (this.refusal !== 0) {
      return this.refusal === TINY || this.refusal === PARTIAL ? BAD_FRAGMENT : BAD_HEADERS;
    }
    if (this.#in.has(peer, key, now)) return this.#pass(this.#in.decision);
    if (ownerOf(this.#routes, key) !== peer) return SOURCE_MISMATCH;
    if (key[KEY.fragment] === FRAGMENT.later) return this.#laterFragment(peer, now);

    let decision = NO_DECISION;
    const kind = key[KEY.kind]!;
    if (kind === KIND.error) {
      const result = this.#error(peer, now);
      if (result !== PASS) return result;
    } else if (kind === KIND.alone) {
      decision = this.#rules.decide(peer, key, KEY.destination, 0);
      if (decision <= 0) return this.#refuse(decision);
      this.#pass(decision);
    } else {
      const result = this.#inFlow(peer, now);
      if (result !== PASS) return result;
      decision = this.rule + 1;
    }
    if (key[KEY.fragment] === FRAGMENT.first) this.#firstFragment(peer, now, decision);
    return PASS;
  }

  /** Notes the packet at `bytes[at, at + length)` that goes to `peer`, so that answers may come. */
  outbound(peer: number, bytes: Uint8Array, at: number, length: number, now: number): void {
    const key = this.#key;
    if (readFlowKey(key, this.#viewOf(bytes), at, length) !== 0) return;
    if (this.#out.has(peer, key, now)) return;
    const kind = key[KEY.kind]!;
    if (key[KEY.fragment] === FRAGMENT.later || kind === KIND.error || kind === KIND.alone) return;

    const flows = this.#flows;
    const flags = key[KEY.tcpFlags]!;
    flows.aim(peer, key, false);
    if (flows.find(now)) {
      const state = flows.state;
      const isOver = (state & STATE.own) === 0 || (state & STATE.closed) !== 0;
      if (opens(flags) && isOver) {
        flows.update(now, firstState(false, flags), UNJUDGED, NO_DECISION);
      } else if ((state & STATE.denied) !== 0) flows.touch(now);
      else {
        const next = advance(state, false, flags);
        this.#note(now, next, flows.generation, flows.decision);
        if (isSettled(key, next)) this.#out.keep(peer, key, now, NO_DECISION);
      }
    } else if (kind === KIND.any && begins(flags)) {
      flows.create(now, firstState(false, flags), UNJUDGED, NO_DECISION);
    }
  }

  /** A worker has all packets in one memory, so that this rarely makes a view. */
  #viewOf(bytes: Uint8Array): DataView {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    }
    return this.#view;
  }

  /** Judges a packet that may belong to a flow. */
  #inFlow(peer: number, now: number): number {
    const key = this.#key;
    const flows = this.#flows;
    const flags = key[KEY.tcpFlags]!;
    flows.aim(peer, key, true);
    if (!flows.find(now)) return this.#begin(peer, now);
    if (opens(flags) && !mayOpen(flows.state)) return this.#beginAgain(peer, now);
    this.#settle(peer, key, KEY.destination, key[KEY.ports]! & 0xffff);
    const decision = this.#decision;
    if ((this.#state & STATE.denied) !== 0) {
      this.#note(now, this.#state, this.#rules.generation, decision);
      return this.#refuse(decision);
    }
    const next = advance(this.#state, true, flags);
    this.#note(now, next, this.#rules.generation, decision);
    if (isSettled(key, next)) this.#in.keep(peer, key, now, decision);
    return this.#pass(decision);
  }

  /** Judges the first packet of a flow that a peer begins. */
  #begin(peer: number, now: number): number {
    const key = this.#key;
    const flags = key[KEY.tcpFlags]!;
    const decision = this.#rules.decide(peer, key, KEY.destination, key[KEY.ports]! & 0xffff);
    if (decision <= 0) return this.#refuse(decision);
    if (key[KEY.kind] === KIND.any && (flags & TCP_FLAG.rst) === 0) {
      this.#flows.create(now, firstState(true, flags), this.#rules.generation, decision);
    }
    return this.#pass(decision);
  }

  /** Judges a SYN on the ports of another flow: it asks for a connection, and answers nothing. */
  #beginAgain(peer: number, now: number): number {
    const key = this.#key;
    const { generation } = this.#rules;
    const decision = this.#rules.decide(peer, key, KEY.destination, key[KEY.ports]! & 0xffff);
    if (decision <= 0) return this.#refuse(decision);
    // While the other flow lasts, the system will refuse the SYN.
    if ((this.#flows.state & STATE.closed) !== 0) {
      this.#flows.update(now, firstState(true, key[KEY.tcpFlags]!), generation, decision);
    }
    return this.#pass(decision);
  }

  /**
   * What holds for the flow that was found, judged anew when the rules have changed since. `to` and
   * `port` say where in `key` this node's side is.
   */
  #settle(peer: number, key: Int32Array, to: number, port: number): void {
    const { state, generation, decision } = this.#flows;
    this.#state = state;
    this.#decision = decision;
    if (generation === this.#rules.generation) return;
    const isOwn = (state & STATE.own) !== 0;
    this.#decision = isOwn
      ? this.#rules.decideAnswer(peer, key, to)
      : this.#rules.decide(peer, key, to, port);
    const isDenied = this.#decision < 0 || (this.#decision === NO_DECISION && !isOwn);
    this.#state = isDenied ? state | STATE.denied : state & ~STATE.denied;
  }

  /** Judges an ICMP error by what it quotes, which must be a packet that this node sent to `peer`. */
  #error(peer: number, now: number): number {
    const key = this.#key;
    const quote = this.#quote;
    const at = key[KEY.transport]! + ICMP_HEADER;
    if (readQuotedKey(quote, this.#view, at, key[KEY.end]! - at) !== 0) return UNRELATED;
    if (quote[KEY.kind] === KIND.error || quote[KEY.kind] === KIND.alone) return UNRELATED;
    if (quote[KEY.family] !== key[KEY.family]) return UNRELATED;
    // It is told to who sent the packet.
    const addressWords = key[KEY.family] === 4 ? 1 : 4;
    for (let i = 0; i < addressWords; i++) {
      if (quote[KEY.source + i] !== key[KEY.destination + i]) return UNRELATED;
    }
    const flows = this.#flows;
    flows.aim(peer, quote, false);
    if (!flows.find(now) || (flows.state & STATE.local) === 0) return UNRELATED;
    this.#settle(peer, quote, KEY.source, quote[KEY.ports]! >>> 16);
    const isDenied = (this.#state & STATE.denied) !== 0;
    // An error does not keep a flow alive, but what the rules say of it is kept.
    if (isDenied || flows.generation !== this.#rules.generation) {
      this.#note(now, this.#state, this.#rules.generation, this.#decision);
    }
    return isDenied ? this.#refuse(this.#decision) : PASS;
  }

  /** Lets the rest of a packet follow its first fragment, which has passed. */
  #firstFragment(peer: number, now: number, decision: number): void {
    const key = this.#key;
    const flows = this.#flows;
    const { generation } = this.#rules;
    let covered = key[KEY.fragmentUntil]! << STATE.fragmentShift;
    flows.aimFragments(peer, key);
    if (!flows.find(now)) {
      flows.create(now, covered, generation, decision);
      return;
    }
    // Sent twice: nothing may lie over either.
    if (flows.state >>> STATE.fragmentShift > key[KEY.fragmentUntil]!) covered = flows.state;
    flows.update(now, covered, generation, decision);
  }

  #laterFragment(peer: number, now: number): number {
    const flows = this.#flows;
    flows.aimFragments(peer, this.#key);
    const isKnown = flows.find(now) && flows.generation === this.#rules.generation;
    if (!isKnown || this.#key[KEY.fragmentFrom]! < flows.state >>> STATE.fragmentShift) {
      return BAD_FRAGMENT;
    }
    return this.#pass(flows.decision);
  }

  /** Writes what has become of the flow that was found; mostly that is the time at most. */
  #note(now: number, state: number, generation: number, decision: number): void {
    const flows = this.#flows;
    if (state === flows.state && generation === flows.generation) flows.touch(now);
    else flows.update(now, state, generation, decision);
  }

  /** Counts what a rule has allowed; there is none for answers. */
  #pass(decision: number): number {
    this.rule = decision - 1;
    if (decision > 0) this.#hits[this.rule] = this.#hits[this.rule]! + 1;
    return PASS;
  }

  #refuse(decision: number): number {
    if (decision >= 0) return NO_RULE;
    this.rule = -decision - 1;
    this.#hits[this.rule] = this.#hits[this.rule]! + 1;
    return DENIED;
  }
}

/** Whose address the source is. */
function ownerOf(routes: Uint32Array, key: Int32Array): number {
  const first = key[KEY.source]!;
  if (key[KEY.family] === 4) return lookup4(routes, first);
  return lookup6(routes, first, key[KEY.source + 1]!, key[KEY.source + 2]!, key[KEY.source + 3]!);
}

/** Whether a further packet would change nothing but the time: TCP's next one may establish it. */
function isSettled(key: Int32Array, state: number): boolean {
  return key[KEY.protocol] !== IPPROTO.tcp || (state & STATE.established) !== 0;
}

/** Whether a SYN may be of a flow: one that it repeats, or both sides opened at once. */
function mayOpen(state: number): boolean {
  if ((state & STATE.own) === 0) return (state & STATE.closed) === 0;
  return (state & STATE.syn) !== 0 && (state & STATE.remote) === 0;
}

/** Whether a packet with these TCP flags may be the first known one of a flow of this node. */
function begins(flags: number): boolean {
  const isAnswer = (flags & TCP_FLAG.syn) !== 0 && (flags & TCP_FLAG.ack) !== 0;
  return !isAnswer && (flags & TCP_FLAG.rst) === 0;
}
