import assert from "node:assert/strict";
import type { MeshState } from "../state/state.ts";
import { controlUrls, type CoordinatorFacts, coordinatorUrls } from "./coordinators.ts";
import type { MeshPeer } from "./netmap.ts";

const LEADER = "https://lead.example:8443";

function peer(id: string, ...coordinatorUrls: string[]): MeshPeer {
  return { id, links: { relays: false, sshPort: 0, coordinatorUrls } } as unknown as MeshPeer;
}

/** URLs as a node finds them; `tagged` are coordinators by the log. */
function urls(
  peers: readonly MeshPeer[],
  over: Partial<CoordinatorFacts> = {},
  tagged = ["b", "c"],
) {
  const nodes = new Map(tagged.map((id) => [id, { tags: ["coordinator"] }]));
  const state = { nodes } as unknown as MeshState;
  return coordinatorUrls({ configured: [LEADER], local: null, own: "a", state, peers, ...over });
}

Deno.test("coordinatorUrls() takes all ways for control, one way to each as a relay", () => {
  const { all, relays } = urls([
    peer("c", "https://c.example"),
    peer("b", "https://192.0.2.2:8443", "https://b.example:8443"),
  ]);
  assert.deepEqual(all, [
    LEADER,
    "https://192.0.2.2:8443",
    "https://b.example:8443",
    "https://c.example",
  ]);
  assert.deepEqual(relays, [LEADER, "https://192.0.2.2:8443", "https://c.example"]);
});

Deno.test("coordinatorUrls() believes only nodes that the log calls coordinators", () => {
  assert.deepEqual(urls([peer("x", "https://x.example"), peer("b")]).all, [LEADER]);
});

Deno.test("coordinatorUrls() goes the way that the user configured, and not by another one too", () => {
  const configured = [LEADER, "https://b.example:443"];
  const { all, relays } = urls([peer("b", "https://192.0.2.2", "https://b.example")], {
    configured,
  });
  assert.deepEqual([all, relays], [configured, configured]);
});

Deno.test("coordinatorUrls() tries who leads before those that follow, in whatever order they are", () => {
  const configured = ["https://b.example", LEADER];
  const { all } = urls([peer("b", "https://b.example")], { configured });
  assert.deepEqual(all, [LEADER, "https://b.example"]);
});

Deno.test("coordinatorUrls() reaches the coordinator beside the node as this machine does", () => {
  const local = "https://127.0.0.1:8443";
  const peers = [peer("b", "https://192.0.2.2:8443"), peer("c", "https://c.example")];
  const { all } = urls(peers, { own: "b", local });
  assert.deepEqual(all, [LEADER, local, "https://c.example"]);
});

Deno.test("coordinatorUrls() is bounded", () => {
  const many = Array.from({ length: 40 }, (_, n) => peer(`n${n}`, `https://n${n}.example`));
  const { all, relays } = urls(many, {}, many.map(({ id }) => id));
  assert.equal(all.length, 16);
  assert.equal(relays.length, 3);
});

Deno.test("controlUrls() leads to the control channel", () => {
  assert.deepEqual(controlUrls([LEADER]), ["wss://lead.example:8443/api/v1/control"]);
});
