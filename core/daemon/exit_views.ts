/**
 * Gathers what users see of exits and routes.
 * @module
 */
import type { ExitEffect, ExitHealth } from "../exit/exit_choice.ts";
import type { Obstacle } from "../exit/obstacles.ts";
import { meshPrefixOf, offersOf } from "../exit/offers.ts";
import { type ExitPolicy, isExitAllowed } from "../exit/policy.ts";
import type { Ways } from "../exit/ways.ts";
import type { PeerId } from "../ids.ts";
import { formatPrefix } from "../ip.ts";
import type { NodeMachine } from "../node.ts";
import type { ExitReport, ExitState, ExitView, RoutesReport } from "./exit_report.ts";
import type { ExitUse, OfferWish } from "./exit_wishes.ts";

/** What {@link reportExits} is made of. */
export interface ExitSources {
  readonly node: NodeMachine;
  readonly policy: ExitPolicy;
  readonly use: ExitUse;
  readonly offer: OfferWish;
  readonly effect: ExitEffect;
  /** The exit in use or lost. */
  readonly exit: PeerId | null;
  readonly idOf: (name: string) => PeerId | null;
  readonly healthOf: (id: PeerId) => ExitHealth;
  readonly problem: string | null;
  readonly obstacles: readonly Obstacle[];
}

export function reportExits(sources: ExitSources): ExitReport {
  const { node, policy, use, offer, effect, exit, obstacles } = sources;
  const state = stateOf(effect);
  const name = exit === null ? null : node.meshPeer(exit)?.record.name ?? null;
  return {
    state,
    exit: state === "off" ? null : name,
    wanted: use.exits,
    onLoss: use.onLoss,
    lan: use.lan,
    problem: sources.problem ?? problemOf(sources, state),
    exits: exitViews(sources),
    own: { isOffering: offer.isExit, isAllowed: policy.mayOfferExit(node.id), obstacles },
  };
}

function stateOf(effect: ExitEffect): ExitState {
  if (effect.type === "use") return "in-use";
  if (effect.type === "block") return "blocked";
  return effect.isWanted ? "off" : "direct";
}

function problemOf(sources: ExitSources, state: ExitState): string | null {
  if (state === "off" || state === "in-use") return null;
  const { use, idOf, node, policy } = sources;
  const unknown = use.exits.find((name) => idOf(name) === null);
  if (unknown !== undefined) return `No peer is called ${unknown}`;
  const denied = use.exits.find((name) => !isExitAllowed(policy, node.id, idOf(name)!));
  if (denied !== undefined) {
    return `The policy of the mesh does not allow ${denied} as an exit here`;
  }
  return "No exit in the list answers";
}

function exitViews({ node, policy, use, effect, idOf, healthOf }: ExitSources): ExitView[] {
  const wanted = use.exits.map(idOf);
  const known = [...node.peers.values()].flatMap(({ id }): ExitView[] => {
    const mesh = id === null ? undefined : node.meshPeer(id);
    if (mesh === undefined) return [];
    const isWanted = wanted.includes(mesh.id);
    const { isExit } = offersOf(mesh.record);
    if (!isExit && !isWanted) return [];
    return [{
      id: mesh.id,
      name: mesh.record.name,
      online: mesh.online,
      isOffering: isExit,
      isAllowed: isExitAllowed(policy, node.id, mesh.id),
      isWanted,
      isInUse: effect.type === "use" && effect.exit === mesh.id,
      isHealthy: isWanted ? healthOf(mesh.id) === "up" : null,
    }];
  });
  const missing = use.exits.filter((name) => idOf(name) === null).map((name): ExitView => ({
    id: null,
    name,
    online: null,
    isOffering: false,
    isAllowed: false,
    isWanted: true,
    isInUse: false,
    isHealthy: false,
  }));
  return [...known.sort((a, b) => a.name < b.name ? -1 : 1), ...missing];
}

/** What {@link reportRoutes} is made of. */
export interface RouteSources {
  readonly self: PeerId;
  readonly policy: ExitPolicy;
  readonly offer: OfferWish;
  readonly ways: Ways;
  readonly problem: string | null;
}

export function reportRoutes({ self, policy, offer, ways, problem }: RouteSources): RoutesReport {
  return {
    own: offer.routes.map((route) => ({
      prefix: route.prefix,
      mapped: route.mapped ?? route.prefix,
      isAllowed: policy.mayOfferRoute(self, meshPrefixOf(route)),
    })),
    others: ways.routes.map(({ via, name, route, state }) => ({
      prefix: route.prefix,
      mapped: formatPrefix(meshPrefixOf(route)),
      via,
      name,
      state,
    })),
    problem,
  };
}
