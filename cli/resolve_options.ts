/**
 * From configuration to the options of a process: paths made absolute, defaults of this machine and
 * context filled in, secrets read.
 * @module
 */
import type { CoordinatorConfig, PeerConfig, WireguardPeerConfig } from "../core/config/config.ts";
import { fromBase64 } from "../core/bytes.ts";
import { MeshError } from "../core/errors.ts";
import type { GlobalOptions } from "./globals.ts";
import type { ConfigFiles, LoadedConfig } from "./config_files.ts";
import type { Contexts } from "./contexts.ts";
import type { Host } from "./host.ts";
import {
  absolutePath,
  dataDir,
  identityPath,
  interfaceName,
  socketPath,
  stateDir,
} from "./paths.ts";
import type { Progress } from "./progress.ts";
import { askPassphrase } from "./prompt.ts";
import type {
  CertificateFiles,
  CoordinatorRunOptions,
  NodeRunOptions,
  WireguardPeerOptions,
} from "./run_options.ts";

/** What resolving needs beside the configuration. */
export interface Surroundings {
  readonly host: Host;
  readonly globals: GlobalOptions;
  readonly contexts: Contexts;
  readonly files: ConfigFiles;
  readonly progress: Progress;
}

/** Options of the node that `loaded` describes. @throws {MeshError} `config-invalid` */
export function resolveNode(
  loaded: LoadedConfig<PeerConfig>,
  surroundings: Surroundings,
): NodeRunOptions {
  const { host, contexts, globals, progress } = surroundings;
  const { config } = loaded;
  const context = contexts.current(globals.context);
  const known = contexts.entry(context);
  const pathOf = (path: string | null) => resolvePath(path, loaded, surroundings);
  const identity = pathOf(config.identity) ?? known.identity ?? identityPath(host, context);
  const state = pathOf(config.stateDir) ?? known.stateDir ?? stateDir(host, context);
  return {
    context,
    logLevel: config.logLevel,
    progress,
    identityPath: identity,
    passphrase: () => askPassphrase(host, identity),
    owner: host.owner,
    stateDir: state,
    socketPath: pathOf(config.controlSocket) ?? known.socket ?? socketPath(host, context, state),
    activeContext: () => contexts.readActive(),
    coordinatorUrls: config.servers,
    token: tokenOf(loaded, surroundings),
    name: config.name,
    aliases: config.dns.aliases,
    udpPort: config.udpPort,
    interfaceName: config.interfaceName ?? interfaceName(context),
    isInterfaceFixed: config.interfaceName !== null,
    mtu: config.mtu,
    dataPlane: config.dataPlane,
    paths: { ...config.paths, proxy: config.paths.proxy ?? proxyOf(host) },
    dns: {
      isEnabled: config.dns.isEnabled,
      listen: config.dns.listen,
      ttlSeconds: config.dns.ttlSeconds,
    },
    wireguardPeers: config.wireguardPeers.map((peer) => wireguardPeer(peer, loaded, surroundings)),
    filter: config.filter,
    metricsPort: config.metricsPort,
    exits: exitsOf(config),
  };
}

/** @throws {MeshError} `config-invalid` for a node that would lead its own members in a circle. */
function exitsOf({ exits }: PeerConfig): PeerConfig["exits"] {
  if (exits.use.exits.length > 0 && exits.offer.isExit) {
    throw new MeshError("config-invalid", "Cannot be an exit and use one at the same time", {
      hint: "Take back one of the two: allow_exit_traffic, or exit_node",
    });
  }
  return exits;
}

/** The environment's proxy for encrypted connections, as other programs read it. */
function proxyOf(host: Host): string | null {
  const text = host.env.HTTPS_PROXY ?? host.env.https_proxy ?? "";
  if (text === "") return null;
  return text.includes("://") ? text : `http://${text}`;
}

/** Options of the coordinator that `loaded` describes. @throws {MeshError} `config-invalid` */
export function resolveCoordinator(
  loaded: LoadedConfig<CoordinatorConfig>,
  logLevel: PeerConfig["logLevel"],
  surroundings: Surroundings,
): CoordinatorRunOptions {
  const { host, contexts, globals, progress } = surroundings;
  const { config } = loaded;
  const context = contexts.current(globals.context);
  return {
    context,
    logLevel,
    progress,
    listen: config.listen,
    publicHosts: config.publicHosts,
    stunPort: config.stunPort,
    stunAddress: config.stunAddress,
    dataDir: resolvePath(config.dataDir, loaded, surroundings) ?? dataDir(host, context),
    cidr4: config.meshCidr,
    certificate: certificateOf(loaded, surroundings),
  };
}

function certificateOf(
  loaded: LoadedConfig<CoordinatorConfig>,
  surroundings: Surroundings,
): CertificateFiles | null {
  const certificatePath = resolvePath(loaded.config.certificate, loaded, surroundings);
  const keyPath = resolvePath(loaded.config.certificateKey, loaded, surroundings);
  if (certificatePath !== null && keyPath !== null) return { certificatePath, keyPath };
  if (certificatePath === null && keyPath === null) return null;
  const missing = keyPath === null ? "certificate_key" : "certificate";
  throw new MeshError("config-invalid", `Cannot use the certificate: ${missing} is not set`, {
    hint: "Give both, by --cert and --key or in the configuration file",
  });
}

function tokenOf(
  { config, ...loaded }: LoadedConfig<PeerConfig>,
  surroundings: Surroundings,
): string | null {
  if (config.authToken !== null && config.authTokenFile !== null) {
    throw new MeshError("config-invalid", "Cannot choose a token: one is given, and a file too", {
      hint: "Give either auth_token (--token) or auth_token_file (--token-file)",
    });
  }
  const path = resolvePath(config.authTokenFile, loaded, surroundings);
  return path === null ? config.authToken : surroundings.files.readSecret(path);
}

function wireguardPeer(
  { presharedKey, presharedKeyFile, ...peer }: WireguardPeerConfig,
  loaded: { readonly base: string },
  surroundings: Surroundings,
): WireguardPeerOptions {
  const path = resolvePath(presharedKeyFile, loaded, surroundings);
  if (path === null) return { ...peer, presharedKey };
  const text = surroundings.files.readSecret(path);
  try {
    const key = fromBase64(text);
    if (key.length === 32) return { ...peer, presharedKey: key };
  } catch {
    // Reported below, like a key of another length.
  }
  throw new MeshError("config-invalid", `Cannot use the preshared key in ${path}: it is no key`, {
    hint: "`wg genpsk` makes one: 32 bytes in base64",
  });
}

/** Paths in a file start at the file; `~` is the user's home. */
function resolvePath(
  path: string | null,
  loaded: { readonly base: string },
  { host }: Surroundings,
): string | null {
  return path === null ? null : absolutePath(host, path, loaded.base);
}
