/**
 * What the packet filter is told: rules about packets that come out of the tunnel.
 *
 * | matching rules | verdict |
 * | --- | --- |
 * | any that denies, of whatever layer | denied |
 * | else any that allows | allowed |
 * | none | denied |
 *
 * So the order of rules never matters, and a layer can take away from another one but not give what
 * that denies. A packet that answers what this node sent is allowed without a rule.
 * @module
 */
import type { PeerId } from "../ids.ts";
import type { Prefix } from "../ip.ts";

/** Where rules come from; for users, since all layers weigh the same. */
export const LAYERS = ["coordinator", "config", "temporary", "service"] as const;
export type Layer = typeof LAYERS[number];

/** What a rule is about; "icmp" is ICMP over IPv4 and ICMPv6 over IPv6. */
export const PROTOCOLS = ["any", "tcp", "udp", "icmp"] as const;
export type Protocol = typeof PROTOCOLS[number];

/** Echo requests, which is what `ping` sends. */
export type IcmpTypes = "echo-request";

/** Ports from `first` to `last`, both included. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** Where a rule is written, for users. */
export interface RuleOrigin {
  /** A file with its line (`policy.yaml:12:5`), or what made it (`filter add`). */
  readonly where: string;
  /** Why it is there, in the author's words; empty for none. */
  readonly comment: string;
}

/** One rule. */
export interface FilterRule {
  /** Unique among the rules of a node and the same over restarts, so that counters can be kept. */
  readonly id: string;
  readonly layer: Layer;
  readonly action: "allow" | "deny";
  /** Whose packets; null for those of every member. */
  readonly sources: ReadonlySet<PeerId> | null;
  readonly protocol: Protocol;
  /** Destination ports of TCP and UDP; null for all. Given, nothing without ports matches. */
  readonly ports: readonly PortRange[] | null;
  /** Given, nothing but these messages of ICMP match; their numbers differ by family. */
  readonly icmpTypes?: IcmpTypes;
  /** Where to; null for this node itself. Given, for networks behind it: exits, routes. */
  readonly destinations: readonly Prefix[] | null;
  readonly origin: RuleOrigin;
}
