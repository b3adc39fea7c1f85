import assert from "node:assert/strict";
import https from "node:https";
// @ts-types="@types/ws"
import { WebSocket } from "ws";
import { TestServer } from "../tests/coordinator_server.ts";
import { identityOf, revoked } from "../tests/mesh_fixture.ts";
import { RelayServer } from "../tests/relay_server.ts";
import { concatBytes, toBase64Url, utf8 } from "../core/bytes.ts";
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
const MINUTE_MS = 60_000;

async function until(isTrue: () => boolean, what: string): Promise<void> {
  const end = performance.now() + DEADLINE_MS;
  while (!isTrue()) {
    if (performance.now() > end) assert.fail(`not within ${DEADLINE_MS} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function helloOf(identity: Identity, nonce: string): string {
  return JSON.stringify({
    type: "hello",
    identity: toBase64Url(identity.publicKey),
    signature: toBase64Url(sign(identity, relayBytes(nonce))),
  });
}

/** A client without a link, to misbehave with. */
async function greeted(server: RelayServer, identity: Identity): Promise<WebSocket> {
  const ws = new WebSocket(server.url + PATHS.relay, tlsOptions(server.ca));
  ws.on("error", () => {});
  const { promise, resolve } = Promise.withResolvers<void>();
  ws.on("message", (data, isBinary) => {
    if (isBinary) return;
    const { type, nonce } = JSON.parse(data.toString());
    if (type === "welcome") return resolve();
    ws.send(helloOf(identity, nonce));
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

/**
 * A client on a bare TLS connection, which reads only when it is told to: a paused `ws` reads on
 * under Deno 2.9.6.
 */
class BareClient {
  readonly #connection: Deno.TlsConn;
  #buffer = new Uint8Array();

  private constructor(connection: Deno.TlsConn) {
    this.#connection = connection;
  }

  static async greeted(server: RelayServer, identity: Identity): Promise<BareClient> {
    const { hostname, port } = new URL(server.url);
    const options = { hostname, port: Number(port), caCerts: [server.ca] };
    const client = new BareClient(await Deno.connectTls(options));
    const request = [
      `GET ${PATHS.relay} HTTP/1.1`,
      `Host: ${hostname}`,
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ];
    await client.#write(utf8(request.join("\r\n") + "\r\n\r\n"));
    while (!new TextDecoder().decode(client.#buffer).includes("\r\n\r\n")) await client.#fill();
    const head = new TextDecoder().decode(client.#buffer).split("\r\n\r\n")[0]!.length + 4;
    client.#buffer = client.#buffer.slice(head);
    const { nonce } = JSON.parse(new TextDecoder().decode(await client.message()));
    const hello = utf8(helloOf(identity, nonce));
    // A final text frame with a mask of zeros (RFC 6455 section 5.2).
    await client.#write(concatBytes(Uint8Array.of(0x81, 0xfe, 0, hello.length, 0, 0, 0, 0), hello));
    assert.match(new TextDecoder().decode(await client.message()), /welcome/);
    return client;
  }

  /** The payload of the next frame. */
  async message(): Promise<Uint8Array> {
    const need = async (length: number) => {
      while (this.#buffer.length < length) await this.#fill();
    };
    await need(10);
    const view = new DataView(this.#buffer.buffer);
    const short = this.#buffer[1]!;
    const [at, length] = short < 126 ? [2, short] : [4, view.getUint16(2)];
    await need(at + length);
    const payload = this.#buffer.slice(at, at + length);
    this.#buffer = this.#buffer.slice(at + length);
    return payload;
  }

  close(): void {
    this.#connection.close();
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#connection.write(bytes.subarray(at));
  }

  async #fill(): Promise<void> {
    const chunk = new Uint8Array(65_536);
    const length = await this.#connection.read(chunk);
    assert.ok(length, "the connection ended");
    this.#buffer = new Uint8Array(concatBytes(this.#buffer, chunk.subarray(0, length)));
  }
}

Deno.test("RelaySockets keeps little for a destination that does not read, and drops the rest", async () => {
  await using server = await RelayServer.start([ALICE, BOB]);
  const alice = await greeted(server, ALICE);
  const bob = await BareClient.greeted(server, BOB);
  const { counts } = server.sockets;
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
  const last = (async () => {
    for (;;) {
      const got = parseFrame(await bob.message());
      if (got?.type === "data" && got.train.bytes.length === 1) return got.train.bytes[0];
    }
  })();
  await until(() => server.hub.queuedBytes === 0, "the queue runs empty");
  alice.send(encodeData(BOB.peerId, { bytes: Uint8Array.of(42), segment: 1 }));
  assert.equal(await last, 42);
  alice.terminate();
  bob.close();
  await closed(alice);
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
  const token = await server.token();
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

/** What a coordinator's relay says to a hello. */
async function answerTo(server: TestServer, identity: Identity): Promise<string> {
  const url = server.url.replace("https:", "wss:") + PATHS.relay;
  const ws = new WebSocket(url, tlsOptions(server.ca));
  const { promise, resolve } = Promise.withResolvers<string>();
  ws.on("message", (data) => {
    const { type, nonce, message } = JSON.parse(data.toString());
    if (type === "challenge") ws.send(helloOf(identity, nonce));
    else resolve(message ?? type);
  });
  const answer = await promise;
  ws.terminate();
  await closed(ws);
  return answer;
}

Deno.test("a coordinator's relay tells whom it refuses why: revoked, expired, unknown", async () => {
  let late = 0;
  await using server = await TestServer.start({ wallTime: () => Date.now() + late });
  const token = await server.token({ expiresAfterMs: MINUTE_MS });
  for (const identity of [ALICE, BOB]) await server.register(identity, { token });
  assert.equal(await answerTo(server, ALICE), "welcome");
  await server.state((log) => revoked(log, BOB.peerId, { at: Date.now() }));
  assert.match(await answerTo(server, BOB), /it was revoked$/);
  assert.match(await answerTo(server, identityOf(3)), /needs a join token$/);
  late = 2 * MINUTE_MS;
  assert.match(await answerTo(server, ALICE), /away for too long and has expired$/);
});
