/**
 * Sends every UDP datagram back.
 * Usage: echo.ts LOCAL_IP REMOTE_IP PORT; both sides use the same port.
 * @module
 */
import { LoadSocket } from "./udp_socket.ts";

const [local, remote, port] = Deno.args as [string, string, string];
const socket = new LoadSocket({ ip: local, port: Number(port) }, {
  ip: remote,
  port: Number(port),
});
const datagram = new Uint8Array(64);
console.log("ready");
while (true) {
  if (socket.receive(datagram) > 0) socket.send(datagram);
}
