/**
 * Plain sockets on a machine of the lab, driven from the test over standard input and output.
 * Usage: udp_probe.ts [tcp:]ADDRESS:PORT...
 *
 * Prints `ready`, then `LOCAL FROM TEXT` for each datagram that comes. A line `LOCAL TO TEXT` of
 * input sends one. TCP ports accept every connection and close it.
 * @module
 */

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function split(endpoint: string): { hostname: string; port: number } {
  const colon = endpoint.lastIndexOf(":");
  return { hostname: endpoint.slice(0, colon), port: Number(endpoint.slice(colon + 1)) };
}

async function print(local: string, socket: Deno.DatagramConn): Promise<void> {
  for await (const [bytes, from] of socket) {
    const { hostname, port } = from as Deno.NetAddr;
    console.log(`${local} ${hostname}:${port} ${decoder.decode(bytes)}`);
  }
}

async function accept(listener: Deno.Listener): Promise<void> {
  for await (const connection of listener) connection.close();
}

const socketsByLocal = new Map<string, Deno.DatagramConn>();
for (const endpoint of Deno.args) {
  if (endpoint.startsWith("tcp:")) {
    accept(Deno.listen(split(endpoint.slice(4))));
  } else {
    const socket = Deno.listenDatagram({ transport: "udp", ...split(endpoint) });
    socketsByLocal.set(endpoint, socket);
    print(endpoint, socket);
  }
}
console.log("ready");

let pending = "";
for await (const chunk of Deno.stdin.readable) {
  const lines = (pending + decoder.decode(chunk)).split("\n");
  pending = lines.pop()!;
  for (const line of lines) {
    const [local, to, ...words] = line.split(" ") as [string, string, ...string[]];
    // A route that has just gone refuses the datagram, which is then lost like any other.
    await socketsByLocal.get(local)!.send(encoder.encode(words.join(" ")), {
      transport: "udp",
      ...split(to),
    }).catch(() => {});
  }
}
