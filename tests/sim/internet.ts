/**
 * What there is on the simulated internet beside the coordinator: sites of every kind.
 * @module
 */
import type { Ip } from "../../core/ip.ts";
import type { NatFiltering, NatMapping } from "../../core/path/nat.ts";
import type { Dependence, Nat, NatOptions } from "./nat.ts";
import type { Network, Router, Site } from "./network.ts";

/** The port that WireGuard listens on at every machine of a {@link SiteKind}. */
const MACHINE_PORT = 51_820;

/** What a machine at a site should find out about itself. */
export interface Expectation {
  /** Whether strangers' datagrams reach it at an endpoint that stays. */
  readonly isPubliclyReachable: boolean;
  /** Of the site's routers together, for IPv4; "unknown" where no datagram leaves. */
  readonly mapping: NatMapping;
  readonly filtering: NatFiltering;
}

/** A site with one machine in it. */
export interface Place {
  readonly kind: SiteKind;
  readonly site: Site;
  /** The machine's own address; at {@link site} `place`d. */
  readonly ip4: Ip;
  /** Its second one, where there is IPv6. */
  readonly ip6: Ip | null;
  /** From the machine outwards. */
  readonly nats: readonly Nat[];
}

/** A way of being connected to the internet. */
export interface SiteKind {
  readonly name: string;
  readonly expected: Expectation;
  /**
   * Builds a site with one machine.
   * @param number From 1 to 250, different for each site of a network; its addresses follow from it.
   * @param behind A carrier's router to share, instead of none or one of its own.
   */
  build(network: Network, number: number, behind?: Router): Place;
}

type Translation = Omit<NatOptions, "publicIp">;

/** A row of the table below. */
interface Plan {
  readonly name: string;
  readonly expected: Expectation;
  readonly nat?: Translation;
  /** A second one, of the provider. */
  readonly carrier?: Translation;
  readonly firewall?: Dependence;
  readonly hasIpv6?: boolean;
  readonly hasPortMapping?: boolean;
  readonly limits?: Partial<Pick<Site, "udp" | "tcp443only" | "proxyOnly">>;
}

const EI: Dependence = "endpoint-independent";
const AD: Dependence = "address-dependent";
const APD: Dependence = "address-and-port-dependent";

const FULL_CONE: Translation = { mapping: EI, filtering: EI, ports: "preserve", hairpin: true };
const RESTRICTED: Translation = { mapping: EI, filtering: AD, ports: "random", hairpin: true };
const PORT_RESTRICTED: Translation = {
  mapping: EI,
  filtering: APD,
  ports: "preserve",
  hairpin: true,
};
const SYMMETRIC: Translation = { mapping: APD, filtering: APD, ports: "random", hairpin: false };
const CARRIER: Translation = { mapping: EI, filtering: APD, ports: "random", hairpin: false };

function hidden(mapping: NatMapping, filtering: NatFiltering): Expectation {
  return { isPubliclyReachable: false, mapping, filtering };
}

function open(mapping: NatMapping): Expectation {
  return { isPubliclyReachable: true, mapping, filtering: EI };
}

const CUT = hidden("unknown", "unknown");

const PLANS: readonly Plan[] = [
  { name: "public", expected: open("none") },
  { name: "public-firewall", expected: hidden("none", APD), firewall: APD },
  // Only as long as its mapping lives, and nobody knows it before it has sent: not "reachable".
  { name: "full-cone", expected: hidden(EI, EI), nat: FULL_CONE },
  { name: "restricted", expected: hidden(EI, AD), nat: RESTRICTED },
  { name: "port-restricted", expected: hidden(EI, APD), nat: PORT_RESTRICTED },
  { name: "symmetric", expected: hidden(APD, APD), nat: SYMMETRIC },
  {
    name: "symmetric-sequential",
    expected: hidden(APD, APD),
    nat: { ...SYMMETRIC, ports: "sequential" },
  },
  {
    name: "cgnat",
    expected: hidden(EI, APD),
    nat: { ...PORT_RESTRICTED, hairpin: false },
    carrier: CARRIER,
  },
  { name: "port-mapped", expected: open(EI), nat: PORT_RESTRICTED, hasPortMapping: true },
  { name: "ipv6", expected: hidden(APD, APD), nat: SYMMETRIC, firewall: APD, hasIpv6: true },
  { name: "udp-blocked", expected: CUT, nat: PORT_RESTRICTED, limits: { udp: false } },
  {
    name: "only-443",
    expected: CUT,
    nat: PORT_RESTRICTED,
    limits: { udp: false, tcp443only: true },
  },
  {
    name: "proxy-only",
    expected: CUT,
    nat: PORT_RESTRICTED,
    limits: { udp: false, proxyOnly: true },
  },
];

/** The kinds of sites that a grid of pairs is made of. */
export const NAT_KINDS: readonly SiteKind[] = PLANS.map(kindOf);

/** The kind of that name. @throws {Error} when there is none. */
export function natKind(name: string): SiteKind {
  const kind = NAT_KINDS.find((each) => each.name === name);
  if (!kind) throw new Error(`no kind of site is called ${name}`);
  return kind;
}

function kindOf(plan: Plan): SiteKind {
  const { name, expected } = plan;
  const kind: SiteKind = {
    name,
    expected,
    build: (network, number, behind) => build(kind, plan, { network, number, behind }),
  };
  return kind;
}

function build(
  kind: SiteKind,
  plan: Plan,
  { network, number, behind }: { network: Network; number: number; behind: Router | undefined },
): Place {
  const publicIp = `198.18.${number}.1`;
  const carrier = behind ??
    (plan.carrier ? network.router({ nat: { ...plan.carrier, publicIp } }) : null);
  const outerIp = carrier?.nat ? `100.64.${number}.1` : publicIp;
  const site = network.site({
    ...(plan.nat ? { nat: { ...plan.nat, publicIp: outerIp } } : {}),
    ...(plan.firewall ? { firewall: plan.firewall } : {}),
    ...(carrier ? { behind: carrier } : {}),
  });
  const ip4 = plan.nat ? `192.168.${number}.2` : outerIp;
  const ip6 = plan.hasIpv6 ? `2001:db8:${number.toString(16)}::2` : null;
  site.place(ip4);
  if (ip6) site.place(ip6);
  if (plan.hasPortMapping) site.router.nat!.addPortMapping(MACHINE_PORT, `${ip4}:${MACHINE_PORT}`);
  Object.assign(site, plan.limits);
  const nats = [site.router.nat, carrier?.nat ?? null].filter((nat) => nat !== null);
  return { kind, site, ip4, ip6, nats };
}
