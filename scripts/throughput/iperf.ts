/**
 * TCP through a tunnel, by iperf3.
 * @module
 */
import type { Namespace } from "../../tests/e2e/lab/netns.ts";
import type { Process } from "../../tests/e2e/lab/process.ts";
import type { Tunnel } from "./tunnel.ts";

/** One iperf3 run. */
export interface TcpRun {
  readonly streams: number;
  /** From `b` to `a`. */
  readonly isReverse: boolean;
  readonly seconds: number;
}

/** What the receiver got. */
export interface TcpResult {
  readonly megabitsPerSecond: number;
  readonly bytes: number;
}

/** Sends as fast as TCP can. */
export async function measureTcp(tunnel: Tunnel, what: TcpRun): Promise<TcpResult> {
  await using server = await startServer(tunnel.b.machine);
  const output = await tunnel.a.machine.run(clientCommand(tunnel, what), {
    timeoutMs: (what.seconds + 20) * 1000,
  });
  const report = JSON.parse(output.stdout || "{}");
  const sum = report.end?.sum_received;
  if (!sum) {
    throw new Error(`Cannot measure with iperf3: ${report.error ?? output.stderr}${server.stderr}`);
  }
  return { megabitsPerSecond: sum.bits_per_second / 1e6, bytes: sum.bytes };
}

/** One stream from `a` to `b` in the background; dispose of it to end it. */
export async function startTcpLoad(tunnel: Tunnel, seconds: number): Promise<AsyncDisposable> {
  const server = await startServer(tunnel.b.machine);
  const what = { streams: 1, isReverse: false, seconds };
  const client = tunnel.a.machine.spawn(clientCommand(tunnel, what));
  return {
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

function clientCommand(tunnel: Tunnel, { streams, isReverse, seconds }: TcpRun): string[] {
  const direction = isReverse ? ["-R"] : [];
  return ["iperf3", "-J", "-c", tunnel.b.ip, "-t", `${seconds}`, "-P", `${streams}`, ...direction];
}

async function startServer(machine: Namespace): Promise<Process> {
  const server = machine.spawn(["iperf3", "-s", "-1", "--forceflush"]);
  try {
    await server.waitForOutput(/Server listening/);
    return server;
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
}
