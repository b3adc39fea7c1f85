import assert from "node:assert/strict";
import { toBase64Url } from "../../core/bytes.ts";
import type { NodeMessage } from "../../core/control/messages.ts";
import type { ErrorCode } from "../../core/errors.ts";
import { EPOCH, identityOf } from "../../tests/mesh_fixture.ts";
import { assertRefused, REMOTE, Rig } from "../../tests/hub_rig.ts";
import { FLUSH_MS, HELLO_WITHIN_MS, MAX_WAITING, SILENCE_MS } from "./control_hub.ts";

Deno.test("ControlHub sends a netmap to a node that proves itself, and tells the others", () => {
  const rig = new Rig();
  rig.join(0, 1);
  rig.say(2, rig.hello(1, rig.connect(2)));
  const [first] = rig.got(2);
  assert.ok(first?.type === "netmap");
  assert.equal(first.netmap.peers.length, 2);
  rig.advance(FLUSH_MS);
  const [delta] = rig.got(1);
  assert.ok(delta?.type === "delta");
  assert.deepEqual(delta.upsert.map(({ online, endpoints }) => [online, endpoints]), [
    [true, ["192.0.2.2:51820", `${REMOTE}:51820`]],
  ]);
  assert.deepEqual(rig.hub.counts, { online: 2, waiting: 0 });
});

const BAD_HELLOS: [
  name: string,
  make: (rig: Rig, nonce: string) => NodeMessage | string,
  code: ErrorCode,
][] = [
  ["from an unknown identity", (rig, nonce) => {
    const stranger = identityOf(99);
    return rig.hello(0, nonce, { identity: toBase64Url(stranger.publicKey) }, stranger);
  }, "token-invalid"],
  [
    "signed by another",
    (rig, nonce) => rig.hello(0, nonce, {}, identityOf(1)),
    "identity-mismatch",
  ],
  ["over another nonce", (rig) => rig.hello(0, "AAAA"), "identity-mismatch"],
  ["with another's record", (rig, nonce) => {
    return rig.hello(0, nonce, { record: rig.record(1) });
  }, "record-invalid"],
  ["with a forged record", (rig, nonce) => {
    const record = { ...rig.record(0), signature: rig.record(1).signature };
    return rig.hello(0, nonce, { record });
  }, "record-invalid"],
  ["with a name that was not given", (rig, nonce) => {
    return rig.hello(0, nonce, { record: rig.record(0, { name: "other" }) });
  }, "record-invalid"],
  ["that is none", () => "hello", "protocol-invalid"],
  ["that is another message", () => ({ type: "ping", id: 1 }), "protocol-invalid"],
];

for (const [name, make, code] of BAD_HELLOS) {
  Deno.test(`ControlHub refuses a hello ${name}`, () => {
    const rig = new Rig();
    rig.say(1, make(rig, rig.connect(1)));
    assertRefused(rig, 1, code);
    assert.deepEqual(rig.hub.counts, { online: 0, waiting: 0 });
  });
}

Deno.test("ControlHub lets the newer of two connections win; the old one's end changes nothing", () => {
  const rig = new Rig();
  rig.join(0, 1);
  rig.join(1, 2);
  rig.say(3, rig.hello(1, rig.connect(3), { endpoints: ["192.0.2.99:1"] }));
  assertRefused(rig, 2, "already-running");
  rig.advance(FLUSH_MS);
  rig.got(1);
  rig.close(2);
  rig.advance(10 * FLUSH_MS);
  assert.deepEqual(rig.got(1), [], "no delta");
  assert.ok(rig.hub.isOnline(identityOf(1).peerId));
  rig.close(3);
  rig.advance(FLUSH_MS);
  const [delta] = rig.got(1);
  assert.ok(delta?.type === "delta" && delta.upsert[0]?.online === false);
  assert.equal(rig.hub.isOnline(identityOf(1).peerId), false);
});

Deno.test("ControlHub takes a node offline after 45 s of silence, not before", () => {
  const rig = new Rig();
  rig.join(0, 1);
  rig.advance(SILENCE_MS - 1000);
  rig.say(1, { type: "ping", id: 4 });
  assert.deepEqual(rig.got(1).at(-1), { type: "pong", id: 4, time: EPOCH + rig.now });
  rig.advance(SILENCE_MS - 1);
  assert.ok(rig.hub.isOnline(identityOf(0).peerId));
  rig.advance(1);
  assert.ok(rig.closed.has(1) && !rig.hub.isOnline(identityOf(0).peerId));
});

Deno.test("ControlHub drops who does not say hello, and bounds how many wait", () => {
  const rig = new Rig();
  for (let connection = 1; connection <= MAX_WAITING + 3; connection++) rig.connect(connection);
  assert.deepEqual([...rig.closed], [1, 2, 3]);
  rig.advance(HELLO_WITHIN_MS);
  assert.deepEqual(rig.hub.counts, { online: 0, waiting: 0 });
  assert.equal(rig.hub.deadline, Infinity);
});

Deno.test("ControlHub gathers changes for 50 ms and sends only what changed", () => {
  const rig = new Rig(3);
  rig.join(0, 1);
  rig.join(1, 2);
  rig.join(2, 3);
  rig.advance(1000);
  rig.got(1);
  for (let port = 1; port <= 20; port++) {
    rig.say(2, { type: "endpoints", endpoints: [`192.0.2.2:${port}`] });
  }
  rig.advance(FLUSH_MS);
  const deltas = rig.got(1);
  assert.equal(deltas.length, 2, "the first at once, the rest together");
  for (const delta of deltas) {
    assert.ok(delta.type === "delta" && delta.upsert.length === 1);
  }
});

Deno.test("ControlHub passes calls on to the peer, with the caller's endpoints, not too many", () => {
  const rig = new Rig();
  rig.join(0, 1);
  rig.join(1, 2);
  for (let i = 0; i < 600; i++) rig.say(1, { type: "call", peer: identityOf(1).peerId });
  const calls = rig.got(2).filter((message) => message.type === "call");
  assert.deepEqual(calls[0], {
    type: "call",
    peer: identityOf(0).peerId,
    endpoints: ["192.0.2.1:51820", `${REMOTE}:51820`],
  });
  assert.equal(calls.length, 256);
  rig.say(1, { type: "call", peer: identityOf(7).peerId });
  assert.deepEqual(rig.got(1).filter(({ type }) => type === "refused"), []);
});

Deno.test("ControlHub ends a connection that floods it", () => {
  const rig = new Rig();
  rig.join(0, 1);
  for (let i = 0; i < 1100 && !rig.closed.has(1); i++) rig.say(1, { type: "ping", id: i });
  assertRefused(rig, 1, "rate-limited");
});

Deno.test("ControlHub tells a farewell to those who are there and to those who come later", () => {
  const rig = new Rig();
  rig.join(0, 1);
  rig.join(1, 2);
  rig.got(1);
  const { id } = rig.members[1]!;
  const record = rig.record(1, { seq: 1, left: true });
  const at = EPOCH + rig.now;
  const events = rig.world.registry.execute({ type: "leave", at, id, record });
  rig.hub.handle({ type: "changed", events, wallTime: at }, rig.now).forEach((effect) => {
    if (effect.type === "close") rig.closed.add(effect.connection);
  });
  assert.ok(rig.closed.has(2));
  rig.advance(FLUSH_MS);
  rig.say(3, rig.hello(0, rig.connect(3)));
  const netmap = rig.got(3).find(({ type }) => type === "netmap");
  assert.ok(netmap?.type === "netmap");
  assert.deepEqual(netmap.netmap.peers.map((peer) => peer.record), [record, rig.record(0)]);
});

const OBSERVED: [name: string, remote: string, udpPort: number, expected: string[]][] = [
  ["a public address", REMOTE, 7, [`${REMOTE}:7`]],
  ["IPv6", "2001:db8::7", 7, ["[2001:db8::7]:7"]],
  ["loopback: the machine's public addresses", "127.0.0.1", 7, ["203.0.113.5:7"]],
  ["the mesh itself", "172.30.0.9", 7, []],
  ["no UDP port", REMOTE, 0, []],
];

for (const [name, remote, udpPort, expected] of OBSERVED) {
  Deno.test(`ControlHub adds where a node connects from: ${name}`, () => {
    const rig = new Rig(1, ["203.0.113.5"]);
    rig.say(1, rig.hello(0, rig.connect(1, remote), { udpPort, endpoints: ["127.0.0.1:9"] }));
    const [netmap] = rig.got(1);
    assert.ok(netmap?.type === "netmap");
    assert.deepEqual(netmap.netmap.peers[0]?.endpoints, expected);
  });
}
