/**
 * What does every {@link Link} promise? One suite of tests that each of them runs.
 *
 * A link may drop what does not fit, never reorder, duplicate or change it. The tests wait for
 * what they sent before they send on, except where they flood.
 * @module
 */
import assert from "node:assert/strict";
import type { PeerId } from "../core/ids.ts";
import { type Link, type LinkEvents, MAX_TRAIN_BYTES, type Train } from "../core/link.ts";

/** A peer that nobody is. */
const STRANGER: PeerId = "0123456789abcdef";
/** Whatever is waited for has to come within this. */
const DEADLINE_MS = 20_000;
const PAUSE_MS = 5;
/** More than any link may take without having written some. */
const FLOOD_BYTES = 64 << 20;

/** One of two nodes. */
export interface LinkEnd {
  readonly link: Link;
  readonly id: PeerId;
}

/** Two nodes whose links reach each other, or will soon. */
export interface LinkPair {
  readonly a: LinkEnd;
  readonly b: LinkEnd;
  /** Kills what carries the links, and starts it again. */
  interrupt(): Promise<void>;
  /** Closes both links, and what carries them. */
  close(): Promise<void>;
}

/** Makes a pair whose links tell `a` and `b` what happens. */
export type MakePair = (a: LinkEvents, b: LinkEvents) => Promise<LinkPair>;

/** A {@link LinkPair} with what came out of it. */
interface Scene extends LinkPair {
  readonly toA: Witness;
  readonly toB: Witness;
}

/** Keeps what a link tells its owner. */
class Witness implements LinkEvents {
  readonly datagrams: Uint8Array[] = [];
  readonly sources = new Set<PeerId>();
  readonly changes: { readonly peer: PeerId | null; readonly isUp: boolean }[] = [];

  received(peer: PeerId, train: Train): void {
    this.sources.add(peer);
    for (let at = 0; at < train.bytes.length; at += train.segment) {
      this.datagrams.push(train.bytes.slice(at, at + train.segment));
    }
  }

  changed(peer: PeerId | null, isUp: boolean, why: string): void {
    assert.notEqual(why, "");
    this.changes.push({ peer, isUp });
  }
}

/** Waits until `isTrue`, looking now and then; fails after {@link DEADLINE_MS}. */
async function until(isTrue: () => boolean, what: string): Promise<void> {
  const end = performance.now() + DEADLINE_MS;
  while (!isTrue()) {
    if (performance.now() > end) assert.fail(`not within ${DEADLINE_MS} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

/** A train of `count` datagrams that all differ. */
function trainOf(count: number, segment: number, last = segment, seed = 1): Train {
  const bytes = new Uint8Array((count - 1) * segment + last);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 31 + (i >> 8) * 7 + seed) & 0xff;
  return { bytes, segment };
}

/** Datagrams with a number in front, so that order can be judged. */
function numbered(number: number, segment: number, count: number): Train {
  const bytes = new Uint8Array(segment * count);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < count; i++) view.setUint32(i * segment, number + i);
  return { bytes, segment };
}

function numberOf(datagram: Uint8Array): number {
  return new DataView(datagram.buffer, datagram.byteOffset).getUint32(0);
}

async function up({ a, b }: Scene): Promise<void> {
  await until(() => a.link.isUp(b.id) && b.link.isUp(a.id), "both ends up");
}

/** Sends until it arrives, as the first datagrams after a connect may be lost. */
async function reaches(from: LinkEnd, to: LinkEnd, witness: Witness): Promise<void> {
  const before = witness.datagrams.length;
  const end = performance.now() + DEADLINE_MS;
  while (witness.datagrams.length === before) {
    assert.ok(performance.now() < end, `nothing arrived within ${DEADLINE_MS} ms`);
    from.link.send(to.id, trainOf(1, 100));
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  // What was sent meanwhile arrives too; it must not be taken for what comes next.
  for (let seen = -1; seen !== witness.datagrams.length;) {
    seen = witness.datagrams.length;
    await new Promise((resolve) => setTimeout(resolve, 10 * PAUSE_MS));
  }
  witness.datagrams.length = 0;
}

async function ready(scene: Scene): Promise<void> {
  await up(scene);
  await reaches(scene.a, scene.b, scene.toB);
  await reaches(scene.b, scene.a, scene.toA);
}

/** Sends one train and waits for all of it. */
async function passes(from: LinkEnd, to: LinkEnd, witness: Witness, train: Train): Promise<void> {
  const expected = new Witness();
  expected.received(from.id, { bytes: train.bytes.slice(), segment: train.segment });
  witness.datagrams.length = 0;
  assert.equal(from.link.send(to.id, train), true);
  // Only valid during the call: what happens to the bytes now must not matter.
  train.bytes.fill(0xee);
  await until(
    () => witness.datagrams.length >= expected.datagrams.length,
    `${expected.datagrams.length} datagrams of ${train.segment} bytes`,
  );
  assert.deepEqual(witness.datagrams, expected.datagrams);
  assert.deepEqual([...witness.sources], [from.id]);
}

/** Sends without a pause until the link has no room; returns how many datagrams that were. */
function flood(from: LinkEnd, to: LinkEnd, first: number): number {
  const [segment, count] = [1452, 45];
  let sent = 0;
  while (sent * segment < FLOOD_BYTES) {
    const hasRoom = from.link.send(to.id, numbered(first + sent, segment, count));
    sent += count;
    if (!hasRoom) return sent;
  }
  assert.fail(`it took ${FLOOD_BYTES} bytes at once`);
}

const TESTS: Readonly<Record<string, (scene: Scene) => Promise<void>>> = {
  "comes up by itself and says so": async (scene) => {
    await up(scene);
    for (const witness of [scene.toA, scene.toB]) {
      assert.ok(witness.changes.some(({ isUp }) => isUp), "an event said up");
    }
    assert.equal(scene.a.link.name, scene.a.link.name.toLowerCase());
  },

  "carries datagrams of every size, alone and in trains, both ways": async (scene) => {
    await ready(scene);
    const { a, b, toA, toB } = scene;
    for (const size of [1, 2, 148, 1280, 1420, 1452, 9000, 65_000, MAX_TRAIN_BYTES]) {
      await passes(a, b, toB, trainOf(1, size));
      await passes(b, a, toA, trainOf(1, size));
    }
    for (const [count, segment, last] of [[45, 1452, 1452], [64, 1, 1], [3, 1000, 500]] as const) {
      await passes(a, b, toB, trainOf(count, segment, last));
      await passes(b, a, toA, trainOf(count, segment, last));
    }
  },

  "keeps the order of long datagrams, and of short ones": async (scene) => {
    await ready(scene);
    const { a, b, toB } = scene;
    let sent = 0;
    for (let round = 0; round < 100; round++) {
      const isShort = round % 2 === 0;
      for (const [size, count] of isShort ? [[64, 1], [4, 64]] : [[1420, 8], [9000, 1]]) {
        assert.equal(a.link.send(b.id, numbered(sent, size!, count!)), true);
        sent += count!;
      }
      await until(() => toB.datagrams.length === sent, `${sent} datagrams`);
    }
    assert.deepEqual(toB.datagrams.map(numberOf), Array.from({ length: sent }, (_, i) => i));
  },

  "drops what is too much, at once, and goes on": async (scene) => {
    await ready(scene);
    const { a, b, toB } = scene;
    let first = 1;
    for (let round = 0; round < 10; round++) {
      first += flood(a, b, first);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    await until(() => a.link.send(b.id, numbered(first, 99, 1)), "room for one more");
    await until(() => toB.datagrams.some(({ length }) => length === 99), "what is short");
    const numbers = toB.datagrams.filter(({ length }) => length > 99).map(numberOf);
    assert.ok(numbers.every((number, i) => i === 0 || number > numbers[i - 1]!), "in order");
  },

  "loses nothing that is short and little while it drops of a flood": async (scene) => {
    await ready(scene);
    const { a, b, toB } = scene;
    let first = 1;
    for (let number = 0; number < 200; number++) {
      first += flood(a, b, first);
      a.link.send(b.id, numbered(number, 99, 1));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const short = () => toB.datagrams.filter(({ length }) => length === 99);
    await until(() => short().length >= 200, "all that is short");
    assert.deepEqual(short().map(numberOf), Array.from({ length: 200 }, (_, i) => i));
  },

  "refuses what is no train": async (scene) => {
    await ready(scene);
    const { a, b, toB } = scene;
    const trains: Train[] = [
      { bytes: new Uint8Array(), segment: 100 },
      { bytes: new Uint8Array(100), segment: 0 },
      { bytes: new Uint8Array(65), segment: 1 },
      { bytes: new Uint8Array(MAX_TRAIN_BYTES + 1), segment: 2000 },
      { bytes: new Uint8Array(MAX_TRAIN_BYTES + 1), segment: MAX_TRAIN_BYTES + 1 },
    ];
    for (const train of trains) assert.equal(a.link.send(b.id, train), false);
    await passes(a, b, toB, trainOf(2, 700));
  },

  "has no way to a peer that is not there": async (scene) => {
    await ready(scene);
    const { a, b, toA, toB } = scene;
    a.link.send(STRANGER, trainOf(1, 100));
    await until(() => !a.link.isUp(STRANGER), "the stranger is down");
    assert.ok(a.link.isUp(b.id));
    assert.ok(toA.changes.every(({ peer, isUp }) => isUp || peer === STRANGER));
    await passes(a, b, toB, trainOf(1, 100));
  },

  "closes while busy, and says nothing afterwards": async (scene) => {
    await ready(scene);
    const { a, b, toA, toB } = scene;
    flood(a, b, 1);
    flood(b, a, 1);
    const closed = Promise.all([a.link.close(), b.link.close()]);
    const counts = () => [toA, toB].map(({ datagrams, changes }) => [datagrams, changes].flat());
    const before = counts().flat().length;
    await closed;
    await new Promise((resolve) => setTimeout(resolve, 10 * PAUSE_MS));
    assert.equal(counts().flat().length, before);
    assert.equal(a.link.isUp(b.id), false);
    assert.equal(a.link.send(b.id, trainOf(1, 100)), false);
    a.link.reconnect();
    await a.link.close();
  },

  "says that the way is gone, and finds it again": async (scene) => {
    await ready(scene);
    const { a, b, toA, toB } = scene;
    const before = toA.changes.length;
    await scene.interrupt();
    await until(() => toA.changes.slice(before).some(({ isUp }) => !isUp), "an event said down");
    await up(scene);
    await reaches(a, b, toB);
    await reaches(b, a, toA);
    assert.equal(toA.changes.at(-1)?.isUp, true);
  },

  "connects anew when told to": async (scene) => {
    await ready(scene);
    const { a, b, toA, toB } = scene;
    a.link.reconnect();
    b.link.reconnect();
    await up(scene);
    await reaches(a, b, toB);
    await reaches(b, a, toA);
  },
};

/** Registers the suite for the links that `makePair` makes. */
export function testLink(name: string, makePair: MakePair): void {
  for (const [what, run] of Object.entries(TESTS)) {
    Deno.test(`${name} ${what}`, async () => {
      const [toA, toB] = [new Witness(), new Witness()];
      const pair = await makePair(toA, toB);
      try {
        await run({ ...pair, toA, toB });
      } finally {
        await pair.close();
      }
    });
  }
}
