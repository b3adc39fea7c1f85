import assert from "node:assert/strict";
import type { Millis } from "../machine.ts";
import type { PathEffect } from "./agent.ts";
import { A, AgentRig, B, OTHER, PEER, RELAY, sends, targets } from "./agent_rig.ts";
import { socketPath } from "./address.ts";
import { type NatReport, UNKNOWN_NAT } from "./nat.ts";
import { SOCKETS } from "./punch.ts";

const OWN = "198.51.100.7:4000";
/** Where the peers are seen from outside. */
const OUTER = ["203.0.113.1:5000", "203.0.113.2:5000"];
const NUMBERS = Array.from({ length: SOCKETS }, (_, i) => i);

/** A NAT that gives each destination another port. */
const HARD: NatReport = {
  ...UNKNOWN_NAT,
  udp: true,
  mapping: "address-and-port-dependent",
  filtering: "address-and-port-dependent",
  mapped: [OWN],
  portDelta: 2,
};
/** One that keeps the port, and lets in only what was sent to. */
const STRICT: NatReport = { ...HARD, mapping: "endpoint-independent", portDelta: null };

/** Nodes behind such NATs, which talk by a relay. */
function relayed(own: NatReport = HARD, theirs: NatReport = STRICT): AgentRig {
  const rig = new AgentRig();
  rig.tell({ type: "offer", offer: { endpoints: [], nat: own } });
  for (const peer of [PEER, OTHER]) {
    rig.connect(peer, { [RELAY]: 40 });
    const nat = { ...theirs, mapped: [OUTER[peer]!] };
    rig.message(RELAY, { type: "offer", offer: { endpoints: [OUTER[peer]!], nat } }, peer);
  }
  return rig;
}

function opened(effects: readonly PathEffect[]): number[] {
  return effects.flatMap((effect) => effect.type === "open-sockets" ? [effect.peer] : []);
}

function closed(effects: readonly PathEffect[]): number[] {
  return effects.flatMap((effect) => effect.type === "close-sockets" ? effect.sockets : []);
}

/** Talks to a peer until its sockets are asked for, and opens those numbered from `first`. */
function open(rig: AgentRig, peer: number, first = 0): PathEffect[] {
  let effects: PathEffect[] = [];
  for (let i = 0; opened(effects).length === 0; i++) {
    assert.ok(i < 60, "a search begins");
    effects = rig.talk(500, peer);
  }
  assert.deepEqual(opened(effects), [peer]);
  const sockets = NUMBERS.map((number) => first + number);
  return rig.tell({ type: "sockets", peer, sockets });
}

/** A ping of the peer arrives at a socket, which answers from then on. */
function reach(rig: AgentRig, socket: number, peer = PEER): PathEffect[] {
  const path = socketPath(socket, OUTER[peer]!);
  rig.answering.set(path, 20);
  return rig.message(path, { type: "ping", number: 9 }, peer);
}

const WAYS: [name: string, own: NatReport, theirs: NatReport, begins: boolean][] = [
  ["behind a hard NAT, with a strict one on the other side", HARD, STRICT, true],
  ["on the strict side: the other one begins", STRICT, HARD, false],
  ["between two hard NATs: nobody knows where to send", HARD, HARD, false],
  ["where plain pings will do", STRICT, STRICT, false],
  ["where UDP is blocked", { ...HARD, udp: false }, STRICT, false],
  ["with a peer whose NAT is open", HARD, { ...STRICT, filtering: "none" }, false],
];
for (const [name, own, theirs, begins] of WAYS) {
  Deno.test(`a search for ports begins ${begins ? "" : "not "}${name}`, () => {
    const rig = relayed(own, theirs);
    assert.deepEqual(opened(rig.run(60_000)), [], "without traffic none does");
    assert.deepEqual(opened(rig.talk(60_000)), begins ? [PEER] : []);
  });
}

Deno.test("no search begins while pings are still tried, beside a direct path, or without UDP", () => {
  const early = relayed();
  assert.deepEqual(opened(early.talk(500)), []);
  const direct = relayed();
  direct.answering.set(OUTER[PEER]!, 20);
  assert.deepEqual(opened(direct.talk(60_000)), []);
  const excluded = relayed();
  const preference = { order: [], exclude: ["udp"] } as const;
  // Another way fails meanwhile.
  excluded.link("ssh", true);
  excluded.tell({ type: "prefer", peer: PEER, preference });
  assert.deepEqual(opened(excluded.talk(60_000)), []);
});

Deno.test("each socket sends to the peer's endpoint, and the peer is told of them by the relay", () => {
  const rig = relayed();
  const effects = [...open(rig, PEER), ...rig.talk(20_000)];
  const pings = targets(effects, "ping").filter((to) => to.startsWith("socket:"));
  assert.deepEqual(pings, NUMBERS.map((socket) => socketPath(socket, OUTER[PEER]!)));
  const message = { type: "punch", port: 4_000, delta: 2 };
  const tells = sends(effects, "punch").map(({ peer, to, message }) => ({ peer, to, message }));
  assert.deepEqual(tells, Array(3).fill({ peer: PEER, to: RELAY, message }));
  assert.deepEqual(closed(effects), NUMBERS, "and closed in the end");
});

Deno.test("the peer that is told searches, for ten seconds, once", () => {
  const rig = relayed(STRICT, HARD);
  const punch = { type: "punch", port: 5_000, delta: 2 } as const;
  const effects = [...rig.message(RELAY, punch), ...rig.talk(500)];
  assert.deepEqual(rig.message(RELAY, punch).filter(({ type }) => type !== "use-path"), []);
  effects.push(...rig.talk(60_000));
  const guesses = (to: string) => to.startsWith("203.0.113.1:") && to !== OUTER[PEER];
  const pings = targets(effects, "ping").filter(guesses);
  assert.deepEqual(pings.slice(0, 2), ["203.0.113.1:5002", "203.0.113.1:5004"]);
  // The port of the last mapping may be among them.
  assert.ok(pings.length >= 1_799 && pings.length <= 1_800, `${pings.length}`);
  assert.deepEqual(rig.agent.pathsOf(PEER)!.paths.size, 2, "guesses are no paths");
});

Deno.test("a peer of which nothing is known, or that is reached, is not searched for", () => {
  const punch = { type: "punch", port: 5_000, delta: 2 } as const;
  const unknown = new AgentRig().connect(PEER, { [RELAY]: 40 });
  assert.deepEqual(targets(unknown.message(RELAY, punch), "ping"), []);
  const direct = relayed(STRICT, HARD);
  direct.connect(PEER, { [A]: 20 });
  assert.deepEqual(targets(direct.message(RELAY, punch), "ping"), []);
});

Deno.test("one peer at a time: another one's search waits for the end of the first", () => {
  const rig = relayed();
  open(rig, PEER);
  const effects: PathEffect[] = [];
  for (let i = 0; i < 10; i++) effects.push(...rig.talk(500, OTHER), ...rig.talk(500, PEER));
  assert.deepEqual(opened(effects), []);
  open(rig, OTHER, 1_000);
});

Deno.test("a search ends with the first way, and keeps the sockets that heard something", () => {
  const rig = relayed();
  open(rig, PEER);
  rig.talk(500);
  reach(rig, 5);
  reach(rig, 70);
  const effects = rig.talk(1_000);
  assert.deepEqual(closed(effects), NUMBERS.filter((number) => number !== 5 && number !== 70));
  assert.ok(rig.agent.pathsOf(PEER)!.current!.startsWith("socket:"));
  assert.deepEqual(targets(rig.talk(10_000), "punch"), []);
});

Deno.test("of sockets that heard something those that nobody uses are closed", () => {
  const rig = relayed();
  open(rig, PEER);
  for (const socket of [5, 6]) reach(rig, socket);
  rig.talk(1_000);
  // The sixth one works no longer.
  rig.answering.delete(socketPath(6, OUTER[PEER]!));
  assert.deepEqual(closed(rig.talk(10_000)), [6]);
  assert.equal(rig.agent.pathsOf(PEER)!.current, socketPath(5, OUTER[PEER]!));
  assert.ok(!rig.pathsOf().includes(socketPath(6, OUTER[PEER]!)));
});

Deno.test("a socket that the peer sends to stays open, although this end uses another one", () => {
  const rig = relayed();
  open(rig, PEER);
  for (const socket of [5, 6]) reach(rig, socket);
  rig.talk(1_000);
  const path = socketPath(6, OUTER[PEER]!);
  rig.answering.delete(path);
  const effects: PathEffect[] = [];
  for (let i = 0; i < 20; i++) {
    effects.push(...rig.message(path, { type: "ping", number: i }), ...rig.talk(500));
  }
  assert.deepEqual(closed(effects), []);
  assert.equal(rig.agent.pathsOf(PEER)!.current, socketPath(5, OUTER[PEER]!));
});

Deno.test("sockets of a way that was found are closed too when another peer's search ends", () => {
  const rig = relayed();
  open(rig, PEER);
  for (const socket of [5, 6]) reach(rig, socket);
  rig.talk(500);
  // Nobody talks any more, so nothing shows which of them is used.
  rig.answering.delete(socketPath(6, OUTER[PEER]!));
  rig.run(20_000);
  open(rig, OTHER, 1_000);
  reach(rig, 1_005, OTHER);
  rig.talk(1_000, OTHER);
  assert.deepEqual(closed(rig.talk(60_000, PEER)), [6]);
});

Deno.test("a search ends when the path in use suffers from it", () => {
  const rig = relayed();
  open(rig, PEER);
  rig.talk(500);
  rig.answering.delete(RELAY);
  const began = rig.now;
  let endedAt: Millis | null = null;
  for (let i = 0; i < 20 && endedAt === null; i++) {
    const effects = rig.talk(500);
    if (closed(effects).length > 0) {
      assert.deepEqual(closed(effects), NUMBERS);
      endedAt = rig.now;
    }
  }
  assert.ok(endedAt !== null && endedAt - began <= 2_000, `${endedAt}`);
  rig.answering.set(RELAY, 40);
  assert.deepEqual(opened(rig.talk(60_000)), [], "and does not begin anew soon");
});

Deno.test("sockets that come without need are closed", () => {
  const rig = relayed();
  assert.deepEqual(closed(rig.tell({ type: "sockets", peer: PEER, sockets: [1, 2] })), [1, 2]);
  const unknown = new AgentRig().connect(PEER, { [B]: 40 });
  assert.deepEqual(closed(unknown.tell({ type: "sockets", peer: PEER, sockets: [3] })), [3]);
});

Deno.test("a peer that is removed ends its search", () => {
  const rig = relayed();
  open(rig, PEER);
  rig.talk(500);
  assert.deepEqual(closed(rig.tell({ type: "peer-removed", peer: PEER })), NUMBERS);
});
