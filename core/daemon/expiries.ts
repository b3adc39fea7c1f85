/**
 * Which members expire soon by being away, as far as is known here, and what should be said of it?
 *
 * A node that is used never expires, so each warning is of one that nobody has heard of for long.
 * Who can do something about it is told: admins of all members, and the node itself, which may be
 * the one that has been away from everybody.
 * @module
 */
import type { ControlReport } from "../control/client.ts";
import type { NetmapView } from "../control/netmap.ts";
import type { PeerId } from "../ids.ts";
import { expiryOf, timeUntil } from "../state/expiry.ts";
import type { MeshState } from "../state/state.ts";

/** Warnings of other nodes that are given at once; the list has the rest. */
const MAX_NAMED = 5;

/** Whose view it is. */
export interface Onlooker {
  readonly own: PeerId;
  readonly state: MeshState;
  readonly view: Pick<NetmapView, "peers">;
  readonly control: Pick<ControlReport, "state">;
  /** Wall time. */
  readonly now: number;
}

/**
 * When somebody was last heard of. What this node heard of anybody is a sign of life of its own: it
 * was not away from everybody then.
 */
export function lastSeenOf(
  { own, view, control, now }: Omit<Onlooker, "state">,
  id: PeerId,
): number {
  if (id !== own) return view.peers.get(id)?.lastSeen ?? 0;
  if (control.state === "connected") return now;
  return view.peers.values().reduce((at, { lastSeen }) => Math.max(at, lastSeen), 0);
}

/** When the next member expires if it stays away; null where none does. */
export function nextExpiry(onlooker: Onlooker): number | null {
  let next: number | null = null;
  for (const node of onlooker.state.nodes.values()) {
    const expiry = expiryOf(node, lastSeenOf(onlooker, node.id), onlooker.now);
    if (expiry.state === "expired" || expiry.expiresAt === null) continue;
    next = Math.min(next ?? Infinity, expiry.expiresAt);
  }
  return next;
}

/** What to say of members that expire soon, the soonest first; of others to admins only. */
export function expiryWarnings(onlooker: Onlooker, isAdmin: boolean): string[] {
  const { own, state, view, now } = onlooker;
  const soon = [...state.nodes.values()].flatMap((node) => {
    const expiry = expiryOf(node, lastSeenOf(onlooker, node.id), now);
    return expiry.state === "warned" ? [{ id: node.id, expiresAt: expiry.expiresAt }] : [];
  }).sort((a, b) => a.expiresAt - b.expiresAt);
  const nameOf = (id: PeerId) => view.peers.get(id)?.record.name ?? id;
  const renew = (id: PeerId) => `tunnelmesh node renew ${nameOf(id)}`;
  const others = isAdmin ? soon.filter(({ id }) => id !== own) : [];
  const more = others.length - MAX_NAMED;
  return [
    ...soon.filter(({ id }) => id === own).map(({ id, expiresAt }) =>
      `This node expires ${timeUntil(expiresAt, now)}, for it hears nobody: ` +
      `reconnect it, or have an admin run: ${renew(id)}`
    ),
    ...others.slice(0, MAX_NAMED).map(({ id, expiresAt }) =>
      `Node ${nameOf(id)} expires ${timeUntil(expiresAt, now)}, for nobody hears of it; ` +
      `keep it with: ${renew(id)}`
    ),
    ...more > 0 ? [`${more} more expire soon; see: tunnelmesh node list`] : [],
  ];
}
