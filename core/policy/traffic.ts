/**
 * Which packets does a rule, a service or a question mean?
 *
 * Everything a packet filter can tell apart is one point of a line, so that sets of traffic are
 * intervals and can be added and taken away exactly:
 *
 * | points | traffic |
 * | --- | --- |
 * | 0 ... 65535 | TCP to that port |
 * | 65536 ... 131071 | UDP to that port |
 * | 131072 | echo requests of ICMP and ICMPv6 |
 * | 131073 | other ICMP, which only "icmp" names, with the requests |
 * | 131074 | every other protocol, which only "any" names |
 * @module
 */
import type { FilterRule, PortRange } from "../filter/rules.ts";
import { formatPortRange } from "../filter/written.ts";

/** Points from `first` to `last`, both included. */
export interface Interval {
  readonly first: number;
  readonly last: number;
}

/** A set of points: intervals in order that neither overlap nor touch. */
export type Traffic = readonly Interval[];

const PORTS = 65_536;
const LAST_PORT = PORTS - 1;

/** The point of ICMP echo requests. */
export const PING = 2 * PORTS;
/** The point of ICMP that is no echo request. */
export const ICMP = PING + 1;
/** The point of protocols that are not TCP, UDP or ICMP. */
export const OTHER = ICMP + 1;

export const NO_TRAFFIC: Traffic = [];
export const ALL_TRAFFIC: Traffic = [{ first: 0, last: OTHER }];
const ALL_TCP: Interval = { first: 0, last: LAST_PORT };
const ALL_UDP: Interval = { first: PORTS, last: 2 * PORTS - 1 };

/** What ports are written like, for messages. */
export const PORTS_FORM = "must be a port (22), a range (8000-8010), tcp/443, udp/53, tcp, udp, " +
  "icmp, any or the name of a service";

/** The point of a TCP or UDP port. */
export function pointOf(protocol: "tcp" | "udp", port: number): number {
  return protocol === "tcp" ? port : PORTS + port;
}

/**
 * Reads `22` (TCP and UDP), `8000-8010`, `tcp/443`, `udp/5000-5010`, `tcp`, `udp`, `ping`, `icmp`,
 * `any`; null for anything else, names of services included.
 */
export function parseTraffic(text: string): Traffic | null {
  if (text === "any") return ALL_TRAFFIC;
  if (text === "ping") return [{ first: PING, last: PING }];
  if (text === "icmp") return [{ first: PING, last: ICMP }];
  if (text === "tcp") return [ALL_TCP];
  if (text === "udp") return [ALL_UDP];
  const match = /^(?:(tcp|udp)\/)?(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (!match) return null;
  const first = Number(match[2]);
  const last = match[3] === undefined ? first : Number(match[3]);
  if (first < 1 || last > LAST_PORT || first > last) return null;
  const tcp = { first, last };
  const udp = { first: first + PORTS, last: last + PORTS };
  if (match[1] === "tcp") return [tcp];
  if (match[1] === "udp") return [udp];
  return [tcp, udp];
}

/** Whether text means a port and leaves open whether TCP or UDP. */
export function isBarePort(text: string): boolean {
  return /^\d/.test(text);
}

/** Whether `point` is in `traffic`. */
export function hasPoint(traffic: Traffic, point: number): boolean {
  return traffic.some(({ first, last }) => first <= point && point <= last);
}

/** Everything that is in any of `sets`. */
export function union(...sets: readonly Traffic[]): Traffic {
  const sorted = sets.flat().sort((a, b) => a.first - b.first);
  const out: Interval[] = [];
  for (const { first, last } of sorted) {
    const previous = out.at(-1);
    if (previous && first <= previous.last + 1) {
      out[out.length - 1] = { first: previous.first, last: Math.max(previous.last, last) };
    } else {
      out.push({ first, last });
    }
  }
  return out;
}

/** What is in `from` and not in `taken`. */
export function subtract(from: Traffic, taken: Traffic): Traffic {
  let rest = from;
  for (const { first, last } of taken) {
    rest = rest.flatMap((each) => {
      if (last < each.first || first > each.last) return [each];
      return [
        { first: each.first, last: first - 1 },
        { first: last + 1, last: each.last },
      ].filter((part) => part.first <= part.last);
    });
  }
  return rest;
}

/** What is in both. */
export function intersect(a: Traffic, b: Traffic): Traffic {
  return subtract(a, subtract(a, b));
}

/** Text of a set as a list of what a document may say: `22, tcp/443, icmp`. */
export function formatTraffic(traffic: Traffic): string {
  if (equals(traffic, ALL_TRAFFIC)) return "any";
  const tcp = portsOf(traffic, 0);
  const udp = portsOf(traffic, PORTS);
  const both = tcp.filter((range) => udp.some((other) => sameRange(range, other)));
  const names = (protocol: "tcp" | "udp", ranges: readonly PortRange[]) =>
    ranges.filter((range) => !both.some((other) => sameRange(range, other)) || isWhole(range))
      .map((range) => isWhole(range) ? protocol : `${protocol}/${formatPortRange(range)}`);
  return [
    ...both.filter((range) => !isWhole(range)).map(formatPortRange),
    ...names("tcp", tcp),
    ...names("udp", udp),
    ...icmpText(traffic),
    ...(hasPoint(traffic, OTHER) ? ["other protocols"] : []),
  ].join(", ");
}

function icmpText(traffic: Traffic): string[] {
  if (!hasPoint(traffic, ICMP)) return hasPoint(traffic, PING) ? ["ping"] : [];
  return [hasPoint(traffic, PING) ? "icmp" : "icmp other than ping"];
}

/** Text of one point: `tcp/443`, `icmp`. */
export function formatPoint(point: number): string {
  return formatTraffic([{ first: point, last: point }]);
}

/** Whether two sets are the same. */
export function equals(a: Traffic, b: Traffic): boolean {
  return a.length === b.length &&
    a.every(({ first, last }, i) => first === b[i]!.first && last === b[i]!.last);
}

/** What a filter rule matches, in the filter's own terms. */
export type FilterMatch = Pick<FilterRule, "protocol" | "ports" | "icmpTypes">;

/**
 * The fewest matches that together mean `traffic`. "other protocols" only comes with all, and ICMP
 * that is no echo request only with those that are.
 */
export function filterMatches(traffic: Traffic): FilterMatch[] {
  if (equals(traffic, ALL_TRAFFIC)) return [{ protocol: "any", ports: null }];
  const tcp = portsOf(traffic, 0);
  const udp = portsOf(traffic, PORTS);
  const out: FilterMatch[] = [];
  const areSame = tcp.length > 0 && tcp.length === udp.length &&
    tcp.every((range, i) => sameRange(range, udp[i]!));
  if (areSame && !isWhole(tcp[0]!)) {
    out.push({ protocol: "any", ports: tcp });
  } else {
    if (tcp.length > 0) out.push({ protocol: "tcp", ports: isWhole(tcp[0]!) ? null : tcp });
    if (udp.length > 0) out.push({ protocol: "udp", ports: isWhole(udp[0]!) ? null : udp });
  }
  if (hasPoint(traffic, ICMP)) out.push({ protocol: "icmp", ports: null });
  else if (hasPoint(traffic, PING)) {
    out.push({ protocol: "icmp", ports: null, icmpTypes: "echo-request" });
  }
  return out;
}

/** The traffic of a filter rule's protocol and ports. */
export function trafficOf({ protocol, ports, icmpTypes }: FilterMatch): Traffic {
  if (icmpTypes) return ports === null ? [{ first: PING, last: PING }] : NO_TRAFFIC;
  if (protocol === "icmp") return ports === null ? [{ first: PING, last: ICMP }] : NO_TRAFFIC;
  if (protocol === "any" && ports === null) return ALL_TRAFFIC;
  const ranges = ports ?? [{ first: 0, last: LAST_PORT }];
  const udp = ranges.map(({ first, last }) => ({ first: first + PORTS, last: last + PORTS }));
  if (protocol === "tcp") return union(ranges);
  return protocol === "udp" ? union(udp) : union(ranges, udp);
}

function portsOf(traffic: Traffic, start: number): PortRange[] {
  return intersect(traffic, [{ first: start, last: start + LAST_PORT }])
    .map(({ first, last }) => ({ first: first - start, last: last - start }));
}

function isWhole({ first, last }: PortRange): boolean {
  return first === 0 && last === LAST_PORT;
}

function sameRange(a: PortRange, b: PortRange): boolean {
  return a.first === b.first && a.last === b.last;
}
