/**
 * The coordinator over real sockets: joining, refusals, control connections, restarts.
 * @module
 */
import assert from "node:assert/strict";
import { type CallMethod, signRegistration } from "../core/control/envelope.ts";
import { toBase64Url } from "../core/bytes.ts";
import { leavingRecord, type Membership, membershipOf } from "../core/daemon/membership.ts";
import { callCoordinator, type Registration } from "../core/daemon/registration.ts";
import type { RegisterBody } from "../core/control/messages.ts";
import type { ErrorCode } from "../core/errors.ts";
import type { Identity } from "../core/identity/keys.ts";
import { decodeToken, encodeToken, formatCredential } from "../core/identity/token.ts";
import { refused, TestNode, TestServer } from "./coordinator_server.ts";
import { identityOf } from "./mesh_fixture.ts";

const [ALICE, BOB, CAROL] = [0, 1, 2].map(identityOf) as [Identity, Identity, Identity];

/** A server test; sockets of node:https outlive their close by a tick, so resources are not counted. */
function serverTest(name: string, run: (server: TestServer) => Promise<void>): void {
  Deno.test({
    name: `coordinator: ${name}`,
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      await using server = await TestServer.start();
      await run(server);
    },
  });
}

/** The code in an answer of problem details. */
function problemOf({ status, body }: { status: number; body: string }): string {
  const problem = JSON.parse(body);
  assert.equal(problem.status, status);
  assert.ok(!/at .*:\d+:\d+/.test(body), "no stack trace leaves");
  return String(problem.type).replace("urn:tunnelmesh:error:", "");
}

function membershipAt(server: TestServer, identity: Identity, of: Registration): Membership {
  const coordinator = { urls: [server.url], caCertificate: of.caCertificate };
  return membershipOf(identity, coordinator, of.reply, null);
}

async function bodyFor(
  server: TestServer,
  identity: Identity,
  over: Partial<RegisterBody> = {},
): Promise<RegisterBody> {
  return {
    challenge: await server.challenge(identity),
    identity: toBase64Url(identity.publicKey),
    name: "node",
    aliases: [],
    version: "test",
    time: Date.now(),
    ...over,
  };
}

serverTest("says that it is well, and which mesh it is", async (server) => {
  const { status, body } = await server.fetch("GET", "/health");
  const health = JSON.parse(body);
  assert.deepEqual([status, health.status, health.meshId], [200, "ok", server.coordinator.meshId]);
  assert.ok(Math.abs(health.time - Date.now()) < 5000);
});

serverTest(
  "admits by token, gives the same place to the same identity without one",
  async (server) => {
    const { reply, caCertificate } = await server.register(ALICE, { token: server.token({}) });
    assert.deepEqual(
      [reply.name, reply.addresses[0], reply.isAdmin, reply.isCoordinator],
      ["node", "172.30.0.1", true, false],
    );
    assert.equal(caCertificate?.trim(), server.ca.trim());
    const again = await server.register(ALICE);
    assert.deepEqual(again.reply.addresses, reply.addresses);
    assert.equal(server.coordinator.nodeCount, 1);
  },
);

serverTest("gives a name that is taken with -2, and refuses a reserved one", async (server) => {
  const token = server.token();
  await server.register(ALICE, { token, name: "web" });
  const { reply } = await server.register(BOB, { token, name: "web" });
  assert.deepEqual([reply.name, reply.addresses[0]], ["web-2", "172.30.0.2"]);
  assert.equal(reply.isAdmin, false);
  await refused(server.register(CAROL, { token, name: "this" }), "name-reserved");
  await refused(server.register(CAROL, { token, aliases: ["web"] }), "name-taken");
});

serverTest(
  "refuses tokens that are wrong, used, expired or revoked, each with its code",
  async (server) => {
    const once = server.token({});
    await server.register(ALICE, { token: once, name: "admin-pc" });
    const good = decodeToken(server.token());
    const wrong = encodeToken({ ...good, secret: new Uint8Array(16) });
    const unknown = encodeToken({ ...good, id: new Uint8Array(8) });
    const brief = server.token({ expiresInMs: 1 });
    await new Promise((resolve) => setTimeout(resolve, 5));
    const cases: [string, ErrorCode][] = [
      [wrong, "token-invalid"],
      [unknown, "token-invalid"],
      [once, "token-used"],
      [brief, "token-expired"],
    ];
    for (const [token, code] of cases) {
      const error = await refused(server.register(BOB, { token }), code);
      assert.match(error.hint ?? "", /tunnelmesh token create/);
    }
    await refused(server.register(BOB), "token-invalid");
    assert.equal(server.coordinator.nodeCount, 1);
  },
);

serverTest("takes token commands from the admin, and from nobody else", async (server) => {
  const token = server.token();
  const memberships = new Map<Identity, Membership>();
  for (const identity of [ALICE, BOB]) {
    const registration = await server.register(identity, { token });
    memberships.set(identity, membershipAt(server, identity, registration));
  }
  const call = (who: Identity, method: CallMethod, path: string, body = {}) =>
    callCoordinator(memberships.get(who)!, who, { method, path, body });
  const created = await call(ALICE, "POST", "/api/v1/tokens", { note: "for Carol" }) as {
    token: string;
    info: { id: string };
  };
  await refused(call(BOB, "POST", "/api/v1/tokens"), "forbidden");
  await refused(call(BOB, "GET", "/api/v1/tokens"), "forbidden");
  const { tokens } = await call(ALICE, "GET", "/api/v1/tokens") as {
    tokens: { id: string; note: string; state: string }[];
  };
  const listed = tokens.find(({ id }) => id === created.info.id);
  assert.deepEqual([listed?.note, listed?.state], ["for Carol", "valid"]);
  await call(ALICE, "DELETE", `/api/v1/tokens/${created.info.id}`);
  await refused(server.register(CAROL, { token: created.token }), "token-revoked");
  await refused(call(ALICE, "DELETE", "/api/v1/tokens/AAAAAAAAAAA"), "token-invalid");
});

serverTest(
  "refuses a signature of another key, and a registration that it saw before",
  async (server) => {
    const token = formatCredential(decodeToken(server.token()));
    const body = await bodyFor(server, ALICE, { token });
    const post = (envelope: unknown) => server.fetch("POST", "/api/v1/register", envelope);
    assert.equal(problemOf(await post(signRegistration(BOB, body))), "identity-mismatch");
    const good = signRegistration(ALICE, body);
    assert.equal((await post(good)).status, 200);
    assert.equal(problemOf(await post(good)), "challenge-invalid");
    const other = await bodyFor(server, BOB, { token, challenge: await server.challenge(ALICE) });
    assert.equal(problemOf(await post(signRegistration(BOB, other))), "challenge-invalid");
    assert.equal(server.coordinator.nodeCount, 1);
  },
);

serverTest("answers bad requests with problem details, and stays well", async (server) => {
  const cases: [method: string, path: string, body: unknown, status: number, code: string][] = [
    ["POST", "/api/v1/challenge", "{", 400, "protocol-invalid"],
    ["POST", "/api/v1/challenge", { identity: "x" }, 400, "protocol-invalid"],
    ["POST", "/api/v1/register", { body: "{}", signature: "" }, 400, "protocol-invalid"],
    ["POST", "/api/v1/register", "x".repeat(65_537), 413, "request-too-large"],
    ["DELETE", "/api/v1/nodes/zz", {}, 404, "peer-unknown"],
    ["GET", "/api/v1/tokens", undefined, 401, "challenge-invalid"],
    ["GET", "/nowhere", undefined, 404, "name-unknown"],
    ["GET", "/api/v1/control", undefined, 404, "name-unknown"],
  ];
  for (const [method, path, body, status, code] of cases) {
    const answer = await server.fetch(method, path, body);
    assert.deepEqual([answer.status, problemOf(answer)], [status, code], `${method} ${path}`);
  }
  // The answer to so much comes before it is all sent, so that the sender may never see it.
  await server.fetch("POST", "/api/v1/register", "x".repeat(5_000_000)).then(
    ({ status }) => assert.equal(status, 413),
    (error) => assert.equal(error.code, "coordinator-unreachable"),
  );
  assert.equal((await server.fetch("GET", "/health")).status, 200);
});

serverTest("limits how often one source may ask", async (server) => {
  const statuses = new Set<number>();
  for (let round = 0; round < 8; round++) {
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => server.fetch("POST", "/api/v1/challenge", "{}")),
    );
    for (const { status } of answers) statuses.add(status);
  }
  assert.deepEqual([...statuses].sort(), [400, 429]);
  assert.equal((await server.fetch("GET", "/health")).status, 200);
});

serverTest("tells connected nodes of each other, and of a farewell", async (server) => {
  const token = server.token();
  const first = await server.register(ALICE, { token, name: "a" });
  const second = await server.register(BOB, { token, name: "b" });
  await using alice = new TestNode(ALICE, first);
  await alice.connected();
  await using bob = new TestNode(BOB, second);
  await bob.connected();
  const seen = () => alice.client.view.peers.get(BOB.peerId);
  await alice.until(() => seen()?.online === true, "sees the other");
  assert.deepEqual(seen()?.endpoints, ["192.0.2.1:51820"]);
  await bob.until(() => bob.client.report.rtt !== null, "pong");
  bob.give({ type: "call", peer: ALICE.peerId });
  await alice.until(() => alice.effects.some(({ type }) => type === "called"), "called");

  const membership = membershipAt(server, BOB, second);
  const record = leavingRecord(BOB, membership);
  const path = `/api/v1/nodes/${BOB.peerId}`;
  await callCoordinator(membership, BOB, { method: "DELETE", path, body: { record } });
  await alice.until(() => seen() === undefined, "the other is gone");
  await bob.until(() => bob.client.report.state === "refused", "told so");
  const next = await server.register(CAROL, { token, name: "b" });
  assert.deepEqual([next.reply.name, next.reply.addresses[0]], ["b", second.reply.addresses[0]]);
});

serverTest(
  "keeps the newer of two connections; the end of the older changes nothing",
  async (server) => {
    const token = server.token();
    const first = await server.register(ALICE, { token, name: "a" });
    const second = await server.register(BOB, { token, name: "b" });
    await using alice = new TestNode(ALICE, first);
    await alice.connected();
    await using older = new TestNode(BOB, second);
    await older.connected();
    await using newer = new TestNode(BOB, second);
    await newer.connected();
    await older.until(() => older.client.report.state === "refused", "the older is told");
    await older[Symbol.asyncDispose]();
    await alice.until(() => alice.client.report.rtt !== null, "pong");
    const peer = () => alice.client.view.peers.get(BOB.peerId);
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal(peer()?.online, true);
    await newer[Symbol.asyncDispose]();
    await alice.until(() => peer()?.online === false, "offline at last");
  },
);

serverTest(
  "refuses a node whose record is not its own or not what it registered",
  async (server) => {
    const token = server.token();
    const alice = await server.register(ALICE, { token, name: "a" });
    const bob = await server.register(BOB, { token, name: "b" });
    const renamed = { ...bob, reply: { ...bob.reply, name: "a" } };
    const moved = { ...bob, reply: { ...bob.reply, addresses: alice.reply.addresses } };
    for (const registration of [renamed, moved]) {
      await using node = new TestNode(BOB, registration);
      await node.until(() => node.client.report.state === "refused", "refused");
      assert.match(node.client.report.lastError!, /record/);
    }
    await using stranger = new TestNode(CAROL, bob);
    await stranger.until(() => stranger.client.report.state === "refused", "refused");
  },
);

serverTest(
  "has its nodes back within 2 s of a restart, and nobody's address changed",
  async (server) => {
    const token = server.token();
    const identities = Array.from({ length: 8 }, (_, n) => identityOf(n));
    const before: Registration[] = [];
    for (const identity of identities) before.push(await server.register(identity, { token }));
    const nodes = identities.map((identity, n) => new TestNode(identity, before[n]!));
    try {
      for (const node of nodes) await node.connected();
      await server.restart({}, async () => {
        for (const node of nodes) {
          await node.until(() => node.client.report.state !== "connected", "disconnected");
        }
        await new Promise((resolve) => setTimeout(resolve, 3000));
      });
      const took = await Promise.all(nodes.map((node) => node.connected(2000)));
      assert.ok(Math.max(...took) <= 2000);
    } finally {
      for (const node of nodes) await node[Symbol.asyncDispose]();
    }
    for (const [n, identity] of identities.entries()) {
      const { reply } = await server.register(identity);
      assert.deepEqual(
        [reply.name, reply.addresses],
        [before[n]!.reply.name, before[n]!.reply.addresses],
      );
    }
    await refused(server.register(identityOf(50)), "token-invalid");
    const { reply } = await server.register(identityOf(50), { token });
    assert.equal(reply.addresses[0], "172.30.0.9", "the token still holds");
  },
);
