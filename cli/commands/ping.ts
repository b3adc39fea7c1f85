/**
 * `tunnelmesh ping`: how far is a peer, and on which path?
 * @module
 */
import { z } from "zod";
import type { PingReport } from "../../core/daemon/api_types.ts";
import { defineCommand } from "../command.ts";
import { formatRtt, formatShare } from "../format.ts";
import type { Output } from "../output.ts";
import { pathName } from "../status_view.ts";

export const ping = defineCommand({
  name: "ping",
  summary: "Measure the round trip to a peer and show the path each reply took",
  description: "Exit status 0 when a reply came, 1 when none did.",
  examples: [
    { command: "tunnelmesh ping anna", meaning: "Four probes, one per second" },
    { command: "tunnelmesh ping anna -c 20 --interval 200", meaning: "Twenty, five per second" },
  ],
  input: z.strictObject({
    peer: z.string().min(1).meta({
      positional: 0,
      description: "Name, alias or address of a peer",
      completes: "peers",
    }),
    count: z.int().min(1).max(100_000).default(4).meta({
      alias: "c",
      description: "Probes to send",
    }),
    interval: z.int().min(10).max(60_000).default(1000).meta({
      alias: "i",
      unit: "ms",
      description: "Time between probes",
    }),
    timeout: z.int().min(10).max(60_000).default(1000).meta({
      alias: "W",
      unit: "ms",
      description: "Wait for each reply",
    }),
  }),
  permissions: { opens: ["$control"] },
  async run({ peer, count, interval, timeout }, { out, daemon }) {
    using client = await daemon();
    const reports: PingReport[] = [];
    const options = { count, intervalMs: interval, timeoutMs: timeout };
    for await (const report of client.ping(peer, options)) {
      if (out.isJson) out.jsonLine(report);
      else {
        if (reports.length === 0) out.line(`Pinging ${report.peer} at ${report.address}`);
        out.line(replyText(report, out));
      }
      reports.push(report);
    }
    if (!out.isJson && reports.length > 0) out.line(`\n${summaryOf(reports)}`);
    return reports.some(({ rttMs }) => rttMs !== null) ? 0 : 1;
  },
});

function replyText({ sequence, rttMs, link, endpoint }: PingReport, out: Output): string {
  const number = String(sequence).padStart(3);
  if (rttMs === null) return `${number}  ${out.red("no reply")}`;
  return `${number}  ${formatRtt(rttMs).padStart(8)}  by ${pathName(link, endpoint)}`;
}

function summaryOf(reports: readonly PingReport[]): string {
  const rtts = reports.map(({ rttMs }) => rttMs).filter((rtt) => rtt !== null);
  const lost = formatShare(1 - rtts.length / reports.length);
  const counts = `${reports.length} sent, ${rtts.length} received, ${lost} lost`;
  if (rtts.length === 0) return counts;
  const mean = rtts.reduce((sum, rtt) => sum + rtt, 0) / rtts.length;
  const [least, most] = [Math.min(...rtts), Math.max(...rtts)].map(formatRtt);
  return `${counts}; round trip ${least} to ${most}, mean ${formatRtt(mean)}`;
}
