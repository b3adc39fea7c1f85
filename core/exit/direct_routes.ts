/**
 * Which routes lead everything into the tunnel and the mesh's own endpoints past it, where a system
 * knows no marks? Two halves of each family, more specific than a default route, and a route for each
 * endpoint, more specific than both.
 * @module
 */
import { parseIp, type Prefix, prefixContains } from "../ip.ts";
import type { RouteChange } from "./changes.ts";
import type { ClientExitSettings } from "./client_plan.ts";
import type { Family } from "./routing.ts";

/** Where the machine's default route leads. */
export interface DefaultRoute {
  /** Null on a line that has no other end than one. */
  readonly gateway: string | null;
  /** Name or number. */
  readonly interface: string;
}

/** What is known of the machine's own routes of one family. */
export interface MachineRoutes {
  readonly default: DefaultRoute | null;
  /** Networks that the machine stands in. */
  readonly onLink: readonly Prefix[];
}

/** Routes of both families. */
export type RoutesByFamily = Readonly<Record<Family, MachineRoutes>>;

export const HALVES: Readonly<Record<Family, readonly string[]>> = {
  4: ["0.0.0.0/1", "128.0.0.0/1"],
  6: ["::/1", "8000::/1"],
};

/**
 * A route past the tunnel for each endpoint; one that refuses where the machine has no way, since
 * the tunnel's packets must not go into the tunnel. Endpoints in networks that the machine stands in
 * need none: their routes are more specific already.
 */
export function endpointRoutes(
  { endpoints }: ClientExitSettings,
  routes: RoutesByFamily,
): RouteChange[] {
  const ips = [...new Set(endpoints.map(({ ip }) => ip))];
  return ips.flatMap((ip) => {
    const bytes = parseIp(ip)!;
    const { default: way, onLink } = routes[bytes.length === 4 ? 4 : 6];
    if (onLink.some((prefix) => prefixContains(prefix, bytes))) return [];
    return [{
      kind: "route" as const,
      prefix: `${ip}/${bytes.length * 8}`,
      gateway: way?.gateway ?? null,
      interface: way?.interface ?? null,
    }];
  });
}

/** The family of a route. */
export function familyOf({ prefix }: RouteChange): Family {
  return prefix.includes(":") ? 6 : 4;
}
