/**
 * Tests of signed records: what one field out of place must not get past.
 * @module
 */
import assert from "node:assert/strict";
import { toBase64, toBase64Url } from "../bytes.ts";
import { identityFromSeed } from "./keys.ts";
import {
  NodeRecord,
  signNodeRecord,
  signRecord,
  verifyNodeRecord,
  verifyRecord,
} from "./record.ts";

const ALICE = identityFromSeed(new Uint8Array(32).fill(1));
const MALLORY = identityFromSeed(new Uint8Array(32).fill(2));

const FACTS = {
  name: "alice",
  addresses: ["172.30.0.5", "fd00::5"],
  aliases: ["web", "api.alice"],
  meshId: "mesh",
  seq: 7,
};

function fullRecord(): NodeRecord {
  return {
    ...FACTS,
    id: ALICE.peerId,
    identity: toBase64Url(ALICE.publicKey),
    wireguardKey: toBase64(ALICE.wireguard.publicKey),
  };
}

Deno.test("verifyNodeRecord() returns what signNodeRecord() was given", () => {
  assert.deepEqual(verifyNodeRecord(signNodeRecord(ALICE, FACTS)), fullRecord());
  const left = signNodeRecord(ALICE, { ...FACTS, left: true });
  assert.equal(verifyNodeRecord(left).left, true);
});

Deno.test("signNodeRecord() always uses the signer's own keys", () => {
  const signed = signNodeRecord(MALLORY, fullRecord());
  assert.equal(verifyNodeRecord(signed).id, MALLORY.peerId);
});

Deno.test("signNodeRecord() refuses facts that break the schema", () => {
  const bad = { ...FACTS, name: "Not A Label" };
  assert.throws(() => signNodeRecord(ALICE, bad), { code: "record-invalid" });
});

Deno.test("signNodeRecord() takes offers of exits and networks, and refuses wrong ones", () => {
  const routes = [{ prefix: "192.168.7.0/24" }, { prefix: "10.0.0.0/24", mapped: "10.77.0.0/24" }];
  const record = verifyNodeRecord(signNodeRecord(ALICE, { ...FACTS, exit: true, routes }));
  assert.deepEqual([record.exit, record.routes], [true, routes]);
  const wrong = [
    { prefix: "0.0.0.0/0" },
    { prefix: "192.168.7.1/24" },
    { prefix: "10.0.0.0/24", mapped: "10.77.0.0/16" },
    { prefix: "10.0.0.0/24", mapped: "fd00::/24" },
    { prefix: "192.168.7.0/24", metric: 1 },
  ];
  for (const route of wrong) {
    const facts = { ...FACTS, routes: [route] };
    assert.throws(() => signNodeRecord(ALICE, facts), { code: "record-invalid" });
  }
  const many = Array.from({ length: 33 }, (_, i) => ({ prefix: `10.${i}.0.0/16` }));
  assert.throws(() => signNodeRecord(ALICE, { ...FACTS, routes: many }), /record/);
  const no = { ...FACTS, exit: false } as unknown as typeof FACTS;
  assert.throws(() => signNodeRecord(ALICE, no), { code: "record-invalid" });
});

Deno.test("verifyNodeRecord() survives a JSON round trip", () => {
  const signed = JSON.parse(JSON.stringify(signNodeRecord(ALICE, FACTS)));
  assert.equal(verifyNodeRecord(signed).seq, 7);
});

Deno.test("verifyNodeRecord() refuses a record with any part exchanged", () => {
  const good = signNodeRecord(ALICE, FACTS);
  const other = signNodeRecord(MALLORY, FACTS);
  const lastBitSet = good.signer.slice(0, -1) +
    { A: "B", E: "F", I: "J", M: "N", Q: "R", U: "V", Y: "Z", c: "d", g: "h", k: "l" }[
      good.signer.at(-1)!
    ];
  const cases: Record<string, unknown> = {
    "payload changed": { ...good, payload: good.payload.replace("172.30.0.5", "172.30.0.6") },
    "white space added": { ...good, payload: good.payload + " " },
    "signer exchanged": { ...good, signer: other.signer },
    "signature of another": { ...good, signature: other.signature },
    "signature empty": { ...good, signature: "" },
    "signature padded": { ...good, signature: good.signature + "==" },
    "signer written differently": { ...good, signer: lastBitSet },
    "unknown field": { ...good, extra: 1 },
    "another kind": { ...good, kind: "policy" },
    "not an object": "text",
    "null": null,
  };
  for (const [name, signed] of Object.entries(cases)) {
    assert.throws(() => verifyNodeRecord(signed), { code: "record-invalid" }, name);
  }
});

Deno.test("verifyNodeRecord() refuses validly signed claims to what is another's", () => {
  const own = { identity: toBase64Url(MALLORY.publicKey), id: MALLORY.peerId };
  const wireguardKey = toBase64(MALLORY.wireguard.publicKey);
  const cases: Record<string, unknown> = {
    "Alice's record": fullRecord(),
    "Alice's id": { ...fullRecord(), ...own, wireguardKey, id: ALICE.peerId },
    "Alice's WireGuard key": { ...fullRecord(), ...own },
    "Alice's identity": { ...fullRecord(), id: MALLORY.peerId, wireguardKey },
    "unknown field": { ...fullRecord(), ...own, wireguardKey, admin: true },
    "address not canonical": { ...fullRecord(), ...own, wireguardKey, addresses: ["fd00:0::5"] },
    "no address": { ...fullRecord(), ...own, wireguardKey, addresses: [] },
    "negative seq": { ...fullRecord(), ...own, wireguardKey, seq: -1 },
    "unsafe seq": { ...fullRecord(), ...own, wireguardKey, seq: 2 ** 53 },
    "left: false": { ...fullRecord(), ...own, wireguardKey, left: false },
  };
  for (const [name, payload] of Object.entries(cases)) {
    const signed = signRecord(MALLORY, "node", payload);
    assert.throws(() => verifyNodeRecord(signed), { code: "record-invalid" }, name);
  }
});

Deno.test("verifyRecord() refuses a record signed under another kind", () => {
  const signed = signRecord(ALICE, "policy", { a: 1 });
  assert.deepEqual(verifyRecord(signed, "policy").payload, { a: 1 });
  const relabelled = { ...signed, kind: "node" };
  assert.throws(() => verifyRecord(relabelled, "node"), { code: "record-invalid" });
});

Deno.test("signRecord() refuses a payload that no verifier would take", () => {
  assert.throws(() => signRecord(ALICE, "big", "x".repeat(20_000)), RangeError);
});

Deno.test("verifyRecord() refuses a text that only looks like the signed one in UTF-8", () => {
  const signed = signRecord(ALICE, "policy", "odd \ufffd sign");
  verifyRecord(signed, "policy");
  const altered = { ...signed, payload: signed.payload.replace("\ufffd", "\ud800") };
  assert.throws(() => verifyRecord(altered, "policy"), { code: "record-invalid" });
});
