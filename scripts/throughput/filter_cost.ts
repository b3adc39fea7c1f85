/**
 * What do a thousand filter rules cost in a tunnel that is up? One pair of nodes, their rules put in
 * and taken out again between the runs, so that all else is the same.
 * @module
 */
import type { FilterAddRequest } from "../../core/daemon/filter_types.ts";
import { type Random, SeededRandom } from "../../core/random.ts";
import type { Node } from "../../tests/e2e/lab/node.ts";
import { waitForPing } from "../../tests/e2e/lab/traffic.ts";
import { measureTcp, type TcpRun } from "./iperf.ts";
import { ownNodes } from "./own.ts";
import { Pair } from "./pair.ts";
import { median } from "./statistics.ts";

/** Rules that are put in. */
export const TUNNEL_RULES = 1000;
const UP_MS = 20_000;
const WARM_UP_SECONDS = 1;
/** The rules speak of ports below those of the measured connections. */
const FIRST_PORT = 6000;
const PORTS = 20_000;
/** Ports of one rule, at most. */
const RANGE = 16;

/** One kind of run: megabits per second in each pair of runs, and their ratio. */
export interface FilterCostInTunnel {
  readonly run: string;
  readonly without: number;
  readonly with: number;
  /** Median of the rounds' ratios, and the extremes; below 1 is what the rules cost. */
  readonly ratio: number;
  readonly lowest: number;
  readonly highest: number;
}

/** How long it takes. */
export interface TunnelRounds {
  readonly rounds: number;
  readonly seconds: number;
}

const RUNS: Readonly<Record<string, Omit<TcpRun, "seconds">>> = {
  "TCP, 1 stream": { streams: 1, isReverse: false },
  "TCP, 1 stream back": { streams: 1, isReverse: true },
  "TCP, 8 streams": { streams: 8, isReverse: false },
};

/** Measures each kind of run without and with the rules, in turns whose order changes. */
export async function measureFilterInTunnel(
  { rounds, seconds }: TunnelRounds,
  say: (step: string) => void,
): Promise<FilterCostInTunnel[]> {
  await using pair = await Pair.create();
  await using nodes = await ownNodes(pair, []);
  await using tunnel = await nodes.tunnel();
  await waitForPing(tunnel.a.machine, tunnel.b.ip, { timeoutMs: UP_MS });
  await measureTcp(tunnel, { streams: 1, isReverse: false, seconds: WARM_UP_SECONDS });
  const speeds = new Map(Object.keys(RUNS).map((run) => [run, [[], []] as [number[], number[]]]));
  for (let round = 0; round < rounds; round++) {
    for (const isWith of round % 2 === 0 ? [false, true] : [true, false]) {
      const label = isWith ? `${TUNNEL_RULES} rules` : "no rules";
      for (const node of nodes.all) await (isWith ? putIn : takeOut)(node);
      for (const [run, what] of Object.entries(RUNS)) {
        say(`[${round + 1}/${rounds}] ${run}, ${label}`);
        const { megabitsPerSecond } = await measureTcp(tunnel, { ...what, seconds });
        speeds.get(run)![isWith ? 1 : 0].push(megabitsPerSecond);
      }
    }
  }
  return [...speeds].map(([run, [without, withRules]]) => {
    const ratios = without.map((speed, i) => withRules[i]! / speed);
    return {
      run,
      without: Math.round(median(without)),
      with: Math.round(median(withRules)),
      ratio: rounded(median(ratios)),
      lowest: rounded(Math.min(...ratios)),
      highest: rounded(Math.max(...ratios)),
    };
  });
}

/** Adds the rules that are not there yet; one in eight denies. */
async function putIn(node: Node): Promise<void> {
  await takeOut(node);
  const random = new SeededRandom(1);
  for (let i = 0; i < TUNNEL_RULES; i++) await node.post("/v1/filter/add", ruleOf(random, i));
  const { filter } = await node.mustStatus();
  if (filter.layers.temporary !== TUNNEL_RULES) {
    throw new Error(`Cannot measure: ${node.name} has ${filter.layers.temporary} rules`);
  }
}

async function takeOut(node: Node): Promise<void> {
  const { filter } = await node.mustStatus();
  if (filter.layers.temporary > 0) await node.post("/v1/filter/remove", { from: "everyone" });
}

function ruleOf(random: Random, index: number): FilterAddRequest {
  const first = FIRST_PORT + random.uint32() % PORTS;
  return {
    action: index % 8 === 7 ? "deny" : "allow",
    protocol: index % 3 === 2 ? "udp" : "tcp",
    ports: `${first}-${first + random.uint32() % RANGE}`,
    from: "everyone",
    comment: "",
  };
}

function rounded(ratio: number): number {
  return Number(ratio.toFixed(4));
}
