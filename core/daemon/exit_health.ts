/**
 * Can a peer be used as an exit now: it offers that, the policy lets it, and it answers?
 * @module
 */
import type { ExitHealth } from "../exit/exit_choice.ts";
import { offersOf } from "../exit/offers.ts";
import { type ExitPolicy, isExitAllowed } from "../exit/policy.ts";
import type { PeerId } from "../ids.ts";
import type { Millis } from "../machine.ts";
import type { NodeMachine } from "../node.ts";

/** While there is traffic the path in use is pinged four times a second, so this is many losses. */
const SILENCE_MS = 3_000;

/** Whether an exit is there; "down" for an id that no peer has. */
export function exitHealth(
  node: NodeMachine,
  policy: ExitPolicy,
  exit: PeerId,
  now: Millis,
): ExitHealth {
  const slot = node.slotOf(exit);
  const mesh = node.meshPeer(exit);
  if (slot === undefined || mesh === undefined) return "down";
  const isAllowed = isExitAllowed(policy, node.id, exit);
  if (!isAllowed || !offersOf(mesh.record).isExit) return "refused";
  if (node.device.report(slot)?.state !== "up") return "down";
  const paths = node.paths.pathsOf(slot);
  const path = paths?.current ? paths.paths.get(paths.current) : undefined;
  const answeredAt = path?.lastAnswerAt ?? null;
  return answeredAt !== null && now - answeredAt <= SILENCE_MS ? "up" : "down";
}
