/**
 * UDP datagrams per second through a tunnel without loss.
 * @module
 */
import { type Process, waitFor } from "../../tests/e2e/lab/process.ts";
import { type Burst, type Search, searchRate } from "./search.ts";
import type { Tunnel } from "./tunnel.ts";

const PORT = 5202;
/** What has not arrived this long after the last arrival is lost. */
const LOST_MS = 200;
const BURST_TIMEOUT_MS = 20_000;

/** What `udp_send.ts` prints after a burst; times are wall-clock milliseconds. */
export interface SendReport {
  readonly sent: number;
  readonly from: number;
  readonly to: number;
}

/** What `udp_receive.ts` prints now and then. */
export interface ReceiveReport {
  /** Since the program started. */
  readonly total: number;
  /** When the last of them came, wall-clock milliseconds. */
  readonly at: number;
}

/** The two programs that a burst takes. */
interface Generator {
  readonly sender: Process;
  readonly receiver: Process;
}

/** Datagrams of `size` bytes of payload, from `a` to `b`, in bursts of `burstMs`. */
export async function measureUdp(
  { a, b }: Tunnel,
  size: number,
  burstMs: number,
  search: Search,
): Promise<number> {
  await using receiver = b.machine.deno("scripts/throughput/udp_receive.ts", [b.ip, `${PORT}`]);
  await using sender = a.machine.deno(
    "scripts/throughput/udp_send.ts",
    [a.ip, b.ip, `${PORT}`],
    { input: "" },
  );
  await Promise.all([receiver.waitForOutput(/ready/), sender.waitForOutput(/ready/)]);
  const generator = { sender, receiver };
  return await searchRate(search, (rate) => {
    return sendBurst(generator, `${Math.round(rate)} ${burstMs} ${size}`);
  });
}

async function sendBurst({ sender, receiver }: Generator, order: string): Promise<Burst> {
  const before = lastReport<ReceiveReport>(receiver)?.total ?? 0;
  const answerAt = sender.stdout.length;
  await sender.write(`${order}\n`);
  const { sent, from, to } = await waitFor("the end of a burst", () => {
    if (!sender.isRunning) throw new Error(sender.report("ended early"));
    return sender.stdout.length > answerAt && lastReport<SendReport>(sender);
  }, { timeoutMs: BURST_TIMEOUT_MS });
  const { total, at } = await waitForArrival(receiver, before, sent);
  return {
    sent: sent / (to - from) * 1000,
    received: (total - before) / (Math.max(at, to) - from) * 1000,
    loss: sent === 0 ? 1 : 1 - (total - before) / sent,
  };
}

/** Waits until all have arrived, or nothing more comes. */
async function waitForArrival(
  receiver: Process,
  before: number,
  sent: number,
): Promise<ReceiveReport> {
  let latest: ReceiveReport = { total: before, at: 0 }, changedAt = performance.now();
  await waitFor("the last datagram", () => {
    const report = lastReport<ReceiveReport>(receiver) ?? latest;
    if (report.total !== latest.total) changedAt = performance.now();
    latest = report;
    return latest.total - before >= sent || performance.now() - changedAt > LOST_MS;
  }, { timeoutMs: BURST_TIMEOUT_MS });
  return latest;
}

/** The last whole line of JSON that a program has printed. */
function lastReport<T>({ stdout }: Process): T | null {
  const line = stdout.slice(0, stdout.lastIndexOf("\n")).split("\n").at(-1)!;
  return line.startsWith("{") ? JSON.parse(line) : null;
}
