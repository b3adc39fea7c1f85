/**
 * The facts behind `why`: every path to a peer, and what would make a better one.
 * @module
 */
import type { Millis } from "../machine.ts";
import type { NodeMachine, NodePeer } from "../node.ts";
import { kindOf } from "../path/address.ts";
import { mtuOf } from "../path/mtu.ts";
import { canBeDirect, describeNat, type NatReport } from "../path/nat.ts";
import type { Path } from "../path/path.ts";
import { DEFAULT_PREFERENCE, type PeerPaths } from "../path/peer_paths.ts";
import { lossOf } from "../path/quality.ts";
import type { LinkKind, NetcheckReport, PathReport, WhyReport } from "./api_types.ts";

/** Why a peer is reached as it is. */
export function reportWhy(
  node: NodeMachine,
  peer: NodePeer,
  own: NetcheckReport,
  now: Millis,
): WhyReport {
  const paths = node.paths.pathsOf(peer.slot);
  const offer = node.paths.offerOf(peer.slot);
  const session = node.device.report(peer.slot);
  const state = session?.state ?? "down";
  const current = (state === "up" ? paths?.current ?? session?.endpoint : null) ?? null;
  const kind: LinkKind = current === null ? "none" : kindOf(current);
  const peerNat = offer?.nat ?? null;
  const facts = { kind, own, peerNat, paths };
  const online = peer.id === null ? null : node.meshPeer(peer.id)?.online ?? null;
  return {
    peer: peer.name,
    address: peer.addresses[0] ?? "",
    online,
    session: state,
    current,
    kind,
    verdict: verdictOf(facts, { name: peer.name, state, online, current }),
    advice: kind === "udp" ? [] : [...adviceFor(facts)],
    paths: reportPaths(paths, now),
    own,
    peerNat,
    peerNatText: peerNat && describeNat(peerNat),
    peerEndpoints: offer?.endpoints ?? session?.candidates ?? [],
    preference: paths?.preference ?? DEFAULT_PREFERENCE,
  };
}

/** All paths of a peer, the one in use first, then those that work. */
export function reportPaths(paths: PeerPaths | null, now: Millis): PathReport[] {
  if (!paths) return [];
  const order = { up: 0, trying: 1, failed: 2 };
  const all = [...paths.paths.values()].sort((a, b) =>
    Number(b.address === paths.current) - Number(a.address === paths.current) ||
    order[a.state] - order[b.state] || paths.cost(a) - paths.cost(b)
  );
  return all.map((path) => reportPath(path, paths, now));
}

function reportPath(path: Path, { current, standby }: PeerPaths, now: Millis): PathReport {
  const { address, quality, mtu, lastAnswerAt } = path;
  return {
    path: address,
    kind: kindOf(address),
    state: path.state,
    role: address === current ? "current" : address === standby ? "standby" : "none",
    isReflexive: path.isReflexive,
    rttMs: quality.rttMs,
    jitterMs: quality.rttMs === null ? null : quality.jitterMs,
    loss: quality.outcomes === 0 ? null : lossOf(quality),
    mtu: mtu && mtu.confirmed !== null ? mtuOf(mtu) : null,
    pingsSent: path.pingsSent,
    pongsReceived: path.pongsReceived,
    lastAnswerAgeMs: lastAnswerAt === null ? null : now - lastAnswerAt,
    lastError: path.lastError,
  };
}

interface Facts {
  readonly kind: LinkKind;
  readonly own: NetcheckReport;
  readonly peerNat: NatReport | null;
  readonly paths: PeerPaths | null;
}

const KIND_TEXT: Record<LinkKind, string> = {
  udp: "directly by UDP",
  ssh: "directly by SSH",
  node: "through another node",
  relay: "through a relay",
  none: "not at all",
};

function verdictOf(
  facts: Facts,
  peer: {
    readonly name: string;
    readonly state: string;
    readonly online: boolean | null;
    readonly current: string | null;
  },
): string {
  const { kind, own, peerNat } = facts;
  if (peer.state !== "up") {
    if (peer.online === false) return `${peer.name} is offline, as far as the coordinator knows`;
    if (peer.state === "down") return `${peer.name} is idle: the first packet makes a session`;
    return `${peer.name} does not answer handshakes on any path`;
  }
  const how = `${peer.name} is reached ${KIND_TEXT[kind]}`;
  if (kind === "udp") return how;
  if (facts.paths?.preference.exclude.includes("udp")) return `${how}: UDP is excluded for it`;
  if (!own.nat.udp && own.portMap?.state !== "mapped" && hasNoUdp(facts)) {
    return `${how}: no UDP answer ever came to this node, so a firewall here may block UDP`;
  }
  if (peerNat && !peerNat.udp) return `${how}: no UDP answer ever came to ${peer.name}`;
  if (peerNat && canBeDirect(own.nat, peerNat) === "no") {
    return `${how}: both ends are behind NATs that give every destination another port, ` +
      "and no direct path exists through two of those";
  }
  if (peerNat && canBeDirect(own.nat, peerNat) === "birthday") {
    return `${how}: one NAT gives every destination another port, the other lets only known ` +
      "ports in; a direct path takes luck, and is tried now and then";
  }
  return `${how}: no ping on a direct path was answered`;
}

function hasNoUdp({ paths }: Facts): boolean {
  return ![...paths?.paths.values() ?? []].some(({ address, pongsReceived }) =>
    kindOf(address) === "udp" && pongsReceived > 0
  );
}

function* adviceFor({ own, peerNat, paths }: Facts): Generator<string> {
  if (paths?.preference.exclude.includes("udp")) {
    yield "UDP is excluded for this peer: allow it with `tunnelmesh transport PEER --reset`";
    return;
  }
  if (!own.nat.udp) yield "Let UDP out of this network, to any port";
  if (peerNat && !peerNat.udp) yield "Let UDP out of the peer's network, to any port";
  if (own.nat.udp && peerNat?.udp && canBeDirect(own.nat, peerNat) !== "yes") {
    const port = own.local[0]?.split(":").at(-1) ?? "";
    yield "Switch UPnP, NAT-PMP or PCP on in the router of either end, or forward UDP port " +
      `${port} there to the machine`;
  }
  if (!own.nat.ipv6 || peerNat?.ipv6 === false) yield "IPv6 at both ends would need no NAT at all";
  yield "A node with a public address and `relay: true` makes a relay beside the coordinator";
}
