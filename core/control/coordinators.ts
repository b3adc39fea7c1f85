/**
 * Which coordinators does a node know, and in what order does it try them?
 *
 * Those it was configured with come first, then the one beside it, then those that other nodes have
 * beside them. Who has one is said by the mesh's log; where it is, by its node. An address needs no
 * trust, since TLS under the mesh's own root decides who answers there.
 * @module
 */
import type { PeerId } from "../ids.ts";
import { isCoordinator, type MeshState } from "../state/state.ts";
import { PATHS } from "./envelope.ts";
import type { MeshPeer } from "./netmap.ts";

/** Most URLs that a node tries. */
const MAX_URLS = 16;
/** Coordinators that are relays at once: the second is for when the first dies. */
export const MAX_RELAYS = 3;

export interface CoordinatorFacts {
  /** `https://host:port`, best first. */
  readonly configured: readonly string[];
  /** The further coordinator beside this node, as this machine reaches it; null for none. */
  readonly local: string | null;
  readonly own: PeerId;
  readonly state: MeshState;
  readonly peers: Iterable<MeshPeer>;
}

/** Coordinators as `https://host:port`. */
export interface CoordinatorUrls {
  /** All ways to all of them. */
  readonly all: readonly string[];
  /** One way to each: two connections of one node to one relay would end each other. */
  readonly relays: readonly string[];
}

/** See the module's doc. */
export function coordinatorUrls(facts: CoordinatorFacts): CoordinatorUrls {
  const { configured, local, own, state } = facts;
  const announced = [...facts.peers]
    .filter(({ id }) => id !== own && isCoordinator(state, id))
    .sort((a, b) => a.id < b.id ? -1 : 1)
    .flatMap(({ links }) => links.coordinatorUrls?.length ? [links.coordinatorUrls] : []);
  // Only coordinators that follow another one are announced: the one that leads is tried first.
  const isFollowers = (url: string) => announced.some((urls) => urls.includes(originOf(url)));
  const known = [
    ...configured.filter((url) => !isFollowers(url)),
    ...configured.filter(isFollowers),
    ...local === null ? [] : [local],
  ];
  const origins = known.map(originOf);
  // Where one of its ways is configured, the user has chosen that.
  const others = announced.filter((urls) => !urls.some((url) => origins.includes(url)));
  return {
    all: [...new Set([...known, ...others.flat()])].slice(0, MAX_URLS),
    relays: [...new Set([...known, ...others.map(([first]) => first!)])].slice(0, MAX_RELAYS),
  };
}

function originOf(url: string): string {
  return URL.parse(url)?.origin ?? url;
}

/** Where the control channel of each is. */
export function controlUrls(urls: readonly string[]): string[] {
  return urls.map((url) => url.replace(/^https:/, "wss:") + PATHS.control);
}
