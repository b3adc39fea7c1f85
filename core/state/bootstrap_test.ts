/**
 * Tests of how a mesh begins and passes from its coordinator to its first user.
 * @module
 */
import assert from "node:assert/strict";
import { hashText } from "./bodies.ts";
import { beginMesh, BOOTSTRAP_USER, bootstrapEntries } from "./bootstrap.ts";
import { actor, admitBody, genesisBy, keyOf, START } from "./fake_mesh.ts";
import { fold, MeshLog, signAll } from "./log.ts";
import { admins, encodeState, hashState, isCoordinator } from "./state.ts";

const COORDINATOR = actor(1);
const FIRST = actor(2);
const STRANGER = actor(3);
const NONCE = "0123456789abcdef".repeat(2);
const MEMBER = { name: "anna", key: keyOf(FIRST), tags: ["web", "home"], expiresAfterMs: 60_000 };

function handedOver(): MeshLog {
  const log = beginMesh(COORDINATOR, NONCE, START);
  bootstrapEntries(log, COORDINATOR, MEMBER, START + 1000);
  return log;
}

Deno.test("beginMesh() makes the coordinator the only user of a mesh of its own", () => {
  const log = beginMesh(COORDINATOR, NONCE, START);
  assert.deepEqual([...log.state.users.values()].map(({ name, isAdmin }) => [name, isAdmin]), [
    [BOOTSTRAP_USER, true],
  ]);
  assert.notEqual(beginMesh(COORDINATOR, "f".repeat(32), START).meshId, log.meshId);
  assert.throws(() => beginMesh(COORDINATOR, "no hex", START), { code: "entry-invalid" });
});

Deno.test("bootstrapEntries() hands the mesh over to the first user in four entries", () => {
  const log = beginMesh(COORDINATOR, NONCE, START);
  const entries = bootstrapEntries(log, COORDINATOR, MEMBER, START + 1000);
  const { state } = log;
  const bodies = log.since(1).map(({ entry }) => entry.body.type);
  assert.deepEqual(bodies, ["user-add", "admin-add", "node-admit", "user-remove"]);
  assert.deepEqual(log.since(1).map(({ signed }) => signed), entries);
  assert.deepEqual([...state.users.keys()], [FIRST.peerId]);
  assert.deepEqual(admins(state).map(({ name, key }) => [name, key]), [["anna", keyOf(FIRST)]]);
  const node = state.nodes.get(FIRST.peerId);
  assert.deepEqual(
    [node?.user, node?.tags, node?.expiresAfterMs],
    [FIRST.peerId, ["home", "web"], 60_000],
  );
  assert.ok(!isCoordinator(state, FIRST.peerId));
  // Everyone who reads the log comes to the same.
  const all = log.since(0).map(({ signed }) => signed);
  assert.equal(encodeState(fold(all, log.meshId).state), encodeState(state));
});

Deno.test("the coordinator's key may state nothing after the mesh was handed over", () => {
  const log = handedOver();
  const add = { type: "user-add", name: "mallory", key: keyOf(STRANGER) } as const;
  for (const body of [add, admitBody(STRANGER, { tags: ["web"] })]) {
    assert.throws(() => signAll(log, COORDINATOR, [body], START), { code: "entry-forbidden" });
  }
  const again = { ...MEMBER, name: "mallory", key: keyOf(STRANGER) };
  assert.throws(() => bootstrapEntries(log, COORDINATOR, again, START), {
    code: "entry-forbidden",
  });
  const back = { type: "user-add", name: "coordinator", key: keyOf(COORDINATOR) } as const;
  assert.throws(() => signAll(log, FIRST, [back], START), { code: "entry-conflict" });
});

Deno.test("bootstrapEntries() changes nothing when it cannot go through", () => {
  const log = beginMesh(COORDINATOR, NONCE, START);
  const cases = [
    [{ ...MEMBER, name: BOOTSTRAP_USER }, "entry-conflict"],
    [{ ...MEMBER, name: "No Name" }, "entry-invalid"],
    [{ ...MEMBER, key: keyOf(COORDINATOR) }, "entry-conflict"],
    [{ ...MEMBER, tags: ["no tag"] }, "entry-invalid"],
    [{ ...MEMBER, expiresAfterMs: 1 }, "entry-invalid"],
  ] as const;
  for (const [first, code] of cases) {
    assert.throws(() => bootstrapEntries(log, COORDINATOR, first, START), { code });
    assert.equal(log.head.seq, 0);
  }
  assert.throws(() => bootstrapEntries(log, STRANGER, MEMBER, START), { code: "entry-forbidden" });
});

Deno.test("a snapshot after the hand-over names the first user as the only admin", () => {
  const log = handedOver();
  const snapshot = { type: "snapshot", stateHash: hashState(log.state) } as const;
  for (const entry of signAll(log, FIRST, [snapshot], START)) log.append(entry);
  const bundle = log.bundle!;
  assert.equal(bundle.admins.length, 3, "genesis, admin-add and the coordinator's user-remove");
  const short = MeshLog.resume(bundle, log.meshId);
  assert.deepEqual(short.head, log.head);
  // Without the last of them the coordinator would still be an admin.
  assert.throws(
    () => MeshLog.resume({ ...bundle, admins: bundle.admins.slice(0, 2) }, log.meshId),
    {
      code: "snapshot-invalid",
    },
  );
  const lie = { ...bundle, state: bundle.state.replace("anna", "anne") };
  assert.notEqual(hashText(lie.state), hashText(bundle.state));
  assert.throws(() => MeshLog.resume(lie, log.meshId), { code: "snapshot-invalid" });
});

Deno.test("user-remove never takes the last admin, whoever signs", () => {
  const log = MeshLog.begin(genesisBy(COORDINATOR), null);
  const remove = { type: "user-remove", user: COORDINATOR.peerId } as const;
  assert.throws(() => signAll(log, COORDINATOR, [remove], START), { code: "last-admin" });
  const over = handedOver();
  const last = { type: "user-remove", user: FIRST.peerId } as const;
  assert.throws(() => signAll(over, FIRST, [last], START), { code: "last-admin" });
});
