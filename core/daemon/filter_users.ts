/**
 * What users see and change of the packet filter: `filter list|add|remove|trace`.
 * @module
 */
import { FILTER_DROPS } from "../filter/filter.ts";
import { IPPROTO, KEY, KEY_WORDS } from "../filter/key.ts";
import { cutsOff } from "../filter/compile.ts";
import { RuleTable } from "../filter/rule_table.ts";
import type { FilterRule } from "../filter/rules.ts";
import { parsePortRange, type WrittenRule } from "../filter/written.ts";
import { MeshError } from "../errors.ts";
import { formatPrefix, type Prefix } from "../ip.ts";
import type { Millis } from "../machine.ts";
import type { NodePeer } from "../node_peer.ts";
import { BUILTIN_SERVICES } from "../policy/builtin.ts";
import { formatSubject, parseSubject, type Subject } from "../policy/subject.ts";
import {
  formatPoint,
  formatTraffic,
  hasPoint,
  ICMP,
  OTHER,
  parseTraffic,
  PING,
  pointOf,
  trafficOf,
} from "../policy/traffic.ts";
import { type FilterRules, type InForce, type OwnRule, subjectId } from "./filter_rules.ts";
import {
  type FilterActions,
  type FilterAddRequest,
  type FilterRemoveRequest,
  type FilterReport,
  type FilterRuleReport,
  type FilterStatus,
  type FilterTrace,
  type FilterTraceRequest,
  noRules,
  type TracedRule,
} from "./filter_types.ts";

/** What {@link FilterUsers} looks at. */
export interface FilterUsersOptions {
  readonly rules: FilterRules;
  /** This node's addresses. */
  readonly own: readonly Prefix[];
  readonly peers: () => Iterable<NodePeer>;
  /** A peer by whatever users call it. @throws {MeshError} `peer-unknown`, `name-unknown` */
  readonly peer: (text: string) => NodePeer;
  /** Packets that each rule decided of, by its id. */
  readonly hits: () => ReadonlyMap<string, number>;
  /** Packets dropped, by reason. */
  readonly drops: () => Readonly<Record<string, number>>;
  readonly clock: () => Millis;
}

/** So many peers are named one by one. */
const NAMED_PEERS = 3;

/** See the module's doc. */
export class FilterUsers implements FilterActions {
  readonly #options: FilterUsersOptions;

  constructor(options: FilterUsersOptions) {
    this.#options = options;
  }

  report(): FilterReport {
    const { rules, drops } = this.#options;
    const { rules: inForce, problem } = this.#inForce();
    const show = this.#shower();
    const dropped = Object.entries(drops())
      .filter(([reason]) => (FILTER_DROPS as readonly string[]).includes(reason));
    return {
      defaultAction: rules.isDefaultDeny ? "deny" : "allow",
      hasPolicy: rules.hasPolicy,
      problem,
      rules: inForce.map(show),
      drops: Object.fromEntries(dropped),
    };
  }

  status(): FilterStatus {
    const { rules, hits } = this.#options;
    const { rules: inForce, problem } = this.#inForce();
    const layers = noRules();
    for (const { layer } of inForce) layers[layer]++;
    const ids = new Set(inForce.map(({ id }) => id));
    return {
      defaultAction: rules.isDefaultDeny ? "deny" : "allow",
      problem,
      layers,
      hits: Object.fromEntries([...hits()].filter(([id, count]) => count > 0 && ids.has(id))),
    };
  }

  add(request: FilterAddRequest): FilterRuleReport {
    const { action, protocol, ports, from, ttlMs, comment } = request;
    const rule: WrittenRule = {
      action,
      protocol,
      ports: ports === undefined ? null : [parsePortRange(ports)!],
      from: this.#source(from),
      origin: { where: "filter add", comment },
    };
    const { id } = this.#options.rules.add(rule, ttlMs ?? null);
    return this.#ofId(id);
  }

  remove(request: FilterRemoveRequest): FilterRuleReport[] {
    const { id, protocol, ports, from } = request;
    const { rules } = this.#options;
    const named = rules.own.find((rule) => rule.id === id);
    if (named && named.layer !== "temporary") {
      throw new MeshError("usage", `Cannot remove rule ${id}: it is of ${named.origin.where}`);
    }
    const range = ports === undefined ? undefined : parsePortRange(ports)!;
    const source = from === undefined ? undefined : formatSubject(this.#source(from));
    const isMeant = (rule: OwnRule) =>
      rule.layer === "temporary" && (id === undefined || rule.id === id) &&
      (protocol === undefined || rule.protocol === protocol) &&
      (source === undefined || formatSubject(rule.from) === source) &&
      (range === undefined || isSameRange(rule, range));
    const removed = rules.own.filter(isMeant).map((rule) => this.#ofId(rule.id));
    if (removed.length === 0) {
      throw new MeshError("usage", "Cannot remove a rule: no temporary one is like that", {
        hint: "`tunnelmesh filter list` shows them with their ids",
      });
    }
    rules.remove(new Set(removed.map((rule) => rule.id)));
    return removed;
  }

  trace({ from, port }: FilterTraceRequest): FilterTrace {
    const peer = this.#options.peer(from);
    const point = pointNamed(port);
    const inForce = this.#inForce();
    const decision = this.#decide(inForce, peer, point);
    const decided = Math.abs(decision) - 1;
    const verdict = decision > 0 ? "allow" : "deny";
    const show = this.#shower();
    const id = subjectId(peer);
    const isAbout = ({ sources, destinations }: FilterRule) =>
      destinations === null && (sources === null || sources.has(id));
    const rules = inForce.rules.flatMap((rule, index): TracedRule[] => {
      if (!isAbout(rule) || !hasPoint(trafficOf(rule), point)) return [];
      const part = index === decided ? "decided" : rule.action === verdict ? "same" : "overruled";
      return [{ ...show(rule), part }];
    });
    const cutting = inForce.rules.find((rule) => isAbout(rule) && cutsOff(rule));
    return {
      from: { id: peer.id, name: peer.name },
      traffic: formatPoint(point),
      verdict,
      rules: rules.sort((a, b) => PARTS.indexOf(a.part) - PARTS.indexOf(b.part)),
      cutOffBy: cutting?.id ?? null,
    };
  }

  /** What the workers' own table says of a packet from `peer`. */
  #decide({ words }: InForce, peer: NodePeer, point: number): number {
    const own = this.#options.own[0]!;
    const key = new Int32Array(KEY_WORDS);
    const view = new DataView(own.bytes.buffer, own.bytes.byteOffset);
    const isV4 = own.bytes.length === 4;
    key[KEY.family] = isV4 ? 4 : 6;
    for (let at = 0; at < own.bytes.length; at += 4) {
      key[KEY.destination + at / 4] = view.getInt32(at);
    }
    const udp = pointOf("udp", 0);
    if (point < udp) key[KEY.protocol] = IPPROTO.tcp;
    else if (point < PING) key[KEY.protocol] = IPPROTO.udp;
    else key[KEY.protocol] = isV4 ? IPPROTO.icmp : IPPROTO.icmpv6;
    // An address mask request (RFC 950) stands for ICMP that is no echo request.
    key[KEY.icmpType] = point !== PING ? 17 : isV4 ? 8 : 128;
    return new RuleTable(words).decide(peer.slot, key, KEY.destination, point % udp);
  }

  #inForce(): InForce {
    const { rules, peers } = this.#options;
    return rules.compile(peers());
  }

  #ofId(id: string): FilterRuleReport {
    const rule = this.#inForce().rules.find((each) => each.id === id);
    if (rule) return this.#shower()(rule);
    throw new MeshError("internal", `Cannot show rule ${id}: it is not in force`);
  }

  /** Shows rules, with counters as they are now. */
  #shower(): (rule: FilterRule) => FilterRuleReport {
    const { rules, hits, clock, peers } = this.#options;
    const counts = hits();
    const own = new Map(rules.own.map((rule) => [rule.id, rule]));
    const nameOf = new Map([...peers()].map((peer) => [subjectId(peer), peer.name]));
    return (rule) => {
      const written = own.get(rule.id);
      const expiresAt = written?.expiresAt ?? null;
      return {
        id: rule.id,
        layer: rule.layer,
        action: rule.action,
        traffic: formatTraffic(trafficOf(rule)),
        from: written ? this.#sourceText(written.from) : namesText(rule.sources, nameOf),
        peers: rule.sources && [...rule.sources].filter((id) => nameOf.has(id)).length,
        to: rule.destinations && rule.destinations.map(formatPrefix),
        hits: counts.get(rule.id) ?? 0,
        expiresInMs: expiresAt === null ? null : Math.max(0, expiresAt - clock()),
        where: rule.origin.where,
        comment: rule.origin.comment,
      };
    };
  }

  /** Nodes are kept by their ids, which do not change hands as names do. */
  #source(text: string): Subject {
    const subject = parseSubject(text)!;
    if (subject.kind === "node") {
      const peer = this.#options.peer(subject.name);
      return { kind: "node", name: peer.id ?? peer.name };
    }
    return subject;
  }

  #sourceText(subject: Subject): string {
    if (subject.kind !== "node") return formatSubject(subject);
    const peer = [...this.#options.peers()].find(({ id }) => id === subject.name);
    return `node:${peer?.name ?? subject.name}`;
  }
}

const PARTS: readonly TracedRule["part"][] = ["decided", "same", "overruled"];

function isSameRange({ ports }: OwnRule, range: { first: number; last: number }): boolean {
  const [only] = ports ?? [];
  return only !== undefined && only.first === range.first && only.last === range.last;
}

function namesText(
  sources: ReadonlySet<string> | null,
  nameOf: ReadonlyMap<string, string>,
): string {
  if (sources === null) return "everyone";
  const names = [...sources].flatMap((id) => nameOf.get(id) ?? []).sort();
  if (names.length === 0) return "nobody here";
  const more = names.length - NAMED_PEERS;
  return names.slice(0, NAMED_PEERS).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

/** The one kind of packet that users mean: a bare port is TCP, the first of a service's counts. */
function pointNamed(text: string): number {
  const traffic = parseTraffic(text) ?? BUILTIN_SERVICES.get(text);
  const [first] = traffic ?? [];
  if (first === undefined) {
    throw new MeshError("usage", `Cannot trace "${text}": it is no port and no known service`, {
      hint: "Write 443 (TCP), tcp/443, udp/53, ping, icmp or a service such as ssh",
    });
  }
  if (text === "icmp") return ICMP;
  const isOne = traffic!.every((interval) => interval.first === interval.last);
  if (isOne && first.first !== OTHER) return first.first;
  throw new MeshError("usage", `Cannot trace "${text}": it is more than one port`, {
    hint: "Ask for one of them, for example tcp/443",
  });
}
