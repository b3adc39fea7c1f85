/**
 * What goes into a node's machine and comes out of it.
 * @module
 */
import type { ControlClient } from "./control/client.ts";
import type { ControlEffect, ControlEvent } from "./control/client_types.ts";
import type { PeerId } from "./ids.ts";
import type { Ip, Prefix } from "./ip.ts";
import type { NodePeer, StaticPeer } from "./node_peer.ts";
import type { PathAgent, PathEffect, PathEvent } from "./path/agent.ts";
import type { Route } from "./route/lpm.ts";
import type { VerifiedEntry } from "./state/entry.ts";
import type { LogSync, SyncAlert, SyncEvent } from "./state/sync.ts";
import type { Device, DeviceEffect, DeviceEvent } from "./wireguard/device.ts";

/** A name as the DNS zone wants it. */
export interface NamedNode {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly addresses: readonly Ip[];
}

export type NodeEvent =
  | { readonly type: "tick" }
  | { readonly type: "device"; readonly event: DeviceEvent }
  | { readonly type: "control"; readonly event: ControlEvent }
  | { readonly type: "path"; readonly event: PathEvent }
  /** What peers lead to beside their own addresses, instead of what was told before. */
  | { readonly type: "ways"; readonly ways: ReadonlyMap<PeerId, readonly Prefix[]> }
  /** What the shell did to the mesh's log. */
  | { readonly type: "log"; readonly event: SyncEvent };

export type NodeEffect =
  | DeviceEffect
  | ControlEffect
  | PathEffect
  /** A slot came into use or went out of it; the table must follow before other effects. */
  | { readonly type: "peer-added"; readonly peer: NodePeer }
  | { readonly type: "peer-removed"; readonly peer: NodePeer }
  | { readonly type: "routes"; readonly routes: readonly Route[] }
  /** Names changed; `coordinators` are names among `nodes`. */
  | {
    readonly type: "names";
    readonly nodes: readonly NamedNode[];
    readonly coordinators: readonly string[];
  }
  /** Netmap and pins changed: keep them on disk. */
  | { readonly type: "save" }
  /** Entries that the mesh's log has taken: keep them on disk, act upon the state. */
  | { readonly type: "log-grown"; readonly entries: readonly VerifiedEntry[] }
  | { readonly type: "log-alert"; readonly alert: SyncAlert };

export interface NodeOptions {
  /** This node's own id: its record is in the netmap but it is no peer of itself. */
  readonly id: PeerId;
  readonly device: Device;
  readonly control: ControlClient;
  readonly paths: PathAgent;
  /** Keeps the mesh's log, which says who is a member, level with that of others. */
  readonly sync: LogSync;
  readonly staticPeers: readonly StaticPeer[];
}
