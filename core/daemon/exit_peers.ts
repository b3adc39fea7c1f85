/**
 * Which peers may users name as exits, and why not?
 * @module
 */
import { MeshError } from "../errors.ts";
import { offersOf } from "../exit/offers.ts";
import { type ExitPolicy, isExitAllowed } from "../exit/policy.ts";
import type { WayPeer } from "../exit/ways.ts";
import type { PeerId } from "../ids.ts";
import type { Prefix } from "../ip.ts";
import type { NodeMachine } from "../node.ts";

/** The mesh peer of that id, name or alias, in this order; null when there is none. */
export function peerIdByName(node: NodeMachine, name: string): PeerId | null {
  const peers = [...node.peers.values()].filter(({ id }) => id !== null);
  const found = peers.find(({ id }) => id === name) ??
    peers.find((peer) => peer.name === name) ??
    peers.find(({ aliases }) => aliases.includes(name));
  return found?.id ?? null;
}

/** @throws {MeshError} when a peer cannot be an exit for this node. */
export function requireExit(node: NodeMachine, policy: ExitPolicy, name: string): void {
  const refuse = (
    code: "peer-unknown" | "config-invalid" | "forbidden",
    why: string,
    hint: string,
  ) => new MeshError(code, `Cannot use exit "${name}": ${why}`, { hint });
  const id = peerIdByName(node, name);
  const mesh = id === null ? undefined : node.meshPeer(id);
  if (id === null || mesh === undefined) {
    const hint = "List exits with: tunnelmesh exit-node list";
    throw refuse("peer-unknown", "no peer has that name", hint);
  }
  if (!offersOf(mesh.record).isExit) {
    const hint = "On that machine, start TunnelMesh with --allow-exit-traffic";
    throw refuse("config-invalid", "it does not offer to be one", hint);
  }
  if (!isExitAllowed(policy, node.id, id)) {
    const own = node.meshPeer(node.id)?.record.name ?? node.id;
    const entry = `{ offer: node:${mesh.record.name}, use: node:${own} }`;
    const hint =
      `An admin adds ${entry} to the policy, under exits: tunnelmesh policy export, apply`;
    throw refuse("forbidden", "it is not allowed by the policy of the mesh", hint);
  }
}

/** Mesh peers with what they offer. */
export function wayPeers(node: NodeMachine): WayPeer[] {
  return [...node.peers.values()].flatMap(({ id }) => {
    const mesh = id === null ? undefined : node.meshPeer(id);
    if (mesh === undefined) return [];
    const { record, online } = mesh;
    return [{ id: mesh.id, name: record.name, isOnline: online, offers: offersOf(record) }];
  });
}

/** What plain WireGuard peers lead to, by configuration. */
export function plainRanges(node: NodeMachine): Prefix[] {
  const plain = [...node.peers.values()].filter(({ id }) => id === null);
  return plain.flatMap(({ allowedIps }) => allowedIps);
}
