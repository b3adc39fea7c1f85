import assert from "node:assert/strict";
import { STATE } from "./flow_state.ts";
import { FlowTable, flowTableWords, initFlowTable } from "./flow_table.ts";
import { KEY, KEY_WORDS } from "./key.ts";

const UDP = 17;
const TCP = 6;

function createTable(flows: number): FlowTable {
  const words = new Int32Array(flowTableWords(flows));
  initFlowTable(words, flows, 7);
  return new FlowTable(words);
}

/** The key of a packet that comes in. */
function inbound(protocol: number, remotePort: number, localPort = 53): Int32Array {
  const key = new Int32Array(KEY_WORDS);
  key[KEY.family] = 4;
  key[KEY.protocol] = protocol;
  key[KEY.ports] = (remotePort << 16) | localPort;
  key[KEY.source] = 0x0a000001;
  key[KEY.destination] = 0x0a000002;
  return key;
}

function has(table: FlowTable, key: Int32Array, now: number, peer = 1): boolean {
  table.aim(peer, key, true);
  return table.find(now);
}

function create(table: FlowTable, key: Int32Array, now: number, state: number): boolean {
  table.aim(1, key, true);
  return table.create(now, state, 3, 9);
}

Deno.test("FlowTable finds a flow from both sides, by every part of its key", () => {
  const table = createTable(64);
  const key = inbound(UDP, 1000);
  assert.ok(create(table, key, 5, STATE.remote));
  assert.ok(has(table, key, 5));
  assert.deepEqual([table.state, table.generation, table.decision], [STATE.remote, 3, 9]);

  const back = key.slice();
  back[KEY.ports] = (53 << 16) | 1000;
  back[KEY.source] = key[KEY.destination]!;
  back[KEY.destination] = key[KEY.source]!;
  table.aim(1, back, false);
  assert.ok(table.find(5));
  assert.ok(!has(table, back, 5));

  assert.ok(!has(table, key, 5, 2), "another peer");
  for (const part of [KEY.protocol, KEY.ports, KEY.source, KEY.destination]) {
    const other = key.slice();
    other[part]! ^= 1;
    assert.ok(!has(table, other, 5), `part ${part}`);
  }
  const six = key.slice();
  six[KEY.family] = 6;
  assert.ok(!has(table, six, 5));
  assert.ok(create(table, six, 5, STATE.remote));
  six[KEY.destination + 3]! ^= 1;
  assert.ok(!has(table, six, 5));
  assert.equal(table.count(5), 2);
});

Deno.test("FlowTable remembers flows as long as the RFCs say, also where the clock turns over", () => {
  const cases: [string, number, number, number][] = [
    ["UDP", UDP, STATE.remote, 300],
    ["ICMP", 1, STATE.both, 60],
    ["TCP before the handshake is over", TCP, STATE.both | STATE.syn, 240],
    ["TCP", TCP, STATE.both | STATE.established, 7440],
    ["TCP after both have closed", TCP, STATE.both | STATE.established | STATE.closed, 240],
  ];
  for (const [what, protocol, state, seconds] of cases) {
    for (const start of [0, 2 ** 31 - 30]) {
      const table = createTable(64);
      const key = inbound(protocol, 1000);
      create(table, key, start, state);
      assert.ok(has(table, key, (start + seconds) | 0), `${what} at its end`);
      table.touch((start + seconds) | 0);
      assert.ok(has(table, key, (start + 2 * seconds) | 0), `${what} that went on`);
      assert.ok(!has(table, key, (start + 2 * seconds + 1) | 0), `${what} past its end`);
    }
  }
});

Deno.test("FlowTable gives up the oldest of what matters least when a set is full", () => {
  const established = STATE.both | STATE.established;
  const order = [
    { state: STATE.remote, age: 10 },
    { state: STATE.remote, age: 5 },
    { state: established | STATE.closed, age: 4 },
    { state: STATE.own | STATE.local, age: 50 },
    { state: STATE.own | STATE.local, age: 40 },
    { state: established, age: 90 },
    { state: established, age: 80 },
  ];
  // One set: the eighth place is an own flow that is established, and stays for peers' sake.
  const table = createTable(8);
  order.forEach(({ state, age }, i) => create(table, inbound(TCP, i), 100 - age, state));
  create(table, inbound(TCP, 7), 1, STATE.own | established);
  for (let i = 0; i < order.length; i++) {
    assert.ok(has(table, inbound(TCP, i), 100));
    assert.ok(create(table, inbound(TCP, 100 + i), 100, STATE.own | established), `${i}`);
    assert.ok(!has(table, inbound(TCP, i), 100), `flow ${i} should have gone`);
  }
  assert.ok(has(table, inbound(TCP, 7), 100));
  assert.ok(!create(table, inbound(TCP, 200), 100, established), "a peer has no claim on them");
  assert.ok(create(table, inbound(TCP, 200), 100, STATE.own | STATE.local));
  assert.ok(!has(table, inbound(TCP, 7), 100));
  assert.equal(table.count(100), 8);
});

Deno.test("FlowTable keeps what another worker has judged when both note the same flow", () => {
  const table = createTable(8);
  const key = inbound(UDP, 1);
  create(table, key, 1, STATE.remote);
  table.aim(1, key, true);
  assert.ok(table.create(2, STATE.own | STATE.local, 0, 0));
  assert.ok(table.find(2));
  assert.equal(table.state, STATE.both);
  assert.deepEqual([table.generation, table.decision], [3, 9]);
  // What has expired is nobody's judgement.
  assert.ok(table.create(1000, STATE.own | STATE.local, 0, 0));
  assert.ok(table.find(1000));
  assert.equal(table.state, STATE.own | STATE.local);
});

Deno.test("FlowTable.update() does not bring back a flow that is gone", () => {
  const table = createTable(8);
  table.aim(1, inbound(UDP, 1), true);
  table.update(1, STATE.remote, 1, 1);
  assert.ok(!table.find(1));
});

Deno.test("FlowTable.forgetPeer() forgets the flows of one peer", () => {
  const table = createTable(64);
  for (let port = 0; port < 20; port++) {
    for (const peer of [1, 2]) {
      table.aim(peer, inbound(UDP, port), true);
      assert.ok(table.create(1, STATE.remote, 1, 1));
    }
  }
  table.forgetPeer(2);
  for (let port = 0; port < 20; port++) {
    assert.ok(has(table, inbound(UDP, port), 1, 1));
    assert.ok(!has(table, inbound(UDP, port), 1, 2));
  }
});

Deno.test("FlowTable goes on without a set that somebody has locked for good", () => {
  const words = new Int32Array(flowTableWords(8));
  initFlowTable(words, 8, 7);
  const table = new FlowTable(words);
  const key = inbound(UDP, 1);
  create(table, key, 1, STATE.remote);
  // The only set's lock, behind the header.
  words[16] = 1;
  assert.ok(has(table, key, 1));
  table.update(1, STATE.both, 1, 1);
  assert.ok(has(table, key, 1) && table.state === STATE.remote);
  assert.ok(!create(table, inbound(UDP, 2), 1, STATE.remote));
  table.forgetPeer(1);
  assert.ok(has(table, key, 1));
});

Deno.test("FlowTable takes an entry that is half written for none", () => {
  const words = new Int32Array(flowTableWords(8));
  initFlowTable(words, 8, 7);
  const table = new FlowTable(words);
  const key = inbound(UDP, 1);
  create(table, key, 1, STATE.remote);
  const entry = words.findIndex((_, i) => i >= 32 && words[i] !== 0);
  const fields = { state: 11, generation: 12, decision: 13 };
  for (const [name, offset] of Object.entries(fields)) {
    words[entry + offset]! ^= 4;
    assert.ok(!has(table, key, 1), `${name} of another write`);
    words[entry + offset]! ^= 4;
    assert.ok(has(table, key, 1));
  }
});

Deno.test("flowTableWords() refuses sizes that sets cannot be counted in", () => {
  for (const flows of [0, 4, 100, -8]) {
    assert.throws(() => flowTableWords(flows), /Cannot make flow table of/);
  }
  assert.throws(() => initFlowTable(new Int32Array(100), 64, 1), /memory is too small/);
});
