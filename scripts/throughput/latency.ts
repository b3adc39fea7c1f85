/**
 * How long a small datagram takes to the other end of a tunnel and back.
 * @module
 */
import { startTcpLoad } from "./iperf.ts";
import type { Tunnel } from "./tunnel.ts";

const PORT = 5203;
/** Until TCP has found its rate. */
const SETTLE_MS = 500;

/** Round trip times in microseconds. */
export interface Latency {
  readonly p50: number;
  readonly p99: number;
  readonly roundTrips: number;
  readonly lost: number;
}

/** Plays ping-pong from `a` to `b` for that long, with nothing else in the tunnel. */
export async function measureLatency(tunnel: Tunnel, seconds: number): Promise<Latency> {
  const { a, b } = tunnel;
  await using echo = b.machine.deno("scripts/throughput/echo.ts", [b.ip, a.ip, `${PORT}`]);
  await echo.waitForOutput(/ready/);
  const arguments_ = [a.ip, b.ip, `${PORT}`, `${seconds * 1000}`];
  await using player = a.machine.deno("scripts/throughput/ping_pong.ts", arguments_);
  const status = await player.waitForExit((seconds + 20) * 1000);
  await player.drained;
  if (!status.success) throw new Error(player.report("failed"));
  const latency = JSON.parse(player.stdout) as Latency;
  if (latency.roundTrips === 0) throw new Error("Cannot measure latency: no answer came back");
  return latency;
}

/** The same while one TCP stream fills the tunnel from `a` to `b`. */
export async function measureLoadedLatency(tunnel: Tunnel, seconds: number): Promise<Latency> {
  await using _load = await startTcpLoad(tunnel, seconds + 5);
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  return await measureLatency(tunnel, seconds);
}
