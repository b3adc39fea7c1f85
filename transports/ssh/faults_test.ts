import assert from "node:assert/strict";
import { createServer as createHttpServer } from "node:http";
import { connect, createServer, type Socket } from "node:net";
import { concatBytes } from "../../core/bytes.ts";
import type { Identity } from "../../core/identity/keys.ts";
import type { Endpoint } from "../../core/ip.ts";
import type { Train } from "../../core/link.ts";
import { connectThrough, parseProxy } from "../../core/platform/proxy.ts";
import {
  identityOf,
  Membership,
  openLink,
  TcpProxy,
  TEST_LIMITS,
  until,
  Witness,
} from "./_pair.ts";
import { connectTcp, openCarrier } from "./client.ts";
import type { Carrier } from "./connection.ts";
import { encodeAck, encodeKeepAlive, encodeTrain } from "./frames.ts";
import type { SshLink, SshLinkOptions } from "./link.ts";

const [ALICE, BOB, EVE] = [identityOf(1), identityOf(2), identityOf(3)];
const TRAIN: Train = { bytes: new Uint8Array(45 * 1452), segment: 1452 };

function endpointOf(link: SshLink): Endpoint {
  return `127.0.0.1:${link.port}`;
}

/** Alice who dials Bob through a proxy that can fail. */
class Scene {
  readonly members = new Membership([ALICE, BOB]);
  readonly toAlice = new Witness();
  readonly toBob = new Witness();
  alice!: SshLink;
  bob!: SshLink;
  proxy!: TcpProxy;

  static async set(options: Partial<SshLinkOptions> = {}): Promise<Scene> {
    const scene = new Scene();
    scene.bob = await openLink(BOB, scene.members, scene.toBob, options);
    scene.alice = await openLink(ALICE, scene.members, scene.toAlice, { ...options, listen: null });
    scene.proxy = await TcpProxy.listen(() => scene.bob.port!);
    return scene;
  }

  async up(): Promise<void> {
    this.alice.dial(BOB.peerId, [this.proxy.endpoint]);
    await until(() => this.isUp, "both up");
  }

  get isUp(): boolean {
    return this.alice.isUp(BOB.peerId) && this.bob.isUp(ALICE.peerId);
  }

  /** Whichever side saw it first closed the connection, which the other one may have seen. */
  assertStalled(): void {
    const whys = [...this.toAlice.problems, ...this.toBob.problems];
    assert.ok(whys.includes("the connection stalled: nothing arrived at the peer for 2 s"));
    assert.ok(whys.every((why) => /^the connection stalled|^the peer closed/.test(why)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.alice.close(), this.bob.close()]);
    await this.proxy.close();
  }
}

/** Logs in at Bob's by hand. */
async function logIn(identity: Identity, endpoint: Endpoint): Promise<Carrier> {
  const options = { identity, peerKey: BOB.publicKey, connect: connectTcp };
  return await openCarrier(endpoint, options, new AbortController().signal);
}

async function closed({ socket }: Carrier): Promise<void> {
  await until(() => socket.destroyed, "the connection ended");
}

Deno.test("SshLink fails a connection that stalls under load, on both sides, and dials anew", async () => {
  await using scene = await Scene.set();
  await scene.up();
  scene.proxy.stall();
  // Twice as much as waits in either process: from some point on nothing is taken.
  for (let i = 0; i < 100; i++) scene.alice.send(BOB.peerId, TRAIN);
  scene.bob.send(ALICE.peerId, TRAIN);
  for (const [link, peer] of [[scene.alice, BOB], [scene.bob, ALICE]] as const) {
    await until(() => !link.isUp(peer.peerId), "down");
  }
  scene.assertStalled();
  scene.proxy.kill();
  await until(() => scene.isUp, "up again");
});

Deno.test("SshLink finds a connection dead on which nothing is sent", async () => {
  await using scene = await Scene.set();
  await scene.up();
  scene.proxy.stall();
  await until(() => scene.toAlice.problems.length > 0, "down");
  scene.assertStalled();
});

Deno.test("SshLink keeps an idle connection, and one that has much to carry", async () => {
  await using scene = await Scene.set();
  await scene.up();
  const end = performance.now() + 2 * (TEST_LIMITS.keepAliveMs + TEST_LIMITS.stallMs);
  await until(() => performance.now() > end, "time passed");
  const later = performance.now() + 1_000;
  while (performance.now() < later) {
    for (let i = 0; i < 8; i++) scene.alice.send(BOB.peerId, TRAIN);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assert.deepEqual([...scene.toAlice.problems, ...scene.toBob.problems], []);
  assert.equal(scene.proxy.count, 1);
});

Deno.test("SshLink connects again each time the connection is killed", async () => {
  await using scene = await Scene.set();
  await scene.up();
  for (let round = 1; round <= 3; round++) {
    scene.proxy.kill();
    await until(() => scene.toAlice.problems.length === round, "down");
    await until(() => scene.isUp, "up again");
  }
});

Deno.test("SshLink refuses a peer with another key than the one dialled", async () => {
  await using scene = await Scene.set();
  const members = new Membership([ALICE, EVE]);
  const toAlice = new Witness();
  const alice = await openLink(ALICE, members, toAlice);
  alice.dial(EVE.peerId, [endpointOf(scene.bob)]);
  await until(() => toAlice.problems.length > 0, "a failure");
  assert.match(toAlice.problems[0]!, /the host key is not the peer's/);
  assert.equal(alice.isUp(EVE.peerId), false);
  await alice.close();
  assert.deepEqual(scene.toBob.changes, []);
});

Deno.test("SshLink lets no stranger in, and says so to one that dials", async () => {
  await using scene = await Scene.set();
  await assert.rejects(logIn(EVE, endpointOf(scene.bob)), /the peer refused this node's key/);
  assert.deepEqual(scene.toBob.changes, []);
});

Deno.test("SshLink does not let itself in", async () => {
  await using scene = await Scene.set();
  scene.bob.dial(BOB.peerId, [endpointOf(scene.bob)]);
  await assert.rejects(logIn(BOB, endpointOf(scene.bob)), /the peer refused this node's key/);
  assert.deepEqual(scene.toBob.changes, []);
});

Deno.test("SshLink dials no one who is not a member, and ends with whoever ceases to be one", async () => {
  await using scene = await Scene.set();
  scene.alice.dial(EVE.peerId, [endpointOf(scene.bob)]);
  await until(() => scene.toAlice.problems.length > 0, "a failure");
  assert.deepEqual(scene.toAlice.problems, ["the peer is not a member"]);
  await scene.up();
  scene.members.remove(ALICE.peerId);
  await until(() => !scene.bob.isUp(ALICE.peerId), "down");
  assert.deepEqual(scene.toBob.problems, ["the peer is not a member"]);
  await until(
    () => scene.toAlice.problems.some((why) => /refused this node's key/.test(why)),
    "refused",
  );
});

const HOSTILE: [what: string, bytes: Uint8Array, why: RegExp][] = [
  ["sends what is no frame", Uint8Array.of(0, 0, 0, 3), /no frame/],
  ["sends a train of 65 datagrams", Uint8Array.of(0, 1, 0, 65), /no frame/],
  ["acknowledges what was never sent", encodeAck(100_000), /never sent/],
];

for (const [what, bytes, why] of HOSTILE) {
  Deno.test(`SshLink ends with a peer that ${what}`, async () => {
    await using scene = await Scene.set();
    const carrier = await logIn(ALICE, endpointOf(scene.bob));
    carrier.channel.resume();
    carrier.channel.write(concatBytes(encodeTrain(TRAIN), encodeKeepAlive(), bytes));
    await closed(carrier);
    assert.equal(scene.toBob.bytes, TRAIN.bytes.length);
    assert.match(scene.toBob.problems[0]!, why);
  });
}

Deno.test("SshLink ends with a peer that never acknowledges", async () => {
  await using scene = await Scene.set();
  const carrier = await logIn(ALICE, endpointOf(scene.bob));
  carrier.channel.resume();
  await closed(carrier);
  assert.match(scene.toBob.problems[0]!, /^the connection stalled/);
});

Deno.test("SshLink takes a peer's new connection for its old one", async () => {
  await using scene = await Scene.set();
  const old = await logIn(ALICE, endpointOf(scene.bob));
  old.channel.resume();
  await until(() => scene.bob.isUp(ALICE.peerId), "up");
  const young = await logIn(ALICE, endpointOf(scene.bob));
  await closed(old);
  let came = 0;
  young.channel.on("data", (chunk: Uint8Array) => came += chunk.length);
  scene.bob.send(ALICE.peerId, TRAIN);
  await until(() => came >= TRAIN.bytes.length, "the train came over the new one");
  assert.deepEqual(scene.toBob.problems, []);
  young.socket.destroy();
});

Deno.test("SshLink keeps few connections of a peer that opens many", async () => {
  await using scene = await Scene.set({ limits: { ...TEST_LIMITS, lingerMs: 60_000 } });
  const carriers: Carrier[] = [];
  for (let i = 0; i < 8; i++) {
    carriers.push(await logIn(ALICE, endpointOf(scene.bob)));
    carriers[i]!.channel.resume();
  }
  await until(() => carriers.slice(0, 4).every(({ socket }) => socket.destroyed), "old ones ended");
  assert.ok(carriers.slice(4).every(({ socket }) => !socket.destroyed));
  assert.deepEqual(scene.toBob.problems, []);
  for (const { socket } of carriers) socket.destroy();
});

Deno.test("SshLink tries the next endpoint while one does not answer", async () => {
  await using scene = await Scene.set();
  const mute = createServer((socket) => socket.on("error", () => {}).resume());
  await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", () => resolve()));
  const { port } = mute.address() as { port: number };
  scene.alice.dial(BOB.peerId, ["127.0.0.1:1", `127.0.0.1:${port}`, endpointOf(scene.bob)]);
  await until(() => scene.isUp, "up");
  assert.deepEqual(scene.toAlice.problems, []);
  await new Promise<void>((resolve) => mute.close(() => resolve()));
});

Deno.test("SshLink says once why no endpoint answers", async () => {
  await using scene = await Scene.set({
    limits: { ...TEST_LIMITS, attemptMs: 200, staggerMs: 50 },
  });
  scene.proxy.stall();
  scene.alice.dial(BOB.peerId, [scene.proxy.endpoint, "127.0.0.1:1"]);
  await until(() => scene.proxy.count > 3, "several rounds");
  assert.equal(scene.toAlice.problems.length, 1);
  assert.match(scene.toAlice.problems[0]!, /nothing listens there; 127.*: no answer within 0.2 s$/);
});

Deno.test("SshLink hangs up when there is no endpoint left, but not on a peer that dialled", async () => {
  await using scene = await Scene.set();
  await scene.up();
  scene.bob.dial(ALICE.peerId, []);
  assert.ok(scene.bob.isUp(ALICE.peerId));
  scene.alice.dial(BOB.peerId, []);
  assert.equal(scene.alice.isUp(BOB.peerId), false);
  await until(() => !scene.bob.isUp(ALICE.peerId), "down");
  assert.equal(scene.proxy.count, 1);
});

Deno.test("SshLink takes another port when its own is taken", async () => {
  await using scene = await Scene.set();
  const listen = { hostname: "127.0.0.1", port: scene.bob.port! };
  const other = await openLink(EVE, scene.members, new Witness(), { listen });
  assert.notEqual(other.port, listen.port);
  assert.ok(other.port! > 0);
  await other.close();
  assert.equal(scene.alice.port, null);
});

Deno.test("SshLink dials through what it is given", async () => {
  const hosts: string[] = [];
  await using scene = await Scene.set({
    connect: (host, port, signal) => {
      hosts.push(`${host}:${port}`);
      return connectTcp(host, port, signal);
    },
  });
  await scene.up();
  assert.deepEqual(hosts, [scene.proxy.endpoint]);
});

Deno.test("SshLink dials through an HTTP proxy", async () => {
  const targets: string[] = [];
  const server = createHttpServer();
  server.on("connect", (request: { url: string }, client: Socket) => {
    targets.push(request.url);
    const [host, port] = request.url.split(":");
    const target = connect({ host: host!, port: Number(port) });
    client.write("HTTP/1.1 200 OK\r\n\r\n");
    client.pipe(target).pipe(client);
    client.on("error", () => target.destroy());
    target.on("error", () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const proxy = parseProxy(`http://127.0.0.1:${(server.address() as { port: number }).port}`);
  {
    await using scene = await Scene.set({
      connect: (hostname, port, signal) => connectThrough(proxy, { hostname, port }, signal),
    });
    scene.alice.dial(BOB.peerId, [endpointOf(scene.bob)]);
    await until(() => scene.isUp, "up");
    scene.alice.send(BOB.peerId, TRAIN);
    await until(() => scene.toBob.bytes === TRAIN.bytes.length, "a train");
    assert.deepEqual(targets, [endpointOf(scene.bob)]);
  }
  await new Promise<void>((resolve) => server.close(() => resolve()));
});

Deno.test("SshLink leaves no late stream behind when it is closed while it dials", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let late: { destroyed: boolean } | undefined;
  await using scene = await Scene.set({
    connect: async (host, port) => {
      const socket = await connectTcp(host, port, new AbortController().signal);
      await promise;
      return late = socket;
    },
  });
  scene.alice.dial(BOB.peerId, [scene.proxy.endpoint]);
  await until(() => scene.proxy.count === 1, "connected");
  await scene.alice.close();
  resolve();
  await until(() => late?.destroyed === true, "destroyed");
});

Deno.test("SshLink changes session keys under load and loses nothing", async () => {
  await using scene = await Scene.set({ limits: { ...TEST_LIMITS, rekeyBytes: 1 << 20 } });
  await scene.up();
  let sent = 0;
  const end = performance.now() + 1_500;
  while (performance.now() < end) {
    // One at a time, so that nothing waits for long enough to be dropped.
    if (scene.toBob.bytes === sent && scene.alice.send(BOB.peerId, TRAIN)) {
      sent += TRAIN.bytes.length;
      scene.bob.send(ALICE.peerId, TRAIN);
    }
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  await until(() => scene.toBob.bytes === sent, "all came");
  assert.deepEqual([...scene.toAlice.problems, ...scene.toBob.problems], []);
  assert.ok(sent > 1 << 20);
});

Deno.test("SshLink serves members while strangers hold connections open", async () => {
  await using scene = await Scene.set({ limits: { ...TEST_LIMITS, handshakeMs: 500 } });
  const port = scene.bob.port!;
  const idle = Array.from({ length: 20 }, () => connect({ host: "127.0.0.1", port }));
  for (const socket of idle) socket.on("error", () => {}).resume();
  await until(() => idle.filter((each) => each.destroyed).length >= 12, "some refused");
  await until(() => idle.every((each) => each.destroyed), "the others timed out");
  await scene.up();
});
