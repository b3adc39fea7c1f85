import assert from "node:assert/strict";
import { SeededRandom } from "../../core/random.ts";
import {
  type Account,
  CODEL_INTERVAL_MS,
  CODEL_TARGET_MS,
  costOf,
  FairQueue,
  MAX_FLOW_BYTES,
  MAX_POOL_BYTES,
  MAX_QUEUE_BYTES,
  MAX_SOJOURN_MS,
  MAX_SOURCE_BYTES,
  type QueueDrop,
} from "./fair_queue.ts";

/** A queue whose frames say in byte 0 whose they are. */
class Rig {
  readonly pool: Account = { queuedBytes: 0 };
  readonly drops: Record<QueueDrop, number> = {
    "sojourn": 0,
    "source-full": 0,
    "destination-full": 0,
    "relay-full": 0,
  };
  readonly queue = this.another();

  another(): FairQueue {
    return new FairQueue({ pool: this.pool, onDrop: (reason) => this.drops[reason]++ });
  }
}

function account(): Account {
  return { queuedBytes: 0 };
}

function frame(owner: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  bytes[0] = owner;
  return bytes;
}

Deno.test("FairQueue gives frames back in order, and counts what waits", () => {
  const { queue, pool, drops } = new Rig();
  const source = account();
  const frames = Array.from({ length: 300 }, (_, i) => frame(i & 0xff, 100 + i));
  for (const one of frames) queue.push(source, one, 0);
  const total = frames.reduce((sum, one) => sum + costOf(one), 0);
  assert.deepEqual([queue.bytes, pool.queuedBytes, source.queuedBytes], [total, total, total]);
  for (const one of frames) assert.equal(queue.pop(0), one);
  assert.equal(queue.pop(0), null);
  assert.deepEqual([queue.bytes, pool.queuedBytes, source.queuedBytes], [0, 0, 0]);
  assert.deepEqual(Object.values(drops), [0, 0, 0, 0]);
});

Deno.test("FairQueue serves sources by bytes, whatever the size of their frames", () => {
  const { queue } = new Rig();
  const sizes = [64, 1_464, 16_384, 65_519];
  const sources = sizes.map(account);
  const served = sizes.map(() => 0);
  for (let round = 0; round < 5_000; round++) {
    // Every source always has something waiting.
    sources.forEach((source, i) => {
      while (source.queuedBytes < 200_000) queue.push(source, frame(i, sizes[i]!), 0);
    });
    const next = queue.pop(0)!;
    served[next[0]!]! += costOf(next);
  }
  const [least, most] = [Math.min(...served), Math.max(...served)];
  // A turn and a frame of the largest size is what one may be ahead.
  assert.ok(most - least < 2 * (65_519 + 16_384), served.join());
});

Deno.test("FairQueue does not let a source that keeps one frame queued take more", () => {
  const { queue } = new Rig();
  const [large, small] = [account(), account()];
  const served = [0, 0];
  for (let round = 0; round < 5_000; round++) {
    if (large.queuedBytes === 0) queue.push(large, frame(0, 65_519), 0);
    while (small.queuedBytes < 200_000) queue.push(small, frame(1, 1_464), 0);
    const next = queue.pop(0)!;
    served[next[0]!]! += costOf(next);
  }
  assert.ok(Math.abs(served[0]! / served[1]! - 1) < 0.05, served.join());
});

/** A link of `bytesPerMs` that serves `queue` up to `untilMs`; `arrive` is asked every millisecond. */
function serve(
  queue: FairQueue,
  bytesPerMs: number,
  untilMs: number,
  arrive: (now: number) => void,
  depart: (frame: Uint8Array, now: number) => void,
): void {
  let credit = 0;
  for (let now = 1; now <= untilMs; now++) {
    arrive(now);
    credit = Math.min(credit + bytesPerMs, 65_536);
    while (credit > 0) {
      const next = queue.pop(now);
      if (!next) break;
      credit -= next.length;
      depart(next, now);
    }
  }
}

Deno.test("FairQueue: a source that floods neither starves nor delays a modest one", () => {
  const { queue, drops } = new Rig();
  const [flooder, modest] = [account(), account()];
  const sentAt: number[] = [];
  const delays: number[] = [];
  let flooded = 0;
  serve(queue, 1_250, 10_000, (now) => {
    for (let i = 0; i < 4; i++) queue.push(flooder, frame(0, 1_464), now);
    if (now % 10 === 0) {
      queue.push(modest, frame(1, 1_464), now);
      sentAt.push(now);
    }
  }, (next, now) => {
    if (next[0] === 0) flooded++;
    else delays.push(now - sentAt[delays.length]!);
  });
  assert.ok(delays.length >= sentAt.length - 4, `${delays.length} of ${sentAt.length}`);
  // One turn of the other, 16 KiB at 1,250 bytes per ms, is 14 ms.
  assert.ok(Math.max(...delays) <= CODEL_TARGET_MS, `${Math.max(...delays)}`);
  assert.ok(flooded > 5_000, `${flooded}`);
  assert.ok(drops.sojourn > 0 && drops["source-full"] > 0);
});

Deno.test("CoDel leaves bursts alone, and lets no frame wait longer than the limit", () => {
  const { queue, drops } = new Rig();
  const source = account();
  for (let i = 0; i < 60; i++) queue.push(source, frame(0, 1_464), 0);
  serve(queue, 1_250, 100, () => {}, () => {});
  assert.equal(drops.sojourn, 0);
  assert.equal(queue.bytes, 0);

  const stale = new Rig();
  for (let i = 0; i < 50; i++) stale.queue.push(source, frame(0, 1_464), 0);
  stale.queue.push(source, frame(7, 100), MAX_SOJOURN_MS);
  assert.equal(stale.queue.pop(MAX_SOJOURN_MS + 1)?.[0], 7);
  assert.equal(stale.drops.sojourn, 50);
});

Deno.test("CoDel brings a sender that slows down at losses to a short queue", () => {
  const { queue, drops } = new Rig();
  const source = account();
  const entered = new Map<Uint8Array, number>();
  const late: number[] = [];
  let [rate, credit, lost] = [4_000, 0, 0];
  serve(queue, 1_250, 30_000, (now) => {
    if (drops.sojourn > lost) rate = Math.max(200, rate * 0.7);
    else rate += 1;
    lost = drops.sojourn;
    for (credit += rate; credit > 1_464; credit -= 1_464) {
      const one = frame(0, 1_464);
      entered.set(one, now);
      queue.push(source, one, now);
    }
  }, (next, now) => {
    if (now > 10_000) late.push(now - entered.get(next)!);
    entered.delete(next);
  });
  late.sort((a, b) => a - b);
  const [median, most] = [late[late.length >> 1]!, late.at(-1)!];
  assert.ok(median <= 3 * CODEL_TARGET_MS, `median ${median} ms`);
  assert.ok(most <= 3 * CODEL_INTERVAL_MS, `most ${most} ms`);
  // The link stayed busy: 20 s at 1,250 bytes per ms.
  assert.ok(late.length * 1_464 > 0.85 * 20_000 * 1_250, `${late.length}`);
});

Deno.test("FairQueue bounds a source's share of a queue by dropping its oldest", () => {
  const { queue, drops } = new Rig();
  const source = account();
  for (let i = 0; i < 40; i++) queue.push(source, frame(i, 65_000), 0);
  assert.ok(queue.bytes <= MAX_FLOW_BYTES);
  assert.equal(queue.pop(0)?.[0], drops["source-full"]);
  assert.ok(drops["source-full"] >= 20);
});

Deno.test("FairQueue bounds a destination by dropping from the longest, at its head", () => {
  const { queue, drops } = new Rig();
  const small = account();
  for (let i = 0; i < 40; i++) queue.push(small, frame(255, 1_000), 0);
  for (let i = 0; i < 300; i++) {
    queue.push(account(), frame(i % 250, 65_000), 0);
    assert.ok(queue.bytes <= MAX_QUEUE_BYTES);
  }
  assert.equal(small.queuedBytes, 40 * costOf(frame(255, 1_000)));
  assert.ok(drops["destination-full"] >= 170, `${drops["destination-full"]}`);
});

Deno.test("FairQueue bounds a source over all destinations, and the whole relay", () => {
  const rig = new Rig();
  const source = account();
  for (let i = 0; i < 100; i++) {
    const queue = rig.another();
    for (let j = 0; j < 4; j++) queue.push(source, frame(0, 65_000), 0);
  }
  assert.ok(source.queuedBytes <= MAX_SOURCE_BYTES);
  assert.ok(rig.drops["source-full"] > 200);
  rig.pool.queuedBytes = MAX_POOL_BYTES;
  rig.queue.push(account(), frame(0, 100), 0);
  assert.equal(rig.drops["relay-full"], 1);
  assert.equal(rig.queue.pop(0), null);
});

Deno.test("FairQueue keeps its accounts right under any mix of pushes, pops and time", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new SeededRandom(seed);
    const rig = new Rig();
    const sources = [account(), account(), account(), account()];
    const queues = [rig.queue, rig.another()];
    let [now, pushed, popped] = [0, 0, 0];
    for (let step = 0; step < 3_000; step++) {
      const queue = queues[random.uint32() % 2]!;
      now += random.uint32() % 8;
      if (random.uint32() % 5 < 3) {
        const at = random.uint32() % 4;
        queue.push(sources[at]!, frame(at, 1 + random.uint32() % 65_519), now);
        pushed++;
      } else if (queue.pop(now)) popped++;
      const sum = queues[0]!.bytes + queues[1]!.bytes;
      assert.equal(rig.pool.queuedBytes, sum);
      assert.equal(sources.reduce((total, { queuedBytes }) => total + queuedBytes, 0), sum);
      assert.ok(queues.every(({ bytes }) => bytes <= MAX_QUEUE_BYTES));
    }
    const left = queues.reduce((total, queue) => total + queue.clear(), 0);
    const dropped = Object.values(rig.drops).reduce((total, count) => total + count);
    assert.equal(popped + left + dropped, pushed);
    assert.equal(rig.pool.queuedBytes, 0);
  }
});

Deno.test("FairQueue gives short datagrams of a source the first turn, and loses none for long ones", () => {
  const { queue, drops } = new Rig();
  const source = account();
  for (let i = 0; i < 100; i++) queue.push(source, frame(1, 65_000), 0);
  assert.ok(drops["source-full"] > 0);
  const before = drops["source-full"];
  // In trains too.
  for (let i = 0; i < 10; i++) assert.equal(queue.push(source, frame(2, 1_600), 0, 200), true);
  assert.equal(queue.push(source, frame(1, 65_000), 0), false);
  assert.equal(drops["source-full"], before + 1);
  queue.pop(0);
  for (let i = 0; i < 10; i++) assert.equal(queue.pop(0)![0], 2, `${i}`);
  assert.equal(queue.pop(0)![0], 1);
});

Deno.test("FairQueue: who floods with short datagrams leaves the other half to long ones", () => {
  const { queue } = new Rig();
  const source = account();
  const served = [0, 0];
  for (let round = 0; round < 5_000; round++) {
    for (let i = 0; i < 20; i++) queue.push(source, frame(0, 200), 0);
    queue.push(source, frame(1, 3_000), 0);
    const next = queue.pop(0)!;
    served[next[0]!]! += costOf(next);
  }
  assert.ok(Math.abs(served[0]! / served[1]! - 1) < 0.1, served.join());
});
