/**
 * What do `join`, `serve` and `up` hand to `compose.ts`? Plain options, every value resolved: paths
 * absolute, defaults applied, secrets read from their files.
 * @module
 */
import type { DataPlaneSettings } from "../core/dataplane/settings.ts";
import type {
  ExitsConfig,
  LogLevel,
  PathsConfig,
  WireguardPeerConfig,
} from "../core/config/config.ts";
import type { FilterConfig } from "../core/filter/written.ts";
import type { Ip } from "../core/ip.ts";
import type { Progress } from "./progress.ts";

/** How the daemon answers mesh names. */
export interface DnsRunOptions {
  /** False leaves the system's resolver alone and starts none. */
  readonly isEnabled: boolean;
  /** Where the resolver listens; null is port 53 of the node's mesh address. */
  readonly listen: ListenAddress | null;
  /** Seconds that an answer may be cached, 0 to 5. */
  readonly ttlSeconds: number;
}

/** An address to listen on; a null host is every address of the machine. */
export interface ListenAddress {
  readonly host: string | null;
  readonly port: number;
}

/** A plain WireGuard peer, its preshared key read. */
export interface WireguardPeerOptions
  extends Omit<WireguardPeerConfig, "presharedKey" | "presharedKeyFile"> {
  /** 32 bytes, or null for none. */
  readonly presharedKey: Uint8Array | null;
}

/** What every long-running process gets. */
export interface CommonRunOptions {
  /** Name of the context, `default` unless chosen. */
  readonly context: string;
  readonly logLevel: LogLevel;
  /** Where the process tells the user what it does. */
  readonly progress: Progress;
}

/** Options of one node. */
export interface NodeRunOptions extends CommonRunOptions {
  /** OpenSSH file of the ed25519 identity; made when it is absent. */
  readonly identityPath: string;
  /** Asks for the key's passphrase. @throws {MeshError} `passphrase-wrong` without a terminal. */
  readonly passphrase: () => Promise<string>;
  /** Who owns files made in the user's home when run by sudo; null leaves them to this process. */
  readonly owner: FileOwner | null;
  readonly stateDir: string;
  /** The unix socket of the daemon's local API. */
  readonly socketPath: string;
  /** The context that `context use` chose, read anew at each call; null for none. */
  readonly activeContext: () => string | null;
  /**
   * `https://host:port` of the coordinators to register with, in order. Empty: reconnect to the
   * mesh that the state directory names.
   */
  readonly coordinatorUrls: readonly string[];
  /** Join token; null when this identity is a member already. */
  readonly token: string | null;
  /** Requested name; null keeps the one held before, else takes the host's. */
  readonly name: string | null;
  readonly aliases: readonly string[];
  readonly udpPort: number;
  /** Another one is taken when it is in use, unless it is fixed: the user chose it. */
  readonly interfaceName: string;
  readonly isInterfaceFixed: boolean;
  /** Bytes. */
  readonly mtu: number;
  readonly dataPlane: DataPlaneSettings;
  /** By which ways peers are reached. */
  readonly paths: PathsConfig;
  readonly dns: DnsRunOptions;
  readonly wireguardPeers: readonly WireguardPeerOptions[];
  readonly filter: FilterConfig;
  /** TCP port of the metrics; null serves none. */
  readonly metricsPort: number | null;
  readonly exits: ExitsConfig;
}

/** A user and group of the system. */
export interface FileOwner {
  readonly uid: number;
  readonly gid: number;
}

/** PEM files of a certificate that public clients trust. */
export interface CertificateFiles {
  readonly certificatePath: string;
  readonly keyPath: string;
}

/** Options of one coordinator. */
export interface CoordinatorRunOptions extends CommonRunOptions {
  readonly listen: ListenAddress;
  /** Names and addresses that nodes reach it by; empty means those of the machine. */
  readonly publicHosts: readonly string[];
  /** The first of two UDP ports where STUN is answered. */
  readonly stunPort: number;
  /** A second address of the machine that answers STUN; null for none. */
  readonly stunAddress: Ip | null;
  readonly dataDir: string;
  /** IPv4 range of a mesh that is being made; null picks one that clashes with no local route. */
  readonly cidr4: string | null;
  /** Null uses a certificate of the mesh's own CA. */
  readonly certificate: CertificateFiles | null;
}

/** Options of a coordinator and a node beside it, which joins it without a token. */
export interface UpRunOptions extends CommonRunOptions {
  readonly node: NodeRunOptions;
  readonly coordinator: CoordinatorRunOptions;
  /** IPv4 ranges of the other meshes that this machine belongs to. */
  readonly usedCidrs: readonly string[];
}
