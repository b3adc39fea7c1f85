import assert from "node:assert/strict";
import type { RegisterReply } from "../control/messages.ts";
import { identityFromSeed } from "../identity/keys.ts";
import { verifyNodeRecord } from "../identity/record.ts";
import { leavingRecord, membershipOf } from "./membership.ts";

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
