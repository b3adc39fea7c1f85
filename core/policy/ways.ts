/**
 * Which nodes may lead out of the mesh, and whom? Exits lead to the Internet, routes to networks
 * behind a node.
 * @module
 */
import { type Prefix, prefixContains } from "../ip.ts";
import { internetPrefixes } from "./internet.ts";
import type { Action, Exit, Policy, Route } from "./policy.ts";
import type { MeshNode, MeshSubjects } from "./subjects.ts";
import { ALL_TRAFFIC, subtract, type Traffic, union } from "./traffic.ts";

/** Exits and routes alike. */
export function waysOf(policy: Policy): Route[] {
  const exits = policy.exits.map((exit): Route => ({
    ...exit,
    prefixes: internetPrefixes(),
    traffic: ALL_TRAFFIC,
  }));
  return [...exits, ...policy.routes];
}

/** Whether `node` may be an exit for anyone. */
export function mayOfferExit(subjects: MeshSubjects, node: MeshNode): boolean {
  return subjects.policy.exits.some(({ action, offer }) =>
    action === "allow" && subjects.includes(offer, { node: node.id }, "allow")
  );
}

/** Whether `node` may offer all of `prefix`. */
export function mayOfferRoute(subjects: MeshSubjects, node: MeshNode, prefix: Prefix): boolean {
  return subjects.policy.routes.some(({ action, offer, prefixes }) =>
    action === "allow" && prefixes.some((allowed) => holds(allowed, prefix)) &&
    subjects.includes(offer, { node: node.id }, "allow")
  );
}

/** The entries that speak of `from` reaching the Internet through `exit`. */
export function exitsFor(subjects: MeshSubjects, from: MeshNode, exit: MeshNode): Exit[] {
  return subjects.policy.exits.filter((each) => speaksOf(subjects, each, from, exit));
}

/** Whether `from` may reach the Internet through `exit`. */
export function mayUseExit(subjects: MeshSubjects, from: MeshNode, exit: MeshNode): boolean {
  const speaking = exitsFor(subjects, from, exit);
  return speaking.length > 0 && speaking.every(({ action }) => action === "allow");
}

/** The entries that speak of `from` reaching all of `prefix`, or deny a part, through `router`. */
export function routesFor(
  subjects: MeshSubjects,
  from: MeshNode,
  router: MeshNode,
  prefix: Prefix,
): Route[] {
  return subjects.policy.routes.filter((route) => {
    // A denial of a part counts: what is asked for is all of the prefix.
    const isAbout = route.prefixes.some((each) =>
      holds(each, prefix) || (route.action === "deny" && holds(prefix, each))
    );
    return isAbout && speaksOf(subjects, route, from, router);
  });
}

/** What `from` may send to all of `prefix` through `router`. */
export function routeAccess(
  subjects: MeshSubjects,
  from: MeshNode,
  router: MeshNode,
  prefix: Prefix,
): Traffic {
  return sumOf(routesFor(subjects, from, router, prefix));
}

/** What `from` may send through `router` to the part of `prefix` that no longer prefix is about. */
export function routeAccessApart(
  subjects: MeshSubjects,
  from: MeshNode,
  router: MeshNode,
  prefix: Prefix,
): Traffic {
  return sumOf(
    subjects.policy.routes.filter((route) =>
      route.prefixes.some((each) => holds(each, prefix)) && speaksOf(subjects, route, from, router)
    ),
  );
}

function sumOf(routes: readonly Route[]): Traffic {
  const sum = (wanted: Action) =>
    union(...routes.filter(({ action }) => action === wanted).map(({ traffic }) => traffic));
  return subtract(sum("allow"), sum("deny"));
}

type Way = Pick<Route, "action" | "offer" | "use">;

function speaksOf(subjects: MeshSubjects, way: Way, from: MeshNode, via: MeshNode): boolean {
  return subjects.includes(way.offer, { node: via.id }, way.action) &&
    subjects.includes(way.use, { node: from.id }, way.action);
}

/** Whether all of `inner` lies in `outer`. */
export function holds(outer: Prefix, inner: Prefix): boolean {
  return outer.bits <= inner.bits && prefixContains(outer, inner.bytes);
}
