/**
 * What `tunnelmesh bugreport` prints: the node's status without what names anybody, and the flight
 * recorder's recording.
 * @module
 */
import type { NodeMachine } from "../node.ts";
import { Anonymiser } from "../path/anonymise.ts";
import type { Recording } from "../path/recorder.ts";
import type { NetcheckReport, StatusReport, WhyReport } from "./api_types.ts";
import { systemRandom } from "./system_random.ts";

/** Everything in a report. */
export interface BugReport {
  readonly format: 1;
  readonly version: string;
  readonly createdAt: string;
  readonly os: string;
  readonly uptimeMs: number;
  readonly mtu: number;
  readonly aead: string;
  readonly offloads: readonly string[];
  readonly drops: Readonly<Record<string, number>>;
  readonly warnings: readonly string[];
  readonly netcheck: NetcheckReport;
  readonly peers: readonly Omit<WhyReport, "own">[];
  readonly recording: Recording;
}

/** Makes a report of which nothing leads back to who and where. */
export function bugReport(
  node: NodeMachine,
  facts: {
    readonly version: string;
    readonly status: StatusReport;
    readonly netcheck: NetcheckReport;
    readonly why: readonly WhyReport[];
    readonly wallTime: number;
  },
): BugReport {
  const { version, status, netcheck, why } = facts;
  const names = [status.name, ...status.peers.flatMap(({ name, aliases }) => [name, ...aliases])];
  const anonymiser = new Anonymiser(systemRandom.bytes(16).toHex(), names);
  return anonymiser.value({
    format: 1,
    version,
    createdAt: new Date(facts.wallTime).toISOString(),
    os: `${Deno.build.os} ${Deno.osRelease()} ${Deno.build.arch}`,
    uptimeMs: status.uptimeMs,
    mtu: status.mtu,
    aead: status.aead,
    offloads: status.offloads,
    drops: status.drops,
    warnings: status.warnings,
    netcheck,
    peers: why.map(({ own: _own, ...rest }) => rest),
    recording: node.recording,
  });
}
