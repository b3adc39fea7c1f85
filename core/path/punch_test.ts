import assert from "node:assert/strict";
import fc from "fast-check";
import { type Endpoint, parseEndpoint } from "../ip.ts";
import { type Millis, NEVER } from "../machine.ts";
import type { PeerSlot } from "../wireguard/events.ts";
import { extraSocket } from "./address.ts";
import { PACKETS_PER_SECOND, Punch, type PunchEffect, SEARCH_MS, SOCKETS } from "./punch.ts";

const PEER = 3;
const IP = "203.0.113.9";
const ENDPOINT: Endpoint = `${IP}:4000`;
/** What a node sends at most, other pings included. */
const BUDGET_PER_SECOND = 200;
const NUMBERS = Array.from({ length: SOCKETS }, (_, i) => i + 1);

/** An effect, and when it came. */
type Timed = PunchEffect & { readonly at: Millis };

/** Lets a search go from deadline to deadline. */
function run(punch: Punch, from: Millis, until: Millis): Timed[] {
  const effects: Timed[] = [];
  for (let turns = 0; punch.deadline <= until; turns++) {
    assert.ok(turns < 5_000, "the deadline moves on");
    const at = Math.max(from, punch.deadline);
    effects.push(...timed(punch.tick(at), at));
  }
  return effects;
}

function timed(effects: readonly PunchEffect[], at: Millis): Timed[] {
  return effects.map((effect) => ({ ...effect, at }));
}

/** Where the pings of a list go, and when. */
function pingsOf(effects: readonly Timed[]): { readonly to: string; readonly at: Millis }[] {
  return effects.flatMap((effect) =>
    effect.type === "punch" ? [{ to: effect.to, at: effect.at }] : []
  );
}

/** The most that came within any second. */
function mostPerSecond(times: readonly Millis[]): number {
  let [most, first] = [0, 0];
  for (const [last, at] of times.entries()) {
    while (times[first]! <= at - 1_000) first++;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

Deno.test("open() asks for 128 sockets, sends from each once, and closes them in the end", () => {
  const punch = new Punch(1);
  assert.deepEqual(punch.open(PEER, 0), [{ type: "open-sockets", peer: PEER, count: SOCKETS }]);
  assert.equal(SOCKETS, 128);
  const effects = [
    ...timed(punch.opened(PEER, NUMBERS, ENDPOINT, 10), 10),
    ...run(punch, 10, 60_000),
  ];
  const paths = pingsOf(effects).map(({ to }) => extraSocket(to)!);
  assert.deepEqual(paths.map(({ socket }) => socket), NUMBERS);
  assert.ok(paths.every(({ endpoint }) => endpoint === ENDPOINT));
  // The peer hears of it three times, not before half of the sockets have sent.
  const tells = effects.filter(({ type }) => type === "tell").map(({ at }) => at);
  const halfAt = pingsOf(effects)[SOCKETS / 2]!.at;
  assert.equal(tells.length, 3);
  assert.ok(tells.every((at) => at >= halfAt), `${tells} after ${halfAt}`);
  const last = effects.at(-1)!;
  assert.deepEqual(last, { type: "close-sockets", sockets: NUMBERS, at: last.at });
  // The other end's search is over by then.
  assert.ok(last.at > tells[0]! + SEARCH_MS);
  assert.deepEqual([punch.peer, punch.deadline], [null, NEVER]);
});

Deno.test("search() tries 1800 ports of the peer, each once, in ten seconds", () => {
  const punch = new Punch(1);
  const effects = [...timed(punch.search(PEER, IP, 0, 0, 0), 0), ...run(punch, 0, 60_000)];
  const pings = pingsOf(effects);
  assert.equal(pings.length, PACKETS_PER_SECOND * SEARCH_MS / 1_000);
  assert.equal(new Set(pings.map(({ to }) => to)).size, pings.length);
  const endpoints = pings.map(({ to }) => parseEndpoint(to)!);
  assert.ok(endpoints.every(({ ip, port }) => ip === IP && port >= 1024 && port <= 65_535));
  assert.ok(pings.at(-1)!.at <= SEARCH_MS);
  assert.equal(punch.peer, null);
  assert.ok(effects.every(({ type }) => type === "punch"), "there are no sockets to close");
});

Deno.test("search() draws ports from the whole range, others with every seed and every time", () => {
  const ports = (punch: Punch, at: Millis) => {
    const effects = [
      ...timed(punch.search(PEER, IP, 0, 0, at), at),
      ...run(punch, at, at + 60_000),
    ];
    return pingsOf(effects).map(({ to }) => parseEndpoint(to)!.port);
  };
  const punch = new Punch(5);
  const first = ports(punch, 0);
  for (let from = 1024; from < 65_536; from += 8_064) {
    const count = first.filter((port) => port >= from && port < from + 8_064).length;
    assert.ok(count > 150 && count < 300, `${count} from ${from}`);
  }
  assert.deepEqual(ports(new Punch(5), 0), first);
  for (const other of [ports(punch, 1_000_000), ports(new Punch(6), 0)]) {
    assert.ok(other.filter((port) => first.includes(port)).length < 150);
  }
});

const PREDICTIONS: [name: string, port: number, delta: number, first: number[]][] = [
  ["next ports of a NAT that counts up", 40_000, 1, [40_001, 40_002, 40_003]],
  ["in its steps", 40_000, 4, [40_004, 40_008, 40_012]],
  ["or down", 40_000, -2, [39_998, 39_996, 39_994]],
  ["not beyond the last port", 65_533, 1, [65_534, 65_535]],
  ["nor below those that NATs give", 1_026, -1, [1_025, 1_024]],
];
for (const [name, port, delta, first] of PREDICTIONS) {
  Deno.test(`search() tries ${name} before others`, () => {
    const pings = pingsOf(timed(new Punch(1).search(PEER, IP, port, delta, 0), 0));
    const ports = pings.map(({ to }) => parseEndpoint(to)!.port);
    assert.deepEqual(ports.slice(0, first.length), first);
  });
}

Deno.test("any seed, port and step: a search is of as many ports, all different and possible", () => {
  fc.assert(
    fc.property(
      fc.nat(2 ** 32 - 1),
      fc.nat(65_535),
      fc.integer({ min: -32_768, max: 32_767 }),
      (seed, port, delta) => {
        const punch = new Punch(seed);
        punch.search(PEER, "2001:db8::1", port, delta, 0);
        const { targets } = punch.state.work!;
        assert.ok(targets.every((target) => parseEndpoint(target)!.port >= 1024));
        assert.equal(new Set(targets).size, 1_800);
        assert.equal(targets.length, 1_800);
      },
    ),
    { numRuns: 50 },
  );
});

Deno.test("an attempt with a peer may begin when there is no other, after longer and longer pauses", () => {
  const punch = new Punch(1);
  let now = 0;
  const pauses: Millis[] = [];
  for (let i = 0; i < 8; i++) {
    assert.ok(punch.mayStart(PEER, now));
    punch.open(PEER, now);
    assert.ok(!punch.mayStart(PEER + 1, now), "one peer at a time");
    run(punch, now, now + 60_000);
    assert.ok(punch.mayStart(PEER + 1, now));
    const began = now;
    while (!punch.mayStart(PEER, now)) now += 1_000;
    pauses.push((now - began) / 60_000);
  }
  assert.deepEqual(pauses, [2, 4, 8, 16, 32, 60, 60, 60]);
  punch.succeeded(PEER);
  punch.open(PEER, now);
  run(punch, now, now + 119_000);
  assert.ok(!punch.mayStart(PEER, now + 119_999));
  assert.ok(punch.mayStart(PEER, now + 120_000), "after a success the pauses are short again");
});

Deno.test("end() closes all sockets but those that found a way, and sends nothing more", () => {
  const punch = new Punch(1);
  punch.open(PEER, 0);
  punch.opened(PEER, NUMBERS, ENDPOINT, 10);
  const sockets = NUMBERS.filter((socket) => socket !== 5 && socket !== 77);
  assert.deepEqual(punch.end([5, 77]), [{ type: "close-sockets", sockets }]);
  assert.deepEqual([punch.tick(100), punch.peer, punch.deadline], [[], null, NEVER]);
  assert.deepEqual(punch.end([]), []);
});

Deno.test("sockets that come when the attempt is over, or another goes on, are closed", () => {
  const closed = [{ type: "close-sockets", sockets: [1, 2, 3] }];
  const punch = new Punch(1);
  punch.open(PEER, 0);
  punch.end([]);
  assert.deepEqual(punch.opened(PEER, [1, 2, 3], ENDPOINT, 10), closed);
  punch.search(PEER + 1, IP, 0, 0, 20);
  assert.deepEqual(punch.opened(PEER, [1, 2, 3], ENDPOINT, 30), closed);
  punch.end([]);
  punch.open(PEER + 2, 40);
  assert.deepEqual(punch.opened(PEER, [1, 2, 3], ENDPOINT, 50), closed);
});

Deno.test("a late tick does not make up for what was missed", () => {
  const punch = new Punch(1);
  punch.search(PEER, IP, 0, 0, 0);
  const group = PACKETS_PER_SECOND / 20;
  assert.equal(punch.tick(5_000).length, group);
  assert.equal(punch.tick(5_000).length, 0);
  assert.equal(punch.tick(5_050).length, group);
});

Deno.test("attempts that end at once keep within the budget together", () => {
  const punch = new Punch(1);
  const sentAt: Millis[] = [];
  for (let peer = 0, now = 0; peer < 500; peer++, now += 5) {
    const effects = peer % 2 === 0
      ? punch.search(peer, IP, 0, 0, now)
      : [...punch.open(peer, now), ...punch.opened(peer, NUMBERS, ENDPOINT, now)];
    sentAt.push(...pingsOf(timed(effects, now)).map(({ at }) => at));
    punch.end([]);
  }
  const most = mostPerSecond(sentAt);
  assert.ok(most <= BUDGET_PER_SECOND, `${most}`);
  assert.ok(most > 100, "and use it");
});

const ACTIONS = fc.array(
  fc.tuple(
    fc.constantFrom("open", "search", "sockets", "win", "end", "tick", "run"),
    fc.nat(9),
    fc.oneof(fc.constant(0), fc.double({ min: 0, max: 20_000, noNaN: true })),
  ),
  { maxLength: 60 },
);

Deno.test("any history keeps within 128 sockets, 200 packets a second and one peer", () => {
  fc.assert(
    fc.property(ACTIONS, (actions) => {
      const world = new World();
      for (const [action, peer, delay] of actions) {
        world.act(action, peer);
        world.wait(action === "run" ? delay : delay / 100);
      }
      for (let i = 0; i < actions.length; i++) world.act("sockets", 0);
      world.wait(60_000);
      assert.equal(world.open.size, 0, "no socket is left open");
      assert.ok(mostPerSecond(world.sentAt) <= BUDGET_PER_SECOND, `${mostPerSecond(world.sentAt)}`);
    }),
  );
});

/** A node that does what a search asks of it. */
class World {
  readonly punch = new Punch(7);
  readonly sentAt: Millis[] = [];
  readonly open = new Set<number>();
  /** Peers for which sockets are being opened. */
  #asked: PeerSlot[] = [];
  /** The peer that was begun with last. */
  #peer: PeerSlot | null = null;
  #socket = 0;
  #now: Millis = 0;

  act(action: string, peer: PeerSlot): void {
    const { punch } = this;
    switch (action) {
      case "open":
      case "search": {
        if (!punch.mayStart(peer, this.#now)) return;
        this.#peer = peer;
        if (action === "open") return this.#perform(punch.open(peer, this.#now));
        return this.#perform(punch.search(peer, IP, 4_000, 1, this.#now));
      }
      case "sockets":
        return this.#answer();
      case "win":
        if (punch.peer !== null) punch.succeeded(punch.peer);
        return this.#perform(punch.end([]));
      case "end":
        return this.#perform(punch.end([]));
      case "tick":
        return this.#perform(punch.tick(this.#now));
    }
  }

  wait(duration: Millis): void {
    const end = this.#now + duration;
    while (this.punch.deadline <= end) {
      this.#now = Math.max(this.#now, this.punch.deadline);
      this.#perform(this.punch.tick(this.#now));
    }
    this.#now = end;
  }

  /** Sockets are open that were asked for, perhaps long ago. */
  #answer(): void {
    const peer = this.#asked.shift();
    if (peer === undefined) return;
    const sockets = Array.from({ length: SOCKETS }, () => ++this.#socket);
    for (const socket of sockets) this.open.add(socket);
    this.#perform(this.punch.opened(peer, sockets, ENDPOINT, this.#now));
    assert.ok(this.open.size <= SOCKETS, `${this.open.size} sockets`);
  }

  #perform(effects: readonly PunchEffect[]): void {
    for (const effect of effects) {
      if (effect.type === "open-sockets") this.#asked.push(effect.peer);
      if (effect.type === "close-sockets") effect.sockets.forEach((each) => this.open.delete(each));
      if (effect.type === "punch") this.sentAt.push(this.#now);
      if ("peer" in effect) assert.equal(effect.peer, this.#peer);
    }
  }
}
