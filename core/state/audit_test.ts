/**
 * Tests of the audit lines: who, what, before, after.
 * @module
 */
import assert from "node:assert/strict";
import { fingerprint } from "../identity/openssh.ts";
import { audit, type AuditLine, formatAudit } from "./audit.ts";
import { type Body, policyHash } from "./bodies.ts";
import { actor, admitBody, authorityBody, FakeMesh, limitsOf } from "./fake_mesh.ts";
import { hashState } from "./state.ts";

const ANNA = actor(1);
const BEN = actor(2);
const TOKEN = actor(20);
const NODE = actor(10);

/** The line of what `by` says last. */
function lineOf(mesh: FakeMesh, by: ReturnType<typeof actor>, body: Body): AuditLine {
  mesh.say(by, body);
  return [...audit(mesh.entries, mesh.log.meshId)].at(-1)!;
}

Deno.test("audit() tells who did what, before and after", () => {
  const mesh = new FakeMesh();
  mesh.addAdmin(BEN, "ben");
  const line = lineOf(mesh, BEN, { type: "user-rename", user: ANNA.peerId, name: "annie" });
  assert.equal(line.action, "user-rename");
  assert.deepEqual(line.by, { name: "ben", key: fingerprint(BEN.publicKey) });
  assert.equal(line.hash, mesh.log.head.hash);
  const [change, ...more] = line.changes;
  assert.equal(more.length, 0);
  assert.equal(change?.subject, `user:${ANNA.peerId}`);
  assert.equal((change?.before as { name: string }).name, "anna");
  assert.equal((change?.after as { name: string }).name, "annie");
  // Who changes their own name is told by the one they had.
  const own = lineOf(mesh, BEN, { type: "user-rename", user: BEN.peerId, name: "benny" });
  assert.equal(own.by.name, "ben");
});

Deno.test("audit() begins with the genesis and has one line for each entry", () => {
  const mesh = new FakeMesh();
  mesh.addUser(BEN, "ben");
  const lines = [...audit(mesh.entries, mesh.log.meshId)];
  assert.deepEqual(lines.map(({ seq, action }) => [seq, action]), [
    [0, "genesis"],
    [1, "user-add"],
  ]);
  assert.deepEqual(lines[0]!.changes.map(({ before, subject }) => [before, subject]), [
    [null, `user:${ANNA.peerId}`],
  ]);
});

Deno.test("audit() tells everything that an entry causes", () => {
  const mesh = new FakeMesh();
  mesh.addUser(BEN, "ben");
  mesh.say(ANNA, admitBody(NODE, { user: BEN }));
  const line = lineOf(mesh, ANNA, { type: "user-remove", user: BEN.peerId });
  assert.deepEqual(
    line.changes.map(({ subject, after }) => [subject, after === null]),
    [
      [`user:${BEN.peerId}`, true],
      [`node:${NODE.peerId}`, true],
      [`revoked:${NODE.peerId}`, false],
    ],
  );
});

Deno.test("audit() names the token that admitted a node", () => {
  const mesh = new FakeMesh();
  const limits = limitsOf();
  mesh.say(ANNA, authorityBody(TOKEN, limits));
  const line = lineOf(mesh, TOKEN, admitBody(NODE, { tags: ["web"] }, "t1"));
  assert.equal(line.by.name, "token t1");
  assert.deepEqual(line.changes.map(({ subject }) => subject), [
    `node:${NODE.peerId}`,
    "authority:t1",
  ]);
});

Deno.test("audit() names a policy's files instead of telling them", () => {
  const mesh = new FakeMesh();
  const documents = [{ file: "policy.yaml", text: "allow: []\n" }];
  const hash = policyHash(documents);
  const line = lineOf(mesh, ANNA, { type: "policy-set", documents, hash });
  const after = { hash, files: [{ file: "policy.yaml", characters: 10 }] };
  assert.deepEqual(line.changes, [{ subject: "policy", before: null, after }]);
  const snapshot = lineOf(mesh, ANNA, { type: "snapshot", stateHash: hashState(mesh.log.state) });
  assert.deepEqual(snapshot.changes, []);
});

Deno.test("formatAudit() writes JSON, one line each", () => {
  const mesh = new FakeMesh();
  mesh.addAdmin(BEN, "ben");
  const lines = [...audit(mesh.entries, mesh.log.meshId)];
  const text = formatAudit(lines);
  assert.equal(text.split("\n").length, lines.length + 1);
  const read = text.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(read, JSON.parse(JSON.stringify(lines)));
});
