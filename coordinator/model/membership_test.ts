import assert from "node:assert/strict";
import { PATHS } from "../../core/control/envelope.ts";
import type { ErrorCode } from "../../core/errors.ts";
import type { Identity } from "../../core/identity/keys.ts";
import { TOKEN_SECRET_BYTES, tokenIdOf } from "../../core/identity/token.ts";
import { admissionKey } from "../../core/state/admission.ts";
import { readLog } from "../../core/daemon/registration.ts";
import type { Body } from "../../core/state/bodies.ts";
import type { SignedEntry } from "../../core/state/entry.ts";
import type { MeshLog } from "../../core/state/log.ts";
import { World } from "../../tests/coordinator_world.ts";
import { OWN_ABSENCE_MS } from "./absence.ts";
import {
  admitted,
  drafted,
  EPOCH,
  identityOf,
  joining,
  keyOf,
  newMeshLog,
  refuses,
  revoked,
  secretOf,
  tokenMade,
  tokenWithdrawn,
  userInvited,
} from "../../tests/mesh_fixture.ts";
import {
  appendRequest,
  call,
  firstRequest,
  joinRequestOf,
  logRequest,
  registration,
} from "../../tests/coordinator_requests.ts";

const [FIRST, NODE, STRANGER] = [0, 1, 2].map(identityOf) as [Identity, Identity, Identity];
const DAY_MS = 86_400_000;
const TOKENS: [name: string, spoil: (world: World, secret: Uint8Array) => void, ErrorCode][] = [
  ["an unknown one", () => {}, "token-invalid"],
  ["one that was used", (w, secret) => {
    tokenMade(w.log, secret, { maxNodes: 1 });
    w.register(STRANGER, {}, secret);
  }, "token-used"],
  ["one that was revoked", (w, secret) => {
    tokenMade(w.log, secret);
    tokenWithdrawn(w.log, secret);
  }, "token-revoked"],
  ["one that has expired", (w, secret) => {
    tokenMade(w.log, secret, { expiresAt: EPOCH + 10 });
    w.now += 11;
  }, "token-expired"],
];

for (const [name, spoil, code] of TOKENS) {
  Deno.test(`Service refuses a token: ${name}`, () => {
    const world = new World();
    const secret = secretOf(77);
    // Signed while the token was good, or as if it were: a joining machine may be anybody's.
    const good = new World();
    tokenMade(good.log, secret);
    const [{ payload }] = joining(good.log, secret, NODE) as [SignedEntry];
    spoil(world, secret);
    const { body } = JSON.parse(payload);
    const entries = [drafted(world.log, body, { by: admissionKey(secret) })];
    const { head } = world.log;
    const { service, moment } = world;
    refuses(() => service.register(registration(world, NODE, { entries }), moment), code);
    const error = refuses(() => service.readLog(logRequest(world, NODE, secret), moment), code);
    assert.match(error.hint ?? "", /tunnelmesh token create/);
    assert.deepEqual(world.log.head, head);
    assert.equal(service.state.nodes.has(NODE.peerId), false);
  });
}

Deno.test("Service believes its own clock and not the date of an admission, whoever brings it", () => {
  const world = new World();
  const secret = world.token({ expiresAt: EPOCH + DAY_MS });
  world.register(FIRST, {}, world.token());
  const entries = joining(world.log, secret, NODE, EPOCH + DAY_MS);
  world.now += DAY_MS + 1;
  const { service, moment } = world;
  refuses(() => service.register(registration(world, NODE, { entries }), moment), "token-expired");
  refuses(() => service.appendLog(appendRequest(world, FIRST, entries), moment), "token-expired");
  assert.equal(world.log.state.nodes.has(NODE.peerId), false);
});

Deno.test("Service.register() makes the first node's user the admin, once", () => {
  const world = new World({ log: newMeshLog() });
  const { service, moment, mesh } = world;
  const secret = mesh.firstSecret("node");
  const wrong = new Uint8Array(TOKEN_SECRET_BYTES);
  refuses(() => service.register(firstRequest(world, FIRST, wrong), moment), "token-invalid");
  refuses(() => service.register(registration(world, FIRST), moment), "token-invalid");
  const before = service.readLog(logRequest(world, FIRST, secret), moment);
  assert.equal(before.joins, true);
  assert.equal(before.read(moment).head, 0);
  const { reply } = service.register(firstRequest(world, FIRST, secret), moment);
  assert.deepEqual([reply.isAdmin, reply.isCoordinator], [true, false]);
  const users = [...world.log.state.users.values()].map(({ name, isAdmin }) => [name, isAdmin]);
  assert.deepEqual(users, [["anna", true]], "the coordinator is none any more");
  assert.equal(mesh.isNew, false);
  assert.equal(world.kept.length, 4);
  for (const kind of ["node", "coordinator"] as const) {
    const again = mesh.firstSecret(kind);
    refuses(() => service.register(firstRequest(world, NODE, again), moment), "token-used");
    refuses(() => service.readLog(logRequest(world, NODE, again), moment), "token-used");
  }
  assert.equal(service.register(registration(world, FIRST), moment).reply.isAdmin, true);
});

Deno.test("Service.register() makes a coordinator of the machine that the mesh began at", () => {
  const world = new World({ log: newMeshLog() });
  const secret = world.mesh.firstSecret("coordinator");
  const envelope = firstRequest(world, FIRST, secret, "No Name!");
  const { reply } = world.service.register(envelope, world.moment);
  assert.deepEqual([reply.isAdmin, reply.isCoordinator], [true, true]);
  const names = [...world.log.state.users.values()].map(({ name }) => name);
  assert.deepEqual(names, ["node"], "a user name that cannot be one gives way to the node's");
});

Deno.test("Service.register() lets an invited user claim their name, together with the admission", () => {
  const world = new World();
  const secret = secretOf(5);
  const [user] = userInvited(world.log, secret, "bob");
  assert.ok(user);
  const invited = world.log.state.users.values().find(({ name }) => name === "bob")!;
  const at = world.wallTime;
  const [entry, claim] = joining(world.log, secret, NODE, at, { claims: true });
  const bad = { ...claim!, signature: entry!.signature };
  const { service, moment } = world;
  const { head } = world.log;
  const broken = registration(world, NODE, { entries: [entry, bad] });
  refuses(() => service.register(broken, moment), "entry-invalid");
  assert.deepEqual(world.log.head, head, "no admission without the claim");
  service.register(registration(world, NODE, { entries: [entry, claim] }), moment);
  const { nodes, users } = world.log.state;
  assert.equal(nodes.get(NODE.peerId)?.user, invited.id);
  assert.equal(users.get(invited.id)?.key, keyOf(NODE));
  const again = joinRequestOf(world, secret, STRANGER);
  refuses(() => service.register(registration(world, STRANGER, again), moment), "token-used");
});

Deno.test("Service refuses a node that was revoked, also with a token that is good", () => {
  const world = new World();
  const secret = world.token();
  world.register(NODE, {}, secret);
  revoked(world.log, NODE.peerId);
  const { service, moment } = world;
  const error = refuses(() => service.register(registration(world, NODE), moment), "peer-unknown");
  assert.match(error.message, /revoked/);
  const again = joinRequestOf(world, secret, NODE);
  refuses(
    () => service.register(registration(world, NODE, again), moment),
    "authority-exceeded",
  );
  refuses(() => service.readLog(logRequest(world, NODE, null), moment), "peer-unknown");
  world.hub.handle({ type: "changed", events: [], wallTime: world.wallTime }, world.now);
  const policy = drafted(world.log, { type: "user-add", name: "eve", key: keyOf(STRANGER) });
  refuses(() => service.appendLog(appendRequest(world, NODE, [policy]), moment), "peer-unknown");
  admitted(world.log, NODE);
  assert.equal(world.register(NODE).id, NODE.peerId, "an admin lets it in again");
});

Deno.test("Service.register() refuses a node that was away for too long, until it is renewed", () => {
  const world = new World();
  world.register(NODE, {}, world.token({ expiresAfterMs: 30 * DAY_MS }));
  // Others are heard of all the time: it is not the coordinator that is away.
  for (const number of [10, 11, 12]) {
    world.now += 10 * DAY_MS - 1;
    world.register(identityOf(number), {}, world.token());
  }
  world.register(NODE);
  world.now += 3;
  const request = registration(world, NODE);
  const error = refuses(() => world.service.register(request, world.moment), "peer-unknown");
  assert.match(error.hint ?? "", /node renew/);
  const renewal = {
    type: "node-expire-policy",
    node: NODE.peerId,
    expiresAfterMs: 30 * DAY_MS,
  } as const;
  world.log.append(drafted(world.log, renewal, { at: world.wallTime }));
  world.register(NODE);
});

Deno.test("Service.register() takes nobody for absent after days in which nobody was heard", () => {
  const world = new World();
  const secret = world.token({ expiresAfterMs: 30 * DAY_MS });
  for (const identity of [NODE, FIRST]) world.register(identity, {}, secret);
  world.now += 40 * DAY_MS;
  for (const identity of [NODE, FIRST]) world.register(identity);
  world.now += OWN_ABSENCE_MS - 1;
  world.register(NODE);
});

Deno.test("Service.readLog() shows the log to members and the invited, and to nobody else", async () => {
  const world = new World();
  const secret = world.token();
  world.register(FIRST, {}, secret);
  const { service, moment, log } = world;
  const read = (identity: Identity, by: Uint8Array | null) => (from: number) =>
    Promise.resolve(service.readLog(logRequest(world, identity, by, from), moment).read(moment));
  const logs: MeshLog[] = [
    await readLog(null, log.meshId, read(FIRST, null)),
    await readLog(null, log.meshId, read(STRANGER, secret)),
  ];
  for (const { head } of logs) assert.deepEqual(head, log.head);
  refuses(() => service.readLog(logRequest(world, STRANGER, null), moment), "token-invalid");
  const other = secretOf(99);
  refuses(() => service.readLog(logRequest(world, STRANGER, other), moment), "token-invalid");
  const forged = logRequest(world, STRANGER, other);
  const known = forged.body.replace(tokenIdOf(other), tokenIdOf(secret));
  const { challenge: _, identity: __, ...body } = JSON.parse(known);
  const lie = call(world, STRANGER, "POST", PATHS.logRead, body);
  refuses(() => service.readLog(lie, moment), "token-invalid");
  await assert.rejects(readLog(null, "0".repeat(32), read(FIRST, null)), { code: "entry-foreign" });
});

Deno.test("Service.appendLog() takes entries of members for what they say, all or none", () => {
  const world = new World();
  world.register(FIRST, {}, world.token());
  const { service, moment, log } = world;
  const user: Body = { type: "user-add", name: "bob", key: keyOf(NODE) };
  const good = drafted(log, user);
  refuses(() => service.appendLog(appendRequest(world, STRANGER, [good]), moment), "peer-unknown");
  const own = drafted(log, user, { by: FIRST });
  refuses(() => service.appendLog(appendRequest(world, FIRST, [own]), moment), "entry-forbidden");
  const { head } = log;
  const both = [good, drafted(log, user)];
  refuses(() => service.appendLog(appendRequest(world, FIRST, both), moment), "log-rollback");
  assert.deepEqual(log.head, head);
  const reply = service.appendLog(appendRequest(world, FIRST, [good]), moment);
  assert.deepEqual(reply, log.head);
  assert.deepEqual(world.kept.at(-1), log.entry(reply.seq)!.signed);
  const late = drafted(log, user);
  admitted(log, NODE);
  refuses(() => service.appendLog(appendRequest(world, FIRST, [late]), moment), "log-fork");
});
