/**
 * The settings of a coordinator: `coordinator.*` of a peer file, the top level of a server file.
 * @module
 */
import { z } from "zod";
import * as field from "./fields.ts";

const off = field.unavailable;
const PANEL = "the admin panel";
const RELAY = "the relay";
const S3 = "object storage";
const GOSSIP = "the old gossip between coordinators";
const MONITORING = "the monitoring proxy";
const WIREGUARD = "the WireGuard concentrator";
const FILTER = "filter rules of the mesh outside its policy";

function days(fallback: number, description: string) {
  return z.int().min(0).default(fallback).meta({ description, unit: "days", unavailable: S3 });
}

const monitoring = {
  prometheus_url: off(z.string().optional(), MONITORING, "Prometheus behind the panel"),
  grafana_url: off(z.string().optional(), MONITORING, "Grafana behind the panel"),
};

const admin = {
  enabled: off(z.boolean().default(false), PANEL, "Serve the panel"),
  port: off(field.port().default(443), PANEL, "Port of the panel"),
  bind_address: off(z.string().optional(), PANEL, "Address of the panel"),
  token: off(z.string().optional(), PANEL, "Password of the panel"),
  monitoring: field.part(monitoring, "Monitoring behind the panel"),
};

const relay = {
  enabled: off(z.boolean().default(false), RELAY, "Relay between nodes without a direct path"),
  pair_timeout: off(field.duration().default("60s"), RELAY, "Wait for the other side"),
};

const meshFilter = {
  default_deny: off(z.boolean().default(false), FILTER, "The policy denies what it does not allow"),
  rules: off(z.array(z.looseObject({})).default([]), FILTER, "Rules"),
};

const versionRetention = {
  recent_days: days(7, "Keep every version this long"),
  weekly_weeks: off(z.int().min(0).default(4), S3, "Weeks with one version each after that"),
  monthly_months: off(z.int().min(0).default(6), S3, "Months with one version each after that"),
};

const s3 = {
  enabled: off(z.boolean().default(false), S3, "Serve buckets and shares"),
  port: off(field.port().default(9000), S3, "Port of the S3 API"),
  data_dir: off(field.path().optional(), S3, "Where objects are kept"),
  max_size: off(field.size().default("1Gi"), S3, "Most that all objects may take"),
  object_expiry_days: days(9125, "Age at which objects expire"),
  share_expiry_days: days(365, "Age at which shares expire"),
  recycle_bin_retention_days: days(90, "How long deleted objects can be restored"),
  version_retention_days: days(30, "How long old versions are kept"),
  max_versions_per_object: off(z.int().min(1).default(10), S3, "Most versions of one object"),
  version_retention: field.part(versionRetention, "Which old versions are kept"),
  default_share_quota: off(field.size().default("10Mi"), S3, "Quota of a node's own share"),
};

const wireguardServer = {
  enabled: off(z.boolean().default(false), WIREGUARD, "Manage stock clients"),
  endpoint: off(z.string().optional(), WIREGUARD, "HOST:PORT written into clients' files"),
};

/** A coordinator's settings, without `enabled`. */
export const coordinatorFields = {
  listen: field.listen().default(":8443").meta({
    description: "Where the HTTPS API listens; `up` of a new mesh takes the next free port",
    example: "0.0.0.0:8443",
  }),
  public_hosts: z.array(field.host()).default([]).meta({
    description: "Names and addresses that nodes reach it by, for its certificate",
    example: ["mesh.example.com"],
    whenAbsent: "the machine's own addresses",
  }),
  stun_port: z.int("must be a whole number").min(1, "must be a port from 1 to 65534")
    .max(65_534, "must be a port from 1 to 65534").default(3478).meta({
      description: "UDP port where nodes learn how they are seen (STUN); the next one is used too",
      example: 3478,
    }),
  stun_address: field.address().optional().meta({
    description:
      "Second address of this machine that the internet reaches, which tells nodes more " +
      "about their NAT",
    example: "203.0.113.2",
  }),
  data_dir: field.path().optional().meta({
    description: "Where the coordinator keeps its database and keys",
    example: "/var/lib/tunnelmesh/coordinator",
    whenAbsent: "/var/lib/tunnelmesh/coordinator as root, else ~/.tunnelmesh/coordinator; " +
      "folder coordinator in the state directory of another context than default",
  }),
  mesh_cidr: field.meshCidr().optional().meta({
    description: "IPv4 range of the mesh, fixed when it is made",
    example: "172.30.0.0/16",
    whenAbsent: "172.30.0.0/16, or another where that clashes with a local route",
  }),
  certificate: field.path().optional().meta({
    description: "PEM file of a public certificate, to use instead of one by the mesh's CA",
    example: "/etc/letsencrypt/live/mesh.example.com/fullchain.pem",
  }),
  certificate_key: field.path().optional().meta({
    description: "PEM file of that certificate's key",
    example: "/etc/letsencrypt/live/mesh.example.com/privkey.pem",
  }),
  heartbeat_interval: off(
    field.duration().default("15s"),
    "another heartbeat interval than 15s",
    "How often nodes probe their connection to it",
  ),
  user_expiration_days: z.int().min(0).default(270).meta({
    description: "Age at which users expire",
    unit: "days",
    unavailable: "expiry of users",
  }),
  admin_peers: off(
    z.array(z.string()).default([]),
    "administrators named in a file",
    "Administrators; the first node of a mesh is one",
  ),
  locations: off(z.boolean().default(false), "the map of nodes", "Locate nodes on a map"),
  memberlist_seeds: off(z.array(z.string()).default([]), GOSSIP, "Other coordinators"),
  memberlist_bind_addr: off(z.string().default(":7946"), GOSSIP, "Its address"),
  monitoring: field.part(monitoring, "Monitoring behind the panel"),
  admin: field.part(admin, "The admin panel"),
  relay: field.part(relay, "The relay"),
  wireguard_server: field.part(wireguardServer, "Stock WireGuard clients"),
  s3: field.part(s3, "Object storage"),
  filter: field.part(meshFilter, "Which packets may pass in the whole mesh"),
  service_ports: off(z.array(field.port()).default([]), FILTER, "Ports open on every node"),
  landing_page: off(field.path().optional(), PANEL, "HTML file served at /"),
};
