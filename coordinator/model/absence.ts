/**
 * Was a node away, or was it the coordinator?
 *
 * A coordinator hears of nodes only while it runs and is reached. When nobody at all was heard of
 * for long, it takes itself for the one who was away: otherwise everyone had expired when it came
 * back, admins included. The price is that in a mesh of which nobody ever shows up for so long,
 * nobody expires here; nodes judge by what they heard themselves.
 * @module
 */
import type { PeerId } from "../../core/ids.ts";
import { DAY_MS } from "../../core/state/expiry.ts";
import type { MemberNode } from "../../core/state/state.ts";
import type { Mesh } from "./mesh.ts";
import type { Registry } from "./registry.ts";

/** Silence of everybody that counts as the coordinator's own absence. */
export const OWN_ABSENCE_MS = 14 * DAY_MS;

/**
 * The member of that id, unless it was away for too long.
 * @throws {MeshError} "peer-unknown", "token-invalid"
 */
export function expectPresent(
  { mesh, registry }: { readonly mesh: Mesh; readonly registry: Registry },
  id: PeerId,
  wallTime: number,
): MemberNode {
  excuseSilence(registry, wallTime);
  return mesh.member(id, registry.state.nodes.get(id)?.seenAt ?? 0, wallTime);
}

/** Moves what was last heard of everybody on by the time in which nobody could be heard. */
function excuseSilence(registry: Registry, wallTime: number): void {
  const nodes = [...registry.state.nodes.values()];
  const newest = nodes.reduce((at, { seenAt }) => Math.max(at, seenAt), 0);
  const silence = wallTime - newest;
  if (newest === 0 || silence < OWN_ABSENCE_MS) return;
  for (const { id, seenAt } of nodes) {
    registry.execute({ type: "seen", at: seenAt + silence, id });
  }
}
