/**
 * Which peers lead to what, for this node: the internet through the exit in use, and networks behind
 * routers that the policy lets it reach.
 *
 * Of several routers of one network the first that is online is used, by name, so that all nodes
 * agree. A network that this machine stands in itself is not taken from it.
 * @module
 */
import type { OfferedRoute } from "../identity/record.ts";
import type { PeerId } from "../ids.ts";
import { formatPrefix, type Prefix, prefixesOverlap } from "../ip.ts";
import { holds } from "../policy/ways.ts";
import { exitPrefixes, meshPrefixOf, type Offers } from "./offers.ts";
import type { ExitPolicy } from "./policy.ts";

/** A peer as it concerns ways out of the mesh. */
export interface WayPeer {
  readonly id: PeerId;
  readonly name: string;
  readonly isOnline: boolean;
  readonly offers: Offers;
}

/** Why an offered network is used, or is not. */
export type RouteState =
  | "used"
  /** Another router of the same network is. */
  | "standby"
  | "denied"
  /** It is addresses of the mesh, or of plain WireGuard peers. */
  | "overlaps-mesh"
  /** This machine is in a network of that range, or of one around it. */
  | "overlaps-local";

/** An offered network as this node sees it. */
export interface RouteView {
  readonly via: PeerId;
  readonly name: string;
  readonly route: OfferedRoute;
  readonly state: RouteState;
}

/** Everything that decides about ways. */
export interface WaySettings {
  /** This node. */
  readonly node: PeerId;
  readonly peers: readonly WayPeer[];
  readonly policy: ExitPolicy;
  /** The exit in use, or null. */
  readonly exit: PeerId | null;
  /** Ranges of the mesh and of plain WireGuard peers. */
  readonly meshRanges: readonly Prefix[];
  /** Networks that this machine stands in. */
  readonly localNetworks: readonly Prefix[];
}

/** Where packets go that are for no address of the mesh. */
export interface Ways {
  /** Prefixes beside their own addresses that peers lead to. */
  readonly byPeer: ReadonlyMap<PeerId, readonly Prefix[]>;
  /** Those of them that are networks behind routers. */
  readonly subnets: readonly Prefix[];
  readonly routes: readonly RouteView[];
}

/** Chooses; see the module's doc. */
export function chooseWays(settings: WaySettings): Ways {
  const { exit, meshRanges } = settings;
  const byPeer = new Map<PeerId, Prefix[]>();
  if (exit !== null) byPeer.set(exit, exitPrefixes(meshRanges));
  const subnets: Prefix[] = [];
  const taken = new Set<string>();
  const routes = byPreference(settings.peers).flatMap(({ id, name, offers }) =>
    offers.routes.map((route): RouteView => {
      const prefix = meshPrefixOf(route);
      const text = formatPrefix(prefix);
      const obstacle = obstacleTo(settings, id, prefix);
      const state = obstacle ?? (taken.has(text) ? "standby" : "used");
      if (state === "used") {
        taken.add(text);
        subnets.push(prefix);
        byPeer.set(id, [...byPeer.get(id) ?? [], prefix]);
      }
      return { via: id, name, route, state };
    })
  );
  return { byPeer, subnets, routes };
}

function byPreference(peers: readonly WayPeer[]): WayPeer[] {
  return [...peers].sort((a, b) =>
    Number(b.isOnline) - Number(a.isOnline) || (a.name < b.name ? -1 : 1)
  );
}

function obstacleTo(
  { node, policy, meshRanges, localNetworks }: WaySettings,
  via: PeerId,
  prefix: Prefix,
): RouteState | null {
  if (meshRanges.some((range) => prefixesOverlap(range, prefix))) return "overlaps-mesh";
  if (!policy.mayOfferRoute(via, prefix) || !policy.mayUseRoute(node, via, prefix)) return "denied";
  if (localNetworks.some((local) => holds(local, prefix))) return "overlaps-local";
  return null;
}
