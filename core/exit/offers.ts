/**
 * Which networks does a node lead to, as it states in its signed record, and what may its packet
 * filter let pass because of that?
 *
 * A policy says who may go where, for every node that might offer it. What a node has not offered
 * is cut out of its rules, so that a policy alone never makes a machine a router.
 * @module
 */
import type { FilterRule } from "../filter/rules.ts";
import type { NodeRecord, OfferedRoute } from "../identity/record.ts";
import { formatPrefix, parsePrefix, type Prefix, prefixesOverlap } from "../ip.ts";
import { internetPrefixes, without } from "../policy/internet.ts";
import { holds } from "../policy/ways.ts";

/** What a node offers its mesh. */
export interface Offers {
  readonly isExit: boolean;
  readonly routes: readonly OfferedRoute[];
}

export const NO_OFFERS: Offers = { isExit: false, routes: [] };

/** What a record states. */
export function offersOf(record: Pick<NodeRecord, "exit" | "routes">): Offers {
  return { isExit: record.exit === true, routes: record.routes ?? [] };
}

/** The fields of a record that state it. */
export function offerFields({ isExit, routes }: Offers): Pick<NodeRecord, "exit" | "routes"> {
  return {
    ...isExit ? { exit: true } : {},
    ...routes.length > 0 ? { routes: [...routes] } : {},
  };
}

/** Whether both offer the same, in whatever order. */
export function isSameOffer(a: Offers, b: Offers): boolean {
  const text = ({ isExit, routes }: Offers) => [isExit, ...routes.map(formatOffer).sort()].join();
  return text(a) === text(b);
}

/** Reads `192.168.7.0/24` or `192.168.7.0/24 as 10.77.7.0/24`; null for anything else. */
export function parseOffer(text: string): OfferedRoute | null {
  const words = text.trim().split(/\s+/);
  if (words.length !== 1 && (words.length !== 3 || words[1] !== "as")) return null;
  const [prefix, mapped] = [words[0]!, words[2]].map((word) => word ? parsePrefix(word) : null);
  if (!prefix || prefix.bits === 0) return null;
  if (words.length === 1) return { prefix: formatPrefix(prefix) };
  const isAlike = mapped?.bits === prefix.bits && mapped.bytes.length === prefix.bytes.length;
  return isAlike ? { prefix: formatPrefix(prefix), mapped: formatPrefix(mapped) } : null;
}

/** As {@link parseOffer} reads it. */
export function formatOffer({ prefix, mapped }: OfferedRoute): string {
  return mapped === undefined ? prefix : `${prefix} as ${mapped}`;
}

/** The prefix by which the mesh knows a network. */
export function meshPrefixOf({ prefix, mapped }: OfferedRoute): Prefix {
  return parsePrefix(mapped ?? prefix)!;
}

/** The first of `routes` that has addresses of the mesh itself, or of another one of them. */
export function clashOf(
  routes: readonly OfferedRoute[],
  meshRanges: readonly Prefix[],
): OfferedRoute | null {
  return routes.find((route, i) => {
    const prefix = meshPrefixOf(route);
    return meshRanges.some((range) => prefixesOverlap(range, prefix)) ||
      routes.slice(0, i).some((other) => prefixesOverlap(meshPrefixOf(other), prefix));
  }) ?? null;
}

/** What an exit leads to: the internet, but no addresses of the mesh should they look public. */
export function exitPrefixes(meshRanges: readonly Prefix[]): Prefix[] {
  return internetPrefixes().flatMap((prefix) => without(prefix, meshRanges));
}

/** Destinations of packets that a node with such offers passes on. */
export function destinationsOf(
  { isExit, routes }: Offers,
  meshRanges: readonly Prefix[],
): Prefix[] {
  return [...isExit ? exitPrefixes(meshRanges) : [], ...routes.map(meshPrefixOf)];
}

/** The rules without what is said about networks that the node does not offer. */
export function offeredRules(
  rules: readonly FilterRule[],
  offered: readonly Prefix[],
): FilterRule[] {
  return rules.flatMap((rule) => {
    if (rule.destinations === null) return [rule];
    const destinations = rule.destinations.flatMap((prefix) => common(prefix, offered));
    return destinations.length === 0 ? [] : [{ ...rule, destinations }];
  });
}

/** What of `prefix` is in `others`. */
function common(prefix: Prefix, others: readonly Prefix[]): Prefix[] {
  return others.flatMap((other) => {
    if (other.bytes.length !== prefix.bytes.length) return [];
    if (holds(other, prefix)) return [prefix];
    return holds(prefix, other) ? [other] : [];
  });
}
