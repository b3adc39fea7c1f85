/**
 * Tests of what the log takes from whom, and what it makes of it.
 * @module
 */
import assert from "node:assert/strict";
import { apply, MAX_NAMED, MAX_WITHDRAWN } from "./apply.ts";
import { type Body, hashText, policyHash } from "./bodies.ts";
import { type Entry, signEntry, verifyEntry } from "./entry.ts";
import {
  actor,
  admitBody,
  authorityBody,
  FakeMesh,
  genesisBy,
  keyOf,
  limitsOf,
  renameBody,
  rotateBody,
  START,
} from "./fake_mesh.ts";
import type { Actor } from "./permit.ts";
import { draftGenesis, fold, MAX_CLOCK_SKEW_MS, MeshLog } from "./log.ts";
import { encodeState, hashState } from "./state.ts";

const ANNA = actor(1);
const BEN = actor(2);
const CARL = actor(3);
const NODE = actor(10);
const TOKEN = actor(20);

const POLICY = [{ file: "policy.yaml", text: "allow: []\n" }];

Deno.test("begin() makes the signer of the genesis the only admin", () => {
  const { state, meshId, head } = new FakeMesh().log;
  assert.match(meshId, /^[0-9a-f]{32}$/);
  assert.equal(head.hash.slice(0, 32), meshId);
  const [user] = [...state.users.values()];
  assert.deepEqual(user, {
    id: ANNA.peerId,
    name: "anna",
    key: keyOf(ANNA),
    isAdmin: true,
    addedAt: START,
  });
});

Deno.test("begin() refuses what is no genesis, or one of another mesh", () => {
  const mesh = new FakeMesh();
  const other = genesisBy(ANNA, "1".repeat(32));
  assert.throws(() => MeshLog.begin(other, mesh.log.meshId), { code: "entry-foreign" });
  assert.throws(() => MeshLog.begin(genesisBy(BEN), mesh.log.meshId), { code: "entry-foreign" });
  const rename: Body = { type: "user-rename", user: ANNA.peerId, name: "a" };
  assert.throws(() => MeshLog.begin(mesh.draft(ANNA, rename), null), { code: "entry-invalid" });
  const late = signEntry(ANNA, { ...draftGenesis("anna", "0".repeat(32), START), seq: 1 });
  assert.throws(() => MeshLog.begin(late, null), { code: "entry-invalid" });
});

/** A mesh with two users, a node and one of everything else. */
function furnished(): FakeMesh {
  const mesh = new FakeMesh();
  mesh.addAdmin(BEN, "ben");
  mesh.addUser(CARL, "carl");
  mesh.say(BEN, admitBody(NODE, { user: CARL, tags: ["web"] }));
  const limits = limitsOf();
  mesh.say(BEN, authorityBody(TOKEN, limits));
  mesh.say(ANNA, { type: "policy-set", documents: POLICY, hash: policyHash(POLICY) });
  return mesh;
}

Deno.test("append() builds users, nodes, tokens and policy", () => {
  const { state } = furnished().log;
  assert.deepEqual([...state.users.values()].map(({ name, isAdmin }) => [name, isAdmin]), [
    ["anna", true],
    ["ben", true],
    ["carl", false],
  ]);
  assert.deepEqual(state.policy?.documents, POLICY);
});

/** What each body meets in the furnished mesh when an admin says it. */
const CONFLICTS: readonly (readonly [string, Body, code?: string])[] = [
  ["a second genesis", { type: "genesis", name: "x", nonce: "0".repeat(32) }],
  ["a user's name twice", { type: "user-add", name: "ben", key: keyOf(actor(5)) }],
  ["a user's key twice", { type: "user-add", name: "dora", key: keyOf(BEN) }],
  ["a name that is taken", { type: "user-rename", user: CARL.peerId, name: "ben" }],
  ["an unknown user", { type: "user-remove", user: actor(5).peerId }],
  ["admin twice", { type: "admin-add", user: BEN.peerId, key: keyOf(BEN) }],
  ["admin with another key", { type: "admin-add", user: CARL.peerId, key: keyOf(BEN) }],
  ["removal of no admin", { type: "admin-remove", user: CARL.peerId }],
  ["a node twice", admitBody(NODE, { user: CARL })],
  ["a node of nobody", admitBody(actor(11), {})],
  ["a node of an unknown user", admitBody(actor(11), { user: actor(5) })],
  ["an unknown node", { type: "node-revoke", node: actor(11).peerId, reason: "" }],
  ["tags of an unknown node", { type: "tag-set", node: actor(11).peerId, tags: [] }],
  ["a policy under a wrong hash", { type: "policy-set", documents: POLICY, hash: "0".repeat(64) }],
  ["an unknown token", { ...authorityBody(BEN, null), authority: "x" } as Body],
  ["a token with another key", authorityBody(BEN, limitsOf())],
  ["a key that is taken", rotateBody("", CARL.peerId, BEN, false)],
  ["a false snapshot", { type: "snapshot", stateHash: "0".repeat(64) }, "snapshot-invalid"],
];

for (const [name, body, code = "entry-conflict"] of CONFLICTS) {
  Deno.test(`append() refuses ${name} and changes nothing`, () => {
    const mesh = furnished();
    const before = [mesh.log.head, hashState(mesh.log.state)];
    assert.throws(() => mesh.say(ANNA, body), { code });
    assert.deepEqual([mesh.log.head, hashState(mesh.log.state)], before);
  });
}

Deno.test("append() lets nobody but admins say anything, a user's own rotation excepted", () => {
  const mesh = furnished();
  const said = mesh.log.since(1).map(({ entry }) => entry.body);
  for (const by of [CARL, NODE, TOKEN, actor(99)]) {
    for (const body of said) {
      assert.throws(() => mesh.log.append(mesh.draft(by, body)), { code: "entry-forbidden" });
    }
  }
  const next = actor(30);
  const rotation = rotateBody(mesh.log.meshId, CARL.peerId, next, true);
  assert.throws(() => mesh.say(NODE, rotation), { code: "entry-forbidden" });
  mesh.say(CARL, rotation);
  assert.equal(mesh.log.state.users.get(CARL.peerId)?.key, keyOf(next));
});

Deno.test("append() never removes the last admin, however it is tried", () => {
  const mesh = new FakeMesh();
  const remove: Body = { type: "admin-remove", user: ANNA.peerId };
  assert.throws(() => mesh.say(ANNA, remove), { code: "last-admin" });
  assert.throws(() => mesh.say(ANNA, { type: "user-remove", user: ANNA.peerId }), {
    code: "last-admin",
  });
  mesh.addAdmin(BEN, "ben");
  mesh.say(ANNA, remove);
  assert.throws(() => mesh.say(BEN, { type: "admin-remove", user: BEN.peerId }), {
    code: "last-admin",
  });
});

Deno.test("append() rotates a key only when the new one agrees, or an admin says so", () => {
  const mesh = new FakeMesh();
  const { meshId } = mesh.log;
  const next = actor(30);
  for (
    const body of [
      rotateBody(meshId, ANNA.peerId, next, false),
      rotateBody("0".repeat(32), ANNA.peerId, next, true),
    ]
  ) assert.throws(() => mesh.say(ANNA, body), { code: "entry-forbidden" });
  mesh.say(ANNA, rotateBody(meshId, ANNA.peerId, next, true));
  // The old key is worth nothing now, the new one is an admin's, and the user is the same.
  const rename: Body = { type: "user-rename", user: ANNA.peerId, name: "annie" };
  assert.throws(() => mesh.say(ANNA, rename), { code: "entry-forbidden" });
  mesh.say(next, rename);
  mesh.say(next, { type: "user-add", name: "ben", key: keyOf(BEN) });
  mesh.say(next, rotateBody(meshId, BEN.peerId, CARL, false));
  assert.equal(mesh.log.state.users.get(BEN.peerId)?.key, keyOf(CARL));
  // A key that was given up stays so, and so does an id.
  for (const name of ["anna", "ben2"]) {
    const key = keyOf(name === "anna" ? ANNA : BEN);
    assert.throws(() => mesh.say(next, { type: "user-add", name, key }), {
      code: "entry-conflict",
    });
  }
});

Deno.test("append() takes a removed user's nodes away", () => {
  const mesh = furnished();
  mesh.say(ANNA, { type: "user-remove", user: CARL.peerId });
  const { state } = mesh.log;
  assert.equal(state.nodes.size, 0);
  assert.equal(state.revoked.get(NODE.peerId)?.identity, keyOf(NODE));
  const again: Body = { type: "user-add", name: "carl", key: keyOf(CARL) };
  assert.throws(() => mesh.say(ANNA, again), { code: "entry-conflict" });
});

Deno.test("append() admits by token within its limits only", () => {
  const mesh = furnished();
  const web = { tags: ["web"] };
  mesh.say(TOKEN, admitBody(actor(11), web, "t1"));
  assert.equal(mesh.log.state.authorities.get("t1")?.uses, 1);
  assert.throws(() => mesh.say(TOKEN, admitBody(actor(12), web, "t1")), {
    code: "authority-exceeded",
  });
  const expiresAt = mesh.log.draft(renameBody("x"), 0).at + 10_000;
  const limits = limitsOf({ maxNodes: 9, expiresAt });
  mesh.say(ANNA, authorityBody(TOKEN, limits));
  const cases: [string, Body, code: string][] = [
    ["another user's", admitBody(actor(12), { user: ANNA, ...web }, "t1"), "authority-exceeded"],
    ["another tag", admitBody(actor(12), { tags: ["db"] }, "t1"), "authority-exceeded"],
    ["more tags", admitBody(actor(12), { tags: ["db", "web"] }, "t1"), "authority-exceeded"],
    [
      "a longer life",
      { ...admitBody(actor(12), web, "t1"), expiresAfterMs: 60_000 } as Body,
      "authority-exceeded",
    ],
    ["another right", admitBody(actor(12), web, "t2"), "entry-forbidden"],
    ["in an admin's name", admitBody(actor(12), web), "entry-forbidden"],
  ];
  for (const [name, body, code] of cases) {
    assert.throws(() => mesh.say(TOKEN, body), { code }, name);
  }
  const late = mesh.draft(TOKEN, admitBody(actor(12), web, "t1"), expiresAt + 1);
  assert.throws(() => mesh.log.append(late), { code: "authority-exceeded" });
  mesh.say(TOKEN, admitBody(actor(12), web, "t1"));
  mesh.say(ANNA, authorityBody(TOKEN, null));
  assert.throws(() => mesh.say(TOKEN, admitBody(actor(13), web, "t1")), {
    code: "entry-forbidden",
  });
  assert.ok(mesh.log.state.nodes.has(actor(12).peerId));
});

Deno.test("append() remembers who gave a right, when, what for, and that it was withdrawn", () => {
  const mesh = furnished();
  const given = mesh.log.state.authorities.get("t1")!;
  const entry = mesh.log.since(0).find(({ entry }) => entry.body.type === "token-authority")!.entry;
  assert.deepEqual(given, {
    id: "t1",
    key: keyOf(TOKEN),
    limits: limitsOf(),
    uses: 0,
    note: "a note",
    createdAt: entry.at,
    createdBy: BEN.peerId,
    withdrawnAt: null,
  });
  mesh.say(ANNA, authorityBody(TOKEN, null));
  const { at } = mesh.log.since(mesh.log.head.seq)[0]!.entry;
  assert.deepEqual(mesh.log.state.authorities.get("t1"), { ...given, withdrawnAt: at });
  for (const limits of [null, limitsOf()]) {
    assert.throws(() => mesh.say(ANNA, authorityBody(TOKEN, limits)), { code: "entry-conflict" });
  }
});

Deno.test("apply() forgets the rights that were withdrawn first, and counts those that hold", () => {
  const { state } = furnished().log;
  const t1 = state.authorities.get("t1")!;
  const many = (count: number, withdrawnAt: (i: number) => number | null) =>
    Array.from({ length: count }, (_, i) => {
      return [`w${i}`, { ...t1, id: `w${i}`, withdrawnAt: withdrawnAt(i) }] as const;
    });
  const ben: Actor = { type: "admin", user: state.users.get(BEN.peerId)! };
  const entryOf = (body: Body): Entry => ({ ...furnished().log.draft(body, START * 2), body });
  const old = many(MAX_WITHDRAWN, (i) => START - i);
  const before = { ...state, authorities: new Map([["t1", t1], ...old]) };
  const { authorities } = apply(before, entryOf(authorityBody(TOKEN, null)), ben);
  assert.equal(authorities.size, MAX_WITHDRAWN);
  assert.ok(authorities.has("t1") && !authorities.has(`w${MAX_WITHDRAWN - 1}`));

  const next = { ...authorityBody(TOKEN, limitsOf()), authority: "t2" } as Body;
  const full = { ...state, authorities: new Map([...many(MAX_NAMED, () => null)]) };
  assert.throws(() => apply(full, entryOf(next), ben), { code: "entry-conflict" });
  full.authorities.set("w0", { ...t1, id: "w0", withdrawnAt: START });
  assert.ok(apply(full, entryOf(next), ben).authorities.has("t2"));
});

Deno.test("append() refuses an entry that is dated long before what it follows", () => {
  const mesh = new FakeMesh();
  mesh.addUser(BEN, "ben");
  const body: Body = { type: "user-rename", user: BEN.peerId, name: "b" };
  const draft = mesh.log.draft(body, START);
  const early = (skew: number) => signEntry(ANNA, { ...draft, at: draft.at - skew });
  assert.throws(() => mesh.log.append(early(MAX_CLOCK_SKEW_MS + 1)), { code: "entry-time" });
  mesh.log.append(early(MAX_CLOCK_SKEW_MS));
});

Deno.test("append() does not let a token's holder move the clock", () => {
  const mesh = furnished();
  mesh.log.append(mesh.draft(TOKEN, admitBody(actor(11), { tags: ["web"] }, "t1"), START * 2));
  assert.ok(mesh.log.draft(renameBody("x"), 0).at < START * 2);
  mesh.log.append(mesh.draft(ANNA, { type: "user-rename", user: BEN.peerId, name: "b" }));
});

Deno.test("resume() goes on from a snapshot as the whole log does", () => {
  const mesh = furnished();
  assert.equal(mesh.log.bundle, null);
  mesh.say(BEN, rotateBody(mesh.log.meshId, ANNA.peerId, actor(30), false));
  mesh.snapshot(BEN, hashState(mesh.log.state));
  const { bundle } = mesh.log;
  const short = MeshLog.resume(bundle!, mesh.log.meshId);
  assert.deepEqual([short.head, short.first], [mesh.log.head, mesh.log.head.seq]);
  const entry = mesh.say(BEN, { type: "admin-remove", user: ANNA.peerId });
  short.append(entry);
  assert.equal(hashState(short.state), hashState(mesh.log.state));
  assert.equal(hashState(fold(mesh.entries, mesh.log.meshId).state), hashState(short.state));
  assert.throws(() => short.append(mesh.entries[1]), { code: "log-rollback" });
});

Deno.test("resume() refuses a snapshot with any part exchanged", () => {
  const mesh = furnished();
  mesh.snapshot(BEN, hashState(mesh.log.state));
  const good = mesh.log.bundle!;
  const other = furnished();
  other.say(BEN, { type: "admin-remove", user: ANNA.peerId });
  const byExAdmin = signEntry(ANNA, {
    ...other.log.draft({ type: "snapshot", stateHash: hashState(other.log.state) }, 0),
  });
  other.snapshot(BEN, hashState(other.log.state));
  const late = other.log.bundle!;
  const { meshId } = mesh.log;
  const cases: [string, object, code: string][] = [
    ["another state", { ...good, state: late.state }, "snapshot-invalid"],
    ["a state with white space", { ...good, state: good.state + " " }, "snapshot-invalid"],
    ["no chain", { ...good, admins: [] }, "entry-invalid"],
    ["a chain too short", { ...late, admins: good.admins }, "snapshot-invalid"],
    ["a chain with a hole", { ...late, admins: [late.admins[0], late.admins[2]] }, "log-gap"],
    ["a chain without its genesis", { ...good, admins: good.admins.slice(1) }, "entry-invalid"],
    ["an ex-admin's", { ...late, snapshot: byExAdmin }, "snapshot-invalid"],
    ["another entry", { ...good, snapshot: mesh.entries.at(-2) }, "snapshot-invalid"],
  ];
  for (const [name, bundle, code] of cases) {
    assert.throws(() => MeshLog.resume(bundle as typeof good, meshId), { code }, name);
  }
  assert.throws(() => MeshLog.resume(good, "1".repeat(32)), { code: "entry-foreign" });
});

Deno.test("resume() checks hash, chain and admins each for itself", () => {
  const mesh = furnished();
  const { meshId } = mesh.log;
  // Ben is no admin for a while: the short chain ends with the same admins as the long one.
  mesh.say(ANNA, { type: "admin-remove", user: BEN.peerId });
  mesh.say(ANNA, { type: "admin-add", user: BEN.peerId, key: keyOf(BEN) });
  mesh.snapshot(BEN, hashState(mesh.log.state));
  const good = mesh.log.bundle!;
  MeshLog.resume(good, meshId);
  const { state } = mesh.log;
  const poorer = encodeState({ ...state, authorities: new Map() });
  const carl = { ...state.users.get(CARL.peerId)!, isAdmin: true };
  const usurped = { ...state, users: new Map(state.users).set(CARL.peerId, carl) };
  const lie = signEntry(BEN, {
    ...JSON.parse(good.snapshot.payload),
    body: { type: "snapshot", stateHash: hashState(usurped) },
  });
  const cases: Record<string, typeof good> = {
    "another state with the same admins": { ...good, state: poorer },
    "a chain too short with the same admins": { ...good, admins: good.admins.slice(0, 2) },
    "an admin's lie about who is one": { ...good, snapshot: lie, state: encodeState(usurped) },
  };
  for (const [name, bundle] of Object.entries(cases)) {
    assert.throws(() => MeshLog.resume(bundle, meshId), { code: "snapshot-invalid" }, name);
  }
});

Deno.test("resume() refuses a chain in which a stranger makes themselves an admin", () => {
  const mesh = furnished();
  const { meshId, state } = mesh.log;
  const mallory = actor(66);
  const add: Body = { type: "admin-add", user: mallory.peerId, key: keyOf(mallory) };
  const rotate = rotateBody(meshId, ANNA.peerId, mallory, false);
  const usurpations = [[mallory, add], [CARL, add], [mallory, rotate], [ANNA, rotate]] as const;
  mesh.snapshot(ANNA, hashState(state));
  const bundle = mesh.log.bundle!;
  for (const [by, body] of usurpations) {
    const forged = mesh.draft(by, body);
    const { hash, entry } = verifyEntry(forged);
    const user = { ...state.users.get(ANNA.peerId)!, id: mallory.peerId, key: keyOf(mallory) };
    const text = encodeState({ ...state, users: new Map(state.users).set(mallory.peerId, user) });
    const snapshot = signEntry(mallory, {
      ...entry,
      seq: entry.seq + 1,
      previous: hash,
      admins: hash,
      body: { type: "snapshot", stateHash: hashText(text) },
    });
    const lie = { admins: [...bundle.admins, forged], snapshot, state: text };
    assert.throws(() => MeshLog.resume(lie, meshId), { code: "entry-forbidden" });
  }
});
