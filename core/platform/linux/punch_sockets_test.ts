import assert from "node:assert/strict";
import { libc, waitReadable } from "./libc.ts";
import { libcControl } from "./libc_control.ts";
import { PunchSockets } from "./punch_sockets.ts";
import { Readiness } from "./readiness.ts";
import { TrainReceiver } from "./train_receiver.ts";
import { openUdp } from "./udp.ts";

const mayLoad = Deno.permissions.querySync({ name: "ffi" }).state === "granted";
// Loaded once: a library stays for the life of the process, which a test would call a leak.
if (mayLoad) {
  libc();
  libcControl();
}

interface Received {
  readonly socket: number;
  readonly from: string;
  readonly bytes: Uint8Array;
}

/** A peer's socket, and sockets to reach it; what they receive is kept. */
class Rig implements AsyncDisposable {
  readonly peer = openUdp(0, false);
  readonly readiness = new Readiness();
  readonly received: Received[] = [];
  readonly sockets: PunchSockets;
  readonly #receiver = new TrainReceiver();

  constructor(onReceive?: (socket: number) => void) {
    this.sockets = new PunchSockets((socket, from, bytes) => {
      this.received.push({ socket, from, bytes: bytes.slice() });
      onReceive?.(socket);
    }, this.readiness);
  }

  /** Where a datagram at the peer came from, and its length. */
  receiveAtPeer(): { from: string; length: number } {
    assert.ok(waitReadable(this.peer.fds[0]!, 2_000));
    // Several may wait: those behind the first are not of interest.
    assert.ok(this.#receiver.receive(this.peer.fds[0]!) > 0);
    return { from: this.#receiver.source(0), length: this.#receiver.train(0)!.bytes.length };
  }

  /** The port of a socket, as the peer sees it. */
  portOf(socket: number): number {
    assert.ok(this.sockets.send(socket, `127.0.0.1:${this.peer.port}`, new Uint8Array(1)));
    return Number(this.receiveAtPeer().from.split(":").at(-1));
  }

  async settle(count: number): Promise<void> {
    for (let i = 0; i < 2_000 && this.received.length < count; i++) await turn();
    assert.equal(this.received.length, count);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sockets.shutdown();
    await this.readiness.shutdown();
    this.peer.close();
  }
}

/** Lets timers and other threads have their turn. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

function loopback(isIpv6: boolean): Uint8Array {
  const ip = new Uint8Array(16);
  ip.set(isIpv6 ? [1] : [0xff, 0xff, 127, 0, 0, 1], isIpv6 ? 15 : 10);
  return ip;
}

/** Registers a test that needs real sockets. */
function socketTest(name: string, run: () => Promise<void>): void {
  Deno.test(name, async () => {
    if (!mayLoad) return console.log(`SKIP: ${name}: needs --allow-ffi`);
    await run();
  });
}

socketTest(
  "PunchSockets each have a port of their own, and answers come to the right one",
  async () => {
    await using rig = new Rig();
    const numbers = rig.sockets.open(100);
    const ports = numbers.map((number) => rig.portOf(number));
    assert.equal(new Set(ports).size, 100);
    for (const port of ports) rig.peer.send(Uint8Array.of(port & 255), loopback(false), port);
    await rig.settle(100);
    for (const { socket, from, bytes } of rig.received) {
      const port = ports[numbers.indexOf(socket)]!;
      assert.deepEqual([...bytes], [port & 255]);
      assert.equal(from, `127.0.0.1:${rig.peer.port}`);
    }
  },
);

socketTest("PunchSockets reach IPv6, and say where a datagram came from", async () => {
  await using rig = new Rig();
  const [number] = rig.sockets.open(1);
  assert.ok(rig.sockets.send(number!, `[::1]:${rig.peer.port}`, new Uint8Array(700)));
  const { from, length } = rig.receiveAtPeer();
  assert.match(from, /^\[::1\]:\d+$/);
  assert.equal(length, 700);
  rig.peer.send(new Uint8Array(5), loopback(true), Number(from.split(":").at(-1)));
  await rig.settle(1);
  assert.equal(rig.received[0]!.from, `[::1]:${rig.peer.port}`);
});

socketTest("PunchSockets refuse what cannot be sent", async () => {
  await using rig = new Rig();
  const [number] = rig.sockets.open(1);
  const bytes = new Uint8Array(1);
  assert.equal(rig.sockets.send(number!, "nonsense", bytes), false);
  assert.equal(rig.sockets.send(number! + 1, "127.0.0.1:9", bytes), false);
  assert.equal(rig.sockets.send(number!, "127.0.0.1:9", new Uint8Array(65_600)), false);
});

socketTest(
  "PunchSockets hand nothing over after close(), in the middle of a batch too",
  async () => {
    await using rig = new Rig((socket) => rig.sockets.close(socket));
    const [number, other] = rig.sockets.open(2);
    const [port, otherPort] = [rig.portOf(number!), rig.portOf(other!)];
    for (let i = 0; i < 5; i++) rig.peer.send(new Uint8Array(9), loopback(false), port);
    await rig.settle(1);
    rig.peer.send(new Uint8Array(9), loopback(false), otherPort);
    await rig.settle(2);
    assert.deepEqual(rig.received.map(({ socket }) => socket), [number, other]);
    assert.equal(rig.sockets.send(number!, `127.0.0.1:${rig.peer.port}`, new Uint8Array(1)), false);
  },
);

socketTest("PunchSockets leave no descriptor open", async () => {
  const openFiles = () => [...Deno.readDirSync("/proc/self/fd")].length;
  const before = openFiles();
  {
    await using rig = new Rig();
    rig.sockets.open(50);
  }
  assert.equal(openFiles(), before);
});
