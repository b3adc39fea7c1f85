/**
 * Tests of what admins set for the paths between two nodes, and of tags with a meaning.
 * @module
 */
import assert from "node:assert/strict";
import { audit } from "./audit.ts";
import { Body, COORDINATOR_TAG, type TransportPreference } from "./bodies.ts";
import { actor, admitBody, FakeMesh } from "./fake_mesh.ts";
import { decodeState, encodeState, isCoordinator, transportKey } from "./state.ts";

const ANNA = actor(1);
const BEN = actor(2);
const [A, B, C] = [actor(10), actor(11), actor(12)];
const SSH_FIRST: TransportPreference = { order: ["ssh", "udp"], exclude: ["relay"] };

function transportBody(
  preference: TransportPreference | null,
  node = A.peerId,
  peer = B.peerId,
): Body {
  return { type: "transport-set", node, peer, preference };
}

/** A mesh where a preference is set: of Ben's node for Anna's. */
function meshWithTransport(): FakeMesh {
  const mesh = new FakeMesh();
  mesh.addUser(BEN, "ben");
  mesh.say(ANNA, admitBody(A, { user: BEN, tags: [COORDINATOR_TAG] }));
  mesh.say(ANNA, admitBody(B, { user: ANNA }));
  mesh.say(ANNA, admitBody(C, { user: ANNA }));
  mesh.say(ANNA, transportBody(SSH_FIRST));
  return mesh;
}

Deno.test("append() sets and withdraws what a node uses for a peer", () => {
  const mesh = meshWithTransport();
  const key = transportKey(A.peerId, B.peerId);
  const held = { node: A.peerId, peer: B.peerId, preference: SSH_FIRST };
  assert.deepEqual([...mesh.log.state.transports], [[key, held]]);
  assert.deepEqual(decodeState(encodeState(mesh.log.state)), mesh.log.state);
  const line = [...audit(mesh.entries, mesh.log.meshId)].at(-1)!;
  const subject = `transport:${A.peerId}:${B.peerId}`;
  assert.deepEqual(line.changes, [{ subject, before: null, after: held }]);
  mesh.say(ANNA, transportBody(null));
  assert.equal(mesh.log.state.transports.size, 0);
  assert.throws(() => mesh.say(ANNA, transportBody(null)), { code: "entry-conflict" });
});

Deno.test("append() takes a preference from admins only, between two members", () => {
  const mesh = meshWithTransport();
  for (const by of [BEN, A, B]) {
    assert.throws(() => mesh.say(by, transportBody(SSH_FIRST)), { code: "entry-forbidden" });
  }
  const stranger = actor(99).peerId;
  for (const [node, peer] of [[stranger, A.peerId], [A.peerId, stranger], [A.peerId, A.peerId]]) {
    const body = transportBody(SSH_FIRST, node, peer);
    assert.throws(() => mesh.say(ANNA, body), { code: "entry-conflict" });
  }
});

Deno.test("a preference names each kind once and leaves one", () => {
  const bad = [
    { order: [], exclude: [] },
    { order: ["ssh", "ssh"], exclude: [] },
    { order: ["tcp"], exclude: [] },
    { order: ["ssh"], exclude: ["relay", "relay"] },
    { order: ["ssh"], exclude: ["udp", "ssh", "node", "relay"] },
  ];
  const body = transportBody(SSH_FIRST);
  assert.ok(Body.safeParse(body).success);
  for (const preference of bad) {
    assert.ok(!Body.safeParse({ ...body, preference }).success, JSON.stringify(preference));
  }
});

Deno.test("a preference goes with either node, and does not come back with it", () => {
  const revoke = (node: string): Body => ({ type: "node-revoke", node, reason: "" });
  const ends = [
    { body: revoke(A.peerId), gone: A, left: [transportKey(B.peerId, C.peerId)] },
    { body: revoke(B.peerId), gone: B, left: [] },
    {
      body: { type: "user-remove", user: BEN.peerId } as const,
      gone: A,
      left: [transportKey(B.peerId, C.peerId)],
    },
  ];
  for (const { body, gone, left } of ends) {
    const mesh = meshWithTransport();
    mesh.say(ANNA, transportBody(SSH_FIRST, B.peerId, C.peerId));
    mesh.say(ANNA, body);
    mesh.say(ANNA, admitBody(gone, { user: ANNA }));
    assert.deepEqual([...mesh.log.state.transports.keys()], left);
  }
});

Deno.test("isCoordinator() goes by the tag, beside which a node can have a user", () => {
  const mesh = meshWithTransport();
  const isSo = () => [A, B, actor(99)].map(({ peerId }) => isCoordinator(mesh.log.state, peerId));
  assert.deepEqual(isSo(), [true, false, false]);
  assert.equal(mesh.log.state.nodes.get(A.peerId)?.user, BEN.peerId);
  mesh.say(ANNA, { type: "tag-set", node: A.peerId, tags: [] });
  assert.deepEqual(isSo(), [false, false, false]);
});
