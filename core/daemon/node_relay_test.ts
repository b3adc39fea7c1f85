import assert from "node:assert/strict";
import { toHex } from "../bytes.ts";
import type { Train } from "../link.ts";
import { libc } from "../platform/linux/libc.ts";
import { libcControl } from "../platform/linux/libc_control.ts";
import { Readiness } from "../platform/linux/readiness.ts";
import { SeededRandom } from "../random.ts";
import { NODE_RELAY_PORT, NodeRelay } from "./node_relay.ts";

// Loaded before any test, which would be said to leak it.
libc();
libcControl();

const IDS = ["0000000000000001", "0000000000000002", "0000000000000003"];
const ADDRESSES = ["127.0.1.1", "127.0.1.2", "127.0.1.3"];
const [A, RELAY, B] = IDS as [string, string, string];
const PATH = `node:${RELAY}`;

/** Three members on loopback, of which the second passes datagrams on. */
class Rig implements AsyncDisposable {
  readonly received: { path: string; from: string; datagrams: string[] }[] = [];
  readonly nodes: NodeRelay[];
  relays = true;
  readonly #readiness = new Readiness();

  constructor() {
    this.nodes = ADDRESSES.map((address, i) =>
      new NodeRelay({
        address,
        relays: () => i === 1 && this.relays,
        addressOf: (id) => ADDRESSES[IDS.indexOf(id)] ?? null,
        memberAt: (ip) => IDS[ADDRESSES.indexOf(ip)] ?? null,
        isRelay: (id) => id === RELAY,
        received: (path, from, train) =>
          this.received.push({ path, from, datagrams: datagramsOf(train) }),
      }, this.#readiness)
    );
  }

  /** Waits until so many datagrams have come. */
  async until(count: number): Promise<string[]> {
    for (let i = 0; i < 1_000; i++) {
      const all = this.received.flatMap(({ datagrams }) => datagrams);
      if (all.length >= count) return all;
      await pause(5);
    }
    throw new Error(`${this.received.length} of ${count} came`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.nodes) node.close();
    await this.#readiness.shutdown();
  }
}

function datagramsOf({ bytes, segment }: Train): string[] {
  const datagrams: string[] = [];
  for (let at = 0; at < bytes.length; at += segment) {
    datagrams.push(toHex(bytes.subarray(at, at + segment)));
  }
  return datagrams;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

Deno.test("NodeRelay passes trains on, whole and in order", async () => {
  await using rig = new Rig();
  const random = new SeededRandom(1);
  const sent: string[] = [];
  for (
    const [segment, length] of [[1_300, 1_300], [1_300, 45 * 1_300], [100, 350], [1, 64], [32, 1]]
  ) {
    const train = { bytes: random.bytes(length!), segment: segment! };
    sent.push(...datagramsOf(train));
    assert.ok(rig.nodes[0]!.send(PATH, B, train));
    assert.deepEqual(await rig.until(sent.length), sent);
  }
  for (const { path, from } of rig.received) {
    assert.deepEqual({ path, from }, { path: PATH, from: A });
  }
});

Deno.test("NodeRelay splits a train that headers would make too long", async () => {
  await using rig = new Rig();
  const bytes = new SeededRandom(2).bytes(65_000);
  assert.ok(rig.nodes[0]!.send(PATH, B, { bytes, segment: 1_016 }));
  assert.deepEqual(await rig.until(64), datagramsOf({ bytes, segment: 1_016 }));
});

Deno.test("NodeRelay passes nothing on unless it is to, nor what no relay sent, nor garbage", async () => {
  await using rig = new Rig();
  rig.relays = false;
  rig.nodes[0]!.send(PATH, B, { bytes: new Uint8Array(10), segment: 10 });
  await pause(50);
  rig.relays = true;
  const random = new SeededRandom(3);
  const stranger = Deno.listenDatagram({ transport: "udp", hostname: "127.0.1.9", port: 0 });
  const member = Deno.listenDatagram({ transport: "udp", hostname: ADDRESSES[0]!, port: 0 });
  for (const socket of [stranger, member]) {
    for (let i = 0; i < 300; i++) {
      const bytes = random.bytes(i % 40);
      // Half of them claim to have been passed on.
      if (i % 2 === 0 && bytes.length > 0) bytes[0] = 2;
      const hostname = ADDRESSES[1 + i % 2]!;
      await socket.send(bytes, { transport: "udp", hostname, port: NODE_RELAY_PORT });
    }
    socket.close();
  }
  rig.nodes[0]!.send(PATH, B, { bytes: Uint8Array.of(7), segment: 1 });
  assert.deepEqual(await rig.until(1), ["07"]);
});

Deno.test("NodeRelay sends nothing to who is not known, or after its end", async () => {
  await using rig = new Rig();
  const train = { bytes: new Uint8Array(10), segment: 10 };
  assert.equal(rig.nodes[0]!.send("node:00000000000000ff", B, train), false);
  rig.nodes[0]!.close();
  assert.equal(rig.nodes[0]!.send(PATH, B, train), false);
});
