/**
 * One visit to one tunnel: up, every measure once, down.
 * @module
 */
import { waitForPing } from "../../tests/e2e/lab/traffic.ts";
import { measureTcp, type TcpResult } from "./iperf.ts";
import { measureLatency, measureLoadedLatency } from "./latency.ts";
import { Pair } from "./pair.ts";
import type { Contender, Tunnel } from "./tunnel.ts";
import { measureUdp } from "./udp_rate.ts";
import { Disturbance, readCpuTime, residentBytes } from "./usage.ts";

/** What is measured, in the order of the table. */
export const MEASURES = [
  "tcp1",
  "tcp1Reverse",
  "tcp8",
  "tcp8Reverse",
  "udp64",
  "udp1400",
  "p50Idle",
  "p99Idle",
  "p50",
  "p99",
  "cpuPerGB",
  "machineCpuPerGB",
  "rss",
  "stolen",
  "others",
] as const;
export type Measure = typeof MEASURES[number];

/** One value for each measure; units are in `report.ts`. */
export type Sample = Readonly<Record<Measure, number>>;

/** How long each part takes. */
export interface Durations {
  /** Of each TCP run. */
  readonly tcpSeconds: number;
  readonly idleSeconds: number;
  readonly loadedSeconds: number;
  readonly burstMs: number;
  /** Of each search for a UDP rate. */
  readonly bursts: number;
}

/** Payload of the small datagrams. */
const SMALL = 64;
/** Payload of packets of 1400 bytes: 20 of IPv4 and 8 of UDP less. */
const LARGE = 1400 - 28;
/** Compilers and TCP's memory of the path have settled by then. */
const WARM_UP_SECONDS = 1;
/** Where the search for the UDP rate begins, datagrams per second. */
const FIRST_RATE = 40_000;
const UP_MS = 20_000;

/** Measures one contender on two fresh machines; `say` is told what comes next. */
export async function measure(
  contender: Contender,
  durations: Durations,
  say: (step: string) => void,
): Promise<Sample> {
  const disturbance = new Disturbance();
  const sample = await visit(contender, durations, say);
  return { ...sample, ...disturbance.percent() };
}

async function visit(
  contender: Contender,
  durations: Durations,
  say: (step: string) => void,
): Promise<Omit<Sample, "stolen" | "others">> {
  await using pair = await Pair.create();
  say("start");
  await using tunnel = await contender.start(pair);
  await waitForPing(tunnel.a.machine, tunnel.b.ip, { timeoutMs: UP_MS });
  say("warm up");
  await measureTcp(tunnel, { streams: 1, isReverse: false, seconds: WARM_UP_SECONDS });
  say("ping-pong, idle");
  const idle = await measureLatency(tunnel, durations.idleSeconds);
  const tcp = await measureAllTcp(tunnel, durations.tcpSeconds, say);
  say("ping-pong under load");
  const loaded = await measureLoadedLatency(tunnel, durations.loadedSeconds);
  if (idle.lost + loaded.lost > 0) say(`lost pings: ${idle.lost} idle, ${loaded.lost} under load`);
  const search = { from: FIRST_RATE, bursts: durations.bursts };
  say("UDP, 64 bytes");
  const udp64 = await measureUdp(tunnel, SMALL, durations.burstMs, search);
  say("UDP, 1400 bytes");
  const udp1400 = await measureUdp(tunnel, LARGE, durations.burstMs, search);
  return {
    ...tcp,
    udp64,
    udp1400,
    p50Idle: idle.p50,
    p99Idle: idle.p99,
    p50: loaded.p50,
    p99: loaded.p99,
    rss: Math.max(residentBytes(tunnel.a.pid), residentBytes(tunnel.b.pid)) / 1e6,
  };
}

type TcpMeasure = Extract<Measure, `tcp${string}` | `${string}PerGB`>;

async function measureAllTcp(
  tunnel: Tunnel,
  seconds: number,
  say: (step: string) => void,
): Promise<Record<TcpMeasure, number>> {
  const run = async (streams: number, isReverse: boolean): Promise<TcpResult> => {
    say(`TCP, streams: ${streams}, ${isReverse ? "b to a" : "a to b"}`);
    return await measureTcp(tunnel, { streams, isReverse, seconds });
  };
  const pids = [tunnel.a.pid, tunnel.b.pid];
  const before = readCpuTime(pids);
  const one = await run(1, false);
  const after = readCpuTime(pids);
  const gigabytes = one.bytes / 1e9;
  return {
    tcp1: one.megabitsPerSecond,
    tcp1Reverse: (await run(1, true)).megabitsPerSecond,
    tcp8: (await run(8, false)).megabitsPerSecond,
    tcp8Reverse: (await run(8, true)).megabitsPerSecond,
    cpuPerGB: (after.processes - before.processes) / gigabytes,
    machineCpuPerGB: (after.machine - before.machine) / gigabytes,
  };
}
