/**
 * Tests of the shared memory's layout: every field aligned for its width and in nobody else's place.
 * @module
 */
import assert from "node:assert/strict";
import { DROPS } from "../drops.ts";
import { buildRouteTable, routeTableWords } from "../route/lpm.ts";
import { REPLAY_WORDS } from "../wireguard/replay_window.ts";
import {
  beginRoutes,
  COMMAND,
  endRoutes,
  FILTER_WORDS,
  FLAG,
  HEADER,
  KEYPAIR,
  KEYPAIR_SLOT_MASK,
  keypairAt,
  KEYPAIRS_PER_PEER,
  MAX_PEERS,
  MAX_ROUTES,
  MAX_RULES,
  MAX_WORKERS,
  PEER,
  peerAt,
  raiseFlag,
  RX,
  SharedState,
  TX,
} from "./layout.ts";

/** Where something lies: first byte, bytes, and how it must be aligned. */
type Extent = readonly [name: string, at: number, size: number, alignment: number];

function assertDisjoint(extents: readonly Extent[], end: number): void {
  const sorted = extents.toSorted((a, b) => a[1] - b[1]);
  for (const [i, [name, at, size, alignment]] of sorted.entries()) {
    assert.equal(at % alignment, 0, `${name} is aligned`);
    const next = sorted[i + 1];
    assert.ok(at + size <= (next ? next[1] : end), `${name} ends before ${next?.[0] ?? "the end"}`);
  }
}

Deno.test("fields of a peer are aligned and apart", () => {
  const { size, ...offsets } = PEER;
  const widths: Record<keyof typeof offsets, [number, number]> = {
    flags: [4, 4],
    current: [4, 4],
    endpointLock: [4, 4],
    endpointIp: [16, 4],
    endpointPort: [4, 4],
    commands: [4 * MAX_WORKERS, 4],
    standbyPort: [4, 4],
    mtu: [4, 4],
    standbyIp: [16, 1],
  };
  const names = Object.keys(offsets) as (keyof typeof offsets)[];
  assertDisjoint(names.map((name) => [name, offsets[name], ...widths[name]]), size);
  assert.equal(size % 8, 0);
});

Deno.test("fields of a keypair are aligned and apart", () => {
  const { size, ...offsets } = KEYPAIR;
  const widths: Record<keyof typeof offsets, [number, number]> = {
    state: [4, 4],
    generation: [4, 4],
    localIndex: [4, 4],
    remoteIndex: [4, 4],
    peer: [4, 4],
    sendKey: [32, 1],
    receiveKey: [32, 1],
    features: [4, 4],
    used: [4, 4],
    sendCounter: [4, 4],
    receiveLock: [4, 4],
    received: [8, 8],
    replay: [4 * REPLAY_WORDS, 4],
  };
  const names = Object.keys(offsets) as (keyof typeof offsets)[];
  assertDisjoint(names.map((name) => [name, offsets[name], ...widths[name]]), size);
  assert.equal(size % 8, 0);
});

Deno.test("regions of the shared state are aligned and apart, and fill it", () => {
  const shared = new SharedState();
  const last = HEADER.readers + 2 * MAX_WORKERS;
  const dropsAt = findDrop(shared, TX, 0);
  const [first, second] = shared.routeAreas;
  const routeBytes = 4 * routeTableWords(MAX_ROUTES);
  assertDisjoint([
    ["header", 0, 4 * last, 4],
    ["drops", dropsAt, 8 * 2 * MAX_WORKERS * DROPS.length, 8],
    ["counters", 8 * findCounter(shared, TX, 0), 16 * 2 * MAX_WORKERS * MAX_PEERS, 8],
    ["peers", peerAt(0), peerAt(MAX_PEERS) - peerAt(0), 8],
    ["keypairs", keypairAt(0), keypairAt(MAX_PEERS * KEYPAIRS_PER_PEER) - keypairAt(0), 8],
    ["routes 0", first.byteOffset, routeBytes, 4],
    ["routes 1", second.byteOffset, routeBytes, 4],
    ["filter 0", shared.filterAreas[0].byteOffset, 4 * FILTER_WORDS, 4],
    ["filter 1", shared.filterAreas[1].byteOffset, 4 * FILTER_WORDS, 4],
    ["hits 0", shared.ruleHits(0, 0).byteOffset, 2 * MAX_WORKERS * 8 * MAX_RULES, 8],
    ["hits 1", shared.ruleHits(1, 0).byteOffset, 2 * MAX_WORKERS * 8 * MAX_RULES, 8],
    ["filtered", findFiltered(shared), 8 * MAX_WORKERS * MAX_PEERS * 4, 8],
    ["flows", shared.flows.byteOffset, shared.flows.byteLength, 4],
  ], shared.buffer.byteLength);
  assert.equal(first.byteLength, routeBytes);
  const end = shared.flows.byteOffset + shared.flows.byteLength;
  assert.ok(shared.buffer.byteLength - end < 64);
  assert.equal(
    findDrop(shared, RX, DROPS.length - 1),
    dropsAt + 8 * ((MAX_WORKERS + 1) * DROPS.length - 1),
  );
});

/** Index of a packet counter in the doubles. */
function findCounter(shared: SharedState, worker: number, peer: number): number {
  const before = shared.doubles.slice(0, peerAt(0) / 8);
  shared.count(worker, peer, 1);
  return before.findIndex((value, i) => value !== shared.doubles[i]);
}

/** Byte offset of a drop counter. */
function findDrop(shared: SharedState, worker: number, reason: number): number {
  const before = shared.doubles.slice(0, peerAt(0) / 8);
  shared.drop(worker, reason);
  return 8 * before.findIndex((value, i) => value !== shared.doubles[i]);
}

/** Byte offset of the first count of what the filter dropped. */
function findFiltered(shared: SharedState): number {
  shared.countFiltered(RX, 0, 0);
  const at = 8 * shared.doubles.indexOf(1, shared.ruleHits(1, 0).byteOffset / 8);
  shared.clearCounters(0);
  assert.equal(shared.filteredCount(0, 0), 0);
  return at;
}

Deno.test("bits of flags and commands are one each", () => {
  for (const bits of [Object.values(FLAG), Object.values(COMMAND)]) {
    let all = 0;
    for (const bit of bits) {
      assert.ok(bit > 0 && (bit & (bit - 1)) === 0 && (all & bit) === 0, `bit ${bit}`);
      all |= bit;
    }
  }
  assert.equal(KEYPAIR_SLOT_MASK & (KEYPAIR_SLOT_MASK + 1), 0, "a mask of low bits");
  assert.ok(MAX_PEERS * KEYPAIRS_PER_PEER - 1 <= KEYPAIR_SLOT_MASK);
});

Deno.test("views of another thread show the same memory", () => {
  const shared = new SharedState();
  const other = new SharedState(shared.buffer);
  shared.drop(TX, 3);
  other.drop(RX, 3);
  assert.equal(shared.dropCount(3), 2);
  assert.equal(other.dropCount(3), 2);
  buildRouteTable(shared.routeAreas[1], []);
  shared.routeAreas[1][0] = 7;
  assert.equal(other.routeAreas[1][0], 7);
});

Deno.test("raiseFlag() says whether the flag was clear", () => {
  const shared = new SharedState();
  assert.equal(raiseFlag(shared, 5, FLAG.roamed), true);
  assert.equal(raiseFlag(shared, 5, FLAG.roamed), false);
  assert.equal(raiseFlag(shared, 5, FLAG.dataSent), true);
  assert.equal(raiseFlag(shared, MAX_PEERS - 1, FLAG.roamed), true);
});

Deno.test("beginRoutes() follows the generation and publishes what is read", () => {
  const shared = new SharedState();
  assert.equal(beginRoutes(shared, RX), shared.routeAreas[0]);
  assert.equal(shared.atomics[HEADER.readers + RX], 1);
  assert.equal(shared.atomics[HEADER.readers + TX], 0);
  endRoutes(shared, RX);
  assert.equal(shared.atomics[HEADER.readers + RX], 0);
  Atomics.store(shared.atomics, HEADER.routeGeneration, 5);
  assert.equal(beginRoutes(shared, TX), shared.routeAreas[1]);
  assert.equal(shared.atomics[HEADER.readers + TX], 6);
});
