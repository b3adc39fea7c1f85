/**
 * A machine's programs that want to reach the internet all the time, in every way that could leak.
 * Usage: exit_probe.ts ADDRESS:PORT...
 *
 * Sends to each address by UDP and TCP again and again. A line `udp ADDRESS:PORT` or
 * `tcp ADDRESS:PORT` on standard input asks `echo_address.ts` there, and prints the line with its
 * answer, or `none`.
 * @module
 */
import { parseEndpoint } from "../../../core/ip.ts";

const EVERY_MS = 40;
const ANSWER_MS = 1_000;
/** Connections to one address that wait for an answer at the same time. */
const MAX_PENDING = 20;

const targets = Deno.args.map((text) => parseEndpoint(text)!);
const sockets = {
  4: Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 0 }),
  6: Deno.listenDatagram({ transport: "udp", hostname: "::", port: 0 }),
};
const pending = new Map<string, number>();

function chatter(): void {
  for (const { ip: hostname, port } of targets) {
    const socket = sockets[hostname.includes(":") ? 6 : 4];
    socket.send(new Uint8Array(8), { transport: "udp", hostname, port }).catch(() => {});
    const key = `${hostname} ${port}`;
    const count = pending.get(key) ?? 0;
    if (count >= MAX_PENDING) continue;
    pending.set(key, count + 1);
    Deno.connect({ hostname, port }).then((connection) => connection.close(), () => {})
      .finally(() => pending.set(key, pending.get(key)! - 1));
  }
}

async function ask(transport: string, hostname: string, port: number): Promise<string> {
  const { promise: late, resolve } = Promise.withResolvers<string>();
  const timer = setTimeout(() => resolve("none"), ANSWER_MS);
  const answer = transport === "udp" ? askByUdp(hostname, port) : askByTcp(hostname, port);
  try {
    return await Promise.race([answer.catch(() => "none"), late]);
  } finally {
    clearTimeout(timer);
  }
}

async function askByUdp(hostname: string, port: number): Promise<string> {
  const any = hostname.includes(":") ? "::" : "0.0.0.0";
  const socket = Deno.listenDatagram({ transport: "udp", hostname: any, port: 0 });
  try {
    await socket.send(new Uint8Array(1), { transport: "udp", hostname, port });
    const [bytes] = await socket.receive();
    return new TextDecoder().decode(bytes);
  } finally {
    socket.close();
  }
}

async function askByTcp(hostname: string, port: number): Promise<string> {
  using connection = await Deno.connect({ hostname, port });
  return await new Response(connection.readable).text();
}

setInterval(chatter, EVERY_MS);
console.log("ready");
let rest = "";
for await (const chunk of Deno.stdin.readable) {
  const lines = (rest + new TextDecoder().decode(chunk)).split("\n");
  rest = lines.pop()!;
  for (const line of lines) {
    const [number, transport, endpoint] = line.split(" ") as [string, string, string];
    const { ip, port } = parseEndpoint(endpoint)!;
    ask(transport, ip, port).then((answer) => console.log(`${number} ${answer}`));
  }
}
Deno.exit(0);
