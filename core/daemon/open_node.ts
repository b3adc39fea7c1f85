/**
 * Makes a node's machine from its membership and from what earlier runs kept.
 * @module
 */
import { ControlClient } from "../control/client.ts";
import type { Netmap } from "../control/messages.ts";
import type { Pin } from "../control/roster.ts";
import type { DataPlaneSettings } from "../dataplane/settings.ts";
import type { Identity } from "../identity/keys.ts";
import { NodeMachine, type StaticPeer } from "../node.ts";
import { PathAgent } from "../path/agent.ts";
import { Device } from "../wireguard/device.ts";
import type { PathPreference } from "../path/peer_paths.ts";
import type { ExitPolicy } from "../exit/policy.ts";
import type { ExitWishes } from "./exit_wishes.ts";
import type { LinkWiring, ReportingLink } from "./carriers.ts";
import type { DataPlane } from "./dataplane.ts";
import type { Log } from "./log.ts";
import type { Membership } from "./membership.ts";
import type { PortMapper } from "./reachability.ts";
import type { StateDir } from "./state_dir.ts";
import { systemRandom } from "./system_random.ts";
import type { TimestampFile } from "./timestamp_file.ts";

/** How a node runs; everything is resolved. */
export interface DaemonOptions {
  readonly version: string;
  readonly identity: Identity;
  readonly state: StateDir;
  readonly membership: Membership;
  /** Name of the context, one of several that this machine may run. */
  readonly context: string;
  readonly interfaceName: string;
  /** Bytes. */
  readonly mtu: number;
  readonly udpPort: number;
  readonly dataPlane: DataPlaneSettings;
  readonly staticPeers: readonly StaticPeer[];
  readonly log: Log;
  /** Seconds that a DNS answer may be kept, 0 to 5. */
  readonly dnsTtlSeconds: number;
  /** Whether this node passes datagrams of other members on. */
  readonly relays: boolean;
  /** Which kinds of path to use, and for single peers by name. */
  readonly preference: PathPreference;
  readonly peerPreferences: readonly ({ readonly name: string } & PathPreference)[];
  /** Makes the links beside UDP. */
  readonly openLinks: (wiring: LinkWiring) => Promise<readonly ReportingLink[]>;
  /** Asks the router for a port; null where users do not want that. */
  readonly openPortMapper: ((udpPort: number, onChange: () => void) => PortMapper) | null;
  /** What the user wants of exits and routes by configuration. */
  readonly exits: ExitWishes;
  /** Who may lead out of the mesh, and whom. */
  readonly exitPolicy: ExitPolicy;
  /** What coordinators are reached through instead, `http://host:port`; null for nothing. */
  readonly proxy: string | null;
  /** Shortens the rekey interval in tests. */
  readonly rekeyAfterMs?: number;
  /** Set back or forth in tests. */
  readonly wallTime: () => number;
}

/** What a start reads first. */
export interface Loaded {
  readonly kernel: Uint8Array<ArrayBuffer>;
  readonly netmap: Netmap | null;
  readonly pins: readonly Pin[] | null;
  readonly timestamps: TimestampFile;
  readonly udpPort: number;
}

/** The machine of a node whose data plane is open. */
export function openNode(options: DaemonOptions, plane: DataPlane, kept: Loaded): NodeMachine {
  const { reply, record, urls } = options.membership;
  const { id, meshId, cidr4, prefix6 } = reply;
  const device = new Device({
    privateKey: options.identity.wireguard.privateKey,
    random: systemRandom,
    timestamp: () => kept.timestamps.next(),
    features: plane.features,
    ...(options.rekeyAfterMs ? { rekeyAfterMs: options.rekeyAfterMs } : {}),
  });
  const control = new ControlClient({
    identity: options.identity,
    urls: urls.map((url) => url.replace(/^https:/, "wss:") + "/api/v1/control"),
    facts: { meshId, cidr4, prefix6 },
    record,
    udpPort: plane.udpPort,
    bootId: systemRandom.bytes(8).toHex(),
    version: options.version,
    random: systemRandom,
    ...(kept.pins ? { pins: kept.pins } : {}),
    ...(kept.netmap?.meshId === meshId ? { netmap: kept.netmap } : {}),
  });
  const paths = new PathAgent({
    mtu: options.mtu,
    seed: systemRandom.uint32(),
    preference: options.preference,
  });
  const { staticPeers } = options;
  return new NodeMachine({ id, device, control, paths, staticPeers });
}
