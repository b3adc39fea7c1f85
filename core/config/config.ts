/**
 * What the program reads of a configuration: camelCase, aliases merged, defaults applied, units
 * converted. Paths are as the user wrote them; whoever opens one expands `~`.
 * @module
 */
import type { OnExitLoss } from "../exit/client_plan.ts";
import type { OfferedRoute } from "../identity/record.ts";
import type { FilterConfig } from "../filter/written.ts";
import type { Ip } from "../ip.ts";
import type { PathPreference } from "../path/peer_paths.ts";
import type { DataPlaneSettings } from "../dataplane/settings.ts";

/** Least severe first. */
export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error"] as const;

/** How much a process logs. */
export type LogLevel = typeof LOG_LEVELS[number];

/** A peer that speaks plain WireGuard and is not managed by a coordinator. */
export interface WireguardPeerConfig {
  readonly name: string;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 32 bytes; null when absent or kept in a file. */
  readonly presharedKey: Uint8Array | null;
  readonly presharedKeyFile: string | null;
  /** Canonical prefixes. */
  readonly allowedIps: readonly string[];
  /** `host:port` as written; the host may be a name. */
  readonly endpoint: string | null;
  readonly persistentKeepaliveMs: number | null;
}

/** A node's configuration. */
export interface PeerConfig {
  readonly name: string | null;
  /** `https://host:port` each, in the order to try. */
  readonly servers: readonly string[];
  readonly authToken: string | null;
  readonly authTokenFile: string | null;
  readonly identity: string | null;
  readonly stateDir: string | null;
  readonly controlSocket: string | null;
  readonly udpPort: number;
  /** Null until chosen by the caller, which may name it by context. */
  readonly interfaceName: string | null;
  /** Bytes. */
  readonly mtu: number;
  readonly dataPlane: DataPlaneSettings;
  readonly paths: PathsConfig;
  readonly dns: {
    readonly isEnabled: boolean;
    readonly listen: ListenConfig | null;
    readonly ttlSeconds: number;
    readonly aliases: readonly string[];
  };
  readonly wireguardPeers: readonly WireguardPeerConfig[];
  readonly filter: FilterConfig;
  /** Where metrics are served; null where they are not. */
  readonly metricsPort: number | null;
  readonly exits: ExitsConfig;
  readonly logLevel: LogLevel;
  readonly coordinator: CoordinatorConfig;
}

/** What a node wants of exits and routes. */
export interface ExitsConfig {
  readonly use: {
    /** Names, the most wanted first; empty for none. */
    readonly exits: string[];
    readonly onLoss: OnExitLoss;
    readonly lan: boolean;
  };
  readonly offer: { readonly isExit: boolean; readonly routes: OfferedRoute[] };
}

/** By which ways peers are reached. */
export interface PathsConfig {
  /** Whether this node passes datagrams of others on. */
  readonly relay: boolean;
  /** 0 for no SSH link. */
  readonly sshPort: number;
  readonly portMapping: boolean;
  readonly proxy: string | null;
  readonly preference: PathPreference;
  readonly peerPreferences: readonly ({ readonly name: string } & PathPreference)[];
}

/** An address to listen on; a null host is every address. */
export interface ListenConfig {
  readonly host: string | null;
  readonly port: number;
}

/** The coordinator's part of a peer file, or the whole of a server file. */
export interface CoordinatorConfig {
  readonly isEnabled: boolean;
  readonly listen: ListenConfig;
  readonly publicHosts: readonly string[];
  /** The first of two UDP ports where STUN is answered. */
  readonly stunPort: number;
  /** A second address of the machine that answers STUN; null for none. */
  readonly stunAddress: Ip | null;
  readonly dataDir: string | null;
  /** Canonical IPv4 prefix; null leaves the choice to the coordinator. */
  readonly meshCidr: string | null;
  readonly certificate: string | null;
  readonly certificateKey: string | null;
}

/** A coordinator's configuration. */
export interface ServerConfig {
  readonly coordinator: CoordinatorConfig;
  /** The node that runs beside the coordinator, when the file has `join_mesh`. */
  readonly joinMesh: PeerConfig | null;
  readonly logLevel: LogLevel;
}
