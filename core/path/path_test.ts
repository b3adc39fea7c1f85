import assert from "node:assert/strict";
import fc from "fast-check";
import type { Millis } from "../machine.ts";
import { BASE_SIZE, mtuOf } from "./mtu.ts";
import {
  duePing,
  expirePings,
  fail,
  isDoubtful,
  newPath,
  type Path,
  pathDeadline,
  pingBytes,
  pinged,
  ponged,
  probed,
  SEAL_BYTES,
  startBurst,
} from "./path.ts";
import { lossOf, newQuality, timeoutOf } from "./quality.ts";

const UDP = "192.0.2.1:51820";
const RELAY = "relay:mesh.example.com:8443";
const WANTED = 1480;
/** Longer than any answer to the pings of a test is waited for. */
const LONG_MS = 60_000;
const ACTIVE = { interval: 250, isActive: true };
const KEPT = { interval: 15_000, isActive: false };

/** A path that answered once, after `rttMs`, at `now`. */
function upPath(now: Millis, rttMs: Millis, address = UDP): Path {
  const path = newPath(address, false, now - rttMs);
  pinged(path, 1, ACTIVE, now - rttMs);
  assert.ok(ponged(path, 1, WANTED, now));
  return path;
}

/** Sends pings as they are due until `until`, none of which is answered; returns when each went. */
function pingInVain(path: Path, from: Millis, until: Millis, pause = ACTIVE): Millis[] {
  const sent: Millis[] = [];
  let now = from;
  while (now < until) {
    expirePings(path, now);
    if (duePing(path, now)) {
      sent.push(now);
      pinged(path, 1_000 + sent.length, pause, now);
    }
    const next = pathDeadline(path);
    assert.ok(next > now, `stuck at ${now}`);
    now = next;
  }
  return sent;
}

/** Pings and answers `count` times, `rttMs` apart; returns when the last answer came. */
function answer(path: Path, count: number, from: Millis, rttMs: Millis): Millis {
  for (let i = 0; i < count; i++) {
    const at = from + i * rttMs;
    pinged(path, 500 + i, ACTIVE, at);
    assert.ok(ponged(path, 500 + i, WANTED, at + rttMs));
  }
  return from + count * rttMs;
}

const BURST = [0, 100, 300, 700, 1_500, 3_000];
const SCHEDULES: [name: string, pause: typeof ACTIVE, after: number[]][] = [
  ["with traffic", ACTIVE, [8_000, 14_000, 20_000, 26_000, 32_000]],
  ["without", KEPT, [8_000, 18_000, 38_000, 78_000, 138_000, 198_000]],
];
for (const [name, pause, after] of SCHEDULES) {
  Deno.test(`a path that never answers gets a burst, then pauses that grow, ${name}`, () => {
    const begin = 1_000;
    const sent = pingInVain(newPath(UDP, false, begin), begin, begin + after.at(-1)! + 1, pause);
    assert.deepEqual(sent.map((at) => at - begin), [...BURST, ...after]);
  });
}

Deno.test("startBurst() begins again wherever the schedule stood", () => {
  const path = newPath(UDP, false, 0);
  pingInVain(path, 0, 50_000);
  startBurst(path, 50_000);
  assert.ok(duePing(path, 50_000));
  const sent = pingInVain(path, 50_000, 53_001);
  assert.deepEqual(sent.map((at) => at - 50_000), BURST);
});

Deno.test("a new path is trying, and has failed once its burst was in vain", () => {
  const path = newPath(UDP, false, 0);
  assert.equal(path.state, "trying");
  pingInVain(path, 0, 3_000);
  assert.equal(path.state, "trying");
  pingInVain(path, 3_000, 8_000);
  assert.equal(path.state, "failed");
  assert.match(path.lastError!, /^no answer to \d+ pings$/);
});

for (const state of ["trying", "failed"] as const) {
  Deno.test(`ponged() takes a path that is ${state} up, with the losses of before forgotten`, () => {
    const path = newPath(UDP, false, 0);
    pingInVain(path, 0, state === "trying" ? 2_000 : 10_000);
    assert.equal(path.state, state);
    pinged(path, 7, ACTIVE, 20_000);
    assert.ok(ponged(path, 7, WANTED, 20_040));
    assert.equal(path.state, "up");
    assert.equal(path.upSince, 20_040);
    assert.equal(path.quality.rttMs, 40);
    assert.equal(lossOf(path.quality), 0);
    assert.deepEqual(path.outstanding, []);
    assert.equal(path.lastError, null);
    // One answer may be luck: the next ping goes out at once.
    assert.ok(duePing(path, 20_040));
  });
}

Deno.test("ponged() refuses what answers no ping of the path, or one twice", () => {
  const path = newPath(UDP, false, 0);
  pinged(path, 7, ACTIVE, 0);
  assert.equal(ponged(path, 8, WANTED, 10), false);
  assert.equal(path.state, "trying");
  assert.equal(path.lastHeardAt, null);
  assert.ok(ponged(path, 7, WANTED, 20));
  assert.equal(ponged(path, 7, WANTED, 30), false);
  assert.equal(path.pongsReceived, 1);
  assert.equal(path.lastAnswerAt, 20);
});

Deno.test("a path that is up is pinged at the interval it is given", () => {
  for (const pause of [ACTIVE, KEPT]) {
    const path = upPath(1_000, 20);
    pinged(path, 2, pause, 1_000);
    assert.equal(path.nextPingAt, 1_000 + pause.interval);
    assert.equal(duePing(path, 1_000 + pause.interval - 1), false);
  }
});

Deno.test("an up path fails with its third ping in a row without an answer", () => {
  const path = upPath(1_000, 20);
  // Each is late 300 ms after it went out, 250 ms after the one before.
  const sent = pingInVain(path, 1_000, 1_801);
  assert.deepEqual(sent.slice(0, 3), [1_000, 1_250, 1_500]);
  const early = upPath(1_000, 20);
  pingInVain(early, 1_000, 1_800);
  assert.deepEqual([early.state, early.failures], ["up", 2]);
  assert.deepEqual([path.state, path.failures], ["failed", 3]);
  assert.equal(path.lastError, "no answer to 3 pings in a row");
  assert.equal(path.upSince, null);
  assert.equal(path.mtu, null);
  // It is tried again from the beginning.
  assert.equal(sent.at(-1), 1_800);
  assert.deepEqual([path.burstAt, path.burst], [1_800, 1]);
});

Deno.test("an answer between two losses keeps a path up, however many there are", () => {
  const path = upPath(1_000, 20);
  let now = 1_000;
  for (let i = 0; i < 50; i++) {
    now = pingInVain(path, now, now + 500).at(-1)! + 300;
    expirePings(path, now);
    assert.deepEqual([path.state, path.failures], ["up", 2]);
    now = answer(path, 1, now, 20);
    assert.deepEqual([path.state, path.failures], ["up", 0]);
  }
  assert.ok(lossOf(path.quality) > 0.6);
});

Deno.test("a path whose round trip grows beyond the timeout stays up: late answers count", () => {
  const path = upPath(1_000, 20);
  const rttMs = 900;
  const flights: { number: number; at: Millis }[] = [];
  for (let now = 1_000, number = 100; now < 20_000; now += 50) {
    while (flights.length > 0 && flights[0]!.at <= now) {
      ponged(path, flights.shift()!.number, WANTED, now);
    }
    expirePings(path, now);
    if (!duePing(path, now)) continue;
    pinged(path, ++number, ACTIVE, now);
    flights.push({ number, at: now + rttMs });
    // Before the first late answer the path cannot be told from a dead one.
    if (now > 5_000) assert.equal(path.state, "up", `${now}`);
  }
  assert.equal(lossOf(path.quality), 0);
  assert.ok(Math.abs(path.quality.rttMs! - rttMs) < 50);
});

Deno.test("three losses do not make a path fail that answered a later ping a moment ago", () => {
  const path = upPath(0, 1_000);
  for (const number of [2, 3, 4, 5]) pinged(path, number, ACTIVE, number * 250);
  ponged(path, 5, WANTED, 2_250);
  const overdue = 1_000 + timeoutOf(path.quality);
  expirePings(path, overdue);
  assert.deepEqual([path.state, path.failures], ["up", 3]);
  // Silence for as long as an answer may take, and it has.
  expirePings(path, 2_250 + timeoutOf(path.quality) + 1);
  assert.equal(path.state, "failed");
});

for (const rttMs of [1, 100, 500, 1_300, 1_500, 3_000]) {
  Deno.test(`a path of ${rttMs} ms that goes silent under traffic is doubted, then fails`, () => {
    const path = upPath(0, rttMs);
    path.quality.rttMs = rttMs;
    pingInVain(path, 0, LONG_MS);
    assert.equal(path.state, "failed");
    assert.ok(lossOf(path.quality) > 0);
    const doubted = upPath(0, rttMs);
    pingInVain(doubted, 0, timeoutOf(doubted.quality) + 1);
    assert.ok(isDoubtful(doubted, timeoutOf(doubted.quality)));
  });
}

Deno.test("a path that failed owes 16 answers in a row", () => {
  const path = upPath(0, 20);
  assert.equal(path.probation, 0);
  fail(path, "the link ended", 100);
  assert.deepEqual([path.state, path.lastError, path.probation], ["failed", "the link ended", 16]);
  let now = answer(path, 15, 200, 20);
  assert.deepEqual([path.state, path.probation], ["up", 1]);
  // One loss, and it owes all of them again.
  pinged(path, 2_000, KEPT, now);
  now += timeoutOf(path.quality);
  assert.ok(expirePings(path, now));
  assert.equal(path.probation, 16);
  now = answer(path, 16, now, 20);
  assert.equal(path.probation, 0);
  answer(path, 1, now, 20);
  assert.equal(path.probation, 0);
});

Deno.test("a path that never worked owes nothing when it fails", () => {
  const path = newPath(UDP, false, 0);
  fail(path, "the link ended", 10);
  assert.equal(path.probation, 0);
  pingInVain(path, 10, 10_000);
  assert.deepEqual([path.state, path.probation], ["failed", 0]);
});

Deno.test("isDoubtful() holds from the moment an answer is overdue, until one comes", () => {
  const path = newPath(UDP, false, 0);
  assert.ok(isDoubtful(path, 0), "nothing is known of it");
  const up = upPath(1_000, 20);
  pinged(up, 2, ACTIVE, 1_000);
  pinged(up, 3, ACTIVE, 1_250);
  assert.equal(isDoubtful(up, 1_299), false);
  assert.ok(isDoubtful(up, 1_300));
  // An answer to the later one shows that the path works: the earlier one was lost.
  ponged(up, 3, WANTED, 1_310);
  assert.equal(isDoubtful(up, 1_310), false);
  assert.equal(isDoubtful(up, LONG_MS), false);
  expirePings(up, 1_400);
  assert.equal(up.failures, 1);
  assert.equal(isDoubtful(up, 1_400), false);
});

Deno.test("probes of the MTU are no losses, no failures and no reason to doubt", () => {
  const path = upPath(1_000, 20);
  let now = 1_000;
  for (let number = 10; !path.mtu!.isDone; number++) {
    assert.ok(number < 60);
    probed(path, number, path.mtu!.trying, now);
    now += timeoutOf(path.quality);
    assert.equal(isDoubtful(path, now), false);
    assert.ok(expirePings(path, now));
    // Small pings are answered meanwhile.
    now = answer(path, 1, now, 20);
  }
  assert.deepEqual([path.state, path.failures, lossOf(path.quality)], ["up", 0, 0]);
  assert.equal(mtuOf(path.mtu!), BASE_SIZE);
});

Deno.test("a probe that is lost while the path fails says nothing about its size", () => {
  const path = upPath(1_000, 20);
  pinged(path, 2, ACTIVE, 1_000);
  assert.ok(expirePings(path, 1_300));
  assert.equal(path.failures, 1);
  for (let number = 10; number < 20; number++) probed(path, number, WANTED, 1_300);
  const before = structuredClone(path.mtu);
  assert.ok(expirePings(path, 1_600));
  assert.deepEqual(path.mtu, before);
});

Deno.test("an answer to a late probe neither takes back a loss nor counts as a slow answer", () => {
  const path = upPath(1_000, 20);
  pinged(path, 2, ACTIVE, 1_000);
  probed(path, 3, WANTED, 1_000);
  expirePings(path, 1_300);
  const loss = lossOf(path.quality);
  assert.ok(loss > 0);
  assert.ok(ponged(path, 3, WANTED, 1_900));
  assert.equal(lossOf(path.quality), loss);
  assert.equal(path.quality.rttMs, 20);
  assert.equal(mtuOf(path.mtu!), WANTED);
});

Deno.test("only UDP paths are searched for their MTU", () => {
  assert.equal(upPath(0, 20, RELAY).mtu, null);
  assert.equal(upPath(0, 20, UDP).mtu?.wanted, WANTED);
  assert.equal(upPath(0, 20, `socket:7>${UDP}`).mtu?.wanted, WANTED);
});

const PING_BYTES: [address: string, headers: number][] = [
  [UDP, 28],
  [`socket:7>${UDP}`, 28],
  ["[2001:db8::1]:51820", 48],
  ["socket:7>[2001:db8::1]:51820", 48],
];
for (const [address, headers] of PING_BYTES) {
  Deno.test(`pingBytes() leaves room for sealing and headers on ${address}`, () => {
    assert.equal(pingBytes(newPath(address, false, 0), 1_400), 1_400 - headers - SEAL_BYTES);
  });
}

/** What may happen to a path, and how much later. */
const STEPS = fc.array(
  fc.tuple(
    fc.constantFrom("ping", "probe", "pong", "old pong", "expire", "fail", "burst", "deadline"),
    fc.double({ min: 0, max: 5_000, noNaN: true }),
  ),
  { maxLength: 200 },
);

Deno.test("any history: the deadline moves on, what is counted stays within its bounds", () => {
  fc.assert(
    fc.property(STEPS, fc.boolean(), (steps, isActive) => {
      const path = newPath(UDP, false, 0);
      const pause = isActive ? ACTIVE : KEPT;
      let [now, number] = [0, 0];
      for (const [step, delay] of steps) {
        now = step === "deadline" ? Math.max(now, pathDeadline(path)) : now + delay;
        act(path, step, () => ++number, now);
        expirePings(path, now);
        // A tick does all that is due; late ones make up for what they missed.
        for (let i = 0; duePing(path, now) && i < BURST.length; i++) {
          pinged(path, ++number, pause, now);
        }
        assert.ok(pathDeadline(path) > now, `${step} at ${now}`);
        assertSane(path, now);
      }
    }),
  );
});

function act(path: Path, step: string, next: () => number, now: Millis): void {
  switch (step) {
    case "ping":
      return pinged(path, next(), ACTIVE, now);
    case "probe":
      return path.mtu ? probed(path, next(), path.mtu.trying, now) : undefined;
    case "pong":
    case "old pong": {
      const ping = path.outstanding.at(step === "pong" ? -1 : 0);
      if (ping) assert.ok(ponged(path, ping.number, WANTED, now));
      return;
    }
    case "fail":
      return fail(path, "told to", now);
    case "burst":
      return startBurst(path, now);
  }
}

function assertSane(path: Path, now: Millis): void {
  assert.ok(path.outstanding.length <= 16);
  assert.ok(path.probation >= 0 && path.probation <= 16);
  assert.equal(path.upSince !== null, path.state === "up");
  assert.ok(path.lastAnswerAt === null || path.lastAnswerAt <= now);
  assert.ok(path.pongsReceived <= path.pingsSent);
  if (path.pongsReceived === 0) {
    assert.deepEqual(path.quality, { ...newQuality(), ...lossesOf(path) });
  }
  const loss = lossOf(path.quality);
  assert.ok(loss >= 0 && loss <= 1);
}

function lossesOf({ quality }: Path) {
  return { losses: quality.losses, outcomes: quality.outcomes };
}
