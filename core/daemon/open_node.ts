/**
 * Makes a node's machine from its membership and from what earlier runs kept.
 * @module
 */
import { ControlClient } from "../control/client.ts";
import { MAX_NODE_LOG_LENGTH, type Netmap } from "../control/messages.ts";
import type { Pin } from "../control/roster.ts";
import type { DataPlaneSettings } from "../dataplane/settings.ts";
import type { FilterConfig } from "../filter/written.ts";
import type { Identity } from "../identity/keys.ts";
import { NodeMachine, type StaticPeer } from "../node.ts";
import { PathAgent } from "../path/agent.ts";
import type { LogFile } from "../platform/log_file.ts";
import { expiryOf } from "../state/expiry.ts";
import { headSigner } from "../state/head.ts";
import { LogSync } from "../state/sync.ts";
import { Device } from "../wireguard/device.ts";
import type { PathPreference } from "../path/peer_paths.ts";
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
  /** The mesh's log, which says who is a member. */
  readonly logFile: LogFile;
  /** Name of the context, one of several that this machine may run. */
  readonly context: string;
  readonly interfaceName: string;
  /** Bytes. */
  readonly mtu: number;
  readonly udpPort: number;
  readonly dataPlane: DataPlaneSettings;
  readonly staticPeers: readonly StaticPeer[];
  readonly filter: FilterConfig;
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
  const { log } = options.logFile;
  const control = new ControlClient({
    identity: options.identity,
    urls: urls.map((url) => url.replace(/^https:/, "wss:") + "/api/v1/control"),
    facts: { meshId, cidr4, prefix6 },
    isMember: (peer, lastSeen) => {
      const member = log.state.nodes.get(peer);
      return member !== undefined &&
        expiryOf(member, lastSeen, options.wallTime()).state !== "expired";
    },
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
  const sync = new LogSync({
    log,
    sign: headSigner(options.identity, meshId, options.wallTime),
    maxLength: MAX_NODE_LOG_LENGTH,
  });
  const { staticPeers } = options;
  return new NodeMachine({ id, device, control, paths, sync, staticPeers });
}
