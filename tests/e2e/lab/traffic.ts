/**
 * Traffic between machines of the lab, and what became of it.
 * @module
 */
import { strict as assert } from "node:assert";
import type { Namespace } from "./netns.ts";
import { type Process, waitFor } from "./process.ts";

/** How to ping. */
export interface PingOptions {
  readonly count?: number;
  readonly intervalMs?: number;
  /** Bytes of ICMP payload. */
  readonly size?: number;
  readonly family?: 4 | 6;
  /** How long to wait for the last reply. */
  readonly timeoutMs?: number;
  /** Sets "don't fragment": what exceeds the path MTU is lost. */
  readonly dontFragment?: boolean;
}

/** What `ping` counted. */
export interface PingResult {
  readonly sent: number;
  readonly received: number;
  readonly output: string;
}

function pingCommand(target: string, options: PingOptions): string[] {
  const { intervalMs = 100, size = 56, family, timeoutMs = 2_000 } = options;
  return [
    "ping",
    ...(family === undefined ? [] : [`-${family}`]),
    ...["-n", "-i", `${intervalMs / 1000}`, "-s", `${size}`, "-W", `${timeoutMs / 1000}`],
    ...(options.dontFragment ? ["-M", "do"] : []),
    ...(options.count === undefined ? ["-D", "-O"] : ["-c", `${options.count}`]),
    target,
  ];
}

/** Pings from `from` by name or address. Losses are no error; a name that does not resolve is 0/0. */
export async function ping(
  from: Namespace,
  target: string,
  options: PingOptions = {},
): Promise<PingResult> {
  const { stdout, stderr } = await from.run(pingCommand(target, { count: 3, ...options }));
  const counts = /(\d+) packets transmitted, (\d+) received/.exec(stdout);
  return {
    sent: Number(counts?.[1] ?? 0),
    received: Number(counts?.[2] ?? 0),
    output: stdout + stderr,
  };
}

/** Pings and requires every reply. */
export async function mustPing(
  from: Namespace,
  target: string,
  options: PingOptions = {},
): Promise<void> {
  const result = await ping(from, target, options);
  const isComplete = result.sent > 0 && result.received === result.sent;
  assert.ok(isComplete, `${from.label} cannot ping ${target}:\n${result.output}`);
}

/** Waits until one ping is answered; returns how long that took in milliseconds. */
export async function waitForPing(
  from: Namespace,
  target: string,
  { timeoutMs = 10_000, family }: { timeoutMs?: number; family?: 4 | 6 } = {},
): Promise<number> {
  const start = performance.now();
  const once = { count: 1, timeoutMs: 300, ...(family === undefined ? {} : { family }) };
  await waitFor(`a reply to ${from.label}'s ping of ${target}`, async () => {
    return (await ping(from, target, once)).received === 1;
  }, { timeoutMs });
  return performance.now() - start;
}

/** A ping that goes on in the background and remembers when each reply came. */
export class PingStream implements AsyncDisposable {
  readonly #process: Process;
  readonly #intervalMs: number;

  private constructor(process: Process, intervalMs: number) {
    this.#process = process;
    this.#intervalMs = intervalMs;
  }

  /** Starts pinging an address and waits for the first reply. */
  static async start(
    from: Namespace,
    target: string,
    intervalMs = 50,
    family?: 4 | 6,
  ): Promise<PingStream> {
    const options = { intervalMs, ...(family === undefined ? {} : { family }) };
    const process = from.spawn(pingCommand(target, options));
    const stream = new PingStream(process, intervalMs);
    try {
      await process.waitForOutput(/icmp_seq=\d+ ttl/, 10_000);
    } catch (error) {
      await process[Symbol.asyncDispose]();
      throw error;
    }
    return stream;
  }

  /** When each reply came, wall-clock milliseconds. */
  replies(): { sequence: number; at: number }[] {
    return [...this.#process.stdout.matchAll(/^\[(\d+\.\d+)\] .*icmp_seq=(\d+) ttl/gm)]
      .map((match) => ({ sequence: Number(match[2]), at: Number(match[1]) * 1000 }));
  }

  /** How many requests before the last reply were never answered. */
  lost(): number {
    const sequences = new Set(this.replies().map((reply) => reply.sequence));
    return Math.max(...sequences, 0) - sequences.size;
  }

  /** The longest time without a reply since the first, up to this moment, in milliseconds. */
  longestGapMs(): number {
    const times = [...this.replies().map((reply) => reply.at), Date.now() - this.#intervalMs];
    return Math.max(...times.slice(1).map((at, i) => at - times[i]!));
  }

  /** Waits for a reply to a request that is sent after this call; returns the wait in ms. */
  async waitForReply(timeoutMs = 10_000): Promise<number> {
    const start = Date.now();
    await waitFor("a reply to the running ping", () => {
      return (this.replies().at(-1)?.at ?? 0) > start;
    }, { timeoutMs });
    return Date.now() - start;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stop("SIGINT");
    await this.#process[Symbol.asyncDispose]();
  }
}

/** What one iperf3 run measured at the receiver. */
export interface IperfResult {
  readonly megabitsPerSecond: number;
  readonly bytes: number;
}

/** How iperf3 shall load the tunnel. */
export interface IperfOptions {
  readonly seconds?: number;
  readonly reverse?: boolean;
  /** UDP at this rate instead of TCP. */
  readonly udpMegabits?: number;
}

/** One stream by iperf3 from `client` to `server` (or back), TCP unless said otherwise. */
export async function iperf(
  client: Namespace,
  server: Namespace,
  address: string,
  { seconds = 3, reverse = false, udpMegabits }: IperfOptions = {},
): Promise<IperfResult> {
  await using listener = server.spawn(["iperf3", "-s", "-1", "--forceflush"]);
  await listener.waitForOutput(/Server listening/);
  const udp = udpMegabits === undefined ? [] : ["-u", "-b", `${udpMegabits}M`];
  const flags = [...udp, ...(reverse ? ["-R"] : [])];
  const command = ["iperf3", "-J", "-c", address, "-t", `${seconds}`, ...flags];
  const output = await client.run(command, { timeoutMs: (seconds + 20) * 1000 });
  const report = JSON.parse(output.stdout || "{}");
  const sum = report.end?.sum_received ?? report.end?.sum;
  if (!sum) throw new Error(`Cannot measure with iperf3: ${report.error ?? output.stderr}`);
  return { megabitsPerSecond: sum.bits_per_second / 1e6, bytes: sum.bytes };
}

/** What a download brought. */
export interface Download {
  readonly bytes: number;
  readonly sha256: string;
  readonly ms: number;
}

/** Starts a web server for {@link download} on port 8080 of a machine. */
export async function serveBulk(server: Namespace): Promise<Process> {
  const process = server.deno("tests/e2e/lab/serve_bulk.ts", ["8080"]);
  try {
    await process.waitForOutput(/listening/);
    return process;
  } catch (error) {
    await process[Symbol.asyncDispose]();
    throw error;
  }
}

/** Downloads that many bytes from the web server of a machine, by name or address. */
export async function download(
  client: Namespace,
  server: string,
  bytes: number,
  timeoutMs = 120_000,
): Promise<Download> {
  const host = server.includes(":") ? `[${server}]` : server;
  await using fetcher = client.deno("tests/e2e/lab/fetch_bulk.ts", [
    `http://${host}:8080/${bytes}`,
  ]);
  const status = await fetcher.waitForExit(timeoutMs);
  await fetcher.drained;
  if (!status.success) throw new Error(fetcher.report("failed"));
  return JSON.parse(fetcher.stdout);
}
