/**
 * What does a Windows machine have to be told so that everything leaves by an exit node?
 *
 * The halves of both families lead to the tunnel's interface, endpoints of the mesh past it, names are
 * asked for by a rule of the name resolution policy table, and the firewall refuses the rest
 * (`windows_firewall.ts`). Routes are of the active store: they end with the machine, and those of
 * the tunnel with its interface. Rules of the firewall stay, so a machine that starts anew is closed
 * until the node has started or is told to open.
 * @module
 */
import type { Ip } from "../ip.ts";
import {
  type Change,
  type Command,
  interfaceWord,
  type NamesChange,
  namesOf,
  type RouteChange,
} from "./changes.ts";
import { type ClientExitSettings, identifier } from "./client_plan.ts";
import { endpointRoutes, familyOf, HALVES, type RoutesByFamily } from "./direct_routes.ts";
import { type FirewallRule, firewallRules } from "./windows_firewall.ts";
import type { Family } from "./routing.ts";

/** What is known of the machine. */
export interface WindowsFacts {
  readonly routes: RoutesByFamily;
  /** Families that it has; the others cannot be told anything. */
  readonly families: readonly Family[];
  /** Its own addresses in the mesh. */
  readonly addresses: readonly Ip[];
  /** The node's resolver; null: names are asked for as before, and none is answered while closed. */
  readonly resolver: Ip | null;
}

/** What to tell the system. */
export interface WindowsClientPlan {
  /** The kill switch; empty where the loss of an exit means `direct`. */
  readonly rules: readonly FirewallRule[];
  /** Past the tunnel, to nowhere, and names. */
  readonly closing: readonly Change[];
  /** Into the tunnel. */
  readonly opening: readonly RouteChange[];
}

/** Loopback has this number on every machine; what is led there and not for this machine is dropped. */
const NOWHERE = "1";

/** Makes the plan. */
export function planWindowsClient(
  settings: ClientExitSettings,
  { routes, families, addresses, resolver }: WindowsFacts,
): WindowsClientPlan {
  const halves = (family: Family, to: string) =>
    HALVES[family].map((prefix): RouteChange => ({
      kind: "route",
      prefix,
      gateway: null,
      interface: to,
    }));
  const isCarried = (family: Family) => family === 4 ? settings.ipv4 : settings.ipv6;
  const past = endpointRoutes(settings, routes).filter((route) =>
    families.includes(familyOf(route))
  )
    .map((route) => ({ ...route, interface: route.interface ?? NOWHERE }));
  return {
    rules: settings.onLoss === "direct" ? [] : firewallRules(settings, addresses),
    closing: [
      ...past,
      ...families.filter((family) => !isCarried(family))
        .flatMap((family) => halves(family, NOWHERE)),
      ...namesOf(identifier(settings.context), resolver),
    ],
    opening: families.filter(isCarried)
      .flatMap((family) => halves(family, interfaceWord(settings.interfaceName))),
  };
}

/** Both read what they are about from their input, so that no word of it is part of a script. */
const READ = "$ErrorActionPreference = 'Stop'; $p = [Console]::In.ReadToEnd() | ConvertFrom-Json; ";
const FIND = "Get-DnsClientNrptRule | Where-Object { $_.Comment -eq $p.comment }";

/** Leads all names to the node, unless that is so. */
export function addNames(change: NamesChange): Command {
  const { comment, servers } = change;
  return script(
    `if (-not (${FIND})) { Add-DnsClientNrptRule -Namespace '.' -NameServers $p.servers ` +
      "-Comment $p.comment }",
    { comment, servers },
  );
}

/** Undoes it, or does nothing. */
export function removeNames({ comment }: NamesChange): Command {
  return script(`${FIND} | Remove-DnsClientNrptRule -Force`, { comment });
}

function script(text: string, input: unknown): Command {
  return {
    argv: ["powershell.exe", "-NoProfile", "-NonInteractive", "-Command", READ + text],
    input: JSON.stringify(input),
  };
}
