import assert from "node:assert/strict";
import type { RegisterReply } from "../control/messages.ts";
import { identityFromSeed } from "../identity/keys.ts";
import { verifyNodeRecord } from "../identity/record.ts";
import { leavingRecord, membershipOf, offering } from "./membership.ts";

const identity = identityFromSeed(new Uint8Array(32).fill(5));
const place = { urls: ["https://c:8443"], caCertificate: null };

function replyOf(changes: Partial<RegisterReply> = {}): RegisterReply {
  return {
    id: identity.peerId,
    name: "nas",
    aliases: [],
    addresses: ["172.30.0.2", "fd00::2"],
    meshId: "0".repeat(32),
    cidr4: "172.30.0.0/16",
    prefix6: "fd00::/48",
    isAdmin: false,
    isCoordinator: false,
    recordSeq: -1,
    caCertificate: "",
    time: 0,
    coordinatorVersion: "0",
    ...changes,
  };
}

Deno.test("membershipOf() signs a record of what the coordinator gave", () => {
  const { record } = membershipOf(identity, place, replyOf(), null);
  const facts = verifyNodeRecord(record);
  assert.deepEqual([facts.name, facts.addresses[0], facts.seq], ["nas", "172.30.0.2", 0]);
});

Deno.test("membershipOf() keeps the record while its facts hold, and outnumbers older ones", () => {
  const first = membershipOf(identity, place, replyOf(), null);
  const again = membershipOf(identity, place, replyOf({ recordSeq: 0 }), first);
  assert.equal(again.record, first.record);
  const renamed = membershipOf(identity, place, replyOf({ name: "nas-2", recordSeq: 0 }), again);
  assert.equal(verifyNodeRecord(renamed.record).seq, 1);
  // The coordinator knows of a newer one, from another copy of this node's state.
  const behind = membershipOf(identity, place, replyOf({ recordSeq: 9 }), first);
  assert.equal(verifyNodeRecord(behind.record).seq, 10);
});

Deno.test("leavingRecord() gives up what the last record claimed", () => {
  const facts = verifyNodeRecord(
    leavingRecord(identity, membershipOf(identity, place, replyOf(), null)),
  );
  assert.deepEqual([facts.left, facts.seq, facts.name], [true, 1, "nas"]);
});

Deno.test("offering() signs a record with the next number when the offers differ, and only then", () => {
  const before = membershipOf(identity, place, replyOf(), null);
  const none = { isExit: false, routes: [] };
  assert.equal(offering(identity, before, none), before);
  const route = { prefix: "192.168.7.0/24", mapped: "10.77.7.0/24" };
  const offers = { isExit: true, routes: [route] };
  const after = offering(identity, before, offers);
  const facts = verifyNodeRecord(after.record);
  assert.deepEqual([facts.seq, facts.exit, facts.routes, facts.name], [1, true, [route], "nas"]);
  assert.equal(offering(identity, after, offers), after);
  const back = verifyNodeRecord(offering(identity, after, none).record);
  assert.deepEqual([back.seq, "exit" in back, "routes" in back], [2, false, false]);
  // A registration that changes nothing keeps what is offered, and leaving outnumbers it.
  const again = membershipOf(identity, place, replyOf({ recordSeq: 1 }), after);
  assert.equal(again.record, after.record);
  assert.equal(verifyNodeRecord(leavingRecord(identity, after)).seq, 2);
});
