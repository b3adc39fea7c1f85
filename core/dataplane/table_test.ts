/**
 * Tests of the control thread's side: installing, forgetting, routes that change under a reader.
 * @module
 */
import assert from "node:assert/strict";
import { DataPlaneNode, installKeys, introduce } from "../../tests/dataplane_node.ts";
import { ipPacket } from "../../tests/ip_packets.ts";
import { type Ip, parsePrefix } from "../ip.ts";
import { SeededRandom } from "../random.ts";
import type { Route } from "../route/lpm.ts";
import { nobleAead } from "./aead.ts";
import { KeyCache } from "./key_cache.ts";
import {
  beginRoutes,
  endRoutes,
  FLAG,
  KEYPAIR,
  keypairAt,
  MAX_PEERS,
  raiseFlag,
  RX,
  SharedState,
  TX,
} from "./layout.ts";
import { routeDestination } from "./packet.ts";
import { mapped, PeerTable, unmapped } from "./table.ts";

function routes(...pairs: [Ip, number][]): Route[] {
  return pairs.map(([ip, value]) => ({ prefix: parsePrefix(ip)!, value }));
}

function tableOf(): [PeerTable, SharedState] {
  const shared = new SharedState();
  return [new PeerTable(shared), shared];
}

const KEYS = {
  sendKey: new Uint8Array(32).fill(1),
  receiveKey: new Uint8Array(32).fill(2),
  features: 0,
};

Deno.test("setRoutes() waits for a reader of the area that it would write", () => {
  const [table, shared] = tableOf();
  const packet = ipPacket("10.0.0.9", "10.0.0.1", new Uint8Array(0));
  assert.ok(table.setRoutes(routes(["10.0.0.1", 1])));
  for (const worker of [TX, RX]) {
    const held = beginRoutes(shared, worker);
    assert.equal(routeDestination(held, packet, 0), 1);
    assert.ok(table.setRoutes(routes(["10.0.0.1", 2])), "the other area is free");
    assert.equal(routeDestination(held, packet, 0), 1, "the reader keeps a whole table");
    assert.equal(table.setRoutes(routes(["10.0.0.1", 3])), false);
    assert.equal(routeDestination(held, packet, 0), 1);
    endRoutes(shared, worker);
    assert.equal(routeDestination(beginRoutes(shared, worker), packet, 0), 2);
    endRoutes(shared, worker);
    assert.ok(table.setRoutes(routes(["10.0.0.1", 1])));
  }
});

Deno.test("setRoutes() takes effect at the next batch, not within one", () => {
  const a = new DataPlaneNode("192.0.2.1:1", ["10.0.0.1"]);
  const b = new DataPlaneNode("192.0.2.2:1", ["10.0.0.2"]);
  introduce(a, b);
  installKeys(a, b, new SeededRandom(1));
  const packet = ipPacket("10.0.0.1", "10.0.0.2", new Uint8Array(4));
  const room = new Uint8Array(packet.length + 64);
  a.tx.begin(0);
  assert.ok(a.table.setRoutes([]));
  room.set(packet, 16);
  a.tx.packet(room, 16, packet.length);
  a.tx.end();
  assert.equal(a.sent.length, 1);
  a.send(packet);
  assert.equal(a.sent.length, 1);
  assert.deepEqual(a.drops, { "no-route": 1 });
});

Deno.test("setRoutes() holds many swaps against a reader that comes and goes", () => {
  const [table, shared] = tableOf();
  const random = new SeededRandom(2);
  const packet = ipPacket("10.0.0.9", "10.0.0.1", new Uint8Array(0));
  let published = 0, held: Uint32Array | null = null, seen = 0;
  table.setRoutes(routes(["10.0.0.1", 0]));
  for (let i = 0; i < 5000; i++) {
    if (random.uint32() % 2 === 0) {
      if (table.setRoutes(routes(["10.0.0.1", published + 1]))) published++;
      else assert.ok(held && seen < published, "refused only while an old table is read");
    } else if (held) {
      assert.equal(routeDestination(held, packet, 0), seen, "a held table never changes");
      endRoutes(shared, TX);
      held = null;
    } else {
      held = beginRoutes(shared, TX);
      seen = routeDestination(held, packet, 0);
      assert.equal(seen, published, "a batch begins with the newest table");
    }
  }
  assert.ok(published > 1000);
});

Deno.test("install() makes the keypair open at once and seal only when promoted", () => {
  const [table, shared] = tableOf();
  table.addPeer(3);
  table.install({ peer: 3, slot: 13, localIndex: 0xfffc000d, remoteIndex: 7, ...KEYS });
  const at = keypairAt(13);
  assert.equal(shared.atomics[(at + KEYPAIR.state) >> 2], 1);
  assert.equal(shared.words[(at + KEYPAIR.localIndex) >> 2], 0xfffc000d);
  assert.notEqual(new KeyCache(shared, nobleAead, KEYPAIR.receiveKey).get(13), null);
  assert.equal(table.counters(3).loss, null);
  assert.deepEqual(table.usedKeypairs(3), []);
});

Deno.test("install() over an old keypair starts counters, window and `used` anew", () => {
  const [table, shared] = tableOf();
  table.addPeer(0);
  const keypair = { peer: 0, slot: 1, localIndex: 1, remoteIndex: 7, ...KEYS };
  table.install(keypair);
  const at = keypairAt(1);
  shared.words[(at + KEYPAIR.used) >> 2] = 1;
  shared.bytes.fill(0xff, at + KEYPAIR.sendCounter, at + KEYPAIR.size);
  table.install(keypair);
  assert.equal(shared.words[(at + KEYPAIR.used) >> 2], 0);
  const rest = shared.bytes.subarray(at + KEYPAIR.sendCounter, at + KEYPAIR.size);
  assert.ok(rest.every((byte) => byte === 0));
});

Deno.test("forget() erases the key, ends sealing with it, and leaves another current", () => {
  const [table, shared] = tableOf();
  table.addPeer(0);
  for (const slot of [0, 1]) {
    table.install({ peer: 0, slot, localIndex: slot, remoteIndex: 7, ...KEYS });
  }
  table.promote(0, 1);
  table.forget(0, 0);
  const cache = new KeyCache(shared, nobleAead, KEYPAIR.sendKey);
  assert.equal(cache.get(0), null);
  assert.notEqual(cache.get(1), null);
  assert.equal(table.counters(0).loss, null);
  table.forget(0, 1);
  assert.equal(cache.get(1), null, "also where a cipher was cached");
  const keys = [0, 1].map((slot) =>
    shared.bytes.slice(keypairAt(slot) + KEYPAIR.sendKey, keypairAt(slot) + KEYPAIR.used)
  );
  assert.ok(keys.every((bytes) => bytes.every((byte) => byte === 0)));
});

Deno.test("removePeer() ends everything of a peer and of no other", () => {
  const [table, shared] = tableOf();
  for (const peer of [0, 1]) {
    table.addPeer(peer);
    table.setEndpoint(peer, `192.0.2.${peer + 1}:9`);
    table.install({ peer, slot: 4 * peer + 2, localIndex: 4 * peer + 2, remoteIndex: 7, ...KEYS });
    table.promote(peer, 4 * peer + 2);
  }
  table.removePeer(0);
  assert.equal(table.endpoint(0), null);
  assert.equal(table.endpoint(1), "192.0.2.2:9");
  const cache = new KeyCache(shared, nobleAead, KEYPAIR.sendKey);
  assert.equal(cache.get(2), null);
  assert.notEqual(cache.get(6), null);
});

Deno.test("KeyCache frees a cipher once its keypair is gone or replaced", () => {
  const [table, shared] = tableOf();
  let live = 0;
  const counting = {
    name: "counting",
    prefersAes: false,
    key: (key: Uint8Array) => {
      live++;
      const inner = nobleAead.key(key);
      return { ...inner, free: () => live-- };
    },
  };
  const cache = new KeyCache(shared, counting, KEYPAIR.sendKey);
  const keypair = { peer: 0, slot: 0, localIndex: 1, remoteIndex: 7, ...KEYS };
  table.install(keypair);
  assert.equal(cache.get(0), cache.get(0));
  table.install(keypair);
  cache.get(0);
  assert.equal(live, 1);
  table.install({ ...keypair, slot: 1 });
  cache.get(1);
  table.forget(0, 0);
  assert.equal(live, 2);
  cache.sweep();
  assert.equal(live, 1);
  cache.clear();
  assert.equal(live, 0);
});

Deno.test("takeFlags() takes what is asked and leaves the rest", () => {
  const [table, shared] = tableOf();
  table.addPeer(MAX_PEERS - 1);
  raiseFlag(shared, MAX_PEERS - 1, FLAG.roamed);
  raiseFlag(shared, MAX_PEERS - 1, FLAG.dataSent);
  assert.equal(table.flags(MAX_PEERS - 1), FLAG.roamed | FLAG.dataSent);
  assert.equal(table.takeFlags(MAX_PEERS - 1, FLAG.roamed | FLAG.keypairUsed), FLAG.roamed);
  assert.equal(table.flags(MAX_PEERS - 1), FLAG.dataSent);
});

Deno.test("setEndpoint() and endpoint() agree for both families", () => {
  const [table] = tableOf();
  table.addPeer(0);
  assert.equal(table.endpoint(0), null);
  for (const endpoint of ["192.0.2.1:1", "[2001:db8::1]:65535", "[fe80::1]:51820"]) {
    table.setEndpoint(0, endpoint);
    assert.equal(table.endpoint(0), endpoint);
  }
  for (const ip of ["0.0.0.0", "255.255.255.255", "::", "fd00::1"]) {
    assert.equal(unmapped(mapped(ip)), ip);
  }
});

Deno.test("counters() tells the share of messages that were lost on the current key", () => {
  const a = new DataPlaneNode("192.0.2.1:1", ["10.0.0.1"]);
  const b = new DataPlaneNode("192.0.2.2:1", ["10.0.0.2"]);
  introduce(a, b);
  installKeys(a, b, new SeededRandom(1));
  for (let i = 0; i < 10; i++) {
    a.send(ipPacket("10.0.0.1", "10.0.0.2", Uint8Array.of(i)));
    const [datagram] = a.sent.splice(0);
    if (i % 5 !== 1) b.receive(datagram!.bytes, a.endpoint);
  }
  assert.equal(b.table.counters(0).loss, 0.2);
  assert.equal(a.table.counters(0).loss, null);
});
