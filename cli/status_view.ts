/**
 * How does the daemon's report look on a terminal of 80 columns?
 * @module
 */
import type {
  CoordinatorReport,
  DnsReport,
  LinkKind,
  PeerReport,
  StatusReport,
} from "../core/daemon/api_types.ts";
import {
  type Column,
  formatAge,
  formatBytes,
  formatBytesShort,
  formatCount,
  formatMeasured,
  formatRtt,
  formatShare,
  wrapText,
} from "./format.ts";
import type { Output } from "./output.ts";

/** Lines of `tunnelmesh status`. */
export function* statusLines(report: StatusReport, out: Output): Generator<string> {
  yield `${out.bold(report.name)}  ${report.addresses.join("  ")}`;
  yield "";
  yield* facts([
    ["Mesh", `${report.meshId}${report.isAdmin ? ", this node is an admin" : ""}`],
    ["Ranges", `${report.cidr4}, ${report.prefix6}`],
    ["Interface", `${report.interfaceName}, MTU ${report.mtu}, UDP port ${report.udpPort}`],
    ["Sealed by", sealedText(report)],
    ["Daemon", daemonText(report)],
    ["Coordinator", coordinatorText(report.coordinator, out)],
    ["Names", dnsText(report.dns)],
    ...(Object.keys(report.drops).length === 0 ? [] : [["Dropped", dropsText(report.drops)]]),
  ], out);
  for (const warning of report.warnings) yield `${out.yellow("Warning")}      ${warning}`;
  yield "";
  const up = report.peers.filter(({ session }) => session === "up").length;
  yield out.bold(
    report.peers.length === 0
      ? "No peers yet: `tunnelmesh token create` prints the line that adds one"
      : `${formatCount(report.peers.length, "peer")}, ${up} with a session`,
  );
  if (report.peers.length > 0) yield* pathTable(report.peers, out);
}

const LABEL_WIDTH = 11;

function* facts(rows: readonly (readonly string[])[], out: Output): Generator<string> {
  for (const [label, text] of rows) {
    const [first, ...more] = wrapText(text!, out.columns - LABEL_WIDTH - 2);
    yield `${out.dim(label!.padEnd(LABEL_WIDTH))}  ${first}`;
    for (const line of more) yield `${" ".repeat(LABEL_WIDTH + 2)}${line}`;
  }
}

function sealedText({ aead, offloads }: StatusReport): string {
  return `${aead}, ${offloads.length === 0 ? "no offloads" : `offloads ${offloads.join(" ")}`}`;
}

function daemonText({ version, pid, uptimeMs, context }: StatusReport): string {
  return `${version}, process ${pid}, up ${formatAge(uptimeMs)}, context ${context}`;
}

function coordinatorText(report: CoordinatorReport, out: Output): string {
  const { url, state, isFollower, sinceMs, rtt, lastError } = report;
  const paint = state === "connected" ? out.green : state === "connecting" ? out.yellow : out.red;
  const parts = [`${url} ${paint.call(out, state)} for ${formatAge(sinceMs)}`];
  if (rtt) parts.push(`rtt ${formatMeasured(rtt, formatRtt)}`);
  if (state !== "connected" && lastError) parts.push(lastError);
  if (isFollower) parts.push("not the first one: joins and changes wait for that");
  return parts.join(", ");
}

const DNS_WAYS = {
  "resolved": "set by systemd-resolved",
  "resolv.conf": "set by /etc/resolv.conf",
  "shared": "asked by the resolver of another context",
} as const;

function dnsText({ mode, listen, upstreams, repairs }: DnsReport): string {
  if (mode === "off") return "off";
  const parts = [`answered on ${listen ?? "-"}, ${DNS_WAYS[mode]}`];
  if (upstreams.length > 0) parts.push(`others from ${upstreams.join(", ")}`);
  const last = repairs.at(-1);
  if (last) {
    const times = repairs.length === 1 ? "once" : `${repairs.length} times`;
    parts.push(`repaired ${times}, last ${formatAge(last.ageMs)} ago`);
  }
  return parts.join(", ");
}

function dropsText(drops: Readonly<Record<string, number>>): string {
  const counts = Object.entries(drops).sort(([, a], [, b]) => b - a);
  const text = counts.map(([reason, count]) => `${reason} ${count}`).join(", ");
  const byRules = (drops["denied"] ?? 0) + (drops["no-rule"] ?? 0);
  return byRules === 0 ? text : `${text} (why: tunnelmesh filter trace PEER PORT)`;
}

const PATH_COLUMNS: readonly Column[] = [
  { title: "Peer", shrinksTo: 9 },
  { title: "Path", shrinksTo: 21 },
  { title: "RTT", align: "right" },
  { title: "Loss", align: "right" },
  { title: "Keys", align: "right" },
  { title: "Sent", align: "right" },
  { title: "Recv", align: "right" },
];

/** How each peer is reached, with what was measured. */
function pathTable(peers: readonly PeerReport[], out: Output): string[] {
  const rows = [...peers].sort(byName).map((peer) => [
    peer.name,
    pathText(peer, out),
    formatMeasured(peer.rtt, formatRtt),
    formatMeasured(peer.loss, formatShare),
    ago(peer.lastHandshakeAgeMs),
    formatBytesShort(peer.bytesSent),
    formatBytesShort(peer.bytesReceived),
  ]);
  return out.table(PATH_COLUMNS, rows);
}

function byName(a: PeerReport, b: PeerReport): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

function ago(ms: number | null): string {
  return ms === null ? "-" : formatAge(ms);
}

/** What carries datagrams, and where to: the name of a link says both. */
export function pathName(link: LinkKind, endpoint: string | null): string {
  if (endpoint?.startsWith(link)) return endpoint.replace(":", " ");
  return `${link} ${endpoint ?? ""}`.trimEnd();
}

/** The link in use, or why there is none. */
export function pathText(peer: PeerReport, out: Output): string {
  if (peer.session === "up") return pathName(peer.link, peer.endpoint);
  return stateText(peer, out);
}

/** What an idle session is called: without traffic none is kept up, which is no failure. */
export function stateText({ session, online }: PeerReport, out: Output): string {
  switch (session) {
    case "up":
      return out.green("up");
    case "handshaking":
      return out.yellow("handshaking");
    case "unreachable":
      return out.red("unreachable");
    case "down":
      return out.dim(online === false ? "offline" : "idle");
  }
}

/** Columns of `tunnelmesh peers`. */
export const PEER_COLUMNS: readonly Column[] = [
  { title: "Peer", shrinksTo: 9 },
  { title: "Address" },
  { title: "State" },
  { title: "Endpoint", shrinksTo: 17 },
  { title: "RTT", align: "right" },
  { title: "Also named", shrinksTo: 12 },
];

/** A row of `tunnelmesh peers`. */
export function peerRow(peer: PeerReport, out: Output): string[] {
  const also = [...(peer.isCoordinator ? ["this"] : []), ...peer.aliases];
  return [
    peer.name,
    peer.addresses[0] ?? "-",
    stateText(peer, out),
    peer.endpoint ?? peer.candidates[0] ?? "-",
    peer.rtt ? formatRtt(peer.rtt.value) : "-",
    also.join(", "),
  ];
}

/** Everything about one peer, for `tunnelmesh peers NAME`. */
export function* peerLines(peer: PeerReport, out: Output): Generator<string> {
  const share = (bytes: number, packets: number) =>
    `${formatBytes(bytes)} in ${formatCount(packets, "packet")}`;
  const online = peer.online === null
    ? "not managed by the coordinator"
    : peer.online
    ? "connected to the coordinator"
    : "not connected to the coordinator";
  yield `${out.bold(peer.name)}  ${peer.addresses.join("  ")}`;
  yield "";
  yield* facts([
    ["State", `${stateText(peer, out)}, ${online}`],
    ["Path", peer.session === "up" ? pathText(peer, out) : "none"],
    ["Endpoints", peer.candidates.join(", ") || "-"],
    ["RTT", formatMeasured(peer.rtt, formatRtt)],
    ["Loss", formatMeasured(peer.loss, formatShare)],
    [
      "Handshake",
      peer.lastHandshakeAgeMs === null ? "never" : `${formatAge(peer.lastHandshakeAgeMs)} ago`,
    ],
    ["Agreed on", peer.features.join(", ") || "plain WireGuard"],
    ["Sent", share(peer.bytesSent, peer.packetsSent)],
    ["Received", share(peer.bytesReceived, peer.packetsReceived)],
    ["Also named", peer.aliases.join(", ") || "-"],
    ["Peer id", peer.id ?? "-"],
    ["WireGuard", peer.wireguardKey],
  ], out);
}
