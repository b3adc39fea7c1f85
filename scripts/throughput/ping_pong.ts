/**
 * Plays ping-pong with `echo.ts`: 64 bytes go, come back, and only then go again. Prints
 * `{"p50", "p99", "roundTrips", "lost"}`, times in microseconds.
 * Usage: ping_pong.ts LOCAL_IP REMOTE_IP PORT MS
 * @module
 */
import { percentile } from "./statistics.ts";
import { LoadSocket } from "./udp_socket.ts";

/** After this long a datagram was lost. */
const LOST_MS = 300;
/** The first round trips compile this program and fill caches. */
const WARM_UP = 100;

const [local, remote, port, ms] = Deno.args as [string, string, string, string];
const socket = new LoadSocket({ ip: local, port: Number(port) }, {
  ip: remote,
  port: Number(port),
});
socket.setTimeout(LOST_MS);
const out = new Uint8Array(64), back = new Uint8Array(64);
const sequence = new Uint32Array(out.buffer, 0, 1), answered = new Uint32Array(back.buffer, 0, 1);
const times: number[] = [];
let lost = 0;
for (const start = performance.now(); performance.now() - start < Number(ms);) {
  sequence[0] = sequence[0]! + 1;
  const sentAt = performance.now();
  socket.send(out);
  let length = socket.receive(back);
  // An answer that came after its time does not count for the next question.
  while (length > 0 && answered[0] !== sequence[0]) length = socket.receive(back);
  if (length > 0) times.push((performance.now() - sentAt) * 1000);
  else lost++;
}
socket.close();
const counted = times.slice(Math.min(WARM_UP, times.length >> 1));
console.log(JSON.stringify({
  p50: percentile(counted, 50),
  p99: percentile(counted, 99),
  roundTrips: times.length,
  lost,
}));
