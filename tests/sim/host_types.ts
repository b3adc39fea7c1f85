/**
 * What a simulated machine is made of.
 * @module
 */
import type { Netmap } from "../../core/control/messages.ts";
import type { Pin, RecordVerifier } from "../../core/control/roster.ts";
import type { Membership } from "../../core/daemon/membership.ts";
import type { DataPlaneBridge } from "../../core/dataplane/bridge.ts";
import type { SharedState } from "../../core/dataplane/layout.ts";
import type { RxPath } from "../../core/dataplane/rx_path.ts";
import type { PeerTable } from "../../core/dataplane/table.ts";
import type { TxPath } from "../../core/dataplane/tx_path.ts";
import type { Identity } from "../../core/identity/keys.ts";
import type { Endpoint, Ip } from "../../core/ip.ts";
import type { NodeMachine } from "../../core/node.ts";
import type { Coordinator } from "./coordinator.ts";
import type { HostControl } from "./host_control.ts";
import type { HostMesh } from "./host_mesh.ts";
import type { LogDisk } from "./log_disk.ts";
import type { HostFilter } from "./host_filter.ts";
import type { HostPaths } from "./host_paths.ts";
import type { Network } from "./network.ts";
import type { SimRelay } from "./relay.ts";
import type { RelayedTo } from "./relayed_to.ts";
import type { World } from "./world.ts";

/** What survives `kill -9`. */
export interface Disk {
  membership: Membership | null;
  /** The mesh's log. */
  log: LogDisk | null;
  netmap: Netmap | null;
  pins: readonly Pin[];
  watermark: number;
}

/** Everything a host is made with. */
export interface HostOptions {
  readonly world: World;
  readonly network: Network;
  readonly coordinator: Coordinator;
  readonly verifier: RecordVerifier;
  readonly identity: Identity;
  readonly name: string;
  /** Addresses on the underlay, IPv4 first. */
  readonly ips: readonly Ip[];
  /** Relays that it connects to. */
  readonly relays?: readonly SimRelay[];
  readonly stunServers?: readonly Endpoint[];
  readonly viaNodes?: RelayedTo;
  /** Shared memory to use; cleared at each start. */
  readonly memory: SharedState;
}

export interface Running {
  readonly node: NodeMachine;
  readonly table: PeerTable;
  readonly bridge: DataPlaneBridge;
  readonly tx: TxPath;
  readonly rx: RxPath;
  readonly filter: HostFilter;
  readonly mesh: HostMesh;
  readonly channel: HostControl;
  readonly paths: HostPaths;
}
