/**
 * One end of a tunnel without any encryption: a real TUN, and the node's own kind of UDP socket with
 * its mark.
 * Usage: plain_tunnel.ts MARK ADDRESSES,... ROUTES,... [ENDPOINT]
 *
 * Without an endpoint it answers to where the last datagram came from.
 * @module
 */
import { parseEndpoint, parseIp } from "../../../core/ip.ts";
import { configureInterface } from "../../../core/platform/linux/interface.ts";
import { libc } from "../../../core/platform/linux/libc.ts";
import { Readiness } from "../../../core/platform/linux/readiness.ts";
import { TrainReceiver } from "../../../core/platform/linux/train_receiver.ts";
import { openTun } from "../../../core/platform/linux/tun.ts";
import { openUdp } from "../../../core/platform/linux/udp.ts";

const NAME = "tm0", PORT = 51820, MTU = 1400;
/** Of the header that the TUN puts before each packet, which goes along. */
const ROOM = MTU + 16;
/** Packets before the other side has its turn. */
const MAX_ROUNDS = 64;

const [mark, addresses, routes, endpoint] = Deno.args as [string, string, string, string?];
const readiness = new Readiness();
const tun = openTun(NAME, { tcp: false, udp: false }).queues[0]!;
const udp = openUdp(PORT, false, 1, Number(mark));
const receiver = new TrainReceiver();
let peer = endpoint ?? null;

function send(bytes: Uint8Array): void {
  const to = peer === null ? null : parseEndpoint(peer);
  if (to === null) return;
  const ip4 = parseIp(to.ip)!;
  udp.send(bytes, Uint8Array.of(...Array(10).fill(0), 0xff, 0xff, ...ip4), to.port);
}

const room = new Uint8Array(ROOM);
const pointer = Deno.UnsafePointer.of(room);
readiness.add(tun, () => {
  for (let i = 0; i < MAX_ROUNDS; i++) {
    const length = libc().symbols.read(tun, pointer, ROOM);
    if (length <= 0) return;
    send(room.slice(0, length));
  }
});
readiness.add(udp.fds[0]!, () => {
  const count = receiver.receive(udp.fds[0]!);
  for (let i = 0; i < count; i++) {
    const bytes = receiver.train(i)?.bytes.slice();
    if (endpoint === undefined) peer = receiver.source(i);
    if (bytes) libc().symbols.write(tun, Deno.UnsafePointer.of(bytes), bytes.length);
  }
});
await configureInterface({
  name: NAME,
  alias: "plain tunnel",
  mtu: MTU,
  addresses: addresses.split(","),
  routes: routes.split(","),
});
console.log("ready");
