/**
 * What does this machine's kernel have to be told so that members reach the internet, or networks
 * behind this node, through it?
 *
 * Everything stands in one table of nftables of our own. Its forward chain only narrows down: what
 * concerns the mesh's interface passes when it is an answer, comes from a member and goes where this
 * node leads, or comes from an offered network; other traffic is not looked at. It cannot make a chain of
 * another program accept what that one drops.
 *
 * A network may be known to the mesh by another prefix of the same length (RFC 6296's and NETMAP's
 * idea), so that two sites with the same private range can both be reached.
 * @module
 */
import { formatPrefix, type Prefix } from "../ip.ts";
import { identifier } from "./client_plan.ts";
import { anySet, type NftChain, type NftSet, type NftTable, quoted } from "./nft.ts";
import type { Family } from "./routing.ts";

/** A network behind this node. */
export interface SubnetRoute {
  readonly lan: Prefix;
  /** The prefix by which the mesh knows it; null: by its own. Of the same family and length. */
  readonly mapped: Prefix | null;
  /** Whether its machines may begin connections to members, which see them by `mapped`. */
  readonly mayInitiate: boolean;
}

/** Everything that decides how the plan looks. */
export interface ServerSettings {
  readonly context: string;
  readonly interfaceName: string;
  readonly meshPrefixes: readonly Prefix[];
  /** Whether members reach the internet through this node. */
  readonly isExit: boolean;
  readonly routes: readonly SubnetRoute[];
}

/** A setting of the kernel: its path under /proc/sys and the value wanted. */
export interface Sysctl {
  readonly path: string;
  readonly value: string;
}

/** What to tell the kernel. */
export interface ServerPlan {
  readonly settings: ServerSettings;
  readonly filter: NftTable;
  readonly families: readonly Family[];
}

const FAMILIES: readonly Family[] = [4, 6];

/** Name of the table of nftables. */
export function gatewayName(context: string): string {
  return `tunnelmesh_gateway_${identifier(context)}`;
}

/**
 * Makes the plan.
 * @throws {RangeError} when a network and the prefix it is mapped to differ in length.
 */
export function planServer(settings: ServerSettings): ServerPlan {
  for (const { lan, mapped } of settings.routes) {
    if (mapped && (mapped.bits !== lan.bits || mapped.bytes.length !== lan.bytes.length)) {
      const what = `${formatPrefix(mapped)} as ${formatPrefix(lan)}`;
      throw new RangeError(`Cannot map ${what}: their lengths differ`);
    }
  }
  const families = FAMILIES.filter((family) =>
    settings.meshPrefixes.some(isOf(family)) &&
    (settings.isExit || settings.routes.some(({ lan }) => isOf(family)(lan)))
  );
  const chains = [inwards(settings), through(settings), outwards(settings)];
  const name = gatewayName(settings.context);
  return { settings, families, filter: { name, sets: setsOf(settings), chains } };
}

/**
 * Settings that let the kernel forward. A host that becomes a router stops listening to routers'
 * advertisements, and so loses its own way out, unless told otherwise.
 *
 * @param acceptRa `accept_ra` of every interface of the machine.
 */
export function forwardingSysctls(
  families: readonly Family[],
  acceptRa: ReadonlyMap<string, string>,
): Sysctl[] {
  const listening = [...acceptRa].filter(([, value]) => value === "1")
    .map(([name]) => ({ path: `net/ipv6/conf/${name}/accept_ra`, value: "2" }));
  return [
    ...families.includes(4) ? [{ path: "net/ipv4/ip_forward", value: "1" }] : [],
    ...families.includes(6)
      ? [...listening, { path: "net/ipv6/conf/all/forwarding", value: "1" }]
      : [],
  ];
}

/**
 * What else the kernel changes by itself with one of these settings, to be put back afterwards
 * (`inet_forward_change`, `dev_forward_change`).
 */
export function sideEffects(path: string, interfaces: readonly string[]): string[] {
  const each = (family: string, key: string) =>
    interfaces.map((name) => `net/${family}/conf/${name}/${key}`);
  if (path === "net/ipv4/ip_forward") {
    return ["net/ipv4/conf/all/accept_redirects", ...each("ipv4", "forwarding")];
  }
  return path === "net/ipv6/conf/all/forwarding" ? each("ipv6", "forwarding") : [];
}

function setsOf({ meshPrefixes, routes }: ServerSettings): NftSet[] {
  return FAMILIES.flatMap((family) => {
    const set = (name: string, prefixes: readonly Prefix[]) => ({
      name: `${name}${family}`,
      type: `ipv${family}_addr`,
      isInterval: true,
      elements: prefixes.filter(isOf(family)).map(formatPrefix),
    });
    const initiating = routes.filter(({ mayInitiate }) => mayInitiate);
    return [
      set("mesh", meshPrefixes),
      set("lan", routes.map(({ lan }) => lan)),
      set("initiating", initiating.map(({ lan }) => lan)),
    ];
  });
}

/** The mesh's names for networks become theirs. */
function inwards({ interfaceName, routes }: ServerSettings): NftChain {
  const rules = FAMILIES.flatMap((family) => {
    const pairs = routes.filter(({ lan }) => isOf(family)(lan))
      .flatMap(({ lan, mapped }) => mapped ? [pair(mapped, lan)] : []);
    if (pairs.length === 0) return [];
    const ip = keyword(family);
    const from = `iifname ${quoted(interfaceName)}`;
    return [`${from} dnat ${ip} prefix to ${ip} daddr map ${anySet(pairs)}`];
  });
  return {
    name: "inwards",
    type: "nat",
    hook: "prerouting",
    priority: "dstnat - 5",
    policy: "accept",
    rules,
  };
}

function through({ interfaceName, isExit }: ServerSettings): NftChain {
  const mesh = quoted(interfaceName);
  const passing = FAMILIES.flatMap((family) => {
    const ip = keyword(family);
    const where = isExit ? `!= @mesh${family}` : `@lan${family}`;
    return [
      `iifname ${mesh} oifname != ${mesh} ${ip} saddr @mesh${family} ${ip} daddr ${where} accept`,
      `oifname ${mesh} ${ip} saddr @initiating${family} ${ip} daddr @mesh${family} accept`,
    ];
  });
  return {
    name: "through",
    type: "filter",
    hook: "forward",
    priority: "filter - 5",
    policy: "accept",
    rules: [
      `iifname != ${mesh} oifname != ${mesh} accept`,
      "ct state established,related accept",
      ...passing,
      "counter drop",
    ],
  };
}

function outwards({ interfaceName, routes }: ServerSettings): NftChain {
  const mesh = quoted(interfaceName);
  const inside = anySet([mesh, quoted("lo")]);
  const rules = FAMILIES.flatMap((family) => {
    const ip = keyword(family);
    const pairs = routes.filter(({ lan, mayInitiate }) => mayInitiate && isOf(family)(lan))
      .flatMap(({ lan, mapped }) => mapped ? [pair(lan, mapped)] : []);
    const back = `oifname ${mesh} snat ${ip} prefix to ${ip} saddr map ${anySet(pairs)}`;
    return [
      ...pairs.length > 0 ? [back] : [],
      // For IPv6 this is NAT66: the internet knows no way back to a mesh's addresses.
      `iifname ${mesh} oifname != ${inside} ${ip} saddr @mesh${family} masquerade`,
    ];
  });
  return {
    name: "outwards",
    type: "nat",
    hook: "postrouting",
    priority: "srcnat - 5",
    policy: "accept",
    rules,
  };
}

function pair(from: Prefix, to: Prefix): string {
  return `${formatPrefix(from)} : ${formatPrefix(to)}`;
}

function keyword(family: Family): string {
  return family === 4 ? "ip" : "ip6";
}

function isOf(family: Family): (prefix: Prefix) => boolean {
  return (prefix) => prefix.bytes.length === (family === 4 ? 4 : 16);
}
