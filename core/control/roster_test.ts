import assert from "node:assert/strict";
import { type Identity, identityFromSeed } from "../identity/keys.ts";
import {
  type NodeFacts,
  type SignedRecord,
  signNodeRecord,
  signRecord,
} from "../identity/record.ts";
import { meshAddress6, meshPrefix6 } from "./addressing.ts";
import { RecordVerifier, type RefusalReason, Roster } from "./roster.ts";

const MESH_ID = "00112233445566778899aabbccddeeff";
const FACTS = { meshId: MESH_ID, cidr4: "172.30.0.0/16", prefix6: meshPrefix6(MESH_ID) };
/** A mesh in which everybody is a member. */
const OPEN = { ...FACTS, isMember: () => true };
const [ALICE, BOB, CAROL] = [1, 2, 3].map((n) => identityFromSeed(new Uint8Array(32).fill(n))) as [
  Identity,
  Identity,
  Identity,
];

function recordOf(identity: Identity, facts: Partial<NodeFacts> & { host?: number } = {}) {
  const { host = 1, ...rest } = facts;
  return signNodeRecord(identity, {
    name: "a",
    addresses: [`172.30.0.${host}`, meshAddress6(FACTS.prefix6, identity.peerId)],
    aliases: [],
    meshId: MESH_ID,
    seq: 0,
    ...rest,
  });
}

type Step = [record: SignedRecord, expected: "ok" | RefusalReason];

function play(steps: readonly Step[], roster = new Roster(OPEN)): Roster {
  steps.forEach(([record, expected], i) => {
    const verdict = roster.accept(record, 0);
    assert.equal(verdict.ok ? "ok" : verdict.refusal.reason, expected, `step ${i}`);
  });
  return roster;
}

const tampered = { ...recordOf(ALICE), payload: recordOf(ALICE, { name: "b" }).payload };
const ip6 = meshAddress6(FACTS.prefix6, ALICE.peerId);

const CASES: [name: string, steps: Step[]][] = [
  ["a record and the same again", [[recordOf(ALICE), "ok"], [recordOf(ALICE), "ok"]]],
  ["a newer record", [[recordOf(ALICE), "ok"], [recordOf(ALICE, { seq: 1, name: "b" }), "ok"]]],
  ["a payload that another signature covers", [[tampered, "signature"]]],
  ["another's signature under one's name", [
    [{ ...recordOf(ALICE), signer: recordOf(BOB).signer }, "signature"],
  ]],
  ["a record of another kind", [
    [signRecord(ALICE, "policy", JSON.parse(recordOf(ALICE).payload)), "signature"],
  ]],
  ["another mesh", [[recordOf(ALICE, { meshId: MESH_ID.replace("0", "1") }), "other-mesh"]]],
  ["an older record", [
    [recordOf(ALICE, { seq: 5 }), "ok"],
    [recordOf(ALICE, { seq: 4 }), "rollback"],
  ]],
  ["two records with one number", [
    [recordOf(ALICE, { seq: 5 }), "ok"],
    [recordOf(ALICE, { seq: 5, name: "b" }), "equivocation"],
    [recordOf(ALICE, { seq: 5 }), "ok"],
  ]],
  ["a public address", [[recordOf(ALICE, { addresses: ["8.8.8.8", ip6] }), "addresses"]]],
  ["the network address", [[recordOf(ALICE, { addresses: ["172.30.0.0", ip6] }), "addresses"]]],
  ["the broadcast address", [[
    recordOf(ALICE, { addresses: ["172.30.255.255", ip6] }),
    "addresses",
  ]]],
  ["another's IPv6 address", [
    [
      recordOf(ALICE, { addresses: ["172.30.0.1", meshAddress6(FACTS.prefix6, BOB.peerId)] }),
      "addresses",
    ],
  ]],
  ["one address only", [[recordOf(ALICE, { addresses: ["172.30.0.1"] }), "addresses"]]],
  ["a third address", [
    [recordOf(ALICE, { addresses: ["172.30.0.1", ip6, "172.30.0.2"] }), "addresses"],
  ]],
  ["the coordinators' name", [[recordOf(ALICE, { name: "this" }), "name-reserved"]]],
  ["the coordinators' name as alias", [[recordOf(ALICE, { aliases: ["this"] }), "name-reserved"]]],
  ["a name that another identity holds", [
    [recordOf(ALICE), "ok"],
    [recordOf(BOB, { host: 2 }), "name-taken"],
  ]],
  ["an alias that is another's name, and the other way round", [
    [recordOf(ALICE, { name: "a", aliases: ["www"] }), "ok"],
    [recordOf(BOB, { host: 2, name: "b", aliases: ["a"] }), "name-taken"],
    [recordOf(CAROL, { host: 3, name: "www" }), "name-taken"],
  ]],
  ["an address that another identity holds", [
    [recordOf(ALICE), "ok"],
    [recordOf(BOB, { name: "b" }), "address-taken"],
  ]],
  ["a name given up by a newer record", [
    [recordOf(ALICE), "ok"],
    [recordOf(ALICE, { seq: 1, name: "c" }), "ok"],
    [recordOf(BOB, { host: 2 }), "ok"],
  ]],
  ["name and address of one that left", [
    [recordOf(ALICE), "ok"],
    [recordOf(ALICE, { seq: 1, left: true }), "ok"],
    [recordOf(BOB), "ok"],
    [recordOf(ALICE), "rollback"],
    [recordOf(ALICE, { seq: 2 }), "name-taken"],
  ]],
  ["one that left and came back", [
    [recordOf(ALICE, { seq: 1, left: true }), "ok"],
    [recordOf(ALICE, { seq: 2 }), "ok"],
  ]],
];

for (const [name, steps] of CASES) {
  Deno.test(`Roster judges ${name}`, () => void play(steps));
}

Deno.test("Roster remembers by its pins across restarts", () => {
  const before = play([
    [recordOf(ALICE, { seq: 7, aliases: ["www"] }), "ok"],
    [recordOf(BOB, { host: 2, name: "b", left: true }), "ok"],
  ]);
  const pins = JSON.parse(JSON.stringify(before.pins));
  play([
    [recordOf(ALICE, { seq: 6 }), "rollback"],
    [recordOf(ALICE, { seq: 7, aliases: ["www"] }), "ok"],
    [recordOf(ALICE, { seq: 7 }), "equivocation"],
    [recordOf(CAROL, { host: 3, name: "www" }), "name-taken"],
    [recordOf(CAROL, { host: 2, name: "b" }), "ok"],
  ], new Roster({ ...OPEN, pins }));
});

Deno.test("Roster refuses who is no member, and forgets what one held who is none any more", () => {
  const members = new Set([ALICE.peerId, CAROL.peerId]);
  const options = { ...FACTS, isMember: (id: string) => members.has(id) };
  const roster = play([
    [recordOf(ALICE), "ok"],
    [recordOf(BOB, { host: 2, name: "b" }), "not-member"],
    [recordOf(BOB, { host: 2, name: "b", left: true }), "ok"],
  ], new Roster(options));
  const { pins } = roster;
  members.delete(ALICE.peerId);
  play([
    [recordOf(CAROL), "ok"],
    [recordOf(ALICE), "not-member"],
  ], new Roster({ ...options, pins }));
});

Deno.test("Roster asks with the time at which somebody was heard of", () => {
  const asked: number[] = [];
  const isMember = (_id: string, lastSeen: number) => asked.push(lastSeen) > 0;
  new Roster({ ...FACTS, isMember }).accept(recordOf(ALICE), 17);
  assert.deepEqual(asked, [17]);
});

Deno.test("Roster.revision grows only when the pins change", () => {
  const roster = play([[recordOf(ALICE), "ok"]]);
  const { revision } = roster;
  play([[recordOf(ALICE), "ok"], [recordOf(BOB), "name-taken"]], roster);
  assert.equal(roster.revision, revision);
});

Deno.test("RecordVerifier verifies the same bytes once and forgets the oldest", () => {
  const verifier = new RecordVerifier(2);
  const record = recordOf(ALICE);
  const first = verifier.verify(record);
  assert.equal(verifier.verify({ ...record }), first, "the same object comes back");
  assert.throws(() => verifier.verify(tampered), /signature/, "a known signature is no proof");
  verifier.verify(recordOf(BOB));
  verifier.verify(recordOf(CAROL));
  assert.notEqual(verifier.verify(record), first);
});
