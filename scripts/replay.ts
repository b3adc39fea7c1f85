/**
 * Goes through the decisions of a bug report again, without a network.
 *
 * Usage: deno task replay REPORT.json   (what `tunnelmesh bugreport` printed)
 * @module
 */
import { z } from "zod";
import type { PathEffect } from "../core/path/agent.ts";
import { PathAgent } from "../core/path/agent.ts";
import { type Recording, replay } from "../core/path/recorder.ts";

/** Largest report that is read. */
const MAX_BYTES = 256 << 20;

const Report = z.object({
  format: z.literal(1),
  version: z.string(),
  mtu: z.int().min(1280).max(9000),
  recording: z.object({
    stretches: z.array(z.object({
      snapshot: z.string(),
      entries: z.array(z.object({ at: z.number(), event: z.looseObject({ type: z.string() }) })),
    })).max(8),
  }),
});

/** One line for each decision about what is used. */
export function describe(
  decisions: readonly { readonly at: number; readonly effect: PathEffect }[],
): string[] {
  return decisions.flatMap(({ at, effect }) => {
    if (effect.type !== "use-path") return [];
    const { peer, path, standby, mtu, why } = effect;
    const more = [
      ...(standby === null ? [] : [`and ${standby}`]),
      ...(mtu === null ? [] : [`packets up to ${mtu}`]),
      ...(why === "" ? [] : [`since: ${why}`]),
    ];
    return [
      `${(at / 1000).toFixed(3).padStart(12)} s  peer ${peer}  ${[path, ...more].join(", ")}`,
    ];
  });
}

/** Reads a report. @throws {Error} that says what is wrong with it. */
export function parseReport(text: string): { readonly mtu: number; readonly recording: Recording } {
  const { mtu, recording } = Report.parse(JSON.parse(text));
  return { mtu, recording: recording as unknown as Recording };
}

if (import.meta.main) {
  const [path] = Deno.args;
  if (path === undefined || (await Deno.stat(path)).size > MAX_BYTES) {
    console.error("Usage: deno task replay REPORT.json");
    Deno.exit(2);
  }
  const { mtu, recording } = parseReport(await Deno.readTextFile(path));
  const decisions = replay(recording, () => new PathAgent({ mtu, seed: 1 }));
  for (const line of describe(decisions)) console.log(line);
  const events = recording.stretches.reduce((sum, { entries }) => sum + entries.length, 0);
  console.log(`${events} events, ${decisions.length} decisions`);
}
