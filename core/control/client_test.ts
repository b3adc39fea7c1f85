import assert from "node:assert/strict";
import { fromBase64Url } from "../bytes.ts";
import { identityFromSeed, verify } from "../identity/keys.ts";
import { HELLO_TIMEOUT_MS, PING_INTERVAL_MS, PONG_TIMEOUT_MS, REFUSED_DELAY_MS } from "./client.ts";
import { ATTEMPT_SPACING_MS, ATTEMPT_TIMEOUT_MS, MAX_DELAY_MS } from "./dialer.ts";
import { controlBytes } from "./envelope.ts";
import { MAX_NODE_LOG_LENGTH, type ServerMessage } from "./messages.ts";
import { entryOf, ME, netmapOf, PEER, recordOf, Rig } from "../../tests/client_rig.ts";

Deno.test("ControlClient proves its identity over the nonce and becomes connected", () => {
  const rig = new Rig({ endpoints: ["192.0.2.9:1"], udpPort: 1 });
  rig.open();
  const [send] = rig.effects;
  assert.ok(send?.type === "send" && send.message.type === "hello");
  const { signature, bootId, endpoints, udpPort } = send.message;
  assert.ok(verify(ME.publicKey, controlBytes("bm9uY2U"), fromBase64Url(signature)));
  assert.deepEqual([bootId, endpoints, udpPort], ["boot", ["192.0.2.9:1"], 1]);
  rig.say({ type: "netmap", netmap: netmapOf([entryOf()]) });
  assert.deepEqual(rig.types(), ["send", "state", "netmap-changed"]);
  assert.equal(rig.client.view.peers.get(PEER.peerId)?.record.name, "n2");
});

Deno.test("ControlClient measures round trip and clock offset by the pong", () => {
  const rig = new Rig();
  rig.connect();
  rig.now += 40;
  rig.say({ type: "pong", id: 1, time: 7_000 });
  const { rtt, clockOffsetMs } = rig.client.report;
  assert.deepEqual(rtt, { value: 40, at: rig.now });
  assert.equal(clockOffsetMs, 10_000 - 7_000 - 20);
});

Deno.test("ControlClient pings every 15 s and gives a silent connection up after 10 s", () => {
  const rig = new Rig();
  rig.connect();
  const start = rig.now;
  rig.say({ type: "pong", id: 1, time: 0 });
  rig.wait();
  assert.equal(rig.now - start, PING_INTERVAL_MS);
  assert.deepEqual(rig.types(), ["send"]);
  rig.wait();
  assert.equal(rig.now - start, PING_INTERVAL_MS + PONG_TIMEOUT_MS);
  assert.deepEqual(rig.types(), ["close", "log-closed", "state"]);
  assert.match(rig.client.report.lastError!, /silent/);
});

Deno.test("ControlClient ignores events of sockets that are not its own any more", () => {
  const rig = new Rig();
  rig.connect();
  assert.deepEqual(rig.give({ type: "closed", connection: rig.connection - 1, reason: "" }), []);
  assert.deepEqual(rig.say({ type: "refused", code: "internal", message: "" }, 99), []);
  assert.deepEqual(rig.give({ type: "open", connection: 99 }), []);
  assert.equal(rig.client.report.state, "connected");
});

Deno.test("ControlClient finds a coordinator that listens again within 1.5 s of any failure", () => {
  const rig = new Rig();
  rig.connect();
  rig.give({ type: "closed", connection: rig.connection, reason: "reset" });
  let least = Infinity;
  for (let failures = 0; failures < 50; failures++) {
    const before = rig.now;
    const dial = rig.wait().find((effect) => effect.type === "connect");
    assert.ok(dial && rig.now - before <= MAX_DELAY_MS, `${rig.now - before} ms`);
    least = Math.min(least, rig.now - before);
    rig.give({ type: "closed", connection: dial.connection, reason: "ECONNREFUSED" });
  }
  assert.ok(least > 50, "it does not hammer");
  assert.equal(rig.client.report.state, "disconnected");
  assert.equal(rig.client.report.lastError, "ECONNREFUSED");
  rig.connect();
});

Deno.test("ControlClient starts further attempts beside ones that hang, and the first wins", () => {
  const rig = new Rig();
  const dials: number[] = [];
  const until = rig.now + ATTEMPT_TIMEOUT_MS - 1;
  while (rig.client.deadline < until) {
    const before = rig.now;
    for (const effect of rig.wait()) if (effect.type === "connect") dials.push(effect.connection);
    assert.ok(rig.now - before <= ATTEMPT_SPACING_MS);
  }
  assert.equal(dials.length, 4);
  rig.give({ type: "open", connection: dials[2]! });
  assert.deepEqual(
    rig.effects,
    [0, 1, 3].map((i) => ({ type: "close", connection: dials[i] })),
  );
});

Deno.test("ControlClient tries several URLs in order without a pause, then pauses", () => {
  const urls = ["wss://a/", "wss://b/", "wss://c/"];
  const rig = new Rig({ urls });
  const seen: string[] = [];
  const start = rig.now;
  let dial = rig.wait().find((effect) => effect.type === "connect");
  for (let i = 0; i < 3; i++) {
    assert.ok(dial);
    seen.push(dial.url);
    rig.give({ type: "closed", connection: dial.connection, reason: "ECONNREFUSED" });
    dial = rig.effects.find((effect) => effect.type === "connect");
  }
  assert.deepEqual(seen, urls);
  assert.equal(rig.now, start);
  assert.equal(dial, undefined, "a pause follows the last");
  rig.wait();
  rig.give({ type: "closed", connection: 4, reason: "" });
  rig.give({ type: "open", connection: 5 });
  assert.equal(rig.client.report.url, "wss://b/");
  rig.give({ type: "closed", connection: 5, reason: "" });
  const again = rig.wait().find((effect) => effect.type === "connect");
  assert.equal(again?.url, "wss://b/", "the one that worked comes first");
});

Deno.test("ControlClient tries again slowly after a refusal, and at once on reconnect", () => {
  const rig = new Rig();
  rig.open();
  rig.say({ type: "refused", code: "peer-unknown", message: "Cannot find node" });
  assert.deepEqual(rig.types(), ["close", "refused", "state"]);
  assert.equal(rig.client.report.state, "refused");
  assert.ok(rig.client.deadline - rig.now >= 0.75 * REFUSED_DELAY_MS);
  rig.give({ type: "reconnect" });
  assert.ok(rig.types().includes("connect"));
});

Deno.test("ControlClient gives up a coordinator that does not greet", () => {
  const rig = new Rig();
  rig.give({ type: "tick" });
  rig.give({ type: "open", connection: 1 });
  const start = rig.now;
  rig.wait();
  assert.equal(rig.now - start, HELLO_TIMEOUT_MS);
  assert.deepEqual(rig.types()[0], "close");
});

const PROTOCOL_ERRORS: [name: string, messages: (string | ServerMessage)[]][] = [
  ["no JSON", ["}"]],
  ["two challenges", [{ type: "challenge", nonce: "AAAA" }, { type: "challenge", nonce: "AAAA" }]],
  ["a netmap without challenge", [{ type: "netmap", netmap: netmapOf([]) }]],
  ["a delta without netmap", [
    { type: "challenge", nonce: "AAAA" },
    { type: "delta", version: 1, upsert: [], remove: [] },
  ]],
  ["a delta after a gap", [
    { type: "challenge", nonce: "AAAA" },
    { type: "netmap", netmap: netmapOf([], 7) },
    { type: "delta", version: 9, upsert: [], remove: [] },
  ]],
  ["another mesh's netmap", [
    { type: "challenge", nonce: "AAAA" },
    { type: "netmap", netmap: { ...netmapOf([]), cidr4: "10.0.0.0/8" } },
  ]],
];

for (const [name, messages] of PROTOCOL_ERRORS) {
  Deno.test(`ControlClient closes the connection on ${name}, and waits long`, () => {
    const rig = new Rig();
    rig.give({ type: "tick" });
    rig.give({ type: "open", connection: 1 });
    for (const message of messages) {
      const text = typeof message === "string" ? message : JSON.stringify(message);
      rig.give({ type: "message", connection: 1, text, wallTime: 0 });
    }
    assert.ok(rig.effects.some((effect) => effect.type === "close"));
    assert.notEqual(rig.client.report.state, "connected");
    assert.ok(rig.client.deadline - rig.now > MAX_DELAY_MS);
  });
}

Deno.test("ControlClient tells changes of endpoints and record once, late ones after the netmap", () => {
  const rig = new Rig();
  rig.open();
  rig.give({ type: "set-endpoints", endpoints: ["192.0.2.9:1"] });
  assert.equal(rig.types().length, 0, "not before the netmap");
  rig.say({ type: "netmap", netmap: netmapOf([]) });
  const told = rig.effects.flatMap((effect) => effect.type === "send" ? [effect.message.type] : []);
  assert.deepEqual(told, ["ping", "endpoints"]);
  assert.deepEqual(rig.give({ type: "set-endpoints", endpoints: ["192.0.2.9:1"] }), []);
  assert.deepEqual(rig.give({ type: "set-record", record: recordOf() }), []);
  rig.give({ type: "set-record", record: recordOf(ME, 1, 1) });
  assert.deepEqual(rig.types(), ["send"]);
});

Deno.test("ControlClient passes calls on for peers that it knows", () => {
  const rig = new Rig();
  rig.connect();
  const endpoints = ["192.0.2.2:7"];
  rig.say({ type: "call", peer: PEER.peerId, endpoints });
  assert.deepEqual(rig.effects, [{ type: "called", peer: PEER.peerId, endpoints }]);
  assert.deepEqual(rig.say({ type: "call", peer: "0".repeat(16), endpoints }), []);
  rig.give({ type: "call", peer: PEER.peerId });
  assert.equal(rig.types()[0], "send");
});

Deno.test("ControlClient starts from what the disk kept, offline, and reports forgeries", () => {
  const first = new Rig();
  first.connect();
  const { snapshot, pins } = first.client.view;
  const rig = new Rig({ netmap: JSON.parse(JSON.stringify(snapshot)), pins });
  const known = rig.client.view.peers.get(PEER.peerId);
  assert.deepEqual([known?.online, known?.endpoints], [false, ["192.0.2.2:51820"]]);
  const forger = identityFromSeed(new Uint8Array(32).fill(3));
  const forged = entryOf(forger, 3, { record: recordOf(forger, 3, 0, "n2") });
  rig.open();
  rig.say({ type: "netmap", netmap: netmapOf([forged, entryOf(PEER, 2, { endpoints: [] })]) });
  const refused = rig.effects.flatMap((e) => e.type === "record-refused" ? [e.refusal.reason] : []);
  assert.deepEqual(refused, ["name-taken"]);
  assert.equal(rig.client.view.peers.has(forger.peerId), false);
  assert.deepEqual(rig.client.view.peers.get(PEER.peerId)?.endpoints, ["192.0.2.2:51820"]);
});

Deno.test("ControlClient opens, carries and closes the talk about the mesh's log", () => {
  const rig = new Rig();
  rig.open();
  rig.give({ type: "send-log", text: "early" });
  assert.deepEqual(rig.types(), [], "nobody is there yet");
  const logKey = recordOf().signer;
  rig.say({ type: "netmap", netmap: { ...netmapOf([]), logKey } });
  const opened = rig.effects.find(({ type }) => type === "log-open");
  assert.deepEqual(opened, { type: "log-open", key: logKey });
  assert.deepEqual(rig.say({ type: "log", text: "x" }), [{ type: "log-message", text: "x" }]);
  rig.give({ type: "send-log", text: "y" });
  assert.deepEqual(rig.effects, [
    { type: "send", connection: rig.connection, message: { type: "log", text: "y" } },
  ]);
  rig.give({ type: "send-log", text: "z".repeat(MAX_NODE_LOG_LENGTH + 1) });
  assert.deepEqual(rig.types(), [], "a message that would end the connection is not sent");
  rig.give({ type: "closed", connection: rig.connection, reason: "reset" });
  assert.ok(rig.types().includes("log-closed"));
});

Deno.test("ControlClient waits with a stranger until the log admits it, and lets a member go", () => {
  const members = new Set([ME.peerId]);
  const rig = new Rig({ isMember: (id) => members.has(id) });
  rig.open();
  rig.say({ type: "netmap", netmap: netmapOf([entryOf()]) });
  const refused = rig.effects.flatMap((e) => e.type === "record-refused" ? [e.refusal] : []);
  assert.deepEqual(refused.map(({ reason, id }) => [reason, id]), [["not-member", PEER.peerId]]);
  assert.deepEqual(rig.say({ type: "call", peer: PEER.peerId, endpoints: [] }), []);
  members.add(PEER.peerId);
  const [changed] = rig.give({ type: "review" });
  assert.ok(changed?.type === "netmap-changed");
  assert.deepEqual(changed.changes.upserted.map(({ id }) => id), [PEER.peerId]);
  members.delete(PEER.peerId);
  const [gone] = rig.give({ type: "review" });
  assert.ok(gone?.type === "netmap-changed");
  assert.deepEqual(gone.changes.removed, [PEER.peerId]);
});
