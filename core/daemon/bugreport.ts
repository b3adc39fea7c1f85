/**
 * What `tunnelmesh bugreport` prints: how the node is, without what names anybody, and the flight
 * recorder's recording. `docs/bugreport.md` lists it for users, `bugreport_schema.ts` for programs.
 * @module
 */
import type { NodeMachine } from "../node.ts";
import { Anonymiser } from "../path/anonymise.ts";
import type { Recording } from "../path/recorder.ts";
import type { NetcheckReport, StatusReport, WhyReport } from "./api_types.ts";
import { recentProblems } from "./log.ts";
import { systemRandom } from "./system_random.ts";

/** Of the format. */
export const BUG_REPORT_VERSION = 1;

/** Everything in a report. */
export interface BugReport {
  readonly version: typeof BUG_REPORT_VERSION;
  readonly createdAt: string;
  readonly tunnelmeshVersion: string;
  /** Operating system and processor. */
  readonly os: string;
  readonly kernel: string;
  /** Of the node. */
  readonly uptimeMs: number;
  readonly status: Pick<StatusReport, "mtu" | "aead" | "offloads" | "drops" | "warnings">;
  readonly netcheck: NetcheckReport;
  /** What `why` says of each peer. */
  readonly peers: readonly Omit<WhyReport, "own">[];
  /** The log's last lines at warn and above. */
  readonly log: readonly string[];
  readonly recording: Recording;
}

/** What a report is made of. */
export interface BugReportFacts {
  readonly version: string;
  readonly status: StatusReport;
  readonly netcheck: NetcheckReport;
  readonly why: readonly WhyReport[];
  readonly wallTime: number;
}

/** Makes a report of which nothing leads back to who and where. */
export function bugReport(
  node: Pick<NodeMachine, "recording">,
  { version, status, netcheck, why, wallTime }: BugReportFacts,
): BugReport {
  const { uptimeMs, mtu, aead, offloads, drops, warnings } = status;
  return {
    version: BUG_REPORT_VERSION,
    createdAt: new Date(wallTime).toISOString(),
    tunnelmeshVersion: version,
    os: `${Deno.build.os} ${Deno.build.arch}`,
    kernel: Deno.osRelease(),
    uptimeMs,
    ...anonymiserFor(status, netcheck).value({
      status: { mtu, aead, offloads, drops, warnings },
      netcheck,
      peers: why.map(({ own: _own, ...rest }) => rest),
      log: recentProblems(),
      recording: node.recording,
    }),
  };
}

/** Knows the names that would not be told by their form. */
function anonymiserFor(status: StatusReport, netcheck: NetcheckReport): Anonymiser {
  const names = [status.name, ...status.peers.flatMap(({ name, aliases }) => [name, ...aliases])];
  const url = URL.parse(status.coordinator.url);
  const relays = [
    ...netcheck.relays.map(({ name }) => name.replace(/:\d+$/, "")),
    ...(netcheck.links.coordinatorUrls ?? []).map((url) => new URL(url).hostname),
  ];
  const salt = systemRandom.bytes(16).toHex();
  return new Anonymiser(salt, names, [...(url ? [url.hostname] : []), ...relays]);
}
