import assert from "node:assert/strict";
import { SharedState } from "../../dataplane/layout.ts";
import { RX_TRAINS, TRAIN_BYTES } from "../../dataplane/memory.ts";
import { PeerTable } from "../../dataplane/table.ts";
import { parseEndpoint } from "../../ip.ts";
import type { Train } from "../../link.ts";
import { SeededRandom } from "../../random.ts";
import { Attachments } from "./attachments.ts";
import { libc, waitReadable } from "./libc.ts";
import { libcControl } from "./libc_control.ts";
import { PinnedMemory } from "./pinned.ts";
import { Readiness } from "./readiness.ts";
import { openUdp } from "./udp.ts";
import { UdpReceiver } from "./udp_receiver.ts";
import { UdpSender } from "./udp_sender.ts";

const mayLoad = Deno.permissions.querySync({ name: "ffi" }).state === "granted";
// Loaded once: a library stays for the life of the process, which a test would call a leak.
if (mayLoad) {
  libc();
  libcControl();
}

const LOOPBACK = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1);
const SEGMENT = 1452, SEGMENTS = 45;

/** What an attachment received. */
interface Received {
  readonly id: number;
  readonly bytes: Uint8Array;
  readonly segment: number;
}

/** A node's socket and attachments to it; what attachments receive is kept. */
class Rig implements AsyncDisposable {
  readonly node = openUdp(0, true);
  readonly readiness = new Readiness();
  readonly received: Received[] = [];
  readonly attachments: Attachments;
  readonly #memory = new PinnedMemory(RX_TRAINS * TRAIN_BYTES);
  readonly #receiver = new UdpReceiver({ fd: this.node.fds[0]! }, this.#memory, 0);
  readonly #outgoing = new PinnedMemory(2 * TRAIN_BYTES);
  readonly #shared = new SharedState();
  readonly #table = new PeerTable(this.#shared);
  readonly #sender = new UdpSender({
    shared: this.#shared,
    worker: 0,
    socket: { fd: this.node.fds[0]!, family: this.node.family },
    memory: this.#outgoing,
    scratchAt: TRAIN_BYTES,
    mayUseGso: true,
  });

  constructor(onReceive?: (id: number, train: Train) => void) {
    const keep = (id: number, { bytes, segment }: Train) => {
      this.received.push({ id, bytes: bytes.slice(), segment });
    };
    this.#table.addPeer(0);
    this.attachments = new Attachments(this.node.port, onReceive ?? keep, this.readiness);
  }

  /** Sends a train from the node, with what its workers send with. */
  sendFromNode(endpoint: string, train: Train): void {
    this.#table.setEndpoint(0, endpoint);
    const { bytes, segment } = train;
    this.#outgoing.bytes.set(bytes);
    for (let at = 0; at < bytes.length; at += segment) {
      const length = Math.min(segment, bytes.length - at);
      this.#sender.send(0, this.#outgoing.bytes, at, length);
    }
    this.#sender.flush();
  }

  /** Receives so many datagrams at the node, with the port each came from. */
  receiveAtNode(expected: number): { bytes: Uint8Array; port: number }[] {
    const datagrams: { bytes: Uint8Array; port: number }[] = [];
    while (datagrams.length < expected && waitReadable(this.node.fds[0]!, 2_000)) {
      this.#receiver.forEach(this.#receiver.receive(), (at, length) => {
        const bytes = this.#memory.bytes.slice(at, at + length);
        datagrams.push({ bytes, port: this.#receiver.source.port });
      });
    }
    return datagrams;
  }

  /** Lets the event loop run until so many trains were received in all. */
  async settle(trains: number): Promise<void> {
    for (let i = 0; i < 2_000 && this.received.length < trains; i++) await turn();
    assert.equal(this.received.length, trains);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.attachments.shutdown();
    await this.readiness.shutdown();
    this.node.close();
  }
}

/** Lets timers and other threads have their turn. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

function train(segment: number, length: number, seed = 1): Train {
  return { bytes: new SeededRandom(seed).bytes(length), segment };
}

function portOf(endpoint: string): number {
  return parseEndpoint(endpoint)!.port;
}

/** Registers a test that needs real sockets. */
function socketTest(name: string, run: () => Promise<void>): void {
  Deno.test(name, async () => {
    if (!mayLoad) return console.log(`SKIP: ${name}: needs --allow-ffi`);
    await run();
  });
}

const SHAPES: [name: string, segment: number, length: number][] = [
  ["one datagram", SEGMENT, SEGMENT],
  ["one short datagram", SEGMENT, 1],
  ["a full train", SEGMENT, SEGMENT * SEGMENTS],
  ["a train with a shorter end", SEGMENT, SEGMENT * 7 + 100],
  ["the most datagrams", 100, 100 * 64],
  ["the largest datagram", 65_507, 65_507],
];

for (const [name, segment, length] of SHAPES) {
  socketTest(`Attachments carry ${name} in both directions as it is`, async () => {
    await using rig = new Rig();
    const sent = train(segment, length);
    const { id, endpoint } = rig.attachments.open();
    rig.sendFromNode(endpoint, sent);
    await rig.settle(1);
    const expected = { id, bytes: sent.bytes, segment: Math.min(segment, length) };
    assert.deepEqual(rig.received[0], expected);

    assert.ok(rig.attachments.send(id, sent));
    const count = Math.ceil(length / segment);
    const datagrams = rig.receiveAtNode(count);
    assert.deepEqual(datagrams.map(({ port }) => port), Array(count).fill(portOf(endpoint)));
    assert.deepEqual(
      datagrams.map(({ bytes }) => bytes),
      Array.from({ length: count }, (_, i) => sent.bytes.slice(i * segment, (i + 1) * segment)),
    );
  });
}

socketTest("Attachments lose nothing of thousands of trains that fit their buffers", async () => {
  await using rig = new Rig();
  const opened = [1, 2, 3].map(() => rig.attachments.open());
  const sent = train(SEGMENT, SEGMENT * SEGMENTS);
  const rounds = 60, perRound = 20;
  for (let round = 1; round <= rounds; round++) {
    for (const { endpoint } of opened) {
      for (let i = 0; i < perRound; i++) rig.sendFromNode(endpoint, sent);
    }
    await rig.settle(opened.length * perRound);
    assert.ok(rig.received.every(({ bytes, segment }) => {
      return segment === SEGMENT && bytes.length === sent.bytes.length;
    }));
    assert.deepEqual(rig.received.at(-1)!.bytes, sent.bytes);
    for (const { id } of opened) {
      assert.equal(rig.received.filter((each) => each.id === id).length, perRound);
    }
    rig.received.length = 0;
  }
});

socketTest("Attachments take no datagram of anyone but the node", async () => {
  await using rig = new Rig();
  const { id, endpoint } = rig.attachments.open();
  const stranger = openUdp(0, false);
  stranger.send(new Uint8Array(100), LOOPBACK, portOf(endpoint));
  stranger.close();
  rig.sendFromNode(endpoint, train(SEGMENT, 10));
  await rig.settle(1);
  assert.deepEqual(rig.received.map((each) => [each.id, each.bytes.length]), [[id, 10]]);
});

socketTest("Attachments do not wake up when nothing comes", async () => {
  await using rig = new Rig();
  const { endpoint } = rig.attachments.open();
  rig.sendFromNode(endpoint, train(SEGMENT, 10));
  await rig.settle(1);
  const before = rig.readiness.wakeUps;
  for (let i = 0; i < 50; i++) await turn();
  assert.equal(rig.readiness.wakeUps, before);
});

socketTest(
  "Attachments hand nothing over after close(), in the middle of a batch too",
  async () => {
    let received = 0;
    await using rig = new Rig((id) => {
      received++;
      rig.attachments.close(id);
    });
    const { id, endpoint } = rig.attachments.open();
    for (let i = 0; i < 10; i++) rig.sendFromNode(endpoint, train(SEGMENT, SEGMENT * 3));
    for (let i = 0; i < 20; i++) await turn();
    assert.equal(received, 1);
    assert.equal(rig.attachments.send(id, train(SEGMENT, 10)), false);
    rig.attachments.close(id);
  },
);

socketTest("send() is false when the node's socket is gone", async () => {
  await using rig = new Rig();
  const gone = openUdp(0, false);
  gone.close();
  const attachments = new Attachments(gone.port, () => {}, rig.readiness);
  const { id } = attachments.open();
  // Loopback tells with the next one.
  const answers = Array.from({ length: 4 }, () => attachments.send(id, train(SEGMENT, 3_000)));
  assert.ok(answers.includes(false));
  const before = rig.readiness.wakeUps;
  for (let i = 0; i < 20; i++) await turn();
  assert.ok(rig.readiness.wakeUps - before < 10, "the socket's error was read");
  await attachments.shutdown();
});

socketTest("a train is sent singly where the kernel refuses to segment it", async () => {
  await using rig = new Rig();
  const { id } = rig.attachments.open();
  // More datagrams than any kernel cuts one message into.
  const sent = train(10, 2_000);
  assert.ok(rig.attachments.send(id, sent));
  const datagrams = rig.receiveAtNode(200);
  assert.equal(datagrams.length, 200);
  assert.deepEqual(datagrams[199]!.bytes, sent.bytes.slice(1_990));
});

socketTest("shutdown() ends while datagrams wait, and leaves no descriptor open", async () => {
  const openFiles = () => [...Deno.readDirSync("/proc/self/fd")].length;
  const before = openFiles();
  const node = openUdp(0, true);
  const readiness = new Readiness();
  const attachments = new Attachments(node.port, () => {}, readiness);
  for (let i = 0; i < 20; i++) {
    const { endpoint } = attachments.open();
    node.send(new Uint8Array(1_000), LOOPBACK, portOf(endpoint));
  }
  for (const each of [attachments, attachments, readiness, readiness]) await each.shutdown();
  node.close();
  assert.equal(openFiles(), before);
});
