/**
 * What a bug report is made of, full of what must not be in it, for tests.
 * @module
 */
import { UNKNOWN_NAT } from "../path/nat.ts";
import { DEFAULT_PREFERENCE } from "../path/peer_paths.ts";
import type {
  NetcheckReport,
  PathReport,
  PeerReport,
  StatusReport,
  WhyReport,
} from "./api_types.ts";
import type { BugReportFacts } from "./bugreport.ts";

/** Each tells who or where, and is somewhere in {@link fakeFacts}. */
export const TELLTALES = [
  "kitchen",
  "attic",
  "0011223344556677",
  "8899aabbccddeeff",
  "203.0.113.77",
  "2a00:1450",
  "192.168.77",
  "172.30.5",
  "corp.com",
  "Kx8vQ3m1",
  "eth77",
  "meshid77",
];

const PATH: PathReport = {
  path: "203.0.113.77:4000",
  kind: "udp",
  state: "failed",
  role: "none",
  isReflexive: false,
  rttMs: null,
  jitterMs: null,
  loss: 1,
  mtu: null,
  pingsSent: 6,
  pongsReceived: 0,
  lastAnswerAgeMs: null,
  lastError: "Cannot reach attic at 203.0.113.77: no route",
};

const NETCHECK: NetcheckReport = {
  local: ["192.168.77.2:51820", "[2a00:1450::77]:51820"],
  nat: { ...UNKNOWN_NAT, udp: true, mapped: ["203.0.113.77:1024"] },
  natText: "unknown",
  portMap: {
    state: "failed",
    protocol: "upnp",
    external: "203.0.113.77:51820",
    gateway: "192.168.77.1",
    lastError: "192.168.77.1 refuses",
    tried: [{ protocol: "pcp", result: "no answer from 192.168.77.1" }],
  },
  pinhole: {
    state: "open",
    protocol: "pcp",
    endpoint: "[2a00:1450::77]:51820",
    gateway: "fe80::1",
    lastError: null,
    tried: [{ protocol: "pcp", result: "open" }],
  },
  observed: ["203.0.113.77:1025"],
  links: { relays: true, sshPort: 22 },
  relays: [{ name: "mesh.corp.com:8443", isUp: false, rttMs: null, lastError: "mesh.corp.com?" }],
};

const WHY: WhyReport = {
  peer: "attic",
  address: "172.30.5.9",
  online: true,
  session: "up",
  current: "relay:mesh.corp.com:8443",
  kind: "relay",
  verdict: "attic is reached through a relay",
  advice: ["Let UDP out of this network, to any port"],
  paths: [PATH],
  own: NETCHECK,
  peerNat: NETCHECK.nat,
  peerNatText: "unknown",
  peerEndpoints: ["[2a00:1450::78]:51820"],
  preference: DEFAULT_PREFERENCE,
};

const PEER: PeerReport = {
  id: "8899aabbccddeeff",
  name: "attic",
  aliases: ["files.attic"],
  addresses: ["172.30.5.9"],
  wireguardKey: `Kx8vQ3m1${"A".repeat(35)}=`,
  isCoordinator: false,
  online: true,
  session: "up",
  link: "relay",
  endpoint: "relay:mesh.corp.com:8443",
  mtu: null,
  candidates: ["203.0.113.77:4000"],
  rtt: null,
  loss: null,
  lastHandshakeAgeMs: 5,
  bytesSent: 1,
  bytesReceived: 1,
  packetsSent: 1,
  packetsReceived: 1,
  features: [],
};

const STATUS: StatusReport = {
  version: "1.2.3",
  pid: 1,
  uptimeMs: 5_000.5,
  context: "default",
  id: "0011223344556677",
  name: "kitchen",
  addresses: ["172.30.5.1"],
  meshId: "meshid77",
  cidr4: "172.30.0.0/16",
  prefix6: "fd00::/48",
  isAdmin: true,
  interfaceName: "eth77",
  mtu: 1420,
  udpPort: 51820,
  aead: "libcrypto",
  offloads: ["gso"],
  coordinator: {
    url: "https://mesh.corp.com:8443",
    state: "connected",
    isFollower: false,
    sinceMs: 1,
    rtt: null,
    lastError: null,
    clockOffsetMs: null,
  },
  dns: { mode: "off", listen: null, upstreams: ["192.168.77.1"], repairs: [] },
  filter: {
    defaultAction: "deny",
    problem: null,
    layers: { coordinator: 2, config: 0, temporary: 0, service: 1 },
    hits: { "kitchen": 12 },
  },
  peers: [PEER],
  drops: { "no-route": 3 },
  warnings: ["Mesh names do not work: kitchen cannot bind 172.30.5.1:53"],
};

/** Of a node "kitchen" that reaches "attic" by a relay. */
export function fakeFacts(): BugReportFacts {
  return { version: "1.2.3", status: STATUS, netcheck: NETCHECK, why: [WHY], wallTime: 0 };
}
