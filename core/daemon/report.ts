/**
 * The facts behind `status`, gathered from machine and packet table: measured values with their age.
 * @module
 */
import { featureNames } from "../dataplane/features.ts";
import type { PeerTable } from "../dataplane/table.ts";
import type { Millis } from "../machine.ts";
import type { NodeMachine, NodePeer } from "../node.ts";
import { headerBytes, kindOf, type PathAddress } from "../path/address.ts";
import { mtuOf } from "../path/mtu.ts";
import { lossOf } from "../path/quality.ts";
import { SEAL_BYTES } from "../path/path.ts";
import type { CoordinatorReport, LinkKind, Measured, PeerReport } from "./api_types.ts";

/** A round trip measured by `ping`. */
export interface PingSample {
  readonly ms: number;
  readonly at: Millis;
}

/** One peer as this node sees it. */
export function reportPeer(
  node: NodeMachine,
  table: PeerTable,
  peer: NodePeer,
  ping: PingSample | undefined,
  now: Millis,
): PeerReport {
  const session = node.device.report(peer.slot);
  const mesh = peer.id === null ? undefined : node.meshPeer(peer.id);
  const counters = table.counters(peer.slot);
  const path = measuredPath(node, peer, now);
  const handshake = session?.lastHandshakeAt ?? null;
  return {
    id: peer.id,
    name: peer.name,
    aliases: peer.aliases,
    addresses: peer.addresses,
    wireguardKey: peer.wireguardKey,
    isCoordinator: peer.id !== null && node.control.view.coordinators.includes(peer.id),
    online: mesh?.online ?? null,
    session: session?.state ?? "down",
    link: linkTo(node, table, peer),
    endpoint: pathTo(node, table, peer),
    mtu: limitOf(node, peer),
    candidates: session?.candidates ?? [],
    rtt: newest([session?.rtt, ping, path?.rtt], now),
    // Pings to where nobody is use up numbers too: only those of the path in use tell its loss.
    loss: path ? path.loss : counters.loss === null ? null : { value: counters.loss, ageMs: 0 },
    lastHandshakeAgeMs: handshake === null ? null : now - handshake,
    bytesSent: counters.bytesSent,
    bytesReceived: counters.bytesReceived,
    packetsSent: counters.packetsSent,
    packetsReceived: counters.packetsReceived,
    features: featureNames(table.features(peer.slot)),
  };
}

/** What pings tell of the path in use, where the node decides about it. */
function measuredPath(
  node: NodeMachine,
  { slot }: NodePeer,
  now: Millis,
): { readonly rtt: PingSample | null; readonly loss: Measured<number> | null } | null {
  const paths = node.paths.isManaging(slot) ? node.paths.pathsOf(slot) : null;
  const path = paths?.current ? paths.paths.get(paths.current) : undefined;
  if (!path) return null;
  const at = path.lastAnswerAt;
  if (at === null || path.quality.rttMs === null) return { rtt: null, loss: null };
  return {
    rtt: { ms: path.quality.rttMs, at },
    loss: { value: lossOf(path.quality), ageMs: now - at },
  };
}

/** The path that a peer's datagrams take, or null. */
export function pathTo(node: NodeMachine, table: PeerTable, peer: NodePeer): PathAddress | null {
  const { slot } = peer;
  if (node.paths.isManaging(slot)) return node.paths.pathsOf(slot)?.current ?? null;
  return table.endpoint(slot) ?? node.device.report(slot)?.endpoint ?? null;
}

/** What carries a peer's datagrams. */
export function linkTo(node: NodeMachine, table: PeerTable, peer: NodePeer): LinkKind {
  const path = node.device.report(peer.slot)?.state === "up" ? pathTo(node, table, peer) : null;
  return path === null ? "none" : kindOf(path);
}

/** The largest packet that passes to a peer, where that is less than the interface's. */
function limitOf(node: NodeMachine, { slot }: NodePeer): number | null {
  const paths = node.paths.isManaging(slot) ? node.paths.pathsOf(slot) : null;
  const path = paths?.current ? paths.paths.get(paths.current) : undefined;
  if (!path?.mtu || mtuOf(path.mtu) >= path.mtu.wanted) return null;
  return mtuOf(path.mtu) - headerBytes(path.address) - SEAL_BYTES;
}

/**
 * The coordinator connection.
 *
 * @param publicUrl What others reach it by; null when that is what this node uses.
 */
export function reportCoordinator(
  node: NodeMachine,
  publicUrl: string | null,
  now: Millis,
): CoordinatorReport {
  const { state, since, rtt, clockOffsetMs, lastError, url } = node.control.report;
  return {
    url: publicUrl ?? url.replace(/^wss:/, "https:").replace(/\/api\/v1\/control$/, ""),
    state,
    isFollower: state === "connected" && node.control.view.isFollowers,
    sinceMs: Math.max(0, now - since),
    rtt: rtt && { value: rtt.value, ageMs: now - rtt.at },
    lastError,
    clockOffsetMs,
  };
}

function newest(
  samples: readonly (PingSample | null | undefined)[],
  now: Millis,
): Measured<number> | null {
  let best: PingSample | null = null;
  for (const sample of samples) {
    if (sample && (best === null || sample.at > best.at)) best = sample;
  }
  return best ? { value: best.ms, ageMs: now - best.at } : null;
}
