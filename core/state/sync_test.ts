/**
 * Tests of the exchange of the log, and of what each lie of a coordinator meets.
 * @module
 */
import assert from "node:assert/strict";
import { SignedRecord } from "../identity/record.ts";
import type { Identity } from "../identity/keys.ts";
import { NEVER } from "../machine.ts";
import { type Body, policyHash } from "./bodies.ts";
import { SignedEntry, signEntry } from "./entry.ts";
import {
  actor,
  admitBody,
  authorityBody,
  FakeMesh,
  keyOf,
  limitsOf,
  renameBody,
  START,
} from "./fake_mesh.ts";
import {
  EquivocationProof,
  findEquivocation,
  signHead,
  verifyEquivocation,
  verifyHead,
} from "./head.ts";
import { fold, type Head, type MeshLog } from "./log.ts";
import { LogSync, type SyncAlert, type SyncEffect, type SyncMessage } from "./sync.ts";

const ANNA = actor(1);
const BEN = actor(2);
const COORDINATOR = actor(40);
const NODE = actor(10);
const PEER = actor(11);

/** One party with a log, and what it was told to do. */
class Party {
  readonly sync: LogSync;
  readonly log: MeshLog;
  readonly identity: Identity;
  readonly alerts: SyncAlert[] = [];
  readonly sent: { to: string; message: SyncMessage }[] = [];
  grown = 0;

  constructor(identity: Identity, log: MeshLog) {
    this.identity = identity;
    this.log = log;
    this.sync = new LogSync({ log, sign: (head) => headBy(identity, log.meshId, head) });
  }

  do(event: Parameters<LogSync["handle"]>[0], now = 0): void {
    for (const effect of this.sync.handle(event, now)) this.#take(effect);
  }

  connect(source: string, identity: Identity, isCoordinator = false): void {
    this.do({ type: "connected", source, key: keyOf(identity), isCoordinator });
  }

  hear(source: string, message: SyncMessage, now = 0): void {
    this.do({ type: "message", source, text: JSON.stringify(message) }, now);
  }

  #take(effect: SyncEffect): void {
    if (effect.type === "alert") this.alerts.push(effect.alert);
    else if (effect.type === "grown") this.grown += effect.entries.length;
    else this.sent.push(effect);
  }
}

function headBy(identity: Identity, meshId: string, head: Head, at = START): SignedRecord {
  return signHead(identity, { meshId, ...head, at });
}

/** Carries messages between parties until none is left. */
function settle(parties: Readonly<Record<string, Party>>): void {
  for (let rounds = 0; rounds < 100; rounds++) {
    let isQuiet = true;
    for (const [name, party] of Object.entries(parties)) {
      for (const { to, message } of party.sent.splice(0)) {
        isQuiet = false;
        parties[to]?.hear(name, message);
      }
    }
    if (isQuiet) return;
  }
  assert.fail("they never stop talking");
}

/** Connects everyone to everyone; "coordinator" is one. */
function connect(parties: Readonly<Record<string, Party>>): void {
  for (const [name, party] of Object.entries(parties)) {
    for (const [other, { identity }] of Object.entries(parties)) {
      if (other !== name) party.connect(other, identity, other === "coordinator");
    }
  }
}

/** A mesh with two admins and two nodes. */
function mesh(): FakeMesh {
  const made = new FakeMesh();
  made.addAdmin(BEN, "ben");
  made.say(ANNA, admitBody(NODE, { user: ANNA }));
  made.say(ANNA, admitBody(PEER, { user: BEN }));
  return made;
}

/** A copy of the first `count` entries. */
function copy(of: FakeMesh, count = of.entries.length): MeshLog {
  return fold(of.entries.slice(0, count), of.log.meshId);
}

const REVOKE: Body = { type: "node-revoke", node: PEER.peerId, reason: "stolen" };

Deno.test("parties end with the same log, whoever has it", () => {
  const full = mesh();
  const parties = {
    coordinator: new Party(COORDINATOR, copy(full, 1)),
    a: new Party(NODE, copy(full, 2)),
    b: new Party(PEER, full.log),
  };
  connect(parties);
  settle(parties);
  for (const { log, alerts } of Object.values(parties)) {
    assert.deepEqual(log.head, full.log.head);
    assert.deepEqual(alerts, []);
  }
  assert.equal(parties.a.grown, 3);
  assert.equal(parties.a.sync.deadline, NEVER);
});

Deno.test("an appended entry reaches everyone reachable without a timer", () => {
  const full = mesh();
  const parties = {
    coordinator: new Party(COORDINATOR, full.log),
    a: new Party(NODE, copy(full)),
    b: new Party(PEER, copy(full)),
  };
  // Node b hears only node a.
  parties.coordinator.connect("a", NODE);
  parties.a.connect("coordinator", COORDINATOR, true);
  parties.a.connect("b", PEER);
  parties.b.connect("a", NODE);
  settle(parties);
  full.say(ANNA, REVOKE);
  parties.coordinator.do({ type: "appended" });
  settle(parties);
  assert.ok(parties.b.log.state.revoked.has(PEER.peerId));
});

Deno.test("a long log arrives in several answers", () => {
  const full = mesh();
  for (let i = 0; i < 300; i++) full.say(ANNA, renameBody(`anna${i}`));
  const parties = { a: new Party(NODE, copy(full, 1)), b: new Party(PEER, full.log) };
  connect(parties);
  settle(parties);
  assert.deepEqual(parties.a.log.head, full.log.head);
});

Deno.test("lie: a forged node is refused and its coordinator named", () => {
  const full = mesh();
  const victim = new Party(NODE, copy(full));
  victim.connect("coordinator", COORDINATOR, true);
  const forged = full.draft(COORDINATOR, admitBody(actor(66), { user: ANNA }));
  const head = { seq: full.log.head.seq + 1, hash: "f".repeat(64) };
  victim.hear("coordinator", {
    type: "heads",
    heads: [headBy(COORDINATOR, full.log.meshId, head)],
  });
  victim.hear("coordinator", { type: "entries", entries: [forged] });
  const [alert] = victim.alerts;
  assert.ok(alert?.type === "refused" && alert.code === "entry-forbidden", JSON.stringify(alert));
  assert.ok(!victim.log.state.nodes.has(actor(66).peerId));
  // The same in an admin's name, with a signature that is not theirs.
  const real = full.draft(ANNA, admitBody(actor(66), { user: ANNA }));
  const stolen = { ...forged, signer: real.signer };
  assert.throws(() => victim.log.append(stolen), { code: "entry-invalid" });
  // That head is not asked for again, and unasked entries are not even looked at.
  victim.sent.length = 0;
  victim.hear("coordinator", { type: "entries", entries: [real] });
  assert.deepEqual(victim.sent, []);
  assert.equal(victim.grown, 0);
});

Deno.test("lie: a revocation that is withheld arrives by a peer, and the lie is reported", () => {
  const full = mesh();
  const old = copy(full);
  full.say(ANNA, REVOKE);
  const victim = new Party(NODE, copy(full, old.head.seq + 1));
  victim.connect("coordinator", COORDINATOR, true);
  const stale = () => headBy(COORDINATOR, old.meshId, old.head);
  victim.hear("coordinator", { type: "heads", heads: [stale()] });
  const parties = { a: victim, b: new Party(PEER, full.log) };
  victim.connect("b", PEER);
  parties.b.connect("a", NODE);
  settle(parties);
  assert.ok(victim.log.state.revoked.has(PEER.peerId));
  assert.deepEqual(victim.alerts, []);
  // The coordinator was told and goes on as if nothing was.
  victim.hear("coordinator", { type: "heads", heads: [stale()] }, 1000);
  assert.ok(victim.sync.deadline < NEVER);
  victim.do({ type: "tick" }, victim.sync.deadline);
  assert.deepEqual(victim.alerts, [{ type: "stale", source: "coordinator", theirs: old.head.seq }]);
  assert.equal(victim.sync.deadline, NEVER);
});

Deno.test("freshAt says when an admin last vouched for what the log contains", () => {
  const full = mesh();
  const victim = new Party(NODE, copy(full));
  victim.connect("b", PEER);
  const { meshId, head } = full.log;
  const hear = (by: Identity, of: Head, at: number) =>
    victim.hear("b", { type: "heads", heads: [headBy(by, meshId, of, at)] });
  assert.equal(victim.sync.freshAt, null);
  hear(COORDINATOR, head, START + 9);
  hear(PEER, head, START + 8);
  hear(ANNA, { seq: head.seq, hash: "f".repeat(64) }, START + 7);
  assert.equal(victim.sync.freshAt, null);
  hear(BEN, head, START + 1);
  hear(BEN, head, START + 2);
  assert.equal(victim.sync.freshAt, START + 2);
});

Deno.test("lie: an older policy is refused, alone and as a whole older log", () => {
  const full = mesh();
  const policy = (text: string): Body => {
    const documents = [{ file: "policy.yaml", text }];
    return { type: "policy-set", documents, hash: policyHash(documents) };
  };
  const first = full.say(ANNA, policy("allow everything"));
  full.say(ANNA, policy("allow nothing"));
  const victim = copy(full);
  assert.throws(() => victim.append(first), { code: "log-rollback" });
  assert.throws(() => victim.append(full.entries[0]), { code: "log-rollback" });
  // Stated again after an older head, it is another history.
  const fork = copy(full, full.entries.length - 2);
  const other = signEntry(ANNA, fork.draft(policy("allow everything"), START + 99_000));
  assert.throws(() => victim.append(other), { code: "log-fork" });
});

Deno.test("lie: a log that is reordered, cut or stitched is refused where it breaks", () => {
  const full = mesh();
  const { entries, log: { meshId } } = full;
  const [genesis, ...rest] = entries;
  const [a, b, ...later] = rest;
  assert.throws(() => fold([genesis, b, a, ...later], meshId), { code: "log-gap" });
  assert.throws(() => fold([genesis, a, ...later], meshId), { code: "log-gap" });
  assert.throws(() => fold([...rest], meshId), { code: "entry-invalid" });
  assert.throws(() => fold([genesis, a, a, ...later], meshId), { code: "log-rollback" });
  const fork = copy(full, 2);
  const other = signEntry(ANNA, fork.draft(renameBody("g"), START));
  assert.throws(() => fold([genesis, a, other, ...rest.slice(2)], meshId), { code: "log-fork" });
  // Cut at its end it is a log, only an older one.
  assert.equal(fold(entries.slice(0, 3), meshId).head.seq, 2);
});

Deno.test("lie: an entry that an admin signs after being one is refused", () => {
  const full = mesh();
  const before = copy(full);
  full.say(ANNA, { type: "admin-remove", user: BEN.peerId });
  const body = admitBody(actor(66), { user: BEN });
  assert.throws(() => full.say(BEN, body), { code: "entry-forbidden" });
  // Dated back, it stands where another entry is known: a node that knows of the removal refuses.
  const backdated = signEntry(BEN, before.draft(body, START));
  assert.throws(() => full.log.append(backdated), { code: "log-fork" });
  before.append(backdated);
});

Deno.test("lie: an entry or head of another mesh is refused, though the same admin signed it", () => {
  const full = mesh();
  const other = new FakeMesh(ANNA, "1".repeat(32));
  other.addAdmin(BEN, "ben");
  assert.notEqual(other.log.meshId, full.log.meshId);
  assert.throws(() => full.log.append(other.entries[1]), { code: "entry-foreign" });
  assert.throws(() => full.log.append(other.entries[0]), { code: "entry-foreign" });
  const foreign = headBy(ANNA, other.log.meshId, other.log.head);
  assert.throws(() => verifyHead(foreign, full.log.meshId), { code: "entry-foreign" });
});

Deno.test("lie: a token's admission that is played again is refused, also after a revocation", () => {
  const full = mesh();
  const token = actor(20);
  const limits = limitsOf({ maxNodes: 5 });
  full.say(ANNA, authorityBody(token, limits));
  const body = admitBody(actor(12), { tags: ["web"] }, "t1");
  const admission = full.say(token, body);
  assert.throws(() => full.log.append(admission), { code: "log-rollback" });
  assert.throws(() => full.say(token, body), { code: "entry-conflict" });
  full.say(ANNA, { type: "node-revoke", node: actor(12).peerId, reason: "" });
  assert.throws(() => full.log.append(admission), { code: "log-rollback" });
  assert.throws(() => full.say(token, body), { code: "authority-exceeded" });
  full.say(ANNA, admitBody(actor(12), { tags: ["web"] }));
  assert.ok(!full.log.state.revoked.has(actor(12).peerId));
});

Deno.test("lie: two histories for two nodes become a proof as soon as the nodes talk", () => {
  const full = mesh();
  const { meshId } = full.log;
  // The coordinator and an ex-admin made node b a history of its own.
  const fork = copy(full);
  fork.append(signEntry(BEN, fork.draft(REVOKE, START)));
  fork.append(signEntry(BEN, fork.draft(renameBody("g"), START)));
  full.say(ANNA, { type: "admin-remove", user: BEN.peerId });
  const a = new Party(NODE, copy(full));
  const b = new Party(PEER, fork);
  a.connect("coordinator", COORDINATOR, true);
  b.connect("coordinator", COORDINATOR, true);
  a.hear("coordinator", { type: "heads", heads: [headBy(COORDINATOR, meshId, full.log.head)] });
  b.hear("coordinator", { type: "heads", heads: [headBy(COORDINATOR, meshId, fork.head)] });
  a.connect("b", PEER);
  b.connect("a", NODE);
  settle({ a, b });
  const convicted = [a, b].map(({ alerts }) =>
    alerts.flatMap((alert) => alert.type === "equivocation" ? [alert] : [])
  );
  for (const found of convicted) {
    assert.equal(found.length, 1);
    assert.equal(found[0]!.signer, keyOf(COORDINATOR));
    assert.equal(verifyEquivocation(found[0]!.proof, meshId), keyOf(COORDINATOR));
  }
  // Neither took the other's history.
  assert.deepEqual(a.log.head, full.log.head);
  assert.ok(a.alerts.some((alert) => alert.type === "refused" && alert.code === "log-fork"));
});

Deno.test("verifyEquivocation() convicts nobody who said one thing", () => {
  const full = mesh();
  const { meshId } = full.log;
  const early = copy(full, 3);
  const heads = [early.head, full.log.head].map((head) =>
    verifyHead(headBy(COORDINATOR, meshId, head), meshId)
  );
  assert.equal(findEquivocation(heads, full.log), null);
  const chain = full.log.since(3).map(({ signed }) => signed);
  const [a, b] = heads.map(({ signed }) => signed) as [SignedRecord, SignedRecord];
  const lie = headBy(COORDINATOR, meshId, { seq: 2, hash: "f".repeat(64) });
  assert.equal(verifyEquivocation({ a: lie, b, chain }, meshId), keyOf(COORDINATOR));
  const other = headBy(ANNA, meshId, { seq: 2, hash: "f".repeat(64) });
  const cases: Record<string, EquivocationProof> = {
    "one history": { a, b, chain },
    "the same head": { a, b: a, chain: [] },
    "two signers": { a: other, b, chain },
    "a chain too short": { a: lie, b, chain: chain.slice(1) },
    "another chain": { a: lie, b, chain: chain.toReversed() },
    "entries of another number": { a: lie, b, chain: full.entries.slice(0, chain.length) },
    "heads exchanged": { a: b, b: lie, chain: [] },
  };
  for (const [name, proof] of Object.entries(cases)) {
    assert.throws(() => verifyEquivocation(proof, meshId), { code: "record-invalid" }, name);
  }
});

Deno.test("a source that promises and does not deliver costs one question each time", () => {
  const full = mesh();
  const victim = new Party(NODE, copy(full, 3));
  victim.connect("liar", actor(50));
  victim.connect("b", PEER);
  const head = { seq: 1000, hash: "f".repeat(64) };
  victim.hear("liar", { type: "heads", heads: [headBy(actor(50), full.log.meshId, head)] });
  victim.hear("b", { type: "heads", heads: [headBy(PEER, full.log.meshId, full.log.head)] });
  const wants = () =>
    victim.sent.filter(({ message }) => message.type === "want").map(({ to }) => to);
  assert.deepEqual(wants(), ["liar"]);
  victim.do({ type: "tick" }, victim.sync.deadline);
  assert.deepEqual(wants(), ["liar", "b"]);
  victim.hear("b", { type: "entries", entries: full.entries.slice(3) });
  assert.deepEqual(victim.log.head, full.log.head);
  assert.deepEqual(wants(), ["liar", "b"]);
});

Deno.test("handle() answers hostile text with an alert and nothing else", () => {
  const full = mesh();
  const victim = new Party(NODE, copy(full));
  victim.connect("b", PEER);
  victim.sent.length = 0;
  const [entry] = full.entries as [SignedEntry];
  for (
    const text of [
      "",
      "null",
      "{}",
      '{"type":"want","from":-1}',
      '{"type":"want"}',
      "[".repeat(9999),
      JSON.stringify({ type: "heads", heads: [{ ...entry, signer: keyOf(PEER) }] }),
      JSON.stringify({ type: "equivocation", proof: { a: entry, b: entry, chain: [] } }),
    ]
  ) {
    victim.do({ type: "message", source: "b", text });
    assert.equal(victim.alerts.splice(0).length, 1, text);
    assert.deepEqual(victim.sent, []);
  }
  victim.do({ type: "message", source: "stranger", text: '{"type":"want","from":0}' });
  assert.deepEqual(victim.sent, []);
  victim.hear("b", { type: "want", from: 2 });
  assert.deepEqual(victim.sent.map(({ message }) => message), [{
    type: "entries",
    entries: full.entries.slice(2),
  }]);
});
