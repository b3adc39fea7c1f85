/**
 * The settings of a node, in the order in which a written file shows them.
 * @module
 */
import { z } from "zod";
import { MAX_WORKERS } from "../dataplane/layout.ts";
import { ACCELERATIONS, AEAD_CHOICES } from "../dataplane/settings.ts";
import { Alias, PeerName } from "../ids.ts";
import { PATH_KINDS } from "../path/address.ts";
import { ON_EXIT_LOSS } from "../exit/client_plan.ts";
import { MAX_OFFERED_ROUTES } from "../identity/record.ts";
import { LOG_LEVELS } from "./config.ts";
import * as field from "./fields.ts";
import { filterFields } from "./filter_fields.ts";

const off = field.unavailable;

/** One plain WireGuard peer. */
export const WireguardPeer = z.strictObject({
  name: PeerName.meta({ description: "Its mesh name, as if it were a node", example: "phone" }),
  public_key: field.wireguardKey().meta({
    description: "Its public key",
    example: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
  }),
  preshared_key: field.wireguardKey().optional().meta({
    description: "Key both sides hold, against quantum computers",
    example: "FpCyhws9cxwWoV4xELtfJvjJN+zQVRPISllRWgeopVE=",
    secret: true,
  }),
  preshared_key_file: field.path().optional().meta({
    description: "File that holds the preshared key",
    example: "/etc/tunnelmesh/phone.psk",
  }),
  allowed_ips: z.array(field.prefix()).min(1, "must name at least one range").meta({
    description: "Ranges that are routed to it and that it may send from",
    example: ["10.9.0.2/32"],
  }),
  endpoint: field.hostPort().optional().meta({
    description: "Where to reach it; without one it must call first",
    example: "vpn.example.com:51820",
  }),
  persistent_keepalive: z.int().min(0).max(65535).optional().meta({
    description: "Send something this often to keep NAT state; 0 is never",
    unit: "seconds",
    example: 25,
  }),
});

const tun = {
  name: field.interfaceName().optional().meta({
    description: "Name of the mesh interface",
    example: "tun-mesh0",
    whenAbsent: "tun-mesh0, or tun-CONTEXT in another context than default; numbered when in use",
  }),
  mtu: z.int().min(1280).max(9000).default(1420).meta({
    description: "Largest packet the mesh interface carries",
    unit: "bytes",
  }),
};

const dataPlane = {
  aead: z.enum(AEAD_CHOICES).default("auto").meta({
    description: "What seals packets; auto is the fastest that this machine has",
  }),
  workers: z.int().min(1).max(MAX_WORKERS).optional().meta({
    description: "Pairs of packet workers; each takes a processor and about 25 MB",
    example: 2,
    whenAbsent: "one for every four processors",
  }),
  disable: z.array(z.enum(ACCELERATIONS)).default([]).meta({
    description: `Accelerations to do without, of ${ACCELERATIONS.join(", ")}`,
    example: ["gso", "uso"],
  }),
};

const dns = {
  enabled: z.boolean().default(true).meta({
    description: "Answer mesh names and point the system's resolver here",
  }),
  listen: field.listen().optional().meta({
    description: "Where the resolver listens",
    example: "127.0.0.53:5353",
    whenAbsent: "port 53 of the node's mesh address",
  }),
  cache_ttl: z.int().min(0).max(86400).default(5).meta({
    description: "How long answers may be cached; more than 5 counts as 5",
    unit: "seconds",
  }),
  aliases: z.array(Alias).default([]).meta({
    description: "Further names of this node, unique in the mesh",
    example: ["www", "api.anna"],
  }),
};

const pathKind = z.enum(PATH_KINDS);
const order = z.array(pathKind).refine(isWithoutDoubles, "names a kind twice");
const exclude = z.array(pathKind).refine(isWithoutDoubles, "names a kind twice")
  .refine((kinds) => kinds.length < PATH_KINDS.length, "must leave a kind of path");

/** Which paths to use for one peer. */
const PeerTransports = z.strictObject({
  name: PeerName.meta({ description: "The peer", example: "nas" }),
  order: order.optional().meta({
    description: "Kinds of path, the most wanted first",
    example: ["relay", "udp"],
  }),
  exclude: exclude.optional().meta({ description: "Kinds never to use", example: ["relay"] }),
});

const transports = {
  order: order.default([...PATH_KINDS]).meta({
    description: "Kinds of path, the most wanted first; those left out come last",
  }),
  exclude: exclude.default([]).meta({
    description: `Kinds of path never to use, of ${PATH_KINDS.join(", ")}`,
    example: ["ssh"],
  }),
  peers: z.array(PeerTransports).default([]).meta({
    description: "The same for single peers",
  }),
};

const WIREGUARD = "the WireGuard concentrator";
const LOCATION = "the map of nodes";

const location = {
  latitude: off(z.number().min(-90).max(90).optional(), LOCATION, "Degrees north"),
  longitude: off(z.number().min(-180).max(180).optional(), LOCATION, "Degrees east"),
  city: off(z.string().optional(), LOCATION, "City"),
  country: off(z.string().optional(), LOCATION, "Country"),
};

const wireguard = {
  enabled: off(z.boolean().default(false), WIREGUARD, "Let stock clients in through this node"),
  listen_port: off(field.port().default(51820), WIREGUARD, "UDP port for stock clients"),
  endpoint: off(z.string().optional(), WIREGUARD, "HOST:PORT written into clients' files"),
  interface: off(z.string().default("wg0"), WIREGUARD, "Name of its interface"),
  mtu: off(z.int().default(1420), WIREGUARD, "MTU of its interface, in bytes"),
  data_dir: off(field.path().optional(), WIREGUARD, "Where it keeps clients"),
  sync_interval: off(field.duration().default("30s"), WIREGUARD, "How often clients are synced"),
};

const LOKI = "shipping logs to Loki";
const loki = {
  enabled: off(z.boolean().default(false), LOKI, "Ship logs"),
  url: off(z.string().optional(), LOKI, "Loki's URL"),
  batch_size: off(z.int().default(100), LOKI, "Lines to send together"),
  flush_interval: off(field.duration().default("5s"), LOKI, "Longest wait before sending"),
};

const DOCKER = "the Docker view";
const docker = {
  socket: off(
    z.string().default("unix:///var/run/docker.sock"),
    DOCKER,
    "Docker's API, unix:// or tcp://",
  ),
  auto_port_forward: off(z.boolean().default(false), DOCKER, "Open ports that containers publish"),
};

/** A node's settings but for `coordinator`. */
export const peerFields = {
  name: PeerName.optional().meta({
    description: "This node's name in the mesh; a clash gets -2",
    example: "anna",
    whenAbsent: "the name it had before, else the host's name",
  }),
  server: field.coordinatorUrl().optional().meta({
    description: "Coordinator to register with",
    example: "https://mesh.example.com:8443",
  }),
  servers: z.array(field.coordinatorUrl()).default([]).meta({
    description: "Further coordinators, tried in order",
    example: ["https://b.example.com:8443"],
  }),
  auth_token: field.text().optional().meta({
    description: "Join token; needed once, for an identity the mesh does not know",
    example: "tm2_...",
    secret: true,
    env: "TUNNELMESH_TOKEN",
  }),
  auth_token_file: field.path().optional().meta({
    description: "File that holds the join token",
    example: "/etc/tunnelmesh/token",
    env: "TUNNELMESH_TOKEN_FILE",
  }),
  identity: field.path().optional().meta({
    description: "ed25519 key in OpenSSH format; one is made when there is none",
    example: "~/.ssh/id_ed25519",
    whenAbsent: "~/.tunnelmesh/id_ed25519, or id_ed25519-CONTEXT in another context than default",
  }),
  private_key: field.path().optional().meta({
    description: "Old spelling of identity",
    aliasFor: "identity",
  }),
  udp_port: field.port().default(51820).meta({
    description: "UDP port for encrypted traffic; a random one when it is taken",
  }),
  relay: z.boolean().default(false).meta({
    description: "Pass datagrams of other members on, sealed for them, by UDP",
  }),
  port_mapping: z.boolean().default(true).meta({
    description:
      "Ask the router for a port, and for a pinhole in its IPv6 firewall, by PCP, NAT-PMP or UPnP",
  }),
  proxy: field.proxy().optional().meta({
    description: "HTTP proxy to reach coordinators and SSH links through",
    example: "http://proxy.example.com:3128",
    secret: true,
    whenAbsent: "that of the environment, HTTPS_PROXY",
  }),
  transports: field.part(transports, "Which kinds of path to use"),
  tun: field.part(tun, "The mesh interface"),
  data_plane: field.part(dataPlane, "How packets are carried"),
  dns: field.part(dns, "Mesh names"),
  wireguard_peers: z.array(WireguardPeer).default([]).meta({
    description: "Peers that speak plain WireGuard and no coordinator manages; `filter.rules` " +
      "with source_peer say what they may reach here beside ping",
  }),
  log_level: z.enum(LOG_LEVELS).default("info").meta({ description: "How much is logged" }),
  state_dir: field.path().optional().meta({
    description: "Where the node keeps its state",
    example: "/var/lib/tunnelmesh/default",
    whenAbsent: "/var/lib/tunnelmesh/CONTEXT as root, else ~/.tunnelmesh/state/CONTEXT",
  }),
  control_socket: field.path().optional().meta({
    description: "Unix socket of the daemon's local API",
    example: "/run/tunnelmesh/default.sock",
    whenAbsent: "/run/tunnelmesh/CONTEXT.sock as root, else daemon.sock in the state directory",
  }),
  heartbeat_interval: off(
    field.duration().default("15s"),
    "another heartbeat interval than 15s",
    "How often an idle connection to the coordinator is probed",
  ),
  domain_suffix: z.enum([".tunnelmesh", ".mesh", ".tm", "tunnelmesh", "mesh", "tm"])
    .default(".tunnelmesh").meta({
      description: "Suffix of mesh names; all three always resolve",
    }),
  ssh_port: z.int().min(0).max(65535).default(2222).meta({
    description:
      "TCP port where peers may connect by SSH when UDP is blocked, a random one when it is " +
      "taken; 0 is none",
  }),
  exit_node: z.union([field.text(), z.array(field.text())]).optional().meta({
    description: "Peers that traffic to the internet goes through, the most wanted first",
    example: "nas",
    whenAbsent: "none: it goes its usual way",
  }),
  exit_peer: z.string().optional().meta({
    description: "Old spelling of exit_node",
    aliasFor: "exit_node",
  }),
  on_exit_loss: z.enum(ON_EXIT_LOSS).default("block").meta({
    description: "What happens to that traffic when the exit is lost: block holds it back, next " +
      "takes the next exit in the list, direct lets it go past the mesh",
  }),
  exit_lan: z.boolean().default(false).meta({
    description: "Reach networks that this machine stands in directly while an exit is in use",
  }),
  allow_exit_traffic: z.boolean().default(false).meta({
    description: "Let peers reach the internet through this node, as far as the policy lets them",
  }),
  advertise_routes: z.array(field.offeredRoute()).max(MAX_OFFERED_ROUTES).default([]).meta({
    description: "Networks behind this node that peers may reach through it; `NETWORK as OTHER` " +
      "where the mesh knows one by another range of the same length",
    example: ["192.168.7.0/24", "192.168.1.0/24 as 10.77.1.0/24"],
  }),
  filter: field.part(filterFields, "Which packets may pass"),
  geolocation: field.part(location, "Where the node is"),
  location: field.part(location, "Old spelling of geolocation"),
  wireguard: field.part(wireguard, "Concentrator for stock WireGuard clients"),
  metrics_enabled: z.boolean().default(false).meta({
    description: "Serve Prometheus metrics, on 127.0.0.1 and to peers that the filter lets in",
  }),
  metrics_port: field.port().default(9444).meta({ description: "TCP port of the metrics" }),
  loki: field.part(loki, "Shipping logs to Loki"),
  docker: field.part(docker, "Docker on this machine"),
};

function isWithoutDoubles(kinds: readonly string[]): boolean {
  return new Set(kinds).size === kinds.length;
}
