/**
 * What routes does a Windows machine have? Reads listings of netsh, whose headers and words are in the
 * user's language; so lines are known by their numbers and addresses alone.
 *
 * ```
 * Publish  Type      Met  Prefix                    Idx  Gateway/Interface Name
 * No       Manual    0    0.0.0.0/0                  12  192.168.1.1
 * No       System    256  192.168.1.0/24             12  Ethernet
 *
 * Idx     Met         MTU          State                Name
 *  12          25        1500  connected     Ethernet
 * ```
 * @module
 */
import { canonicalIp, formatPrefix, type Ip, parsePrefix, type Prefix } from "../ip.ts";
import { type Command, command, interfaceWord, type RouteChange } from "./changes.ts";
import { type DefaultRoute, familyOf, type MachineRoutes } from "./direct_routes.ts";
import type { Family } from "./routing.ts";

/** One route. */
export interface WindowsRoute {
  readonly prefix: Prefix;
  readonly metric: number;
  /** Number of its interface. */
  readonly index: string;
  /** Null: on the interface itself. */
  readonly gateway: Ip | null;
}

/** One interface of a family. */
export interface WindowsInterface {
  readonly index: string;
  readonly metric: number;
  readonly name: string;
}

export function listRoutes(family: Family): Command {
  return command("netsh.exe", "interface", ipWord(family), "show", "route", "store=active");
}

export function listInterfaces(family: Family): Command {
  return command("netsh.exe", "interface", ipWord(family), "show", "interfaces", "store=active");
}

/** @param indexes Numbers of interfaces by name. */
export function addRoute(route: RouteChange, indexes: ReadonlyMap<string, string>): Command {
  return routeCommand("add", route, indexes, "metric=0", "store=active");
}

export function deleteRoute(route: RouteChange, indexes: ReadonlyMap<string, string>): Command {
  return routeCommand("delete", route, indexes, "store=active");
}

/** Whether one of these is the route. */
export function hasRoute(
  routes: readonly WindowsRoute[],
  wanted: RouteChange,
  indexes: ReadonlyMap<string, string>,
): boolean {
  const index = indexOf(wanted, indexes);
  return routes.some((route) =>
    formatPrefix(route.prefix) === wanted.prefix && route.gateway === wanted.gateway &&
    route.index === index
  );
}

/** Lines that are not understood say nothing. */
export function parseRoutes(listing: string): WindowsRoute[] {
  return listing.split("\n").flatMap((line) => {
    const match = /\s(\d+)\s+([0-9A-Fa-f:.]+\/\d+)\s+(\d+)\s+(\S.*?)\s*$/.exec(line);
    const prefix = match && parsePrefix(match[2]!);
    if (!prefix) return [];
    const gateway = canonicalIp(match[4]!.split("%")[0]!);
    return [{ prefix, metric: Number(match[1]), index: match[3]!, gateway }];
  });
}

/** Lines that are not understood say nothing. */
export function parseInterfaces(listing: string): WindowsInterface[] {
  return listing.split("\n").flatMap((line) => {
    const match = /^\s*(\d+)\s+(\d+)\s+\d+\s+\S+\s+(\S.*?)\s*$/.exec(line);
    return match ? [{ index: match[1]!, metric: Number(match[2]), name: match[3]! }] : [];
  });
}

/**
 * The machine's way out and its own networks.
 * @param own The tunnel's interface, whose routes do not count.
 */
export function machineRoutes(
  routes: readonly WindowsRoute[],
  interfaces: readonly WindowsInterface[],
  own: string,
): MachineRoutes {
  const byIndex = new Map(interfaces.map((each) => [each.index, each]));
  const others = routes.filter(({ index }) => byIndex.get(index)?.name !== own);
  const cost = ({ metric, index }: WindowsRoute) => metric + (byIndex.get(index)?.metric ?? 0);
  const [best] = others.filter(({ prefix }) => prefix.bits === 0)
    .sort((a, b) => cost(a) - cost(b));
  const way: DefaultRoute | null = best ? { gateway: best.gateway, interface: best.index } : null;
  const onLink = others.filter(({ prefix, gateway }) => prefix.bits > 1 && gateway === null);
  return { default: way, onLink: onLink.map(({ prefix }) => prefix) };
}

function routeCommand(
  verb: string,
  route: RouteChange,
  indexes: ReadonlyMap<string, string>,
  ...words: string[]
): Command {
  return command(
    "netsh.exe",
    "interface",
    ipWord(familyOf(route)),
    verb,
    "route",
    `prefix=${route.prefix}`,
    `interface=${interfaceWord(indexOf(route, indexes))}`,
    ...route.gateway === null ? [] : [`nexthop=${route.gateway}`],
    ...words,
  );
}

/** The tunnel's interface is known by its name, since its number is another after each start. */
function indexOf(route: RouteChange, indexes: ReadonlyMap<string, string>): string {
  return indexes.get(route.interface!) ?? route.interface!;
}

function ipWord(family: Family): string {
  return family === 4 ? "ipv4" : "ipv6";
}
