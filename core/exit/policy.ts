/**
 * Who may lead out of the mesh, and whom, as exits and routes ask it; and the answers of the mesh's
 * policy.
 * @module
 */
import type { PeerId } from "../ids.ts";
import type { Prefix } from "../ip.ts";
import type { MeshNode, MeshSubjects } from "../policy/subjects.ts";
import * as ways from "../policy/ways.ts";

/** What exits and routes ask. */
export interface ExitPolicy {
  /** Whether a node may be an exit for anyone. */
  mayOfferExit(via: PeerId): boolean;
  /** Whether a node may offer a network, by the prefix that the mesh knows it by. */
  mayOfferRoute(via: PeerId, prefix: Prefix): boolean;
  /** Whether `from` may reach the internet through `via`. */
  mayUseExit(from: PeerId, via: PeerId): boolean;
  /** Whether `from` may send anything to that network through `via`. */
  mayUseRoute(from: PeerId, via: PeerId, prefix: Prefix): boolean;
}

/** Whether `via` may be an exit, and `from` may leave the mesh there. */
export function isExitAllowed(policy: ExitPolicy, from: PeerId, via: PeerId): boolean {
  return policy.mayOfferExit(via) && policy.mayUseExit(from, via);
}

/** A mesh without a policy: what is offered may be used. */
export const NO_POLICY: ExitPolicy = {
  mayOfferExit: () => true,
  mayOfferRoute: () => true,
  mayUseExit: () => true,
  mayUseRoute: () => true,
};

/** The answers of a policy; `subjects` is asked anew each time and null before there is one. */
export function exitPolicyOf(subjects: () => MeshSubjects | null): ExitPolicy {
  const ask = (
    ids: readonly PeerId[],
    answer: (subjects: MeshSubjects, ...nodes: MeshNode[]) => boolean,
  ): boolean => {
    const known = subjects();
    const nodes = ids.flatMap((id) => known?.node(id) ?? []);
    return known !== null && nodes.length === ids.length && answer(known, ...nodes);
  };
  return {
    mayOfferExit: (via) => ask([via], (all, node) => ways.mayOfferExit(all, node!)),
    mayOfferRoute: (via, prefix) =>
      ask([via], (all, node) => ways.mayOfferRoute(all, node!, prefix)),
    mayUseExit: (from, via) =>
      ask([from, via], (all, user, exit) => ways.mayUseExit(all, user!, exit!)),
    mayUseRoute: (from, via, prefix) =>
      ask(
        [from, via],
        (all, user, router) => ways.routeAccess(all, user!, router!, prefix).length > 0,
      ),
  };
}
