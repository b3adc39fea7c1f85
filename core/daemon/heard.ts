/**
 * Of whom does this node itself know that they are there now?
 * @module
 */
import type { PeerId } from "../ids.ts";
import type { NodeMachine } from "../node.ts";

/** Peers with which there is a session, and those that a connected coordinator has online. */
export function heardPeers({ control, device, peers }: NodeMachine): PeerId[] {
  const isConnected = control.report.state === "connected";
  return [...peers.values()].flatMap(({ id, slot }) => {
    if (id === null) return [];
    const isOnline = isConnected && control.view.peers.get(id)?.online === true;
    return isOnline || device.report(slot)?.state === "up" ? [id] : [];
  });
}
