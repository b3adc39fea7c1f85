import assert from "node:assert/strict";
import https from "node:https";
// @ts-types="@types/ws"
import { WebSocket } from "ws";
import { TestServer } from "../tests/coordinator_server.ts";
import { identityOf } from "../tests/coordinator_world.ts";
import { RelayServer } from "../tests/relay_server.ts";
import { toBase64Url } from "../core/bytes.ts";
import { PATHS, relayBytes } from "../core/control/envelope.ts";
import { leavingRecord, membershipOf } from "../core/daemon/membership.ts";
import { callCoordinator } from "../core/daemon/registration.ts";
import { systemRandom } from "../core/daemon/system_random.ts";
import { tlsOptions } from "../core/daemon/tls_pin.ts";
import { type Identity, sign } from "../core/identity/keys.ts";
import { RelayLink } from "../transports/relay/client.ts";
import { MAX_FLOW_BYTES } from "../transports/relay/fair_queue.ts";
import { encodeData, MAX_FRAME_BYTES, parseFrame } from "../transports/relay/frames.ts";
import { WINDOW_BYTES } from "../transports/relay/hub.ts";

const [ALICE, BOB] = [identityOf(1), identityOf(2)];
const DEADLINE_MS = 20_000;

async function until(isTrue: () => boolean, what: string): Promise<void> {
  const end = performance.now() + DEADLINE_MS;
  while (!isTrue()) {
    if (performance.now() > end) assert.fail(`not within ${DEADLINE_MS} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A bare client, to misbehave with. */
async function greeted(server: RelayServer, identity: Identity): Promise<WebSocket> {
  const ws = new WebSocket(server.url + PATHS.relay, tlsOptions(server.ca));
  ws.on("error", () => {});
  const { promise, resolve } = Promise.withResolvers<void>();
  ws.on("message", (data, isBinary) => {
    if (isBinary) return;
    const { type, nonce } = JSON.parse(data.toString());
    if (type === "welcome") return resolve();
    ws.send(JSON.stringify({
      type: "hello",
      identity: toBase64Url(identity.publicKey),
      signature: toBase64Url(sign(identity, relayBytes(nonce))),
    }));
  });
  await promise;
  return ws;
}

async function closed(ws: WebSocket): Promise<void> {
  if (ws.readyState === WebSocket.CLOSED) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  ws.once("close", () => resolve());
  await promise;
}

Deno.test("RelaySockets keeps little for a destination that does not read, and drops the rest", async () => {
  await using server = await RelayServer.start([ALICE, BOB]);
  const [alice, bob] = [await greeted(server, ALICE), await greeted(server, BOB)];
  const { counts } = server.sockets;
  bob.pause();
  const frame = encodeData(BOB.peerId, { bytes: new Uint8Array(60_000), segment: 1_420 });
  for (let sent = 0; sent < 100 << 20; sent += frame.length) {
    await new Promise((resolve) => alice.send(frame, resolve));
    assert.ok(server.hub.queuedBytes <= MAX_FLOW_BYTES);
  }
  await until(() => counts.drops["source-full"] > 100, "frames are dropped");
  const handedOver = counts.forwardedBytes;
  assert.ok(handedOver < 64 << 20, `${handedOver} bytes went to a socket that nobody reads`);
  assert.ok(server.sockets.unwrittenBytes <= WINDOW_BYTES + MAX_FRAME_BYTES);

  // What waited too long is dropped; what comes now gets through.
  let last = 0;
  bob.on("message", (data) => {
    const got = parseFrame(data as Uint8Array);
    if (got?.type === "data") last = got.train.bytes[0]!;
  });
  bob.resume();
  await until(() => server.hub.queuedBytes === 0, "the queue runs empty");
  alice.send(encodeData(BOB.peerId, { bytes: Uint8Array.of(42), segment: 1 }));
  await until(() => last === 42, "the last frame");
  for (const ws of [alice, bob]) ws.terminate();
  await Promise.all([closed(alice), closed(bob)]);
});

Deno.test("RelaySockets ends connections that send too much, in pieces, or nonsense", async () => {
  await using server = await RelayServer.start([ALICE, BOB]);
  const acts: ((ws: WebSocket) => void)[] = [
    (ws) => ws.send(new Uint8Array(MAX_FRAME_BYTES + 1)),
    (ws) => ws.send("{}"),
    (ws) => ws.send(new Uint8Array(9)),
    (ws) => {
      ws.send(new Uint8Array(1), { fin: false });
      ws.send(new Uint8Array(1), { fin: false });
    },
  ];
  for (const act of acts) {
    const ws = await greeted(server, ALICE);
    act(ws);
    await closed(ws);
  }
  await until(() => server.hub.connected.live === 0, "all are forgotten");
});

Deno.test("RelaySockets takes no more upgrades of one source than its limit", async () => {
  await using server = await RelayServer.start([]);
  const statuses = new Set<number>();
  const agent = new https.Agent({ keepAlive: false, maxSockets: 20 });
  const upgrade = () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const options = { ...tlsOptions(server.ca), agent };
    const ws = new WebSocket(server.url + PATHS.relay, options);
    ws.on("open", () => {
      statuses.add(101);
      ws.terminate();
    });
    ws.on("unexpected-response", (_request, response) => {
      statuses.add(response.statusCode ?? 0);
      response.destroy();
      ws.terminate();
    });
    ws.on("error", () => {});
    ws.on("close", () => resolve());
    return promise;
  };
  for (let round = 0; round < 60 && !statuses.has(429); round++) {
    await Promise.all(Array.from({ length: 20 }, upgrade));
  }
  assert.deepEqual([...statuses].sort(), [101, 429]);
});

Deno.test("a coordinator relays between its members, until one leaves the mesh", async () => {
  await using server = await TestServer.start();
  const token = server.token();
  const got: string[] = [];
  const why: string[] = [];
  const links: RelayLink[] = [];
  for (const identity of [ALICE, BOB]) {
    await server.register(identity, { token });
    links.push(
      new RelayLink({
        url: server.url.replace("https:", "wss:"),
        identity,
        tls: tlsOptions(server.ca),
        random: systemRandom,
        clock: () => performance.now(),
        events: {
          received: (peer) => got.push(`${peer} to ${identity.peerId}`),
          changed: (_peer, isUp, text) => isUp || why.push(`${identity.peerId}: ${text}`),
        },
      }),
    );
  }
  const [alice, bob] = links as [RelayLink, RelayLink];
  await until(() => alice.isUp(BOB.peerId) && bob.isUp(ALICE.peerId), "both are up");
  alice.send(BOB.peerId, { bytes: new Uint8Array(99), segment: 99 });
  await until(() => got.length > 0, "a datagram");
  assert.deepEqual(got, [`${ALICE.peerId} to ${BOB.peerId}`]);

  const { reply } = await server.register(BOB, { token });
  const membership = membershipOf(
    BOB,
    { urls: [server.url], caCertificate: server.ca },
    reply,
    null,
  );
  const body = { record: leavingRecord(BOB, membership) };
  const path = `${PATHS.nodes}/${BOB.peerId}`;
  await callCoordinator(membership, BOB, { method: "DELETE", path, body });
  await until(() => why.length > 0, "he is cut off");
  assert.deepEqual(why, [
    `${BOB.peerId}: Cannot keep the connection: the node has left the mesh`,
  ]);
  await Promise.all(links.map((link) => link.close()));
});
