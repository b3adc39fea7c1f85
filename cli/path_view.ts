/**
 * How do the reports about paths and NATs look on a terminal?
 * @module
 */
import type { NetcheckReport, PathReport, WhyReport } from "../core/daemon/api_types.ts";
import { type Column, formatRtt, formatShare, wrapText } from "./format.ts";
import type { Output } from "./output.ts";

const LABEL_WIDTH = 12;

/** Lines of `tunnelmesh why`. */
export function* whyLines(report: WhyReport, out: Output): Generator<string> {
  for (const line of wrapText(report.verdict, out.columns)) yield out.bold(line);
  for (const advice of report.advice) {
    const [first, ...more] = wrapText(advice, out.columns - 2);
    yield `- ${first}`;
    for (const line of more) yield `  ${line}`;
  }
  yield "";
  if (report.paths.length > 0) yield* pathTable(report.paths, out);
  yield "";
  yield* fact("This node", report.own.natText, out);
  yield* fact("Its router", portMapText(report.own), out);
  yield* fact("Its firewall", pinholeText(report.own), out);
  const peerNat = report.peerNatText ?? "has not told yet what is in front of it";
  yield* fact(report.peer, peerNat, out);
  const { order, exclude } = report.preference;
  yield* fact("Order", order.filter((kind) => !exclude.includes(kind)).join(", "), out);
}

/** Lines of `tunnelmesh netcheck`. */
export function* netcheckLines(report: NetcheckReport, out: Output): Generator<string> {
  const { nat } = report;
  yield* fact(
    "UDP",
    nat.udp ? `works, ${formatRtt(nat.rttMs ?? 0)} to a coordinator` : "no answer",
    out,
  );
  yield* fact("NAT", report.natText, out);
  yield* fact("Seen as", [...new Set([...nat.mapped, ...report.observed])].join(", ") || "-", out);
  yield* fact("Own", report.local.join(", ") || "-", out);
  yield* fact("Hairpin", nat.hairpin === null ? "not known" : nat.hairpin ? "yes" : "no", out);
  yield* fact("IPv6", nat.ipv6 ? "yes" : "no answer", out);
  yield* fact("Router", portMapText(report), out);
  yield* fact("Firewall", pinholeText(report), out);
  for (const { name, isUp, rttMs, lastError } of report.relays) {
    const state = isUp ? `up${rttMs === null ? "" : `, ${formatRtt(rttMs)}`}` : lastError ?? "down";
    yield* fact("Relay", `${name}: ${state}`, out);
  }
  const { relays, sshPort, coordinatorUrls = [] } = report.links;
  if (coordinatorUrls.length > 0) {
    yield* fact("Coordinator", `here, at ${coordinatorUrls.join(", ")}`, out);
  }
  yield* fact("SSH link", sshPort === 0 ? "off" : `TCP port ${sshPort}`, out);
  yield* fact("Relaying", relays ? "passes datagrams of others on" : "no", out);
}

function portMapText({ portMap }: NetcheckReport): string {
  if (!portMap) return "is not asked for a port: port_mapping is off";
  const { state, protocol, external, lastError, gateway } = portMap;
  switch (state) {
    case "mapped":
      return `gave ${external} by ${protocol}${lastError === null ? "" : `; ${lastError}`}`;
    case "searching":
      return `is being asked for a port (${gateway})`;
    default:
      return `gave no port: ${lastError ?? "there is no router"}`;
  }
}

function pinholeText({ pinhole }: NetcheckReport): string {
  if (!pinhole) return "is not asked for an IPv6 pinhole: port_mapping is off";
  const { state, protocol, endpoint, lastError, gateway } = pinhole;
  switch (state) {
    case "open":
      return `lets UDP in to ${endpoint}, asked by ${protocol}`;
    case "searching":
      return `is being asked for an IPv6 pinhole (${gateway})`;
    case "failed":
      return `made no IPv6 pinhole: ${lastError ?? "no answer"}`;
    case "none":
      return lastError ?? "not asked yet";
  }
}

function* fact(label: string, text: string, out: Output): Generator<string> {
  const [first, ...more] = wrapText(text, out.columns - LABEL_WIDTH - 2);
  yield `${out.dim(label.padEnd(LABEL_WIDTH))}  ${first ?? ""}`;
  for (const line of more) yield `${" ".repeat(LABEL_WIDTH + 2)}${line}`;
}

const COLUMNS: readonly Column[] = [
  { title: "Path", shrinksTo: 21 },
  { title: "State" },
  { title: "RTT", align: "right" },
  { title: "Loss", align: "right" },
  { title: "MTU", align: "right" },
  { title: "Answers", align: "right" },
  { title: "Last error", shrinksTo: 16 },
];

function pathTable(paths: readonly PathReport[], out: Output): string[] {
  return out.table(
    COLUMNS,
    paths.map((path) => [
      path.path,
      stateText(path, out),
      path.rttMs === null ? "-" : formatRtt(path.rttMs),
      path.loss === null ? "-" : formatShare(path.loss),
      path.mtu === null ? "-" : String(path.mtu),
      `${path.pongsReceived}/${path.pingsSent}`,
      path.lastError ?? "",
    ]),
  );
}

function stateText({ state, role }: PathReport, out: Output): string {
  if (role === "current") return out.green("in use");
  if (role === "standby") return out.yellow("standby");
  return state === "up" ? "up" : state === "trying" ? "trying" : out.red("failed");
}
