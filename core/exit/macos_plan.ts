/**
 * What does a Mac have to be told so that everything leaves by an exit node, or so that it is one?
 *
 * macOS has neither marks nor policy rules. So the halves of both families lead to the tunnel's
 * interface, endpoints of the mesh get routes of their own past it, and pf keeps everything else
 * inside, in an anchor of our own. An anchor counts only where the main rules call it. Those belong
 * to the system, and are left alone: `com.apple/*` is called by the rules that macOS comes with, so an
 * anchor of a name that comes first in the alphabet stands there, unless an administrator has the
 * main rules call `tunnelmesh/*`.
 * @module
 */
import { MeshError } from "../errors.ts";
import type { Ip } from "../ip.ts";
import {
  type Change,
  type Command,
  command,
  interfaceWord,
  type NamesChange,
  namesOf,
  type RouteChange,
} from "./changes.ts";
import { type ClientExitSettings, identifier } from "./client_plan.ts";
import {
  type DefaultRoute,
  endpointRoutes,
  familyOf,
  HALVES,
  type RoutesByFamily,
} from "./direct_routes.ts";
import { gatewayFamilies, gatewayText, killSwitchText } from "./pf.ts";
import type { Family } from "./routing.ts";
import type { ServerSettings } from "./server_plan.ts";

/** Rules of an anchor. */
export interface AnchorPlan {
  readonly name: string;
  readonly text: string;
}

/** What to tell a Mac that uses an exit. */
export interface MacClientPlan {
  /** The kill switch; null: the loss of an exit means `direct`. */
  readonly anchor: AnchorPlan | null;
  /** Past the tunnel, to nowhere, and names. */
  readonly closing: readonly Change[];
  /** Into the tunnel. */
  readonly opening: readonly RouteChange[];
}

/** What to tell a Mac that is an exit. */
export interface MacServerPlan {
  readonly anchor: AnchorPlan;
  /** Settings to be switched on. */
  readonly sysctls: readonly ForwardingSysctl[];
}

export type ForwardingSysctl = Extract<Change, { kind: "sysctl" }>["name"];

const FAMILIES: readonly Family[] = [4, 6];
const AF = { 4: "-inet", 6: "-inet6" };
const HALF_MASK = { 4: "128.0.0.0", 6: "8000::" };
const LOOPBACK = { 4: "127.0.0.1", 6: "::1" };
const FORWARDING: Readonly<Record<Family, ForwardingSysctl>> = {
  4: "net.inet.ip.forwarding",
  6: "net.inet6.ip6.forwarding",
};

/** What an anchor of ours is for, as its name begins, and what the main rules call it by. */
const ROLES = { exit: ["anchor"], gateway: ["anchor", "nat-anchor"] } as const;
export type AnchorRole = keyof typeof ROLES;

/** List the main rules, which call anchors of either kind. */
export const LIST_MAIN_RULES = [
  command("/sbin/pfctl", "-s", "rules"),
  command("/sbin/pfctl", "-s", "nat"),
];

/**
 * The name of an anchor that the main rules call.
 *
 * @param rules What {@link LIST_MAIN_RULES} print.
 * @throws {MeshError} `unsupported` when they call none of ours.
 */
export function anchorName(rules: string, role: AnchorRole, context: string): string {
  const word = `${role}.${identifier(context)}`;
  const lines = rules.split("\n").map((line) => line.trim());
  const calls = (parent: string) =>
    ROLES[role].every((kind) => lines.some((line) => line.startsWith(`${kind} "${parent}/*" all`)));
  if (calls("tunnelmesh")) return `tunnelmesh/${word}`;
  if (calls("com.apple")) return `com.apple/000.tunnelmesh.${word}`;
  const missing = ROLES[role].map((kind) => `${kind} "tunnelmesh/*"`).join(" and ");
  throw new MeshError(
    "unsupported",
    "Cannot use the packet filter: its main rules do not call this program's",
    { hint: `Add ${missing} to /etc/pf.conf, first of their kind; then: pfctl -f /etc/pf.conf` },
  );
}

/** Lists what stands beside an anchor. */
export function listSiblings(anchor: string): Command {
  return command("/sbin/pfctl", "-a", anchor.split("/")[0]!, "-s", "Anchors");
}

/** The context of another kill switch in such a list; null for none. */
export function otherExit(listing: string, anchor: string): string | null {
  const [, own] = anchor.split("/");
  const names = listing.split("\n").map((line) => line.trim().split("/").at(-1)!);
  const other = names.find((name) => name !== own && /^(000\.tunnelmesh\.)?exit\./.test(name));
  return other?.replace(/^(000\.tunnelmesh\.)?exit\./, "") ?? null;
}

/**
 * Makes the plan of who uses an exit.
 * @param anchor Of {@link anchorName}; null for no kill switch.
 * @param resolver The node's; null: names are asked for as before, and none is answered while closed.
 */
export function planMacClient(
  settings: ClientExitSettings,
  routes: RoutesByFamily,
  anchor: string | null,
  resolver: Ip | null,
): MacClientPlan {
  const device = interfaceWord(settings.interfaceName);
  const halves = (family: Family, to: string | null) =>
    HALVES[family].map((prefix): RouteChange => ({
      kind: "route",
      prefix,
      gateway: null,
      interface: to,
    }));
  const isCarried = (family: Family) => family === 4 ? settings.ipv4 : settings.ipv6;
  return {
    anchor: anchor === null ? null : { name: anchor, text: killSwitchText(settings) },
    closing: [
      ...endpointRoutes(settings, routes),
      ...FAMILIES.filter((family) => !isCarried(family)).flatMap((family) => halves(family, null)),
      ...namesOf(identifier(settings.context), resolver),
    ],
    opening: FAMILIES.filter(isCarried).flatMap((family) => halves(family, device)),
  };
}

/**
 * Makes the plan of an exit.
 * @throws {MeshError} `unsupported` for networks behind it, or where there is no way out.
 */
export function planMacServer(
  settings: ServerSettings,
  uplinks: Readonly<Record<Family, DefaultRoute | null>>,
  anchor: string,
): MacServerPlan {
  if (settings.routes.length > 0) {
    throw new MeshError(
      "unsupported",
      "Cannot offer networks behind this node: a Mac is an exit only",
      {
        hint: "Offer them from a node on Linux",
      },
    );
  }
  const families = gatewayFamilies(settings, uplinks);
  if (families.length === 0) {
    throw new MeshError("system", "Cannot be an exit: this machine has no way to the internet", {
      hint: "Connect it to a network with a router",
    });
  }
  return {
    anchor: { name: anchor, text: gatewayText(settings, uplinks) },
    sysctls: families.map((family) => FORWARDING[family]),
  };
}

/** Asks where a route leads. */
export function routeGet(route: RouteChange): Command {
  return command("/sbin/route", "-n", "get", AF[familyOf(route)], target(route));
}

export function routeAdd(route: RouteChange): Command {
  const { gateway, interface: device } = route;
  const family = familyOf(route);
  const way = gateway !== null
    ? ["-gateway", gateway]
    : device !== null
    ? ["-interface", device]
    : ["-gateway", LOOPBACK[family], "-reject"];
  return command("/sbin/route", "-n", "add", AF[family], target(route), ...way);
}

export function routeDelete(route: RouteChange): Command {
  return command("/sbin/route", "-n", "delete", AF[familyOf(route)], target(route));
}

/** Whether what {@link routeGet} asked for is this route, not one that covers it or another's. */
export function isRoute(answer: string, route: RouteChange): boolean {
  const field = (name: string) =>
    new RegExp(`^ *${name}: (\\S+)`, "m").exec(answer)?.[1]?.toLowerCase() ?? null;
  const [address, length] = route.prefix.split("/");
  const found = field("destination");
  // route(8) calls the first address of all "default", whatever the mask.
  if (found !== address && !(found === "default" && /^(0\.0\.0\.0|::)$/.test(address!))) {
    return false;
  }
  // Of a first half the address is that of the default route too.
  if (length === "1" && field("mask") !== HALF_MASK[familyOf(route)]) return false;
  if (route.gateway !== null) return field("gateway") === route.gateway.toLowerCase();
  if (route.interface !== null) return field("interface") === route.interface.toLowerCase();
  return /^ *flags: <[^>]*\bREJECT\b/m.test(answer);
}

/** Puts the rules in place of the anchor's former ones. */
export function loadAnchor({ name, text }: AnchorPlan): Command {
  return { argv: ["/sbin/pfctl", "-a", name, "-f", "-"], input: text };
}

export function flushAnchor(name: string): Command {
  return command("/sbin/pfctl", "-a", name, "-F", "all");
}

/** Who keeps pf enabled. */
export const LIST_REFERENCES = command("/sbin/pfctl", "-s", "References");
/** Enables pf for one more user of it. */
export const ENABLE_PF = command("/sbin/pfctl", "-E");
/** Ends connections that other rules have let pass for good. */
export const FLUSH_STATES = command("/sbin/pfctl", "-F", "states");

export function releasePf(token: string): Command {
  return command("/sbin/pfctl", "-X", token);
}

/** The token that {@link ENABLE_PF} prints; null when it prints none. */
export function parseToken(text: string): string | null {
  return /^Token : (\d{1,20})$/m.exec(text)?.[1] ?? null;
}

/** Whether {@link LIST_REFERENCES} names the token. */
export function holdsToken(listing: string, token: string): boolean {
  return listing.split(/\s+/).includes(token);
}

/** Leads all names to the node: a resolver beside the others whose domain is every domain. */
export function setNames(change: NamesChange): Command {
  return scutil(
    "d.init",
    `d.add ServerAddresses * ${change.servers.join(" ")}`,
    'd.add SupplementalMatchDomains * ""',
    `set ${namesKey(change)}`,
  );
}

export function removeNames(change: NamesChange): Command {
  return scutil(`remove ${namesKey(change)}`);
}

export function showNames(change: NamesChange): Command {
  return scutil(`show ${namesKey(change)}`);
}

/** Whether what {@link showNames} prints is this change; scutil(8) never fails by its status. */
export function hasNames(listing: string, { servers }: NamesChange): boolean {
  const shown = [...listing.matchAll(/^ *\d+ : (\S+)$/gm)].map(([, value]) => value!);
  return listing.includes("ServerAddresses") && servers.every((server) => shown.includes(server));
}

/** configd keeps it until the machine starts anew, whoever has set it. */
function namesKey({ comment }: NamesChange): string {
  return `State:/Network/Service/${comment}/DNS`;
}

function scutil(...lines: string[]): Command {
  const input = ["open", ...lines, "close", ""].join("\n");
  return { argv: ["/usr/sbin/scutil"], input };
}

export function readSysctl(name: ForwardingSysctl): Command {
  return command("/usr/sbin/sysctl", "-n", name);
}

export function writeSysctl(name: ForwardingSysctl, value: string): Command {
  return command("/usr/sbin/sysctl", "-w", `${name}=${value}`);
}

/** An address, or a network with its length. */
function target(route: RouteChange): string {
  const [address, length] = route.prefix.split("/");
  return Number(length) === (familyOf(route) === 4 ? 32 : 128) ? address! : route.prefix;
}
