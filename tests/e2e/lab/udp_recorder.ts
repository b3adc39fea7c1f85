/**
 * A man in the middle in the lab: passes UDP datagrams between one client and a server, remembers
 * the client's, and sends them all to the server again on SIGUSR1, first from the address the
 * server knows, then from another one. Prints `replayed N`.
 * Usage: udp_recorder.ts LISTEN_PORT SERVER_IP SERVER_PORT
 * @module
 */

const [listenPort, hostname, serverPort] = Deno.args as [string, string, string];
const server: Deno.NetAddr = { transport: "udp", hostname, port: Number(serverPort) };

function bind(port: number): Deno.DatagramConn {
  return Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port });
}

const [downstream, upstream, stranger] = [bind(Number(listenPort)), bind(0), bind(0)];
const recorded: Uint8Array[] = [];
let client: Deno.Addr | null = null;

async function passUp(): Promise<void> {
  for await (const [bytes, from] of downstream) {
    client = from;
    recorded.push(bytes.slice());
    await upstream.send(bytes, server);
  }
}

async function passDown(): Promise<void> {
  for await (const [bytes] of upstream) if (client) await downstream.send(bytes, client);
}

async function replay(): Promise<void> {
  const datagrams = recorded.slice();
  for (const socket of [upstream, stranger]) {
    for (const bytes of datagrams) await socket.send(bytes, server);
  }
  console.log(`replayed ${2 * datagrams.length}`);
}

Deno.addSignalListener("SIGUSR1", replay);
console.log(`upstream ${(upstream.addr as Deno.NetAddr).port}`);
await Promise.all([passUp(), passDown()]);
