/**
 * What does this machine's kernel have to be told so that networks behind routers of the mesh are
 * reached through it, while no exit is in use?
 *
 * ```
 * rule  (first to last)                               packets
 * marked                                    -> main   of the node's own sockets
 * to an endpoint in such a network          -> main   of sockets that carry no mark
 * to the network, but by longer prefixes    -> main   this machine's own networks within it
 * to the network                            -> own    into the tunnel
 * ```
 *
 * The first two keep the tunnel's own datagrams out of it: a router's endpoints are often within the
 * very network that it leads to. A table of its own leaves the machine's routes as they are, and is
 * empty once the tunnel's interface is gone, so a crash leaves nothing behind that matters.
 * @module
 */
import { formatPrefix, parseIp, type Prefix, prefixContains } from "../ip.ts";
import type { DirectEndpoint } from "./client_plan.ts";
import { type Family, MAIN_TABLE, type PolicyRule, type Route, type RuleMatch } from "./routing.ts";

/** Everything that decides how the plan looks. */
export interface SubnetSettings {
  readonly interfaceName: string;
  readonly mark: number;
  /** Number of the routing table that belongs to this alone. */
  readonly table: number;
  /** The first of {@link SUBNET_PRIORITIES} priorities. */
  readonly priority: number;
  readonly prefixes: readonly Prefix[];
  readonly endpoints: readonly DirectEndpoint[];
}

/** What to tell the kernel. */
export interface SubnetPlan {
  readonly settings: SubnetSettings;
  readonly rules: readonly PolicyRule[];
  readonly routes: readonly Route[];
}

/** How many priorities in a row the rules take. */
export const SUBNET_PRIORITIES = 4;
const FAMILIES: readonly Family[] = [4, 6];

/** Makes the plan; without networks it is empty. */
export function planSubnets(settings: SubnetSettings): SubnetPlan {
  return {
    settings,
    rules: FAMILIES.flatMap((family) => rulesOf(settings, family)),
    routes: FAMILIES.flatMap((family) =>
      ofFamily(settings.prefixes, family).map((prefix) => ({
        family,
        prefix: formatPrefix(prefix),
        table: settings.table,
        device: settings.interfaceName,
      }))
    ),
  };
}

function rulesOf(settings: SubnetSettings, family: Family): PolicyRule[] {
  const { mark, table, priority, endpoints } = settings;
  const prefixes = ofFamily(settings.prefixes, family);
  if (prefixes.length === 0) return [];
  const rule = (at: number, match: RuleMatch, lookup = MAIN_TABLE): PolicyRule => {
    return { family, priority: priority + at, match, table: lookup };
  };
  const inside = endpoints.filter(({ ip }) =>
    prefixes.some((prefix) => prefixContains(prefix, parseIp(ip)!))
  );
  return [
    rule(0, { mark }),
    ...inside.map(({ ip, protocol, port }) =>
      rule(1, { to: `${ip}/${family === 4 ? 32 : 128}`, protocol, port })
    ),
    ...prefixes.map((prefix) => ({
      ...rule(2, { to: formatPrefix(prefix) }),
      suppressLength: prefix.bits - 1,
    })),
    ...prefixes.map((prefix) => rule(3, { to: formatPrefix(prefix) }, table)),
  ];
}

function ofFamily(prefixes: readonly Prefix[], family: Family): Prefix[] {
  return prefixes.filter(({ bytes }) => bytes.length === (family === 4 ? 4 : 16));
}
