import assert from "node:assert/strict";
import type { Envelope } from "../../core/control/messages.ts";
import type { ErrorCode } from "../../core/errors.ts";
import type { Identity } from "../../core/identity/keys.ts";
import { signNodeRecord } from "../../core/identity/record.ts";
import { admissionKey } from "../../core/state/admission.ts";
import type { Body } from "../../core/state/bodies.ts";
import type { SignedEntry } from "../../core/state/entry.ts";
import { World } from "../../tests/coordinator_world.ts";
import {
  admission,
  admitted,
  drafted,
  identityOf,
  joining,
  keyOf,
  refuses,
} from "../../tests/mesh_fixture.ts";
import { call, joinRequest, registration } from "../../tests/coordinator_requests.ts";
import { CHALLENGE_LIFE_MS } from "./challenges.ts";

const [FIRST, NODE, STRANGER] = [0, 1, 2].map(identityOf) as [Identity, Identity, Identity];
Deno.test("Service.register() admits by token, and by identity ever after", () => {
  const world = new World();
  const secret = world.token({ maxNodes: 1 });
  const first = world.service.register(joinRequest(world, FIRST, secret), world.moment);
  const { reply } = world.service.register(registration(world, FIRST), world.moment);
  assert.deepEqual(reply, first.reply);
  assert.deepEqual([reply.id, reply.isAdmin, reply.recordSeq], [FIRST.peerId, false, -1]);
  assert.deepEqual(reply.addresses[0], "172.30.0.1");
  assert.equal(world.kept.length, 1, "the admission is on the disk");
});

const BAD: [
  name: string,
  make: (world: World, secret: Uint8Array) => Envelope,
  code: ErrorCode,
][] = [
  ["no token", (w) => registration(w, NODE), "token-invalid"],
  ["entries that are none", (w) => registration(w, NODE, { entries: ["x"] }), "entry-invalid"],
  ["another's admission", (w, secret) => {
    const entries = joining(w.log, secret, STRANGER, w.wallTime);
    return registration(w, NODE, { entries });
  }, "token-invalid"],
  ["an admission by a key that nobody gave the right", (w) => {
    const entries = [drafted(w.log, admission(w.log, NODE), { by: NODE })];
    return registration(w, NODE, { entries });
  }, "entry-forbidden"],
  ["something else than its admission", (w) => {
    const body: Body = { type: "user-add", name: "eve", key: keyOf(NODE) };
    return registration(w, NODE, { entries: [drafted(w.log, body)] });
  }, "token-invalid"],
  ["a policy beside its admission", (w, secret) => {
    const [entry] = joining(w.log, secret, NODE, w.wallTime);
    const body: Body = { type: "user-add", name: "eve", key: keyOf(NODE) };
    return registration(w, NODE, { entries: [entry, drafted(w.log, body)] });
  }, "token-invalid"],
  ["more rights than the token's", (w, secret) => {
    const [{ payload }] = joining(w.log, secret, NODE, w.wallTime) as [SignedEntry];
    const { body } = JSON.parse(payload);
    const said = { by: admissionKey(secret) };
    return registration(w, NODE, {
      entries: [drafted(w.log, { ...body, tags: ["coordinator"] }, said)],
    });
  }, "authority-exceeded"],
  ["an admission for an older log", (w, secret) => {
    const entries = joining(w.log, secret, NODE, w.wallTime);
    admitted(w.log, STRANGER);
    return registration(w, NODE, { entries });
  }, "log-fork"],
  [
    "another's signature",
    (w, secret) => {
      const entries = joining(w.log, secret, NODE, w.wallTime);
      return registration(w, NODE, { entries }, STRANGER);
    },
    "identity-mismatch",
  ],
  ["a body changed after it was signed", (w, secret) => {
    const envelope = joinRequest(w, NODE, secret);
    return { ...envelope, body: envelope.body.replace('"node"', '"evil"') };
  }, "identity-mismatch"],
  ["a challenge of another identity", (w, secret) => {
    const { challenge } = w.service.challenge({ identity: keyOf(STRANGER) }, w.moment);
    return joinRequest(w, NODE, secret, { challenge });
  }, "challenge-invalid"],
  ["an expired challenge", (w, secret) => {
    const envelope = joinRequest(w, NODE, secret);
    w.now += CHALLENGE_LIFE_MS;
    return envelope;
  }, "challenge-invalid"],
  ["no name", (w, secret) => joinRequest(w, NODE, secret, { name: "" }), "protocol-invalid"],
  [
    "an unknown key",
    (w, secret) => joinRequest(w, NODE, secret, { isAdmin: true }),
    "protocol-invalid",
  ],
  ["the signature of a call", (w) => {
    const body = { name: "node", aliases: [], version: "", time: 0 };
    return call(w, NODE, "POST", "/api/v1/register", body);
  }, "identity-mismatch"],
];

for (const [name, make, code] of BAD) {
  Deno.test(`Service.register() refuses ${name}`, () => {
    const world = new World();
    const envelope = make(world, world.token());
    const { state } = world.service;
    const { head } = world.log;
    refuses(() => world.service.register(envelope, world.moment), code);
    assert.equal(world.service.state, state);
    assert.deepEqual([world.log.head, world.kept.length], [head, 0]);
  });
}

Deno.test("Service.register() refuses a reserved name, and takes the member with another", () => {
  const world = new World();
  const secret = world.token({ maxNodes: 1 });
  const bad = joinRequest(world, NODE, secret, { name: "this" });
  refuses(() => world.service.register(bad, world.moment), "name-reserved");
  assert.equal(world.register(NODE, { name: "node" }).name, "node", "its token is not lost");
});

Deno.test("Service.register() takes an envelope once, also one that was refused", () => {
  const world = new World();
  const good = joinRequest(world, NODE, world.token());
  const bad = registration(world, STRANGER);
  world.service.register(good, world.moment);
  refuses(() => world.service.register(good, world.moment), "challenge-invalid");
  refuses(() => world.service.register(bad, world.moment), "token-invalid");
  refuses(() => world.service.register(bad, world.moment), "challenge-invalid");
});

Deno.test("Service.leave() frees a node's name and address by its own farewell only", () => {
  const world = new World();
  const admin = world.register(FIRST, { name: "a" }, world.token());
  const node = world.register(NODE, { name: "b" }, world.token());
  const farewell = (identity: Identity, of = node) => ({
    record: signNodeRecord(identity, {
      name: of.name,
      addresses: [...of.addresses],
      aliases: [],
      meshId: of.meshId,
      seq: 1,
      left: true,
    }),
  });
  const path = `/api/v1/nodes/${node.id}`;
  const leave = (identity: Identity, body: object) => () =>
    world.service.leave(node.id, call(world, identity, "DELETE", path, body), world.moment);
  refuses(leave(FIRST, farewell(FIRST, admin)), "forbidden");
  refuses(leave(FIRST, farewell(NODE)), "forbidden");
  const forged = farewell(NODE);
  forged.record.signature = farewell(FIRST).record.signature;
  refuses(leave(NODE, forged), "record-invalid");
  assert.deepEqual(leave(NODE, farewell(NODE))().events, [{ type: "node-left", id: node.id }]);
  const next = world.register(STRANGER, { name: "b" }, world.token());
  assert.deepEqual([next.name, next.addresses[0]], ["b", node.addresses[0]]);
});
