/**
 * Which nodes may lead out of the mesh, and whom? Exits lead to the Internet, routes to networks
 * behind a node.
 * @module
 */
import { type Prefix, prefixContains } from "../ip.ts";
import { internetPrefixes } from "./internet.ts";
import type { Policy, Route } from "./policy.ts";
import type { MeshNode, MeshSubjects } from "./subjects.ts";
import { ALL_TRAFFIC, NO_TRAFFIC, subtract, type Traffic, union } from "./traffic.ts";

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

/** Whether `from` may reach the Internet through `exit`. */
export function mayUseExit(subjects: MeshSubjects, from: MeshNode, exit: MeshNode): boolean {
  const speaking = subjects.policy.exits.filter((each) => speaksOf(subjects, each, from, exit));
  return speaking.length > 0 && speaking.every(({ action }) => action === "allow");
}

/** What `from` may send to all of `prefix` through `router`. */
export function routeAccess(
  subjects: MeshSubjects,
  from: MeshNode,
  router: MeshNode,
  prefix: Prefix,
): Traffic {
  // A denial of a part counts: what is asked for is all of the prefix.
  return sumOf(
    subjects,
    from,
    router,
    ({ action, prefixes }) =>
      prefixes.some((each) => holds(each, prefix) || (action === "deny" && holds(prefix, each))),
  );
}

/** What `from` may send through `router` to the part of `prefix` that no longer prefix is about. */
export function routeAccessApart(
  subjects: MeshSubjects,
  from: MeshNode,
  router: MeshNode,
  prefix: Prefix,
): Traffic {
  return sumOf(
    subjects,
    from,
    router,
    ({ prefixes }) => prefixes.some((each) => holds(each, prefix)),
  );
}

function sumOf(
  subjects: MeshSubjects,
  from: MeshNode,
  router: MeshNode,
  isAbout: (route: Route) => boolean,
): Traffic {
  let allowed: Traffic = NO_TRAFFIC;
  let denied: Traffic = NO_TRAFFIC;
  for (const route of subjects.policy.routes) {
    if (!isAbout(route) || !speaksOf(subjects, route, from, router)) continue;
    if (route.action === "allow") allowed = union(allowed, route.traffic);
    else denied = union(denied, route.traffic);
  }
  return subtract(allowed, denied);
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
