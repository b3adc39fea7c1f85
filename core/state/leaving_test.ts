/**
 * Tests of nodes that leave by their own word, and of how they differ from those that are revoked.
 * @module
 */
import assert from "node:assert/strict";
import { fingerprint } from "../identity/openssh.ts";
import { audit } from "./audit.ts";
import type { Body } from "./bodies.ts";
import { actor, admitBody, authorityBody, FakeMesh, limitsOf, START } from "./fake_mesh.ts";
import { decodeState, encodeState } from "./state.ts";

const ANNA = actor(1);
const BEN = actor(2);
const NODE = actor(10);
const OTHER = actor(11);
const TOKEN = actor(20);
const WEB = { tags: ["web"] };

/** Two machines with tags, a path set between them, and a token that is good for more. */
function meshOfTwo(): FakeMesh {
  const mesh = new FakeMesh();
  mesh.say(ANNA, authorityBody(TOKEN, limitsOf({ maxNodes: 9 })));
  for (const node of [NODE, OTHER]) mesh.say(TOKEN, admitBody(node, WEB, "t1"));
  const preference = { order: ["udp" as const], exclude: [] };
  const pair = { node: NODE.peerId, peer: OTHER.peerId };
  mesh.say(ANNA, { type: "transport-set", ...pair, preference });
  return mesh;
}

function leaves(node: { readonly peerId: string }): Body {
  return { type: "node-revoke", node: node.peerId as typeof NODE.peerId, reason: "" };
}

Deno.test("a node may take itself out of the mesh, and nobody else", () => {
  const mesh = meshOfTwo();
  assert.throws(() => mesh.say(NODE, leaves(OTHER)), { code: "entry-forbidden" });
  assert.throws(() => mesh.say(TOKEN, leaves(NODE)), { code: "entry-forbidden" });
  mesh.say(NODE, leaves(NODE));
  const { state } = mesh.log;
  assert.deepEqual([...state.nodes.keys()], [OTHER.peerId]);
  assert.deepEqual([state.revoked.size, state.transports.size], [0, 0]);
  assert.deepEqual(decodeState(encodeState(state)), state);
  assert.throws(() => mesh.say(NODE, leaves(NODE)), { code: "entry-forbidden" });
});

Deno.test("a node that left comes back by a token, one that was revoked does not", () => {
  const mesh = meshOfTwo();
  mesh.say(NODE, leaves(NODE));
  mesh.say(ANNA, leaves(OTHER));
  mesh.say(TOKEN, admitBody(NODE, WEB, "t1"));
  assert.throws(() => mesh.say(TOKEN, admitBody(OTHER, WEB, "t1")), {
    code: "authority-exceeded",
    message: new RegExp(`tunnelmesh node admit ${OTHER.peerId}$`),
  });
  mesh.say(ANNA, admitBody(OTHER, WEB));
  assert.equal(mesh.log.state.nodes.size, 2);
});

Deno.test("a machine whose key is an admin's leaves too, and its admin stays one", () => {
  const mesh = meshOfTwo();
  mesh.say(ANNA, admitBody(ANNA, { user: ANNA }));
  mesh.say(ANNA, leaves(ANNA));
  const { state } = mesh.log;
  assert.equal(state.revoked.size, 0);
  assert.ok(state.users.get(ANNA.peerId)?.isAdmin);
  mesh.say(TOKEN, admitBody(ANNA, WEB, "t1"));
});

Deno.test("a node that was removed with its user comes back by no token", () => {
  const mesh = meshOfTwo();
  mesh.addUser(BEN, "ben");
  mesh.say(ANNA, admitBody(BEN, { user: BEN }));
  mesh.say(ANNA, { type: "user-remove", user: BEN.peerId });
  assert.throws(() => mesh.say(TOKEN, admitBody(BEN, WEB, "t1")), { code: "authority-exceeded" });
});

Deno.test("a node that leaves does not move the log's clock, and the audit names it", () => {
  const mesh = meshOfTwo();
  mesh.log.append(mesh.draft(NODE, leaves(NODE), START * 2));
  assert.ok(mesh.log.draft(leaves(OTHER), 0).at < START * 2);
  const { by, changes } = [...audit(mesh.entries, mesh.log.meshId)].at(-1)!;
  assert.deepEqual(by, { name: `node ${NODE.peerId}`, key: fingerprint(NODE.publicKey) });
  assert.deepEqual(changes.map(({ subject }) => subject), [
    `node:${NODE.peerId}`,
    `transport:${NODE.peerId}:${OTHER.peerId}`,
  ]);
});
