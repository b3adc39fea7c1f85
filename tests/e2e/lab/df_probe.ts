/**
 * A node's UDP sockets with their companion for path MTU probes, on one machine of the lab. Each
 * line of standard input is a command and has one line as its answer:
 *
 * `df LENGTH IP PORT` and `plain LENGTH IP PORT` send one datagram; `flood COUNT IP PORT` sends small
 * ones from as many ports; `counts` tells what came, as JSON, when nothing more comes.
 *
 * Usage: df_probe.ts PORT SOCKETS
 * @module
 */
import { parseIp } from "../../../core/ip.ts";
import { openDfSender } from "../../../core/platform/linux/df_socket.ts";
import { waitReadable } from "../../../core/platform/linux/libc.ts";
import { TrainReceiver } from "../../../core/platform/linux/train_receiver.ts";
import { openUdp } from "../../../core/platform/linux/udp.ts";

/** What one machine received. */
export interface Counts {
  /** Datagrams of each of the node's sockets. */
  readonly bySocket: readonly number[];
  /** Datagrams by length. */
  readonly byLength: Readonly<Record<string, number>>;
  /** Where the last one came from. */
  readonly lastFrom: string | null;
}

const FLOOD_BYTES = 32;
/** Nothing comes any more after this long without a datagram. */
const QUIET_MS = 300;

const [port, sockets] = Deno.args.map(Number) as [number, number];
const node = openUdp(port, false, sockets);
const sender = openDfSender(node);
const receiver = new TrainReceiver();

function ip16(text: string): Uint8Array {
  const bytes = parseIp(text)!;
  if (bytes.length === 16) return bytes;
  const mapped = new Uint8Array(16);
  mapped.set([0xff, 0xff, ...bytes], 10);
  return mapped;
}

function flood(count: number, ip: Uint8Array, to: number): void {
  for (let i = 0; i < count; i++) {
    const socket = openUdp(0, false);
    socket.send(new Uint8Array(FLOOD_BYTES), ip, to);
    socket.close();
  }
}

function counts(): Counts {
  const bySocket = node.fds.map(() => 0);
  const byLength: Record<string, number> = {};
  let lastFrom: string | null = null;
  node.fds.forEach((fd, socket) => {
    while (waitReadable(fd, QUIET_MS)) {
      const count = receiver.receive(fd);
      for (let i = 0; i < count; i++) {
        const { length } = receiver.train(i)!.bytes;
        bySocket[socket]!++;
        byLength[length] = (byLength[length] ?? 0) + 1;
        lastFrom = receiver.source(i);
      }
    }
  });
  return { bySocket, byLength, lastFrom };
}

function answer(command: string): unknown {
  const [name, amount, ip, to] = command.split(" ") as [string, string, string, string];
  const bytes = new Uint8Array(Number(amount));
  switch (name) {
    case "df":
      return sender.send(bytes, ip16(ip), Number(to));
    case "plain":
      return node.send(bytes, ip16(ip), Number(to));
    case "flood":
      return flood(Number(amount), ip16(ip), Number(to));
    case "counts":
      return counts();
  }
}

console.log("ready");
let pending = "";
for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
  const lines = (pending + text).split("\n");
  pending = lines.pop()!;
  for (const line of lines) console.log(`${line} = ${JSON.stringify(answer(line) ?? null)}`);
}
