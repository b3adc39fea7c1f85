/**
 * What is between this node and the internet, and can two nodes behind theirs talk directly? In the
 * terms of RFC 4787 (mapping, section 4.1; filtering, section 5; hairpinning, section 6).
 *
 * `nat_discovery.ts` finds it out; peers tell it each other.
 * @module
 */
import { z } from "zod";
import { EndpointText } from "../control/messages.ts";

/** What something depends on; "none" where there is no translation, or no filter. */
const BEHAVIOURS = [
  "none",
  "endpoint-independent",
  "address-dependent",
  "address-and-port-dependent",
  "unknown",
] as const;

/** What of the remote endpoint the external endpoint depends on; "none": no address changes. */
export type NatMapping = typeof BEHAVIOURS[number];

/**
 * From whom datagrams get in: from anyone, from addresses or from endpoints that were sent to.
 * "none": from anyone, and there is no NAT.
 */
export type NatFiltering = typeof BEHAVIOURS[number];

/** Most entries of {@link NatReport.mapped}. */
export const MAX_MAPPED = 6;
/** A larger step between consecutive external ports is taken for chance. */
export const MAX_PORT_DELTA = 16;
/** Bound of what a peer may claim, in milliseconds. */
const MAX_RTT_MS = 60_000;

/** A {@link NatReport} from a peer. */
export const NatReportSchema = z.strictObject({
  /** Whether any STUN answer came. */
  udp: z.boolean(),
  mapping: z.enum(BEHAVIOURS),
  filtering: z.enum(BEHAVIOURS),
  /** Whether a node inside reaches another by its external endpoint; null when not known. */
  hairpin: z.boolean().nullable(),
  /** How the socket is seen from outside: IPv4 newest first, then IPv6. */
  mapped: z.array(EndpointText).max(MAX_MAPPED).readonly(),
  /** External port minus the one given before it, where that is constant and small; else null. */
  portDelta: z.int().min(-MAX_PORT_DELTA).max(MAX_PORT_DELTA).nullable(),
  /** Whether external ports are those of the socket. */
  preservesPort: z.boolean(),
  /** Whether an IPv6 server answered. */
  ipv6: z.boolean(),
  /** Shortest round trip to a server. */
  rttMs: z.number().min(0).max(MAX_RTT_MS).nullable(),
}).readonly();

/** What is known of the NAT before a node; all but `udp`, `mapped`, `ipv6`, `rttMs` is of IPv4. */
export type NatReport = z.infer<typeof NatReportSchema>;

/** Before anything is known. */
export const UNKNOWN_NAT: NatReport = {
  udp: false,
  mapping: "unknown",
  filtering: "unknown",
  hairpin: null,
  mapped: [],
  portDelta: null,
  preservesPort: false,
  ipv6: false,
  rttMs: null,
};

/** The names that RFC 3489 gave to the usual kinds, which users know. */
function classicName({ mapping, filtering }: NatReport): string {
  if (mapping.startsWith("address")) return " (symmetric)";
  if (mapping !== "endpoint-independent") return "";
  switch (filtering) {
    case "endpoint-independent":
      return " (full cone)";
    case "address-dependent":
      return " (address-restricted)";
    case "address-and-port-dependent":
      return " (port-restricted)";
    default:
      return "";
  }
}

/** One sentence part for users, e.g. "behind a NAT with endpoint-independent mapping and ...". */
export function describeNat(report: NatReport): string {
  const { udp, mapping, filtering, ipv6, mapped } = report;
  if (!udp) return "unknown: no STUN server answered, so UDP may be blocked";
  if (ipv6 && mapped.every((endpoint) => endpoint.startsWith("["))) return "seen by IPv6 only";
  if (mapping === "none") {
    if (isOpen(filtering)) return "not behind a NAT";
    if (filtering === "unknown") return "not behind a NAT, perhaps behind a firewall";
    return `not behind a NAT, but behind a firewall with ${filtering} filtering`;
  }
  return `behind a NAT with ${mapping} mapping and ${filtering} filtering${classicName(report)}`;
}

function isOpen(filtering: NatFiltering): boolean {
  return filtering === "none" || filtering === "endpoint-independent";
}

/** Whether what a server saw is what a peer will see. */
function isStable({ mapping }: NatReport): boolean {
  return mapping === "none" || mapping === "endpoint-independent";
}

/**
 * Whether two nodes can reach each other over IPv4 without a third machine. "birthday": only by
 * many sockets on one side and many guesses at the other's ports. Nothing but the kinds of NAT is
 * looked at: nodes of one LAN reach each other anyway.
 *
 * | mapping of one | its filtering | mapping of the other | answer |
 * | --- | --- | --- | --- |
 * | none, endpoint-independent | any | none, endpoint-independent | yes: both punch |
 * | none, endpoint-independent | none, endpoint-independent | any | yes: the other sends first |
 * | none, endpoint-independent | address-dependent | any | yes: one datagram to the other's address opens every port |
 * | none, endpoint-independent | address-and-port-dependent | depends | birthday |
 * | depends | any | depends | no: neither knows where to send |
 *
 * "depends" is address-dependent and address-and-port-dependent mapping. What is unknown counts as
 * address-and-port-dependent. Where no STUN answer came, UDP counts as blocked.
 */
export function canBeDirect(a: NatReport, b: NatReport): "yes" | "birthday" | "no" {
  if (!a.udp || !b.udp) return "no";
  if (isStable(a) && isStable(b)) return "yes";
  const stable = [a, b].find(isStable);
  if (!stable) return "no";
  const isByAddress = isOpen(stable.filtering) || stable.filtering === "address-dependent";
  return isByAddress ? "yes" : "birthday";
}
