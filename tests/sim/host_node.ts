/**
 * Makes a simulated machine's node from what its disk holds, as `core/daemon/open_node.ts` does.
 * @module
 */
import { ControlClient } from "../../core/control/client.ts";
import { FEATURE } from "../../core/dataplane/features.ts";
import { type RxPath, VERDICT } from "../../core/dataplane/rx_path.ts";
import { type NodeEvent, NodeMachine } from "../../core/node.ts";
import { PathAgent } from "../../core/path/agent.ts";
import { decodePathMessage } from "../../core/path/messages.ts";
import { Device } from "../../core/wireguard/device.ts";
import { TimestampSource } from "../../core/wireguard/tai64n.ts";
import type { Endpoint } from "../../core/ip.ts";
import { HostMesh } from "./host_mesh.ts";
import type { Disk, HostOptions } from "./host_types.ts";

export const MTU = 1420;
export const PORT = 51820;

/** The machine of one run, and what it knows of the mesh's log. */
export function openHostNode(
  { world, identity, verifier }: Pick<HostOptions, "world" | "identity" | "verifier">,
  disk: Disk,
  here: { readonly endpoint: Endpoint; readonly wallTime: () => number },
): { readonly node: NodeMachine; readonly mesh: HostMesh } {
  const { reply, record } = disk.membership!;
  const { meshId, cidr4, prefix6 } = reply;
  const timestamps = new TimestampSource(disk.watermark);
  const device = new Device({
    privateKey: identity.wireguard.privateKey,
    random: world.random,
    timestamp: () => {
      const stamp = timestamps.next(here.wallTime());
      disk.watermark = timestamps.watermark;
      return stamp;
    },
    features: FEATURE.paths,
  });
  const paths = new PathAgent({ mtu: MTU, seed: world.random.uint32() });
  const mesh = new HostMesh({ disk: disk.log!, meshId, identity, wallTime: here.wallTime });
  const control = new ControlClient({
    identity,
    urls: ["wss://c:8443/api/v1/control"],
    facts: { meshId, cidr4, prefix6 },
    isMember: mesh.isMember,
    record,
    endpoints: [here.endpoint],
    udpPort: PORT,
    bootId: world.random.bytes(8).toHex(),
    version: "0",
    random: world.random,
    pins: disk.pins,
    verifier,
    ...(disk.netmap ? { netmap: disk.netmap } : {}),
  });
  const { sync } = mesh;
  const { peerId: id } = identity;
  const node = new NodeMachine({ id, device, control, paths, sync, staticPeers: [] });
  return { node, mesh };
}

/** What the machine has to know of a datagram on which a worker has decided; null for nothing. */
export function eventOf(
  rx: RxPath,
  verdict: number,
  from: Endpoint,
  bytes: Uint8Array,
): NodeEvent | null {
  if (verdict === VERDICT.control) {
    return { type: "device", event: { type: "datagram", from, bytes, underLoad: false } };
  }
  if (verdict === VERDICT.unknown) {
    return { type: "device", event: { type: "unknown-index", from } };
  }
  if (verdict !== VERDICT.path) return null;
  const message = decodePathMessage(bytes.subarray(rx.packetAt, rx.packetAt + rx.packetBytes));
  return message && { type: "path", event: { type: "message", peer: rx.peer, from, message } };
}
