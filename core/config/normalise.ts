/**
 * Turns validated settings, as people write them, into what the program uses.
 * @module
 */
import { fromBase64 } from "../bytes.ts";
import { assert } from "../assert.ts";
import { parseOffer } from "../exit/offers.ts";
import { canonicalIp, formatPrefix, parsePrefix } from "../ip.ts";
import type {
  CoordinatorConfig,
  ExitsConfig,
  ListenConfig,
  PathsConfig,
  PeerConfig,
  ServerConfig,
  WireguardPeerConfig,
} from "./config.ts";
import { normaliseFilter } from "./filter_fields.ts";
import { PATH_KINDS } from "../path/address.ts";
import type { PeerFile, ServerFile } from "./schema.ts";
import type { Path } from "./source.ts";
import { parseCoordinatorUrl, parseHost, parseListen } from "./units.ts";

/** More would delay a new name longer than the mesh promises. */
const MAX_DNS_TTL_SECONDS = 5;

const DEFAULT_MTU = 1420;

type CoordinatorFile = NonNullable<PeerFile["coordinator"]>;

/**
 * @param file A tree that {@link PeerFile} accepted, without old spellings.
 * @param where Names the place of a value.
 */
export function normalisePeer(file: PeerFile, where: (path: Path) => string): PeerConfig {
  const urls = [...(file.server === undefined ? [] : [file.server]), ...file.servers];
  return {
    name: file.name ?? null,
    servers: [...new Set(urls.map(coordinatorUrl))],
    authToken: file.auth_token?.trim() ?? null,
    authTokenFile: file.auth_token_file ?? null,
    identity: file.identity ?? null,
    stateDir: file.state_dir ?? null,
    controlSocket: file.control_socket ?? null,
    udpPort: file.udp_port,
    interfaceName: file.tun?.name ?? null,
    mtu: file.tun?.mtu ?? DEFAULT_MTU,
    dataPlane: {
      aead: file.data_plane?.aead ?? "auto",
      workers: file.data_plane?.workers ?? null,
      disabled: [...new Set(file.data_plane?.disable ?? [])],
    },
    paths: paths(file),
    dns: {
      isEnabled: file.dns?.enabled ?? true,
      listen: file.dns?.listen === undefined ? null : parsed(parseListen(file.dns.listen)),
      ttlSeconds: Math.min(file.dns?.cache_ttl ?? MAX_DNS_TTL_SECONDS, MAX_DNS_TTL_SECONDS),
      aliases: [...new Set(file.dns?.aliases ?? [])],
    },
    wireguardPeers: file.wireguard_peers.map(wireguardPeer),
    filter: normaliseFilter(file.filter, where),
    metricsPort: file.metrics_enabled ? file.metrics_port : null,
    exits: exits(file),
    logLevel: file.log_level,
    coordinator: normaliseCoordinator(file.coordinator, file.coordinator?.enabled ?? false),
  };
}

/**
 * @param file A tree that {@link ServerFile} accepted, without old spellings.
 * @param where Names the place of a value.
 */
export function normaliseServer(file: ServerFile, where: (path: Path) => string): ServerConfig {
  const whereInside = (path: Path) => where(["join_mesh", ...path]);
  return {
    coordinator: normaliseCoordinator(file, true),
    joinMesh: file.join_mesh ? normalisePeer(file.join_mesh, whereInside) : null,
    logLevel: file.log_level,
  };
}

function normaliseCoordinator(
  file: Partial<Omit<CoordinatorFile, "enabled">> | undefined,
  isEnabled: boolean,
): CoordinatorConfig {
  return {
    isEnabled,
    listen: parsed<ListenConfig>(parseListen(file?.listen ?? ":8443")),
    publicHosts: [...new Set((file?.public_hosts ?? []).map((host) => parsed(parseHost(host))))],
    stunPort: file?.stun_port ?? 3478,
    stunAddress: file?.stun_address === undefined ? null : canonicalIp(file.stun_address),
    dataDir: file?.data_dir ?? null,
    meshCidr: file?.mesh_cidr === undefined
      ? null
      : formatPrefix(parsed(parsePrefix(file.mesh_cidr))),
    certificate: file?.certificate ?? null,
    certificateKey: file?.certificate_key ?? null,
  };
}

function paths(file: PeerFile): PathsConfig {
  const { order = PATH_KINDS, exclude = [], peers = [] } = file.transports ?? {};
  return {
    relay: file.relay,
    sshPort: file.ssh_port,
    portMapping: file.port_mapping,
    proxy: file.proxy ?? null,
    preference: { order, exclude },
    peerPreferences: peers.map((peer) => ({
      name: peer.name,
      order: peer.order ?? order,
      exclude: peer.exclude ?? exclude,
    })),
  };
}

function exits(file: PeerFile): ExitsConfig {
  const named = [file.exit_node ?? []].flat().flatMap((text) => text.split(","));
  return {
    use: {
      exits: [...new Set(named.map((name) => name.trim()).filter((name) => name !== ""))],
      onLoss: file.on_exit_loss,
      lan: file.exit_lan,
    },
    offer: {
      isExit: file.allow_exit_traffic,
      routes: file.advertise_routes.map((text) => parsed(parseOffer(text))),
    },
  };
}

function wireguardPeer(file: PeerFile["wireguard_peers"][number]): WireguardPeerConfig {
  const keepalive = file.persistent_keepalive ?? 0;
  return {
    name: file.name,
    publicKey: fromBase64(file.public_key),
    presharedKey: file.preshared_key === undefined ? null : fromBase64(file.preshared_key),
    presharedKeyFile: file.preshared_key_file ?? null,
    allowedIps: file.allowed_ips.map((text) => formatPrefix(parsed(parsePrefix(text)))),
    endpoint: file.endpoint ?? null,
    persistentKeepaliveMs: keepalive === 0 ? null : keepalive * 1000,
  };
}

function coordinatorUrl(text: string): string {
  const url = parseCoordinatorUrl(text);
  assert(typeof url === "string", "the schema lets only coordinator URLs through");
  return url;
}

/** A value that the schema has already found to be well formed. */
function parsed<T>(value: T | null): T {
  assert(value !== null, "the schema lets only well-formed values through");
  return value;
}
