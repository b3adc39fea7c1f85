/**
 * One end of a stream of numbered datagrams or of bytes, and what became of it. Ends with its
 * standard input, and then prints one line of JSON.
 *
 * Usage: stream_peer.ts udp-send HOST PORT PER_SECOND | udp-receive PORT
 *      | tcp-send HOST PORT | tcp-receive PORT
 * @module
 */

/** How often a stream of datagrams catches up with what is due. */
const SEND_MS = 5;
/** How often the receiver of bytes looks whether there are more. */
const SAMPLE_MS = 10;
const DATAGRAM_BYTES = 200;
const CHUNK_BYTES = 65_536;

/** Does something now and then until standard input ends. */
async function untilEnd(everyMs: number, work: () => void): Promise<void> {
  const timer = setInterval(work, everyMs);
  for await (const _ of Deno.stdin.readable);
  clearInterval(timer);
}

async function sendDatagrams(hostname: string, port: number, perSecond: number): Promise<unknown> {
  const socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 0 });
  const start = performance.now();
  let sent = 0;
  await untilEnd(SEND_MS, () => {
    const due = (performance.now() - start) * perSecond / 1000;
    while (sent < due) {
      const bytes = new Uint8Array(DATAGRAM_BYTES);
      new DataView(bytes.buffer).setUint32(0, sent++);
      socket.send(bytes, { transport: "udp", hostname, port });
    }
  });
  socket.close();
  return { sent };
}

async function receiveDatagrams(port: number): Promise<unknown> {
  const socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port });
  const seen = new Set<number>();
  let doubled = 0;
  let longestGapMs = 0;
  let lastAt: number | null = null;
  const receive = async () => {
    for await (const [bytes] of socket) {
      const now = performance.now();
      const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
      if (seen.has(number)) doubled++;
      seen.add(number);
      longestGapMs = Math.max(longestGapMs, now - (lastAt ?? now));
      lastAt = now;
    }
  };
  const receiving = receive();
  console.log("ready");
  await untilEnd(SAMPLE_MS, () => {});
  socket.close();
  await receiving;
  return { received: seen.size, doubled, longestGapMs };
}

async function sendBytes(hostname: string, port: number): Promise<unknown> {
  const connection = await Deno.connect({ hostname, port });
  const chunk = new Uint8Array(CHUNK_BYTES);
  let isEnded = false;
  let bytes = 0;
  const send = async () => {
    while (!isEnded) bytes += await connection.write(chunk);
  };
  const sending = send().catch(() => {});
  await untilEnd(SAMPLE_MS, () => {});
  isEnded = true;
  await sending;
  connection.close();
  return { bytes };
}

async function receiveBytes(port: number): Promise<unknown> {
  const listener = Deno.listen({ hostname: "0.0.0.0", port });
  let bytes = 0;
  let longestStallMs = 0;
  let [before, changedAt] = [0, 0];
  let isEnded = false;
  const receive = async () => {
    const connection = await listener.accept();
    for await (const chunk of connection.readable) bytes += chunk.length;
    isEnded = true;
  };
  const receiving = receive().catch(() => {});
  console.log("ready");
  await untilEnd(SAMPLE_MS, () => {
    const now = performance.now();
    if (bytes !== before || before === 0) [before, changedAt] = [bytes, now];
    if (!isEnded) longestStallMs = Math.max(longestStallMs, now - changedAt);
    console.error(`${bytes}`);
  });
  await receiving;
  listener.close();
  return { bytes, longestStallMs };
}

const [role, ...rest] = Deno.args as [string, ...string[]];
const roles: Record<string, () => Promise<unknown>> = {
  "udp-send": () => sendDatagrams(rest[0]!, Number(rest[1]), Number(rest[2])),
  "udp-receive": () => receiveDatagrams(Number(rest[0])),
  "tcp-send": () => sendBytes(rest[0]!, Number(rest[1])),
  "tcp-receive": () => receiveBytes(Number(rest[0])),
};
console.log(JSON.stringify(await roles[role]!()));
