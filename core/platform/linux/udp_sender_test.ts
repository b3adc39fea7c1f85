import assert from "node:assert/strict";
import { SharedState } from "../../dataplane/layout.ts";
import { PeerTable } from "../../dataplane/table.ts";
import { SeededRandom } from "../../random.ts";
import { libc, waitReadable } from "./libc.ts";
import { PinnedMemory } from "./pinned.ts";
import { openUdp, type UdpSockets } from "./udp.ts";
import { UdpReceiver } from "./udp_receiver.ts";
import { UdpSender } from "./udp_sender.ts";
import { RX_TRAINS, TRAIN_BYTES } from "../../dataplane/memory.ts";

const mayLoad = Deno.permissions.querySync({ name: "ffi" }).state === "granted";
// Loaded once: a library stays for the life of the process, which a test would call a leak.
if (mayLoad) libc();

const SIZE = 300_000, SCRATCH_AT = SIZE - 65_600;

/** A sender, and two sockets of peers 0 and 1 on this machine. */
class Rig implements Disposable {
  readonly memory = new PinnedMemory(SIZE);
  readonly shared = new SharedState();
  readonly peers: readonly UdpSockets[];
  readonly sender: UdpSender;
  readonly #socket = openUdp(0, false);

  constructor(mayUseGso: boolean, joins: boolean) {
    const table = new PeerTable(this.shared);
    this.peers = [0, 1].map((peer) => {
      const socket = openUdp(0, joins);
      table.addPeer(peer);
      table.setEndpoint(peer, `127.0.0.1:${socket.port}`);
      return socket;
    });
    this.sender = new UdpSender({
      shared: this.shared,
      worker: 0,
      socket: { fd: this.#socket.fds[0]!, family: this.#socket.family },
      memory: this.memory,
      scratchAt: SCRATCH_AT,
      mayUseGso,
    });
  }

  /** Writes datagrams of these lengths one behind the other and queues them; returns copies. */
  send(peer: number, from: number, lengths: readonly number[]): Uint8Array[] {
    const random = new SeededRandom(from);
    let at = from;
    return lengths.map((length) => {
      this.memory.bytes.set(random.bytes(length), at);
      this.sender.send(peer, this.memory.bytes, at, length);
      at += length;
      return this.memory.bytes.slice(at - length, at);
    });
  }

  /** Receives so many datagrams at a peer; tells how many messages they came in, too. */
  receive(peer: number, expected: number): { datagrams: Uint8Array[]; messages: number } {
    const memory = new PinnedMemory(RX_TRAINS * TRAIN_BYTES);
    const fd = this.peers[peer]!.fds[0]!;
    const receiver = new UdpReceiver({ fd }, memory, 0);
    const datagrams: Uint8Array[] = [];
    let messages = 0;
    while (datagrams.length < expected && waitReadable(fd, 2_000)) {
      const count = receiver.receive();
      messages += count;
      receiver.forEach(count, (at, length) => {
        datagrams.push(memory.bytes.slice(at, at + length));
      });
    }
    return { datagrams, messages };
  }

  [Symbol.dispose](): void {
    for (const socket of [this.#socket, ...this.peers]) socket.close();
  }
}

/** Registers a test that needs real sockets. */
function socketTest(name: string, run: () => void): void {
  Deno.test(name, () => {
    if (!mayLoad) return console.log(`SKIP: ${name}: needs --allow-ffi`);
    run();
  });
}

for (const mayUseGso of [true, false]) {
  for (const joins of [true, false]) {
    const how = `${mayUseGso ? "cut up" : "single"}, ${joins ? "joined" : "not joined"}`;
    socketTest(`datagrams of all sizes and peers arrive in order and whole (${how})`, () => {
      using rig = new Rig(mayUseGso, joins);
      const sizes = [
        ...[1452, 1452, 1452, 900, 1452, 1452, 1453, 1453, 32],
        ...new Array<number>(100).fill(100),
        ...[60_000, 60_000, 1],
      ];
      const toFirst = rig.send(0, 0, sizes);
      const toSecond = rig.send(1, 150_000, [500, 500, 500]);
      rig.sender.flush();
      assert.deepEqual(rig.receive(0, toFirst.length).datagrams, toFirst);
      assert.deepEqual(rig.receive(1, 3).datagrams, toSecond);
      assert.equal(rig.shared.dropCount(12), 0, "nothing was refused");
    });
  }
}

socketTest("neighbours of one size leave in one message, of which the last may be shorter", () => {
  using rig = new Rig(true, true);
  rig.send(0, 0, [1000, 1000, 1000, 400]);
  rig.sender.flush();
  assert.equal(rig.receive(0, 4).messages, 1);
  rig.send(0, 0, [1000, 1000, 400, 1000]);
  rig.sender.flush();
  assert.equal(rig.receive(0, 4).messages, 2);
});

socketTest("a datagram from elsewhere is copied, and one that is refused is counted", () => {
  using rig = new Rig(true, true);
  const other = new SeededRandom(9).bytes(700);
  rig.sender.send(0, other, 100, 600);
  rig.sender.flush();
  assert.deepEqual(rig.receive(0, 1).datagrams, [other.slice(100)]);
  rig.send(2, 0, [100]);
  rig.sender.flush();
  assert.equal(rig.shared.dropCount(12), 1);
});
