import assert from "node:assert/strict";
import { MeshError } from "../errors.ts";
import { type Identity, identityFromSeed } from "../identity/keys.ts";
import { type NodeFacts, signNodeRecord } from "../identity/record.ts";
import type { PeerId } from "../ids.ts";
import { meshAddress6, meshPrefix6 } from "./addressing.ts";
import { Netmap, type PeerEntry } from "./messages.ts";
import { NetmapView } from "./netmap.ts";
import { Roster } from "./roster.ts";

const MESH_ID = "00112233445566778899aabbccddeeff";
const FACTS = { meshId: MESH_ID, cidr4: "172.30.0.0/16", prefix6: meshPrefix6(MESH_ID) };
const identities = [1, 2, 3].map((n) => identityFromSeed(new Uint8Array(32).fill(n)));
const [A, B, C] = identities as [Identity, Identity, Identity];

function entry(
  identity: Identity,
  host: number,
  facts: Partial<NodeFacts> = {},
  over: Partial<PeerEntry> = {},
): PeerEntry {
  const record = signNodeRecord(identity, {
    name: `n${host}`,
    addresses: [`172.30.0.${host}`, meshAddress6(FACTS.prefix6, identity.peerId)],
    aliases: [],
    meshId: MESH_ID,
    seq: 0,
    ...facts,
  });
  const endpoints = [`192.0.2.${host}:1`];
  return { record, endpoints, online: true, bootId: "b", lastSeen: 9, ...over };
}

function viewOf(...peers: PeerEntry[]): NetmapView {
  const view = new NetmapView(FACTS, new Roster({ ...FACTS, isMember: () => true }));
  view.replace({ version: 1, ...FACTS, coordinators: [], peers });
  return view;
}

function names(view: NetmapView): string[] {
  return [...view.peers.values()].map(({ record }) => record.name).sort();
}

Deno.test("NetmapView reports only peers that changed", () => {
  const view = viewOf(entry(A, 1), entry(B, 2));
  const changes = view.apply({
    type: "delta",
    version: 2,
    remove: [],
    upsert: [entry(A, 1), entry(B, 2, {}, { endpoints: ["192.0.2.9:9"] }), entry(C, 3)],
  });
  assert.deepEqual(changes.upserted.map(({ id }) => id), [B.peerId, C.peerId]);
  assert.deepEqual(changes.refused, []);
});

Deno.test("NetmapView says when coordinators change, though no peer does", () => {
  const view = viewOf(entry(A, 1), entry(B, 2));
  const changes = (version: number, coordinators?: string[]) => {
    const upsert = [entry(B, 2)];
    const other = coordinators ? { coordinators } : {};
    return view.apply({ type: "delta", version, upsert, remove: [], ...other });
  };
  assert.equal(changes(2).areCoordinatorsOther, false);
  assert.equal(changes(3, [B.peerId]).areCoordinatorsOther, true);
  assert.equal(changes(4).areCoordinatorsOther, false);
  assert.deepEqual(view.coordinators, [B.peerId]);
});

Deno.test("NetmapView keeps a peer that a later netmap lacks, as offline", () => {
  const view = viewOf(entry(A, 1), entry(B, 2));
  const peers = [entry(A, 1)];
  const { upserted, removed } = view.replace({ version: 1, ...FACTS, coordinators: [], peers });
  assert.deepEqual(upserted.map(({ id, online }) => [id, online]), [[B.peerId, false]]);
  assert.deepEqual(removed, []);
  assert.deepEqual(names(view), ["n1", "n2"]);
});

Deno.test("NetmapView removes a peer by its signed farewell or by the coordinator's word", () => {
  const view = viewOf(entry(A, 1), entry(B, 2), entry(C, 3));
  const { removed } = view.apply({
    type: "delta",
    version: 2,
    upsert: [entry(B, 2, { seq: 1, left: true })],
    remove: [C.peerId, "0".repeat(16)],
  });
  assert.deepEqual(removed, [C.peerId, B.peerId]);
  assert.deepEqual(names(view), ["n1"]);
});

Deno.test("NetmapView takes names that move between peers in whatever order they come", () => {
  for (const isReversed of [false, true]) {
    const view = viewOf(entry(A, 1, { name: "x" }), entry(B, 2, { name: "y" }));
    const upsert = [
      entry(C, 3, { name: "x" }),
      entry(A, 1, { name: "z", seq: 1 }),
      entry(B, 2, { name: "y", seq: 1 }),
    ];
    if (isReversed) upsert.reverse();
    const { refused } = view.apply({ type: "delta", version: 2, upsert, remove: [] });
    assert.deepEqual(refused, []);
    assert.deepEqual(names(view), ["x", "y", "z"]);
  }
});

Deno.test("NetmapView keeps the record it has when an older one comes, but takes the hints", () => {
  const view = viewOf(entry(A, 1, { seq: 3 }));
  const old = entry(A, 1, { seq: 2, name: "old" }, { endpoints: ["192.0.2.77:1"] });
  const changes = view.apply({ type: "delta", version: 2, upsert: [old], remove: [] });
  assert.deepEqual(changes.refused.map(({ reason }) => reason), ["rollback"]);
  const peer = view.peers.get(A.peerId)!;
  assert.deepEqual([peer.record.name, peer.endpoints], ["n1", ["192.0.2.77:1"]]);
});

Deno.test("NetmapView.snapshot gives the same view again", () => {
  const view = viewOf(entry(A, 1), entry(B, 2));
  const snapshot = Netmap.parse(JSON.parse(JSON.stringify(view.snapshot)));
  const again = new NetmapView(
    FACTS,
    new Roster({ ...FACTS, isMember: () => true, pins: view.pins }),
  );
  again.replace(snapshot);
  assert.deepEqual(again.peers, view.peers);
});

Deno.test("NetmapView refuses a delta after a gap and a netmap of another mesh", () => {
  const view = viewOf(entry(A, 1));
  const refuses = (run: () => unknown, code: string) =>
    assert.throws(run, (error) => error instanceof MeshError && error.code === code);
  const peers = [entry(A, 1)];
  refuses(
    () => view.apply({ type: "delta", version: 3, upsert: [], remove: [] }),
    "protocol-invalid",
  );
  const other = { version: 1, ...FACTS, cidr4: "10.0.0.0/8", coordinators: [], peers };
  refuses(() => view.replace(other), "identity-mismatch");
});

/** A view and those whom its mesh has as members. */
function viewWith(members: Set<PeerId>, ...peers: PeerEntry[]): NetmapView {
  const isMember = (id: PeerId) => members.has(id);
  const view = new NetmapView(FACTS, new Roster({ ...FACTS, isMember }));
  view.replace({ version: 1, ...FACTS, coordinators: [], peers });
  return view;
}

Deno.test("NetmapView.review() admits whom it was told of before the log was there", () => {
  const members = new Set([A.peerId]);
  const view = viewWith(members, entry(A, 1), entry(B, 2), entry(C, 3));
  assert.deepEqual(names(view), ["n1"]);
  members.add(C.peerId);
  const { upserted, refused } = view.review();
  assert.deepEqual(upserted.map(({ id }) => id), [C.peerId]);
  assert.deepEqual(refused, [], "who waits still was told of once");
  members.add(B.peerId);
  view.apply({ type: "delta", version: 2, upsert: [], remove: [B.peerId] });
  assert.deepEqual(view.review().upserted, [], "it has left meanwhile");
});

Deno.test("NetmapView.review() frees name and address of one who was revoked, told before or not", () => {
  for (const isToldBefore of [false, true]) {
    const members = new Set([A.peerId, B.peerId, C.peerId]);
    const view = viewWith(members, entry(A, 1), entry(B, 2));
    const remove = isToldBefore ? [B.peerId] : [];
    view.apply({ type: "delta", version: 2, upsert: [], remove });
    members.delete(B.peerId);
    assert.deepEqual(view.review().removed, isToldBefore ? [] : [B.peerId]);
    const upsert = [entry(C, 2)];
    const { refused } = view.apply({ type: "delta", version: 3, upsert, remove: [] });
    assert.deepEqual(refused, []);
    assert.deepEqual(names(view), ["n1", "n2"]);
  }
});

Deno.test("NetmapView takes a member that was let in again with the record that it had", () => {
  const members = new Set([A.peerId, B.peerId]);
  const view = viewWith(members, entry(A, 1), entry(B, 2));
  members.delete(B.peerId);
  view.review();
  members.add(B.peerId);
  const upsert = [entry(B, 2)];
  const changes = view.apply({ type: "delta", version: 2, upsert, remove: [] });
  assert.deepEqual(changes.refused, []);
  assert.deepEqual(changes.upserted.map(({ id }) => id), [B.peerId]);
});
