/**
 * Does a tunnel at full speed hold still at rekeys, and does it grow? Two own nodes, one TCP stream,
 * a new key every 20 seconds: pauses of the stream, its rate, and resident memory over time.
 *
 * Usage: deno task bench:soak [--seconds 600] [--rekey 20] [--json]   (as root)
 * @module
 */
import { parseArgs } from "node:util";
import { Mesh } from "../tests/e2e/lab/mesh.ts";
import { removeOwn } from "../tests/e2e/lab/netns.ts";
import type { Node } from "../tests/e2e/lab/node.ts";
import { iperf } from "../tests/e2e/lab/traffic.ts";
import { whySkip } from "../tests/skip.ts";

/** A pause this close to a handshake is counted as that rekey's. */
const NEAR_MS = 100;
/** Where this program was held up itself for longer, the machine was, and nothing was seen. */
const BLIND_MS = 10;
/** What nobody should notice. */
const STALL_MS = 50;
/** Pauses below this are the stream's own rhythm. */
const PAUSE_MS = 10;
/** Caches and compiled code have settled by then. */
const SETTLE_MS = 30_000;

/** The stream stood still for `ms` milliseconds until `at` (wall time). */
interface Pause {
  readonly at: number;
  readonly ms: number;
}

/** Watches the packets that a node's interface has received. */
class PauseWatcher implements Disposable {
  readonly pauses: Pause[] = [];
  readonly #path: string;
  readonly #name: string;
  readonly #timer: ReturnType<typeof setInterval>;
  #last = "";
  #stillMs = 0;
  #lastSeen = performance.now();

  constructor(pid: number, interfaceName: string) {
    this.#path = `/proc/${pid}/net/dev`;
    this.#name = `${interfaceName}:`;
    this.#timer = setInterval(() => this.#look(), 1);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const line = Deno.readTextFileSync(this.#path).split("\n").find((each) =>
      each.trimStart().startsWith(this.#name)
    );
    const packets = line?.trim().split(/\s+/)[2] ?? "";
    const now = performance.now();
    this.#stillMs += Math.min(now - this.#lastSeen, BLIND_MS);
    this.#lastSeen = now;
    if (packets === this.#last) return;
    if (this.#stillMs > PAUSE_MS) this.pauses.push({ at: Date.now(), ms: this.#stillMs });
    this.#last = packets;
    this.#stillMs = 0;
  }
}

/** Notes when the session of `node` with its only peer got a new key. */
async function watchHandshakes(node: Node, times: number[], until: () => boolean): Promise<void> {
  while (!until()) {
    const { peers } = await node.mustStatus();
    const age = peers.find((peer) => peer.name === "b")?.lastHandshakeAgeMs;
    if (age !== null && age !== undefined) {
      const at = Date.now() - age;
      if (times.length === 0 || at - times.at(-1)! > 1_000) times.push(at);
    }
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
}

async function soak(mesh: Mesh, seconds: number) {
  const [a, b] = [mesh.node("a"), mesh.node("b")];
  const [{ ip4 }, { interfaceName }] = [await b.addresses(), await b.mustStatus()];
  using watcher = new PauseWatcher(b.process.pid, interfaceName);
  const handshakes: number[] = [];
  let isOver = false;
  const memory = async () => Math.max(await a.residentBytes(), await b.residentBytes());
  let settled = 0;
  const timer = setTimeout(
    async () => settled = await memory(),
    Math.min(SETTLE_MS, seconds * 500),
  );
  const watching = watchHandshakes(a, handshakes, () => isOver);
  const { megabitsPerSecond } = await iperf(a.machine, b.machine, ip4, { seconds });
  const end = await memory();
  isOver = true;
  clearTimeout(timer);
  await watching;
  const longest = (pauses: readonly Pause[]) => Math.max(0, ...pauses.map(({ ms }) => ms));
  const atRekeys = watcher.pauses.filter(({ at, ms }) =>
    handshakes.some((time) => time > at - ms - NEAR_MS && time < at + NEAR_MS)
  );
  return {
    seconds,
    megabitsPerSecond: Math.round(megabitsPerSecond),
    rekeys: handshakes.length,
    stalls: watcher.pauses.filter(({ ms }) => ms > STALL_MS).length,
    stallsAtRekeys: atRekeys.filter(({ ms }) => ms > STALL_MS).length,
    longestPauseMs: Math.round(longest(watcher.pauses)),
    longestPauseAtRekeyMs: Math.round(longest(atRekeys)),
    residentMbSettled: Math.round(settled / 1e6),
    residentMbEnd: Math.round(end / 1e6),
    growthPercent: Math.round((end / settled - 1) * 1000) / 10,
  };
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string", default: "600" },
      rekey: { type: "string", default: "20" },
      json: { type: "boolean", default: false },
    },
  });
  const missing = whySkip({ tools: ["iperf3"] });
  if (missing !== null) {
    console.error(`Cannot measure: ${missing}`);
    return 1;
  }
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => removeOwn().finally(() => Deno.exit(130)));
  }
  const env = { TUNNELMESH_TEST_REKEY_AFTER_MS: `${Number(values.rekey) * 1000}` };
  await using mesh = await Mesh.create({ env });
  console.error(`One TCP stream for ${values.seconds} s, a new key every ${values.rekey} s ...`);
  const result = await soak(mesh, Number(values.seconds));
  if (values.json) console.log(JSON.stringify(result));
  else console.table(result);
  return 0;
}

if (import.meta.main) Deno.exit(await main());
