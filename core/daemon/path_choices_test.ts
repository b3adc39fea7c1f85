/**
 * Who is followed when several say which kinds of path to use?
 * @module
 */
import assert from "node:assert/strict";
import type { NodePeer } from "../node_peer.ts";
import { DEFAULT_PREFERENCE } from "../path/peer_paths.ts";
import { transportKey } from "../state/state.ts";
import { actor, FakeMesh } from "../state/fake_mesh.ts";
import { admitBody } from "../state/fake_mesh.ts";
import { PathChoices } from "./path_choices.ts";

const OWN = actor(10);
const PEER = actor(11);
const NAS = { id: PEER.peerId, name: "nas", slot: 0 } as NodePeer;
const PLAIN = { id: null, name: "phone", slot: 1 } as NodePeer;
const SSH = { order: ["ssh"], exclude: [] } as const;
const RELAY = { order: ["relay"], exclude: ["udp"] } as const;
const NODE = { order: ["node"], exclude: [] } as const;

function choices(mesh: FakeMesh, configured: readonly string[] = []): PathChoices {
  return new PathChoices({
    own: OWN.peerId,
    state: () => mesh.log.state,
    usual: DEFAULT_PREFERENCE,
    configured: configured.map((name) => ({ name, ...SSH })),
  });
}

function meshOfTwo(): FakeMesh {
  const mesh = new FakeMesh();
  for (const node of [OWN, PEER]) mesh.say(mesh.first, admitBody(node, { user: mesh.first }));
  return mesh;
}

function set(mesh: FakeMesh, preference: typeof RELAY | null): void {
  const [node, peer] = [OWN.peerId, PEER.peerId];
  const wanted = preference && { order: [...preference.order], exclude: [...preference.exclude] };
  mesh.say(mesh.first, { type: "transport-set", node, peer, preference: wanted });
}

Deno.test("PathChoices: the configuration's word for a peer stands before its word for all", () => {
  const found = choices(meshOfTwo(), ["nas"]);
  assert.deepEqual(found.of(NAS).order, SSH.order);
  assert.deepEqual(found.of(PLAIN), DEFAULT_PREFERENCE);
});

Deno.test("PathChoices: an admin's word stands before the configuration's, until withdrawn", () => {
  const mesh = meshOfTwo();
  const found = choices(mesh, ["nas"]);
  set(mesh, RELAY);
  assert.ok(mesh.log.state.transports.has(transportKey(OWN.peerId, PEER.peerId)));
  assert.deepEqual(found.of(NAS), RELAY);
  set(mesh, null);
  assert.deepEqual(found.of(NAS).order, SSH.order);
});

Deno.test("PathChoices: what a user of the machine chose stands before all, until reset", () => {
  const mesh = meshOfTwo();
  const found = choices(mesh);
  set(mesh, RELAY);
  found.choose(NAS, NODE);
  found.choose(PLAIN, NODE);
  assert.deepEqual([found.of(NAS), found.of(PLAIN)], [NODE, NODE]);
  found.choose(NAS, null);
  assert.deepEqual(found.of(NAS), RELAY);
});
