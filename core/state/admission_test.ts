/**
 * Tests of joining by a token: what its holder can do, and what nobody else can.
 * @module
 */
import assert from "node:assert/strict";
import { toHex } from "../bytes.ts";
import type { Identity } from "../identity/keys.ts";
import {
  admissionEntry,
  admissionKey,
  claimEntry,
  expectAdmitting,
  type Invitation,
  invitationKey,
  invitedUser,
  inviteEntries,
} from "./admission.ts";
import type { Body } from "./bodies.ts";
import {
  actor,
  admitBody,
  authorityBody,
  FakeMesh,
  keyOf,
  limitsOf,
  rotateBody,
  START,
} from "./fake_mesh.ts";
import { signAll } from "./log.ts";

const ANNA = actor(1);
const COORDINATOR = actor(5);
const [NODE, OTHER] = [actor(10), actor(11)];
const SECRET = new Uint8Array(16).fill(7);
const KEY = admissionKey(SECRET);
const AT = START + 60_000;

const INVITATION: Invitation = {
  name: "ben",
  authority: "t1",
  secret: SECRET,
  note: "Ben's laptop",
  expiresAt: AT + 10_000,
  tags: ["home"],
  expiresAfterMs: null,
};

function meshWithToken(limits: Parameters<typeof limitsOf>[0] = {}): FakeMesh {
  const mesh = new FakeMesh();
  mesh.say(ANNA, authorityBody(KEY, limitsOf(limits)));
  return mesh;
}

function join(mesh: FakeMesh, node: Identity, at = AT): void {
  mesh.log.append(admissionEntry(mesh.log, "t1", KEY, keyOf(node), at));
}

function invited(): FakeMesh {
  const mesh = new FakeMesh();
  for (const entry of inviteEntries(mesh.log, ANNA, INVITATION, AT)) mesh.log.append(entry);
  return mesh;
}

Deno.test("the keys of a secret are what they were, and different", () => {
  // Computed with Python's hmac and cryptography; a token in somebody's mail must stay good.
  assert.equal(
    toHex(admissionKey(SECRET).publicKey),
    "68d0a1a6cfc127f2dfb75eab1609ed67cfe41e0c75d53df9e099a04e0d70f7f6",
  );
  assert.equal(
    toHex(invitationKey(SECRET).publicKey),
    "e5209f93b2d9e5d69581e400c232914a199c4a6d585a4aa97c3dc2a564cdbacb",
  );
  assert.throws(() => admissionKey(new Uint8Array(15)), RangeError);
});

Deno.test("admissionEntry() admits a node exactly as the token says", () => {
  const mesh = meshWithToken({ user: ANNA.peerId, tags: ["db", "web"], expiresAfterMs: 60_000 });
  const { head } = mesh.log;
  const entry = admissionEntry(mesh.log, "t1", KEY, keyOf(NODE), AT);
  assert.deepEqual(mesh.log.head, head, "it was appended");
  mesh.log.append(entry);
  const node = mesh.log.state.nodes.get(NODE.peerId)!;
  assert.deepEqual(
    [node.user, node.tags, node.expiresAfterMs, node.authority],
    [ANNA.peerId, ["db", "web"], 60_000, "t1"],
  );
});

Deno.test("admissionEntry() says why a token does not admit", () => {
  const used = meshWithToken();
  join(used, NODE);
  const revoked = meshWithToken();
  revoked.say(ANNA, authorityBody(KEY, null));
  const cases: [FakeMesh, code: string, text: string][] = [
    [new FakeMesh(), "token-invalid", "Cannot join: the mesh does not know this token"],
    [used, "token-used", "Cannot join: the token was used by another node"],
    [revoked, "token-revoked", "Cannot join: the token was revoked"],
    [meshWithToken({ expiresAt: AT - 1 }), "token-expired", "Cannot join: the token has expired"],
  ];
  for (const [mesh, code, message] of cases) {
    assert.throws(() => join(mesh, OTHER), { code, message });
    // Who does not know the secret is told nothing.
    const state = mesh.log.state;
    const stranger = keyOf(admissionKey(new Uint8Array(16)));
    assert.throws(() => expectAdmitting(state, "t1", stranger, AT), { code: "token-invalid" });
  }
  join(meshWithToken({ expiresAt: AT }), OTHER);
});

Deno.test("a coordinator's clock refuses an admission that is dated back", () => {
  const mesh = meshWithToken({ expiresAt: AT });
  const late = admissionEntry(mesh.log, "t1", KEY, keyOf(NODE), AT);
  assert.throws(() => expectAdmitting(mesh.log.state, "t1", late.signer, AT + 1), {
    code: "token-expired",
  });
  assert.equal(expectAdmitting(mesh.log.state, "t1", late.signer, AT).id, "t1");
});

Deno.test("a token admits as many nodes as it says, each once", () => {
  const mesh = meshWithToken({ maxNodes: 2 });
  join(mesh, NODE);
  assert.throws(() => join(mesh, NODE), { code: "entry-conflict" });
  join(mesh, OTHER);
  assert.throws(() => join(mesh, actor(12)), { code: "token-used" });
  // Nor does the log take it from somebody who signs all the same.
  const body = admitBody(actor(12), { tags: ["web"] }, "t1");
  assert.throws(() => mesh.say(KEY, body), { code: "authority-exceeded" });
});

Deno.test("a revoked node does not come back by a token", () => {
  const mesh = meshWithToken({ maxNodes: 9 });
  join(mesh, NODE);
  mesh.say(ANNA, { type: "node-revoke", node: NODE.peerId, reason: "stolen" });
  assert.throws(() => join(mesh, NODE), { code: "authority-exceeded" });
  join(mesh, OTHER);
  mesh.say(ANNA, admitBody(NODE, { tags: ["web"] }));
  assert.ok(mesh.log.state.nodes.has(NODE.peerId));
});

Deno.test("an invited user joins with their first node and takes the key over", () => {
  const mesh = invited();
  const { id } = invitedUser(mesh.log.state, SECRET)!;
  join(mesh, NODE);
  mesh.log.append(claimEntry(mesh.log, SECRET, NODE, AT));
  const { users, nodes } = mesh.log.state;
  assert.deepEqual([users.get(id)?.name, users.get(id)?.key], ["ben", keyOf(NODE)]);
  assert.deepEqual([nodes.get(NODE.peerId)?.user, nodes.get(NODE.peerId)?.tags], [id, ["home"]]);
  assert.equal(invitedUser(mesh.log.state, SECRET), undefined);
  // The token is worth nothing now, neither to a second holder nor to the admin who made it.
  assert.throws(() => join(mesh, OTHER), { code: "token-used" });
  assert.throws(() => claimEntry(mesh.log, SECRET, OTHER, AT), { code: "token-used" });
  const steal = rotateBody(mesh.log.meshId, id, OTHER, true);
  assert.throws(() => mesh.say(invitationKey(SECRET), steal), { code: "entry-forbidden" });
  mesh.say(NODE, rotateBody(mesh.log.meshId, id, actor(30), true));
});

Deno.test("inviteEntries() needs an admin and a free name, and appends nothing", () => {
  const mesh = new FakeMesh();
  const invite = (by: Identity, name: string) =>
    inviteEntries(mesh.log, by, { ...INVITATION, name }, AT);
  assert.throws(() => invite(NODE, "ben"), { code: "entry-forbidden" });
  assert.throws(() => invite(ANNA, "anna"), { code: "entry-conflict" });
  assert.equal(invite(ANNA, "ben").length, 2);
  assert.equal(mesh.log.head.seq, 0);
});

Deno.test("claimEntry() is for invitations, and for a key that is nobody's", () => {
  const mesh = meshWithToken();
  assert.throws(() => claimEntry(mesh.log, SECRET, NODE, AT), { code: "token-invalid" });
  assert.throws(() => claimEntry(invited().log, SECRET, ANNA, AT), { code: "entry-conflict" });
});

Deno.test("an invitation that is withdrawn leaves a user who can be removed", () => {
  const mesh = invited();
  const { id } = invitedUser(mesh.log.state, SECRET)!;
  const remove: Body = { type: "user-remove", user: id };
  assert.throws(() => mesh.say(ANNA, remove), { code: "entry-conflict" });
  mesh.say(ANNA, authorityBody(KEY, null));
  assert.throws(() => join(mesh, NODE), { code: "token-revoked" });
  mesh.say(ANNA, remove);
  assert.throws(() => claimEntry(mesh.log, SECRET, NODE, AT), { code: "token-used" });
});

Deno.test("a coordinator that does not know the secret can do nothing with a token", () => {
  const mesh = invited();
  const { meshId, state } = mesh.log;
  const user = invitedUser(state, SECRET)!;
  const { limits } = state.authorities.get("t1")!;
  const admit = { ...admitBody(OTHER, { tags: ["home"] }, "t1"), user: user.id } as Body;
  const attempts: Body[] = [
    admit,
    { ...admit, authority: null } as Body,
    rotateBody(meshId, user.id, COORDINATOR, true),
    { type: "token-authority", authority: "t1", key: keyOf(COORDINATOR), limits, note: "" },
    { type: "token-authority", authority: "t2", key: keyOf(COORDINATOR), limits, note: "" },
  ];
  for (const body of attempts) {
    assert.throws(() => signAll(mesh.log, COORDINATOR, [body], AT), { code: "entry-forbidden" });
  }
  // What it is given to pass on admits that machine, once; changed or kept for later it is nothing.
  const entry = admissionEntry(mesh.log, "t1", KEY, keyOf(NODE), AT);
  const changed = { ...entry, payload: entry.payload.replace(keyOf(NODE), keyOf(OTHER)) };
  assert.throws(() => mesh.log.append(changed), { code: "entry-invalid" });
  mesh.log.append(entry);
  assert.throws(() => mesh.log.append(entry), { code: "log-rollback" });
});
