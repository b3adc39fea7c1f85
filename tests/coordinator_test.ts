/**
 * The coordinator over real sockets: joining, refusals, control connections, restarts.
 * @module
 */
import assert from "node:assert/strict";
import { signRegistration } from "../core/control/envelope.ts";
import { toBase64Url } from "../core/bytes.ts";
import { leavingRecord, type Membership, membershipOf } from "../core/daemon/membership.ts";
import { callCoordinator, type Registration } from "../core/daemon/registration.ts";
import type { RegisterBody } from "../core/control/messages.ts";
import type { ErrorCode } from "../core/errors.ts";
import type { Identity } from "../core/identity/keys.ts";
import { decodeToken, encodeToken } from "../core/identity/token.ts";
import { refused, TestNode, TestServer } from "./coordinator_server.ts";
import {
  ADMIN,
  copyOf,
  drafted,
  identityOf,
  joining,
  keyOf,
  revoked,
  secretOf,
  tokenWithdrawn,
  userInvited,
} from "./mesh_fixture.ts";

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

/** The same with a mesh that nobody has joined. */
function newServerTest(name: string, run: (server: TestServer) => Promise<void>): void {
  Deno.test({
    name: `coordinator: ${name}`,
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      await using server = await TestServer.startNew();
      await run(server);
    },
  });
}

/** What the admin says now. */
function said(): { readonly at: number } {
  return { at: Date.now() };
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
    const token = await server.token({ maxNodes: 1 });
    const { reply, caCertificate } = await server.register(ALICE, { token });
    assert.deepEqual(
      [reply.name, reply.addresses[0], reply.isAdmin, reply.isCoordinator],
      ["node", "172.30.0.2", false, false],
    );
    assert.equal(caCertificate?.trim(), server.ca.trim());
    const again = await server.register(ALICE);
    assert.deepEqual(again.reply.addresses, reply.addresses);
    await refused(server.register(ALICE, { meshId: "0".repeat(32) }), "entry-foreign");
    const { nodes } = (await server.follow()).state;
    assert.deepEqual([...nodes.keys()], [ADMIN.peerId, ALICE.peerId]);
  },
);

newServerTest(
  "admits the first node by a token that serves once, also after a restart",
  async (server) => {
    const { coordinator } = server;
    const token = coordinator.firstToken("node")!;
    assert.notEqual(token, coordinator.firstToken("coordinator"));
    await server.restart();
    assert.equal(server.coordinator.firstToken("node"), token);
    await refused(server.register(ALICE), "token-invalid");
    const foreign = encodeToken({ ...decodeToken(token), meshId: "0".repeat(32) });
    await refused(server.register(ALICE, { token: foreign }), "entry-foreign");
    const { reply } = await server.register(ALICE, { token, userName: "alice" });
    assert.deepEqual([reply.isAdmin, reply.isCoordinator], [true, false]);
    await refused(server.register(BOB, { token }), "token-used");
    assert.equal(server.coordinator.firstToken("node"), null);
    await server.restart();
    assert.equal(server.coordinator.firstToken("node"), null);
    await refused(server.register(BOB, { token }), "token-used");
    assert.equal((await server.register(ALICE)).reply.isAdmin, true);
  },
);

serverTest("gives a name that is taken with -2, and refuses a reserved one", async (server) => {
  const token = await server.token();
  await server.register(ALICE, { token, name: "web" });
  const { reply } = await server.register(BOB, { token, name: "web" });
  assert.deepEqual([reply.name, reply.addresses[0]], ["web-2", "172.30.0.3"]);
  assert.equal(reply.isAdmin, false);
  await refused(server.register(CAROL, { token, name: "this" }), "name-reserved");
  await refused(server.register(CAROL, { token, aliases: ["web"] }), "name-taken");
});

serverTest(
  "refuses tokens that are wrong, used, expired or revoked, each with its code",
  async (server) => {
    const used = await server.token({ maxNodes: 1 });
    await server.register(ALICE, { token: used });
    const revoked = await server.token();
    await server.state((log) => tokenWithdrawn(log, decodeToken(revoked).secret, said()));
    const expired = await server.token({ expiresAt: Date.now() - 1 });
    const cases: [string, ErrorCode][] = [
      [server.tokenOf(new Uint8Array(16)), "token-invalid"],
      [used, "token-used"],
      [expired, "token-expired"],
      [revoked, "token-revoked"],
    ];
    for (const [token, code] of cases) {
      const error = await refused(server.register(BOB, { token }), code);
      assert.match(error.hint ?? "", /tunnelmesh token create/);
    }
    await refused(server.register(BOB), "token-invalid");
    assert.equal((await server.follow()).state.nodes.has(BOB.peerId), false);
  },
);

serverTest(
  "admits machines that join at once by one token, one after the other",
  async (server) => {
    const token = await server.token();
    const identities = Array.from({ length: 4 }, (_, n) => identityOf(n));
    await Promise.all(identities.map((identity) => server.register(identity, { token })));
    const { nodes } = (await server.follow()).state;
    assert.equal(nodes.size, 5);
  },
);

serverTest("lets the invited user's own machine have their name", async (server) => {
  const secret = secretOf(1);
  await server.state((log) => userInvited(log, secret, "bob", said()));
  await server.register(BOB, { token: server.tokenOf(secret) });
  const { users, nodes } = (await server.follow()).state;
  const bob = users.values().find(({ name }) => name === "bob");
  assert.equal(bob?.key, keyOf(BOB));
  assert.equal(nodes.get(BOB.peerId)?.user, bob?.id);
  await refused(server.register(CAROL, { token: server.tokenOf(secret) }), "token-used");
});

serverTest("takes entries for what they say, from members only", async (server) => {
  const token = await server.token();
  await server.register(ALICE, { token });
  const log = await server.follow();
  const body = { type: "user-add", name: "eve", key: keyOf(CAROL) } as const;
  const good = drafted(log, body, said());
  await refused(server.append(BOB, [good]), "peer-unknown");
  const own = drafted(log, body, { ...said(), by: ALICE });
  await refused(server.append(ALICE, [own]), "entry-forbidden");
  await server.append(ALICE, [good]);
  await refused(server.append(ALICE, [good]), "log-rollback");
  const read = { method: "POST", path: "/api/v1/log/read", body: { from: 0 } } as const;
  await refused(server.call(BOB, read), "token-invalid");
});

serverTest(
  "ends a node's connection when it is revoked, and its peers forget it",
  async (server) => {
    const token = await server.token();
    const first = await server.register(ALICE, { token, name: "a" });
    const second = await server.register(BOB, { token, name: "b" });
    const copy = async () => copyOf(await server.follow());
    await using alice = new TestNode(ALICE, first, await copy());
    await using bob = new TestNode(BOB, second, await copy());
    await bob.connected();
    await alice.until(() => alice.client.view.peers.get(BOB.peerId)?.online === true, "sees it");
    await server.state((log) => revoked(log, BOB.peerId, said()));
    await bob.until(() => bob.client.report.state === "refused", "told so");
    await alice.until(() => !alice.client.view.peers.has(BOB.peerId), "forgets it");
    await refused(server.register(BOB), "peer-unknown");
    await refused(server.register(BOB, { token }), "authority-exceeded");
    // What it held is free, and believed of whoever has it now.
    const third = await server.register(CAROL, { token, name: "b" });
    assert.deepEqual(third.reply.addresses[0], second.reply.addresses[0]);
    await using carol = new TestNode(CAROL, third, await copy());
    await carol.connected();
    await alice.until(() => alice.client.view.peers.get(CAROL.peerId)?.record.name === "b", "b");
  },
);

serverTest(
  "refuses a signature of another key, and a registration that it saw before",
  async (server) => {
    const { secret } = decodeToken(await server.token());
    const entries = joining(await server.follow(), secret, ALICE, Date.now());
    const body = await bodyFor(server, ALICE, { entries });
    const post = (envelope: unknown) => server.fetch("POST", "/api/v1/register", envelope);
    assert.equal(problemOf(await post(signRegistration(BOB, body))), "identity-mismatch");
    const good = signRegistration(ALICE, body);
    assert.equal((await post(good)).status, 200);
    assert.equal(problemOf(await post(good)), "challenge-invalid");
    const other = await bodyFor(server, BOB, { entries, challenge: await server.challenge(ALICE) });
    assert.equal(problemOf(await post(signRegistration(BOB, other))), "challenge-invalid");
    assert.equal((await server.follow()).state.nodes.has(BOB.peerId), false);
  },
);

serverTest("answers bad requests with problem details, and stays well", async (server) => {
  const cases: [method: string, path: string, body: unknown, status: number, code: string][] = [
    ["POST", "/api/v1/challenge", "{", 400, "protocol-invalid"],
    ["POST", "/api/v1/challenge", { identity: "x" }, 400, "protocol-invalid"],
    ["POST", "/api/v1/register", { body: "{}", signature: "" }, 400, "protocol-invalid"],
    ["POST", "/api/v1/register", "x".repeat(65_537), 413, "request-too-large"],
    ["DELETE", "/api/v1/nodes/zz", {}, 404, "peer-unknown"],
    ["POST", "/api/v1/log", { body: "{}", signature: "" }, 400, "protocol-invalid"],
    ["POST", "/api/v1/log/read", "{}", 400, "protocol-invalid"],
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
  for (let round = 0; round < 20; round++) {
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => server.fetch("POST", "/api/v1/challenge", "{}")),
    );
    for (const { status } of answers) statuses.add(status);
  }
  assert.deepEqual([...statuses].sort(), [400, 429]);
  assert.equal((await server.fetch("GET", "/health")).status, 200);
});

serverTest("tells connected nodes of each other, and of a farewell", async (server) => {
  const token = await server.token();
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
    const token = await server.token();
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
    const token = await server.token();
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
    const token = await server.token();
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
    assert.equal(reply.addresses[0], "172.30.0.10", "the token still holds");
  },
);
