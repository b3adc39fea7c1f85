/**
 * Tells everyone who asks, by UDP or TCP, from which address the question came.
 * Usage: echo_address.ts ADDRESS:PORT...
 * @module
 */
import { parseEndpoint } from "../../../core/ip.ts";

const encoder = new TextEncoder();

async function answerDatagrams(socket: Deno.DatagramConn): Promise<void> {
  for await (const [, from] of socket) {
    const { hostname } = from as Deno.NetAddr;
    await socket.send(encoder.encode(hostname), from).catch(() => {});
  }
}

async function answerConnections(listener: Deno.TcpListener): Promise<void> {
  for await (const connection of listener) {
    await connection.write(encoder.encode(connection.remoteAddr.hostname)).catch(() => {});
    connection.close();
  }
}

for (const argument of Deno.args) {
  const { ip: hostname, port } = parseEndpoint(argument)!;
  answerDatagrams(Deno.listenDatagram({ transport: "udp", hostname, port }));
  answerConnections(Deno.listen({ hostname, port }));
}
console.log("ready");
