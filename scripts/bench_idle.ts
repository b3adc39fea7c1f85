/**
 * What does a node cost that does nothing? Resident memory and processor share of idle nodes in the
 * lab: two that joined, and the coordinator with its own.
 *
 * Usage: deno task bench:idle [--json] [--seconds 30]   (as root)
 * @module
 */
import { parseArgs } from "node:util";
import { removeOwn } from "../tests/e2e/lab/netns.ts";
import { Mesh } from "../tests/e2e/lab/mesh.ts";
import type { Node } from "../tests/e2e/lab/node.ts";
import { descendants } from "../tests/e2e/lab/process.ts";
import { whySkip } from "../tests/skip.ts";

/** The kernel counts processor time in /proc in units of 1/100 s on every architecture (proc(5)). */
const TICK_MS = 10;

/** Compilation and the first garbage collections after a start are over by then. */
const SETTLE_MS = 60_000;

/** What must hold (README). */
const MOST_RESIDENT_MB = 100;
const MOST_CPU_PERCENT = 0.3;

interface IdleCost {
  readonly name: string;
  readonly processes: number;
  readonly residentMb: number;
  readonly cpuPercent: number;
}

interface Snapshot {
  readonly cpuMs: number;
  readonly residentBytes: number;
  readonly processes: number;
}

async function measure(nodes: readonly Node[], durationMs: number): Promise<IdleCost[]> {
  const start = performance.now();
  const before = nodes.map((node) => snapshot(node.process.pid));
  await new Promise((resolve) => setTimeout(resolve, durationMs));
  const elapsedMs = performance.now() - start;
  return nodes.map((node, i) => {
    const after = snapshot(node.process.pid);
    return {
      name: node.name,
      processes: after.processes,
      residentMb: round(after.residentBytes / 1e6),
      cpuPercent: round((after.cpuMs - before[i]!.cpuMs) / elapsedMs * 100),
    };
  });
}

/** Sums a process and its descendants. */
function snapshot(root: number): Snapshot {
  const pids = [root, ...descendants(root)];
  let [cpuMs, residentBytes] = [0, 0];
  for (const pid of pids) {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    // Fields 14 and 15, utime and stime; the name in field 2 may hold spaces.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    cpuMs += (Number(fields[11]) + Number(fields[12])) * TICK_MS;
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    residentBytes += Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
  }
  return { cpuMs, residentBytes, processes: pids.length };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: Deno.args,
    options: { json: { type: "boolean" }, seconds: { type: "string", default: "30" } },
  });
  const missing = whySkip();
  if (missing !== null) {
    console.error(`Cannot measure: ${missing}`);
    return 1;
  }
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => removeOwn().finally(() => Deno.exit(130)));
  }
  await using mesh = await Mesh.create();
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const costs = await measure(mesh.nodes, Number(values.seconds) * 1_000);
  if (values.json) {
    console.log(JSON.stringify({ seconds: Number(values.seconds), nodes: costs }));
  } else {
    console.table(costs);
    console.log(
      `Bar for a node: ${MOST_RESIDENT_MB} MB resident, ${MOST_CPU_PERCENT} % of one CPU`,
    );
    console.log("c is a coordinator with its own node.");
  }
  const isWithin = costs.filter((cost) => cost.name !== "c").every((cost) =>
    cost.residentMb <= MOST_RESIDENT_MB && cost.cpuPercent <= MOST_CPU_PERCENT
  );
  return isWithin ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
