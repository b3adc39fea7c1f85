/**
 * Medians, ratios and tables out of what was measured.
 * @module
 */
import { PEER_NAMES } from "./contenders.ts";
import { type Measure, MEASURES, type Sample } from "./measure.ts";
import { median } from "./statistics.ts";

/** Medians by contender. */
export type Results = Readonly<Record<string, Sample>>;

/** Ours divided by a peer's, by what it is a ratio of. */
export type Ratios = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** Heading and decimals of each measure. */
const COLUMNS: Readonly<Record<Measure, readonly [heading: string, digits: number]>> = {
  tcp1: ["TCP 1 Mbit/s", 0],
  tcp1Reverse: ["back", 0],
  tcp8: ["TCP 8 Mbit/s", 0],
  tcp8Reverse: ["back", 0],
  udp64: ["UDP 64 B /s", 0],
  udp1400: ["UDP 1400 B /s", 0],
  p50Idle: ["idle p50 us", 0],
  p99Idle: ["p99 us", 0],
  p50: ["loaded p50 us", 0],
  p99: ["p99 us", 0],
  cpuPerGB: ["CPU s/GB", 2],
  machineCpuPerGB: ["machine s/GB", 2],
  rss: ["RSS MB", 0],
  stolen: ["stolen %", 1],
  others: ["others %", 1],
};

/** Percent of all processors that others may have before a warning is due. */
const MOST_DISTURBANCE = 5;

/** What the ratios compare: the median latency is that of an idle tunnel, the tail's of a full one. */
const RATIOS: readonly (readonly [name: string, measure: Measure])[] = [
  ["tcp1", "tcp1"],
  ["tcp8", "tcp8"],
  ["udp64", "udp64"],
  ["udp1400", "udp1400"],
  ["cpuPerGB", "cpuPerGB"],
  ["p50", "p50Idle"],
  ["p99", "p99"],
];

/** Our own rows that are compared with each peer, and what their ratios are called. */
const OURS = [
  { name: "tunnelmesh", suffix: "" },
  { name: "tunnelmesh-plain", suffix: " (plain)" },
] as const;

/** The median of each measure over the rounds of one contender. */
export function medians(samples: readonly Sample[]): Sample {
  const entries = MEASURES.map((measure) => {
    const value = median(samples.map((sample) => sample[measure]));
    return [measure, round(value, measure === "rss" ? 1 : 3)];
  });
  return Object.fromEntries(entries);
}

/** Ratios ours / peer of every peer that was measured beside us. */
export function ratiosOf(results: Results): Ratios {
  const ratios: Record<string, Record<string, number>> = {};
  for (const peer of PEER_NAMES) {
    for (const { name, suffix } of OURS) {
      const own = results[name], other = results[peer];
      if (!own || !other) continue;
      ratios[peer + suffix] = Object.fromEntries(
        RATIOS.map(([ratio, measure]) => [ratio, round(own[measure] / other[measure], 3)]),
      );
    }
  }
  return ratios;
}

/** Whether so much else went on that a sample should not be compared with others. */
export function isDisturbed({ stolen, others }: Sample): boolean {
  return stolen + others > MOST_DISTURBANCE;
}

/** What {@link isDisturbed} found, for the reader. */
export function describeDisturbance({ stolen, others }: Sample): string {
  const [hypervisor, programs] = [stolen.toFixed(0), others.toFixed(0)];
  return `disturbed, do not compare: ${hypervisor} % stolen by the hypervisor, ` +
    `${programs} % used by other programs`;
}

/** The table of all contenders. */
export function formatResults(results: Results): string {
  const head = ["", ...MEASURES.map((measure) => COLUMNS[measure][0])];
  const rows = Object.entries(results).map(([name, sample]) => {
    return [name, ...MEASURES.map((measure) => sample[measure].toFixed(COLUMNS[measure][1]))];
  });
  return formatTable([head, ...rows]);
}

/** The table of ratios. */
export function formatRatios(ratios: Ratios): string {
  const head = ["ours / peer's", ...RATIOS.map(([name]) => name)];
  const rows = Object.entries(ratios).map(([peer, values]) => {
    return [peer, ...RATIOS.map(([name]) => values[name]!.toFixed(2))];
  });
  return formatTable([head, ...rows]);
}

function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => {
    const cells = row.map((cell, i) =>
      i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)
    );
    return cells.join("  ").trimEnd();
  }).join("\n");
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
