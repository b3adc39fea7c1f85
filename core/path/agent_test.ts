import assert from "node:assert/strict";
import { type Millis, NEVER } from "../machine.ts";
import type { PathEffect, PathEvent } from "./agent.ts";
import { A, AgentRig, B, IDS, OTHER, PEER, RELAY, sends, targets, used } from "./agent_rig.ts";
import type { Offer, PathMessage } from "./messages.ts";
import { UNKNOWN_NAT } from "./nat.ts";
import { DEFAULT_PREFERENCE } from "./peer_paths.ts";

const OFFER: Offer = { endpoints: ["198.51.100.7:51820"], nat: UNKNOWN_NAT };

const ANSWERS: [name: string, from: string, observed: string | null][] = [
  ["with where it came from", A, A],
  ["with where it came from over IPv6", B, B],
  ["without an address where a link carried it", RELAY, null],
  ["without one where another node did", "node:00000000000000cc", null],
  ["without one on an extra socket", `socket:4>${A}`, null],
];
for (const [name, from, observed] of ANSWERS) {
  Deno.test(`a ping is answered the way it came, ${name}`, () => {
    const effects = new AgentRig().message(from, { type: "ping", number: 77 });
    const message = { type: "pong", number: 77, observed };
    const answer = { type: "send-path-message", peer: PEER, to: from, message, size: 0, df: false };
    assert.deepEqual(effects, [answer]);
  });
}

/** Everything that is about one peer. */
const ABOUT_PEER: (PathEvent & { peer: number })[] = [
  { type: "peer-removed", peer: 9 },
  { type: "candidates", peer: 9, endpoints: [A] },
  { type: "session", peer: 9, isUp: true },
  { type: "proved", peer: 9, path: A },
  { type: "message", peer: 9, from: A, message: { type: "ping", number: 1 } },
  { type: "message", peer: 9, from: A, message: { type: "offer", offer: OFFER } },
  { type: "traffic", peer: 9 },
  { type: "link", peer: 9, path: "ssh", isUp: true, why: "" },
  { type: "prefer", peer: 9, preference: { order: [], exclude: [] } },
  { type: "sockets", peer: 9, sockets: [] },
];
for (const event of ABOUT_PEER) {
  Deno.test(`${event.type} of a peer that is not known changes nothing`, () => {
    const node = new AgentRig();
    const before = node.agent.snapshot();
    assert.deepEqual(node.tell(event), []);
    assert.equal(node.agent.snapshot(), before);
    assert.deepEqual(node.agent.linksTo(9), []);
    assert.equal(node.agent.isManaging(9), false);
    assert.equal(node.agent.pathsOf(9), null);
    assert.equal(node.agent.offerOf(9), null);
  });
}

Deno.test("an offer goes out three times on every path that works, when a session begins", () => {
  const node = new AgentRig();
  node.tell({ type: "offer", offer: OFFER });
  assert.equal(node.agent.deadline, NEVER, "nobody is there to hear it");
  node.tell({ type: "proved", peer: PEER, path: A });
  const at: Millis[] = [];
  const began = node.now;
  const note = (effects: readonly PathEffect[]) => {
    for (const { to, message } of sends(effects, "offer")) {
      assert.deepEqual([to, message], [A, { type: "offer", offer: OFFER }]);
      at.push(node.now - began);
    }
  };
  note(node.tell({ type: "session", peer: PEER, isUp: true }));
  note(node.tell({ type: "session", peer: PEER, isUp: true }));
  for (let ms = 1; ms < 5_000; ms++) note(node.run(1));
  assert.deepEqual(at, [0, 300, 1_800]);
});

Deno.test("a new offer is told to peers with a session, the same one is not", () => {
  const node = new AgentRig().connect(PEER, { [A]: 20, [RELAY]: 40 });
  const effects = node.tell({ type: "offer", offer: OFFER });
  assert.deepEqual(targets(effects, "offer").sort(), [A, RELAY]);
  node.run(5_000);
  assert.deepEqual(node.tell({ type: "offer", offer: structuredClone(OFFER) }), []);
  const other = { ...OFFER, endpoints: [] };
  assert.equal(sends(node.tell({ type: "offer", offer: other }), "offer").length, 2);
});

Deno.test("what a peer offers, and the coordinator says, becomes paths; what is gone is forgotten", () => {
  const node = new AgentRig();
  node.tell({ type: "candidates", peer: PEER, endpoints: [A] });
  node.message(RELAY, { type: "offer", offer: { endpoints: [B], nat: null } });
  assert.deepEqual(new Set(node.pathsOf()), new Set([A, RELAY, B]));
  assert.deepEqual(node.agent.offerOf(PEER), { endpoints: [B], nat: null });
  node.message(RELAY, { type: "offer", offer: { endpoints: [], nat: null } });
  assert.deepEqual(node.pathsOf(), [A, RELAY]);
  node.tell({ type: "candidates", peer: PEER, endpoints: [] });
  assert.deepEqual(node.pathsOf(), [RELAY], "known by its datagrams");
  assert.deepEqual(node.pathsOf(OTHER), []);
});

Deno.test("paths that work stay when nobody names them any more", () => {
  const node = new AgentRig().connect(PEER, { [A]: 20, [B]: 30 });
  node.tell({ type: "candidates", peer: PEER, endpoints: ["198.51.100.4:1"] });
  assert.deepEqual(node.pathsOf(), [A, B, "198.51.100.4:1"]);
  node.tell({ type: "candidates", peer: PEER, endpoints: [] });
  assert.deepEqual(node.pathsOf(), [A, B]);
  assert.equal(node.agent.pathsOf(PEER)!.current, A);
});

Deno.test("a link of all peers is a path to each, one of a peer to that one", () => {
  const node = new AgentRig();
  node.link(RELAY, true);
  node.link("ssh", true, OTHER);
  assert.deepEqual([node.pathsOf(PEER), node.pathsOf(OTHER)], [[RELAY], [RELAY, "ssh"]]);
  assert.deepEqual(node.agent.linksTo(PEER), [RELAY]);
  assert.deepEqual(node.agent.linksTo(OTHER), [RELAY, "ssh"]);
  node.link(RELAY, false);
  assert.deepEqual([node.agent.linksTo(PEER), node.agent.linksTo(OTHER)], [[], ["ssh"]]);
});

Deno.test("a link that ends is left at once, and used again when it is back", () => {
  const node = new AgentRig().connect(PEER, { ssh: 20, [RELAY]: 40 });
  node.talk(3_000);
  assert.equal(node.agent.pathsOf(PEER)!.current, "ssh");
  const [use] = node.link("ssh", false, null, "reset by peer")
    .filter(({ type }) => type === "use-path");
  const told = { peer: PEER, path: RELAY, standby: null, mtu: null, drain: false };
  assert.deepEqual(use, { type: "use-path", ...told, why: "reset by peer" });
  assert.deepEqual(targets(node.link("ssh", true), "ping"), ["ssh"]);
  node.talk(10_000);
  assert.equal(node.agent.pathsOf(PEER)!.current, "ssh");
});

Deno.test("prefer excludes a kind at once, and lets it back", () => {
  const node = new AgentRig().connect(PEER, { [A]: 20, [RELAY]: 40 });
  assert.equal(node.agent.pathsOf(PEER)!.current, A);
  const relayed = { ...DEFAULT_PREFERENCE, exclude: ["udp"] } as const;
  const effects = node.tell({ type: "prefer", peer: PEER, preference: relayed });
  assert.deepEqual(used(effects), [RELAY]);
  const more = [
    ...node.talk(20_000),
    ...node.tell({ type: "candidates", peer: PEER, endpoints: [A, B] }),
    ...node.tell({ type: "proved", peer: PEER, path: A }),
    ...node.talk(20_000),
  ];
  assert.ok(sends(more, "ping").every(({ to }) => to === RELAY));
  assert.deepEqual(used(more), []);
  node.tell({ type: "prefer", peer: PEER, preference: DEFAULT_PREFERENCE });
  node.talk(5_000);
  assert.equal(node.agent.pathsOf(PEER)!.current, A);
  const links = { order: [], exclude: ["relay"] } as const;
  node.tell({ type: "prefer", peer: PEER, preference: links });
  assert.deepEqual(node.agent.linksTo(PEER), [], "nor do handshakes go there");
  assert.deepEqual(node.agent.linksTo(OTHER), [RELAY]);
});

Deno.test("a change of networks has every path tried anew, and peers told", () => {
  const node = new AgentRig().connect(PEER, { [A]: 20, [RELAY]: 40 });
  node.tell({ type: "candidates", peer: PEER, endpoints: [A, B] });
  node.tell({ type: "offer", offer: OFFER });
  node.run(60_000);
  const effects = node.tell({ type: "network-changed" });
  assert.deepEqual(new Set(targets(effects, "ping")), new Set([A, B, RELAY]));
  assert.deepEqual(new Set(targets(effects, "offer")), new Set([A, RELAY]));
  // What does not answer gets a whole burst.
  assert.equal(targets(node.run(3_000), "ping").filter((to) => to === B).length, 5);
});

Deno.test("a pong tells where this node was seen, if it answers a ping of that path", () => {
  const node = new AgentRig();
  node.tell({ type: "candidates", peer: PEER, endpoints: [A, B] });
  const [ping] = sends(node.tell({ type: "session", peer: PEER, isUp: true }), "ping");
  const { number } = ping!.message as PathMessage & { type: "ping" };
  const pong = { type: "pong", number, observed: "198.51.100.7:4000" } as const;
  const seen = (effects: readonly PathEffect[]) =>
    effects.flatMap((effect) => effect.type === "observed" ? [effect.endpoint] : []);
  assert.deepEqual(seen(node.message(B, pong)), []);
  assert.deepEqual(seen(node.message(A, { ...pong, number: number + 50 })), []);
  assert.equal(node.agent.pathsOf(PEER)!.current, null);
  assert.deepEqual(seen(node.message(A, pong)), [pong.observed]);
  assert.equal(node.agent.pathsOf(PEER)!.current, A);
  assert.deepEqual(seen(node.message(A, pong)), []);
});

Deno.test("messages and handshakes from elsewhere do not change the path in use", () => {
  const node = new AgentRig().connect(PEER, { [A]: 20 });
  const stray = "203.0.113.66:1";
  const effects = [
    ...node.message(stray, { type: "ping", number: 1 }),
    ...node.message(stray, { type: "pong", number: 1, observed: null }),
    ...node.message(stray, { type: "offer", offer: OFFER }),
    ...node.tell({ type: "proved", peer: PEER, path: stray }),
    ...node.talk(30_000),
  ];
  assert.ok(used(effects).every((path) => path === A));
  assert.equal(node.agent.pathsOf(PEER)!.current, A);
  assert.ok(targets(effects, "ping").includes(stray));
});

Deno.test("before there is a session a peer is reached where its handshake came from", () => {
  const node = new AgentRig();
  assert.deepEqual(used(node.tell({ type: "proved", peer: PEER, path: A })), [A]);
  assert.deepEqual(used(node.tell({ type: "proved", peer: PEER, path: RELAY })), [RELAY]);
  assert.equal(node.agent.isManaging(PEER), false);
  node.tell({ type: "session", peer: PEER, isUp: true });
  assert.ok(node.agent.isManaging(PEER));
  assert.ok(!node.agent.isManaging(OTHER));
});

Deno.test("traffic without a direct path asks for a link after 3 s, then each 30 s", () => {
  const node = new AgentRig().connect(PEER, { [RELAY]: 40 });
  const began = node.now;
  const asked: Millis[] = [];
  while (node.now < began + 70_000) {
    const at = node.now - began;
    const effects = node.talk(500);
    if (effects.some(({ type }) => type === "want-link")) asked.push(at);
  }
  assert.deepEqual(asked, [3_000, 33_000, 63_000]);
  node.tell({ type: "prefer", peer: PEER, preference: { order: [], exclude: ["ssh"] } });
  assert.ok(!node.talk(70_000).some(({ type }) => type === "want-link"));
  const direct = new AgentRig().connect(PEER, { [A]: 20 });
  assert.ok(!direct.talk(70_000).some(({ type }) => type === "want-link"));
});

Deno.test("nodes that pass datagrams on are asked for a session, then are a path", () => {
  const node = new AgentRig().connect(PEER, { [RELAY]: 40 });
  const nodes = [{ id: IDS[OTHER]!, peer: OTHER }];
  node.tell({ type: "relay-nodes", nodes });
  const wanted = node.talk(25_000).filter(({ type }) => type === "want-session");
  assert.deepEqual(wanted, Array(3).fill({ type: "want-session", peer: OTHER }));
  const through = `node:${IDS[OTHER]}`;
  node.answering.set(through, 30);
  node.connect(OTHER, { [B]: 10 });
  assert.ok(node.pathsOf(PEER).includes(through));
  assert.ok(!node.pathsOf(OTHER).includes(through), "no node passes on to itself");
  node.talk(5_000);
  assert.equal(node.agent.pathsOf(PEER)!.current, through);
  assert.ok(node.agent.linksTo(PEER).includes(through));
});

Deno.test("of many extra sockets through which a peer is found at once eight are followed", () => {
  const node = new AgentRig().connect(PEER, { [RELAY]: 40 });
  const answered = Array.from({ length: 20 }, (_, i) => i).filter((socket) =>
    node.message(`socket:${socket}>${A}`, { type: "ping", number: 1 }).length > 0
  );
  assert.deepEqual(answered, [0, 1, 2, 3, 4, 5, 6, 7]);
});

Deno.test("a peer that is removed is forgotten", () => {
  const node = new AgentRig().connect(PEER, { [A]: 20 });
  node.tell({ type: "peer-removed", peer: PEER });
  assert.deepEqual([node.agent.pathsOf(PEER), node.agent.deadline], [null, NEVER]);
  assert.deepEqual(node.message(A, { type: "ping", number: 1 }), []);
});

Deno.test("a relaying node whose paths were given up is tried anew with the next traffic", () => {
  const node = new AgentRig().connect(PEER, { [RELAY]: 40 }).connect(OTHER, { [B]: 10 });
  node.tell({ type: "relay-nodes", nodes: [{ id: IDS[OTHER]!, peer: OTHER }] });
  node.run(400_000);
  assert.equal(node.agent.deadline, NEVER);
  const effects = node.talk(1_000, PEER);
  assert.ok(sends(effects, "ping").some(({ peer, to }) => peer === OTHER && to === B));
});

Deno.test("a way through another node is tried as soon as that node is reached", () => {
  const node = new AgentRig().connect(PEER, { [RELAY]: 40 });
  node.tell({ type: "relay-nodes", nodes: [{ id: IDS[OTHER]!, peer: OTHER }] });
  node.run(20_000);
  node.answering.set(B, 10);
  node.tell({ type: "candidates", peer: OTHER, endpoints: [B] });
  node.tell({ type: "session", peer: OTHER, isUp: true });
  const through = `node:${IDS[OTHER]}`;
  assert.ok(targets(node.run(20), "ping").includes(through));
});
