/**
 * Sends UDP datagrams at a steady rate through a tunnel, as often as it is told to.
 * Usage: udp_send.ts LOCAL_IP REMOTE_IP PORT; each line of standard input is `RATE MS SIZE`, and is
 * answered by a `SendReport` of `udp_rate.ts`.
 * @module
 */
import type { SendReport } from "./udp_rate.ts";
import { BATCH, LoadSocket, sleepMicroseconds } from "./udp_socket.ts";

/** Between bursts: shorter than any queue of a tunnel lasts, longer than a wake-up costs. */
const TICK_US = 200;
/** What a sender that was not scheduled may make up for; more would be a burst nobody asked for. */
const MOST_LATE_MS = 2;

/** Sends `rate` datagrams per second for `ms`, less when this machine cannot. */
function sendSteadily(socket: LoadSocket, rate: number, ms: number, size: number): SendReport {
  const start = performance.now();
  let sent = 0, forgone = 0, elapsed = 0;
  for (; elapsed < ms; elapsed = performance.now() - start) {
    let due = Math.floor(rate * elapsed / 1000) - sent - forgone;
    const most = Math.ceil(rate * MOST_LATE_MS / 1000);
    if (due > most) {
      forgone += due - most;
      due = most;
    }
    while (due > 0) {
      const taken = socket.sendMany(Math.min(due, BATCH), size);
      if (taken === 0) break;
      sent += taken;
      due -= taken;
    }
    sleepMicroseconds(TICK_US);
  }
  const from = performance.timeOrigin + start;
  return { sent, from, to: from + elapsed };
}

function* linesOfStdin(): Generator<string> {
  const buffer = new Uint8Array(256), decoder = new TextDecoder();
  // One line at a time: whoever writes waits for the answer first.
  for (let n; (n = Deno.stdin.readSync(buffer)) !== null;) {
    yield decoder.decode(buffer.subarray(0, n));
  }
}

const [local, remote, port] = Deno.args as [string, string, string];
const socket = new LoadSocket({ ip: local, port: 0 }, { ip: remote, port: Number(port) });
console.log("ready");
for (const line of linesOfStdin()) {
  const [rate, ms, size] = line.trim().split(" ").map(Number) as [number, number, number];
  console.log(JSON.stringify(sendSteadily(socket, rate, ms, size)));
}
socket.close();
