/**
 * Counts UDP datagrams; prints a `ReceiveReport` of `udp_rate.ts` when there are more.
 * Usage: udp_receive.ts LOCAL_IP PORT
 * @module
 */
import type { ReceiveReport } from "./udp_rate.ts";
import { BATCH, LoadSocket, sleepMicroseconds } from "./udp_socket.ts";

/** The socket's buffer holds far more than comes in this time, and waking up per datagram costs. */
const TICK_US = 1_000;
const REPORT_MS = 50;

const [local, port] = Deno.args as [string, string];
const socket = new LoadSocket({ ip: local, port: Number(port) }, { ip: "0.0.0.0", port: 0 });
console.log("ready");
for (let total = 0, at = 0, reported = 0, reportedAt = 0;;) {
  const taken = socket.takeMany();
  const now = performance.timeOrigin + performance.now();
  if (taken > 0) [total, at] = [total + taken, now];
  if (total !== reported && now - reportedAt >= REPORT_MS) {
    console.log(JSON.stringify({ total, at } satisfies ReceiveReport));
    [reported, reportedAt] = [total, now];
  }
  if (taken < BATCH) sleepMicroseconds(TICK_US);
}
