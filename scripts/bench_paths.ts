/**
 * What does TCP inside of the tunnel get by each kind of path? Two nodes and a coordinator in
 * namespaces of this machine, whose processors they share with the programs that send and receive;
 * each kind in turn is the only one that is allowed.
 *
 * Usage: deno task bench:paths [--json] [--seconds 5] [--rounds 3]
 * @module
 */
import { parseArgs } from "node:util";
import { PATH_KINDS, type PathKind } from "../core/path/address.ts";
import { removeOwn } from "../tests/e2e/lab/netns.ts";
import { iperf } from "../tests/e2e/lab/traffic.ts";
import { Mesh } from "../tests/e2e/lab/mesh.ts";
import { setPaths, waitForLink } from "../tests/e2e/nat/world.ts";
import { whySkip } from "../tests/skip.ts";

/** What must hold, in Mbit/s. */
const LEAST_MBIT: Partial<Record<PathKind, number>> = { relay: 400, ssh: 150 };

interface Row {
  readonly path: PathKind;
  readonly mbit: number;
  /** Of what the direct path carried. */
  readonly ofDirect: number;
  readonly bar: number | null;
}

async function measure(seconds: number, rounds: number): Promise<Row[]> {
  await using mesh = await Mesh.create({ env: { TUNNELMESH_RELAY: "true" } });
  const [a, b] = [mesh.node("a"), mesh.node("b")];
  const { ip4 } = await b.addresses();
  const samples = new Map<PathKind, number[]>(PATH_KINDS.map((kind) => [kind, []]));
  for (let round = 0; round < rounds; round++) {
    for (const kind of PATH_KINDS) {
      const others = PATH_KINDS.filter((other) => other !== kind);
      await Promise.all([setPaths(a, "b", others), setPaths(b, "a", others)]);
      // Some kinds of path are only looked for while there is traffic.
      await using _traffic = a.machine.spawn(["ping", "-i", "0.5", ip4]);
      await Promise.all([waitForLink(a, "b", [kind]), waitForLink(b, "a", [kind])]);
      const { megabitsPerSecond } = await iperf(a.machine, b.machine, ip4, { seconds });
      samples.get(kind)!.push(megabitsPerSecond);
      console.error(`round ${round + 1}: ${kind} ${Math.round(megabitsPerSecond)} Mbit/s`);
    }
  }
  const direct = median(samples.get("udp")!);
  return PATH_KINDS.map((path) => {
    const mbit = median(samples.get(path)!);
    const ofDirect = Math.round(mbit / direct * 100) / 100;
    return { path, mbit: Math.round(mbit), ofDirect, bar: LEAST_MBIT[path] ?? null };
  });
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

if (import.meta.main) {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      json: { type: "boolean", default: false },
      seconds: { type: "string", default: "5" },
      rounds: { type: "string", default: "3" },
    },
  });
  const missing = whySkip({ tools: ["iperf3"] });
  if (missing !== null) {
    console.error(`Cannot measure: ${missing}`);
    Deno.exit(1);
  }
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => removeOwn().finally(() => Deno.exit(130)));
  }
  const rows = await measure(Number(values.seconds), Number(values.rounds));
  if (values.json) console.log(JSON.stringify({ paths: rows }));
  else console.table(rows);
  Deno.exit(rows.every(({ mbit, bar }) => bar === null || mbit >= bar) ? 0 : 1);
}
