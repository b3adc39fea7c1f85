/**
 * Goes through the decisions of a bug report again, in virtual time and without a network.
 *
 * Usage: deno task replay REPORT.json [--test=OUT_test.ts]
 *
 * Prints which path each peer took when and why, and whether today's code decides the same. With
 * `--test` it also writes a test that holds the code to these decisions.
 * @module
 */
import { dirname, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { z } from "zod";
import type { BugReport } from "../core/daemon/bugreport.ts";
import { BugReportSchema } from "../core/daemon/bugreport_schema.ts";
import { MeshError } from "../core/errors.ts";
import { PathAgent, type PathEffect } from "../core/path/agent.ts";
import { compare, type Difference, type Recording } from "../core/path/recorder.ts";
import { decodeState } from "../core/path/snapshot.ts";
import type { PeerSlot } from "../core/wireguard/events.ts";

/** Largest report that is read. */
const MAX_REPORT_BYTES = 64 << 20;

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const USAGE = "Usage: deno task replay REPORT.json [--test=OUT_test.ts]";

/**
 * Reads a report, whoever made it.
 * @throws {MeshError} `protocol-invalid` that says what is wrong with it, and nothing else.
 */
export function parseReport(text: string): BugReport {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new MeshError("protocol-invalid", `Cannot read report: ${cause}`, { cause });
  }
  const { data, error } = BugReportSchema.safeParse(value);
  if (data) return data;
  const [issue] = error.issues;
  const where = z.core.toDotPath(issue?.path ?? []);
  throw new MeshError("protocol-invalid", `Cannot read report: ${where}: ${issue?.message}`, {
    hint: "Replay it with the version that made it: tunnelmeshVersion in the report",
  });
}

/** An agent for a replay; everything about it is in the snapshot that it goes on from. */
export function freshAgent(): PathAgent {
  return new PathAgent({ mtu: 1280, seed: 1 });
}

/** Which paths each peer took: its slot and id, then a line for each change. */
export function pathChanges({ stretches }: Recording): string[] {
  const [first] = stretches;
  if (!first) return [];
  const lines = new Map<PeerSlot, string[]>();
  const ids = new Map<PeerSlot, string>();
  for (const [peer, { id, paths }] of decodeState(first.snapshot).peers) {
    ids.set(peer, id);
    if (paths.current !== null) lines.set(peer, [line(null, paths.current)]);
  }
  for (const { at, event, effects } of stretches.flatMap(({ entries }) => entries)) {
    if (event.type === "peer-added") ids.set(event.peer, event.id);
    for (const effect of effects ?? []) {
      if (effect.type !== "use-path") continue;
      const changes = lines.get(effect.peer) ?? [];
      lines.set(effect.peer, [...changes, line(at, describe(effect))]);
    }
  }
  return [...lines].flatMap(([peer, changes]) => [
    `peer ${peer} (${ids.get(peer) ?? "unknown"})`,
    ...changes,
  ]);
}

function line(at: number | null, text: string): string {
  const time = at === null ? "before" : (at / 1000).toFixed(3);
  return `  ${time.padStart(12)}  ${text}`;
}

function describe({ path, standby, mtu, why }: PathEffect & { type: "use-path" }): string {
  return [
    path,
    ...(standby === null ? [] : [`and ${standby}`]),
    ...(mtu === null ? [] : [`packets up to ${mtu}`]),
    ...(why === "" ? [] : [`since: ${why}`]),
  ].join(", ");
}

/** The first difference, for people. */
export function describeDifference(difference: Difference): string[] {
  const { stretch, entry, at, event, recorded, replayed } = difference;
  return [
    `other decisions at ${(at / 1000).toFixed(3)} s, stretch ${stretch}, entry ${entry}:`,
    `  event     ${JSON.stringify(event)}`,
    ...recorded.map((effect) => `  recorded  ${JSON.stringify(effect)}`),
    ...replayed.map((effect) => `  replayed  ${JSON.stringify(effect)}`),
  ];
}

/**
 * A test that holds the code to the decisions of a recording.
 * @param root Where the repository is, as seen from the test; ends in a slash.
 */
export function regressionTest(recording: Recording, root: string): string {
  // JSON has no line ends; its many double quotes are why the formatter wants single ones around it.
  const text = `'${JSON.stringify(recording).replace(/[\\']/g, "\\$&")}'`;
  return `import assert from "node:assert/strict";
import { PathAgent } from "${root}core/path/agent.ts";
import { compare } from "${root}core/path/recorder.ts";
import { RecordingSchema } from "${root}core/path/recording_schema.ts";

/** From a bug report, anonymised; written by scripts/replay.ts. */
const RECORDING =
  ${text};

Deno.test("a history from a bug report comes to the same decisions", () => {
  const recording = RecordingSchema.parse(JSON.parse(RECORDING));
  const { difference } = compare(recording, () => new PathAgent({ mtu: 1280, seed: 1 }));
  assert.equal(difference, null);
});
`;
}

/** The repository as seen from the folder of `file`. */
function rootFrom(file: string): string {
  const path = relative(dirname(resolve(file)), ROOT);
  if (path === "") return "./";
  return path.startsWith(".") ? `${path}/` : `./${path}/`;
}

function print(text: string): void {
  console.log(harmless(text));
}

/** Texts in a report may hold what a terminal obeys. */
function harmless(text: string): string {
  return text.replace(/\p{Cc}/gu, "?");
}

/** Runs the command; returns its exit status. */
export async function main(args: readonly string[]): Promise<number> {
  const { positionals: [path], values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { test: { type: "string" } },
  });
  if (path === undefined) {
    console.error(USAGE);
    return 2;
  }
  if ((await Deno.stat(path)).size > MAX_REPORT_BYTES) {
    throw new MeshError("usage", `Cannot read report: it is over ${MAX_REPORT_BYTES} bytes`);
  }
  const { recording, tunnelmeshVersion } = parseReport(await Deno.readTextFile(path));
  for (const each of pathChanges(recording)) print(each);
  const { same, difference } = compare(recording, freshAgent);
  if (values.test !== undefined) {
    await Deno.writeTextFile(values.test, regressionTest(recording, rootFrom(values.test)));
    print(`wrote ${values.test}`);
  }
  if (difference === null) {
    print(`same decisions: ${same} effects`);
    return 0;
  }
  for (const each of describeDifference(difference)) print(each);
  print(`the report is of version ${tunnelmeshVersion}`);
  return 1;
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    if (!(error instanceof MeshError) && !(error instanceof Deno.errors.NotFound)) throw error;
    console.error(harmless(error.message));
    if (error instanceof MeshError && error.hint) console.error(error.hint);
    Deno.exit(1);
  }
}
