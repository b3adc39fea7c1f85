/**
 * The kinds of site in the NAT laboratory, and what a machine behind each can tell from outside.
 *
 * Mapping and filtering are those of RFC 4787 (sections 4.1 and 5); names such as `full-cone` are
 * the older ones of RFC 3489, which tools and users still say.
 * @module
 */
import type { Dependence } from "../../sim/nat.ts";

/** How the router in front of a machine treats UDP. */
export interface SiteTraits {
  /** `none`: the machine's own address is seen outside. */
  readonly mapping: Dependence | "none";
  /** For `port-mapped` this is about the mapped port alone. */
  readonly filtering: Dependence;
  /** Whether UDP leaves the site at all; without it the other two show only where it is allowed. */
  readonly udp: boolean;
}

/** The port that `port-mapped` sites open to everyone, WireGuard's own. */
export const MAPPED_PORT = 51820;

/** Every kind, from the friendliest to the strictest. */
export const SITE_KINDS = {
  "public": { mapping: "none", filtering: "endpoint-independent", udp: true },
  "public-firewall": { mapping: "none", filtering: "address-and-port-dependent", udp: true },
  "port-mapped": {
    mapping: "endpoint-independent",
    filtering: "endpoint-independent",
    udp: true,
  },
  "full-cone": { mapping: "endpoint-independent", filtering: "endpoint-independent", udp: true },
  "restricted": { mapping: "endpoint-independent", filtering: "address-dependent", udp: true },
  "port-restricted": {
    mapping: "endpoint-independent",
    filtering: "address-and-port-dependent",
    udp: true,
  },
  "cgnat": { mapping: "endpoint-independent", filtering: "address-and-port-dependent", udp: true },
  "symmetric": {
    mapping: "address-and-port-dependent",
    filtering: "address-and-port-dependent",
    udp: true,
  },
  "udp-blocked": {
    mapping: "endpoint-independent",
    filtering: "address-and-port-dependent",
    udp: false,
  },
  "only-443": {
    mapping: "endpoint-independent",
    filtering: "address-and-port-dependent",
    udp: false,
  },
  "proxy-only": {
    mapping: "endpoint-independent",
    filtering: "address-and-port-dependent",
    udp: false,
  },
} as const satisfies Record<string, SiteTraits>;

/** The name of a kind. */
export type SiteKind = keyof typeof SITE_KINDS;

/** The names of all kinds, in the order of {@link SITE_KINDS}. */
export const SITE_KIND_NAMES = Object.keys(SITE_KINDS) as readonly SiteKind[];
