/**
 * What the daemon answers on its local socket: the facts behind `status`, `peers`, `ping`.
 *
 * HTTP over a unix socket, JSON bodies. Every measured fact carries its age, so that an old figure
 * cannot pass for a current one.
 * @module
 */
import type { Acceleration } from "../dataplane/settings.ts";
import type { NodeLinks } from "../control/messages.ts";
import type { PeerId } from "../ids.ts";
import type { Endpoint, Ip } from "../ip.ts";
import type { PathAddress, PathKind } from "../path/address.ts";
import type { NatReport } from "../path/nat.ts";
import type { PathPreference } from "../path/peer_paths.ts";
import type { FilterStatus } from "./filter_types.ts";

/** A measured value and how many milliseconds ago it was measured. */
export interface Measured<T> {
  readonly value: T;
  readonly ageMs: number;
}

/** How datagrams reach a peer at present. */
export type LinkKind = PathKind | "none";

/** State of the session with a peer. */
export type SessionState = "up" | "handshaking" | "down" | "unreachable";

/** One peer as this node sees it. */
export interface PeerReport {
  readonly id: PeerId | null;
  readonly name: string;
  readonly aliases: readonly string[];
  readonly addresses: readonly Ip[];
  readonly wireguardKey: string;
  readonly isCoordinator: boolean;
  /** What the coordinator last said; null for a peer that it does not manage. */
  readonly online: boolean | null;
  readonly session: SessionState;
  readonly link: LinkKind;
  /** Where datagrams go: an endpoint, or the name of a link. */
  readonly endpoint: PathAddress | null;
  /** Largest packet that passes to the peer, in bytes; null when the interface's MTU does. */
  readonly mtu: number | null;
  readonly candidates: readonly Endpoint[];
  /** Milliseconds; from the last handshake or ping, whichever is newer. */
  readonly rtt: Measured<number> | null;
  /** Share of inbound datagrams lost on the present key, 0 to 1, from gaps in their counters. */
  readonly loss: Measured<number> | null;
  readonly lastHandshakeAgeMs: number | null;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly packetsSent: number;
  readonly packetsReceived: number;
  /** What both ends agreed on in the present session. */
  readonly features: readonly Acceleration[];
}

/** The coordinator connection. */
export interface CoordinatorReport {
  readonly url: string;
  readonly state: "connected" | "connecting" | "disconnected" | "refused";
  /** Whether it follows another one, so that nothing can be added to the mesh's log there. */
  readonly isFollower: boolean;
  /** How long it has been in that state. */
  readonly sinceMs: number;
  readonly rtt: Measured<number> | null;
  /** Why it is not connected, or null. */
  readonly lastError: string | null;
  /** This machine's clock minus the coordinator's, in milliseconds. */
  readonly clockOffsetMs: number | null;
}

/** `GET /v1/status`. */
export interface StatusReport {
  readonly version: string;
  readonly pid: number;
  readonly uptimeMs: number;
  readonly context: string;
  readonly id: PeerId;
  readonly name: string;
  readonly addresses: readonly Ip[];
  readonly meshId: string;
  readonly cidr4: string;
  readonly prefix6: string;
  readonly isAdmin: boolean;
  readonly interfaceName: string;
  readonly mtu: number;
  readonly udpPort: number;
  /** Which AEAD implementation seals packets: `libcrypto` or `wasm`. */
  readonly aead: string;
  /** Accelerations in use at interface and socket. */
  readonly offloads: readonly Acceleration[];
  readonly coordinator: CoordinatorReport;
  readonly dns: DnsReport;
  readonly filter: FilterStatus;
  readonly peers: readonly PeerReport[];
  /** Packets that went no further, by reason; only reasons that occurred. */
  readonly drops: Readonly<Record<string, number>>;
  /** Things the user should know, each one sentence, e.g. a clock that is an hour off. */
  readonly warnings: readonly string[];
}

/** How names reach the daemon's resolver. */
export interface DnsReport {
  /** Which mechanism carries mesh names to the resolver. */
  readonly mode: "resolved" | "resolv.conf" | "shared" | "off";
  readonly listen: string | null;
  readonly upstreams: readonly string[];
  /** Repairs of the system's settings since the start, newest last, at most 20. */
  readonly repairs: readonly { readonly ageMs: number; readonly what: string }[];
}

/** `GET /v1/resolve?name=`. */
export interface ResolveReport {
  readonly name: string;
  readonly addresses: readonly Ip[];
  readonly peer: string | null;
}

/** One line of the `POST /v1/ping` answer (JSON lines): `{ peer, count, intervalMs, timeoutMs }`. */
export interface PingReport {
  readonly sequence: number;
  readonly peer: string;
  readonly address: Ip;
  /** Null when no reply came in time. */
  readonly rttMs: number | null;
  readonly link: LinkKind;
  readonly endpoint: PathAddress | null;
}

/** One path to a peer, tried or in use. */
export interface PathReport {
  readonly path: PathAddress;
  readonly kind: PathKind;
  readonly state: "trying" | "up" | "failed";
  /** In use, or used beside it while that one is doubted. */
  readonly role: "current" | "standby" | "none";
  /** Found by datagrams that came from there, not named by anyone. */
  readonly isReflexive: boolean;
  readonly rttMs: number | null;
  readonly jitterMs: number | null;
  /** Share of the last pings without an answer, 0 to 1; null before there were any. */
  readonly loss: number | null;
  /** Largest IP packet that passes, headers included; null where that is not known. */
  readonly mtu: number | null;
  readonly pingsSent: number;
  readonly pongsReceived: number;
  readonly lastAnswerAgeMs: number | null;
  /** Why it does not work, or null. */
  readonly lastError: string | null;
}

/** What the router was asked for. */
export interface PortMapReport {
  readonly state: "none" | "searching" | "mapped" | "failed";
  readonly protocol: string | null;
  readonly external: Endpoint | null;
  readonly gateway: Ip | null;
  readonly lastError: string | null;
  readonly tried: readonly { readonly protocol: string; readonly result: string }[];
}

/** What the router's IPv6 firewall was asked for. */
export interface PinholeReport {
  readonly state: "none" | "searching" | "open" | "failed";
  readonly protocol: string | null;
  /** Where datagrams from anybody get in. */
  readonly endpoint: Endpoint | null;
  readonly gateway: Ip | null;
  readonly lastError: string | null;
  readonly tried: readonly { readonly protocol: string; readonly result: string }[];
}

/** `GET /v1/netcheck`: what is between this node and the internet. */
export interface NetcheckReport {
  /** The machine's own addresses with the node's UDP port. */
  readonly local: readonly Endpoint[];
  readonly nat: NatReport;
  /** {@link nat} in a sentence. */
  readonly natText: string;
  /** Null where port mapping is switched off. */
  readonly portMap: PortMapReport | null;
  /** Null where port mapping is switched off. */
  readonly pinhole: PinholeReport | null;
  /** Where peers saw this node. */
  readonly observed: readonly Endpoint[];
  readonly links: NodeLinks;
  readonly relays: readonly {
    readonly name: string;
    readonly isUp: boolean;
    readonly rttMs: number | null;
    readonly lastError: string | null;
  }[];
}

/** `GET /v1/why?peer=`: why a peer is reached as it is. */
export interface WhyReport {
  readonly peer: string;
  readonly address: Ip;
  readonly online: boolean | null;
  readonly session: SessionState;
  readonly current: PathAddress | null;
  readonly kind: LinkKind;
  /** One sentence: how it is reached and why so. */
  readonly verdict: string;
  /** What would make it direct, or better; the most useful first. */
  readonly advice: readonly string[];
  /** The best first. */
  readonly paths: readonly PathReport[];
  readonly own: NetcheckReport;
  /** As the peer told; null before it did. */
  readonly peerNat: NatReport | null;
  readonly peerNatText: string | null;
  readonly peerEndpoints: readonly Endpoint[];
  readonly preference: PathPreference;
}

/** One finding of `GET /v1/dns/doctor`. */
export interface DnsFinding {
  readonly level: "ok" | "warning" | "error";
  /** What was found, one sentence. */
  readonly what: string;
  /** The program or file responsible, when it could be told. */
  readonly culprit: string | null;
  /** What to do next, or null. */
  readonly hint: string | null;
}
