import assert from "node:assert/strict";
import type { Millis } from "../machine.ts";
import { SeededRandom, unit } from "../random.ts";
import { kindOf, type PathAddress } from "./address.ts";
import { isDoubtful, ponged } from "./path.ts";
import { DEFAULT_PREFERENCE } from "./peer_paths.ts";
import { A, B, lossy, type Network, NODE, RELAY, Rig, SSH, WANTED } from "./peer_paths_rig.ts";

Deno.test("the first path that works is taken, whatever its kind", () => {
  const rig = new Rig({ [A]: () => null, [RELAY]: () => 80, [B]: () => 400 });
  rig.run(79);
  assert.equal(rig.peer.current, null);
  rig.run(1);
  assert.equal(rig.peer.current, RELAY);
  const [use] = rig.uses;
  const { at: _at, ...effect } = use!;
  const why = "first path that works";
  assert.deepEqual(effect, {
    type: "use",
    path: RELAY,
    standby: null,
    mtu: null,
    why,
    drain: false,
  });
});

Deno.test("a direct path replaces the relay with its second answer", () => {
  let isOpen = false;
  const rig = new Rig({ [RELAY]: () => 40, [A]: () => isOpen ? 50 : null });
  rig.run(10_000);
  assert.deepEqual(rig.used, [RELAY]);
  isOpen = true;
  rig.peer.restart(rig.now);
  rig.run(99);
  assert.equal(rig.peer.current, RELAY);
  rig.run(2);
  assert.deepEqual(rig.used, [RELAY, A]);
  assert.equal(rig.uses.at(-1)!.why, `better than ${RELAY}`);
});

/** Milliseconds of a path in use, of another, and which one is used in the end. */
const CHOICES: [name: string, first: [string, number], other: [string, number], used: string[]][] =
  [
    ["a direct path is worth 90 ms more than a relay", [RELAY, 20], [A, 60], [RELAY, A]],
    ["but a very slow one is not", [RELAY, 20], [A, 200], [RELAY]],
    ["a node that passes on is wanted more than a relay", [RELAY, 40], [NODE, 40], [RELAY, NODE]],
    ["SSH is wanted more than a node that passes on", [NODE, 40], [SSH, 40], [NODE, SSH]],
    ["a relay does not replace a direct path", [A, 60], [RELAY, 40], [A]],
    ["unless it is much faster", [A, 300], [RELAY, 20], [A, RELAY]],
    ["of equal kinds the much faster one is taken", [A, 60], [B, 30], [A, B]],
    ["not one that is a little faster", [A, 60], [B, 52], [A]],
    ["nor one that is a few milliseconds faster", [A, 6], [B, 3], [A]],
  ];
for (const [name, [first, rtt], [other, otherRtt], used] of CHOICES) {
  Deno.test(`choice: ${name}`, () => {
    let isOpen = false;
    const rig = new Rig({ [first]: () => rtt, [other]: () => isOpen ? otherRtt : null });
    rig.run(2_000);
    assert.deepEqual(rig.used, [first]);
    isOpen = true;
    rig.run(60_000);
    assert.deepEqual(rig.used, used);
  });
}

Deno.test("one of equal kind must be better for three seconds", () => {
  let rttMs = 60;
  const rig = new Rig({ [A]: () => 60, [B]: () => rttMs });
  rig.run(20_000);
  assert.deepEqual(rig.used, [A]);
  rttMs = 5;
  let rivalAt: Millis | null = null;
  while (rig.peer.current === A) {
    rig.run(50);
    rivalAt ??= rig.peer.rival?.since ?? null;
    assert.ok(rig.now < 120_000);
  }
  const waited = rig.uses.at(-1)!.at - rivalAt!;
  assert.ok(waited >= 3_000, `${waited}`);
});

for (const [rttMs, otherMs] of [[1_000, 600], [1_900, 900], [400, 290]] as const) {
  Deno.test(`time goes on while a rival of ${otherMs} ms owes a fresh answer`, () => {
    let other: Millis | null = null;
    const rig = new Rig({ [A]: () => rttMs, [B]: () => other });
    const untilRival = () => {
      other = otherMs;
      while (rig.peer.rival === null && rig.now < 200_000) rig.run(10);
      assert.ok(rig.peer.rival);
    };
    rig.run(5_000);
    untilRival();
    // It falls silent before it was better for long enough.
    other = null;
    rig.run(20_000);
    assert.deepEqual(rig.used, [A]);
    untilRival();
    rig.run(60_000);
    assert.deepEqual(rig.used, [A, B]);
  });
}

Deno.test("equal paths whose round trips vary are not changed to and fro", () => {
  for (let seed = 1; seed <= 10; seed++) {
    const random = new SeededRandom(seed);
    const varying = () => 30 + 30 * unit(random);
    const rig = new Rig({ [A]: varying, [B]: varying, [RELAY]: varying }).run(300_000);
    const changes = rig.used.length - 1;
    assert.ok(changes <= 2, `seed ${seed}: ${changes} changes`);
    assert.notEqual(rig.peer.current, RELAY);
  }
});

Deno.test("a lossy direct path loses to a clean relay, and gets its place back when it is clean", () => {
  let isLossy = false;
  let pings = 0;
  // Never three in a row: the path does not fail.
  const rig = new Rig({ [A]: () => isLossy && ++pings % 6 === 0 ? null : 20, [RELAY]: () => 40 });
  rig.run(5_000);
  assert.equal(rig.peer.current, A);
  isLossy = true;
  rig.run(30_000);
  assert.equal(rig.peer.current, RELAY);
  const uses = rig.uses.length;
  rig.run(120_000);
  assert.equal(rig.uses.length, uses, "and stays there");
  isLossy = false;
  rig.run(60_000);
  assert.equal(rig.peer.current, A);
  assert.ok(rig.peer.paths.get(A)!.upSince! < 5_000, "it never failed");
});

Deno.test("a direct path that loses little keeps its place", () => {
  const rig = new Rig({ [A]: lossy(20, 0.02), [RELAY]: () => 40 }).run(300_000);
  assert.equal(rig.used.at(-1), A);
  const relayed = rig.uses.filter(({ path }) => path === RELAY);
  assert.ok(relayed.length <= 1, `${relayed.length}`);
});

Deno.test("a path in doubt gets a standby at once, and keeps its place when it answers", () => {
  let isSilent = false;
  const rig = new Rig({ [A]: () => isSilent ? null : 20, [RELAY]: () => 40 }).run(10_000);
  assert.equal(rig.peer.current, A);
  isSilent = true;
  const uses = rig.uses.length;
  while (rig.uses.length === uses) rig.run(1);
  const use = rig.uses.at(-1)!;
  assert.deepEqual([use.path, use.standby], [A, RELAY]);
  assert.ok(isDoubtful(rig.peer.paths.get(A)!, rig.now));
  // The first ping that got no answer is overdue, and no other one is.
  const last = rig.pings.filter(({ path }) => path === A).at(-1)!.at;
  assert.ok(use.at - last < 300, `${use.at - last}`);
  assert.equal(rig.peer.paths.get(A)!.failures, 1);
  isSilent = false;
  rig.run(500);
  assert.deepEqual([rig.peer.current, rig.peer.standby], [A, null]);
  assert.equal(rig.uses.at(-1)!.standby, null);
});

Deno.test("the standby of a path that fails takes its place", () => {
  let isSilent = false;
  const rig = new Rig({ [A]: () => isSilent ? null : 20, [B]: () => 25, [RELAY]: () => 40 });
  rig.run(10_000);
  isSilent = true;
  rig.run(2_000);
  assert.deepEqual([rig.peer.current, rig.peer.standby], [B, null]);
  assert.equal(rig.uses.at(-1)!.why, "no answer to 3 pings in a row");
  rig.run(60_000);
  assert.equal(rig.peer.current, B);
});

for (const order of [DEFAULT_PREFERENCE.order, ["udp"] as const]) {
  Deno.test(`a path that failed must answer 16 times, even where ${order[0]} of ${order.length} is wanted`, () => {
    let isSilent = false;
    const rig = new Rig({ [A]: () => isSilent ? null : 20, [RELAY]: () => 40 });
    rig.peer.preference = { order, exclude: [] };
    rig.run(5_000);
    for (let i = 0; i < 5; i++) {
      isSilent = true;
      rig.run(3_000);
      assert.equal(rig.peer.current, RELAY);
      isSilent = false;
      rig.run(2_500);
      assert.deepEqual([rig.peer.current, rig.peer.paths.get(A)!.state], [RELAY, "up"]);
    }
    // It is pinged often, to give the answers that it owes.
    rig.run(3_500);
    assert.equal(rig.peer.current, A);
  });
}

Deno.test("a path that failed lately does not take the place of one that fails", () => {
  const silent = new Set<PathAddress>();
  const through = (path: PathAddress, rttMs: Millis) => () => silent.has(path) ? null : rttMs;
  const rig = new Rig({ [A]: through(A, 20), [B]: through(B, 30), [RELAY]: through(RELAY, 40) });
  rig.run(5_000);
  silent.add(B);
  rig.run(20_000);
  silent.delete(B);
  // B answers again, not often enough yet, when A falls silent.
  while (rig.peer.paths.get(B)!.state !== "up") rig.run(10);
  silent.add(A);
  rig.run(1_500);
  assert.equal(rig.peer.current, RELAY);
  assert.ok(rig.peer.paths.get(B)!.probation > 0);
});

Deno.test("a datagram from elsewhere makes a path, which is used only once it answers", () => {
  const stray = "203.0.113.7:9";
  const rig = new Rig({ [RELAY]: () => 40 }).run(5_000);
  rig.peer.at(stray, true, rig.now);
  rig.run(120_000);
  assert.ok(rig.pingsOf(stray) > 5, "it is tried");
  assert.deepEqual(rig.used, [RELAY]);
  // Nor does a ping's number that is heard on another path prove anything.
  const path = rig.peer.at(stray, true, rig.now)!;
  assert.equal(ponged(path, 1, WANTED, rig.now), false);
});

Deno.test("no more than 40 paths are followed, and those known stay known", () => {
  const rig = new Rig({});
  for (let port = 1; port <= 100; port++) rig.peer.at(`203.0.113.7:${port}`, true, rig.now);
  assert.equal(rig.peer.paths.size, 40);
  assert.equal(rig.peer.at("203.0.113.7:99", false, rig.now), null);
  assert.equal(rig.peer.at("203.0.113.7:9", false, rig.now)!.isReflexive, false);
  assert.equal(rig.peer.at("203.0.113.7:9", true, rig.now)!.isReflexive, false);
});

Deno.test("kinds that are excluded get no path, no ping and no datagram", () => {
  const rig = new Rig({});
  rig.peer.preference = { order: ["udp"], exclude: ["udp", "ssh"] };
  for (const address of [A, B, SSH, `socket:3>${A}`]) {
    assert.equal(rig.peer.at(address, false, rig.now), null);
    rig.peer.adopt(address);
    assert.equal(rig.peer.current, null);
  }
  rig.peer.at(RELAY, false, rig.now);
  rig.run(60_000);
  assert.ok(rig.pings.length > 0 && rig.pings.every(({ path }) => kindOf(path) === "relay"));
});

Deno.test("an order that a user chose outweighs what is measured", () => {
  const network: Network = { [A]: () => 5, [SSH]: () => 30, [RELAY]: lossy(300, 0.03) };
  assert.equal(new Rig(network).run(30_000).peer.current, A);
  const rig = new Rig(network);
  rig.peer.preference = { order: ["relay", "ssh"], exclude: [] };
  rig.run(30_000);
  assert.equal(rig.peer.current, RELAY);
  // What is wanted most works no more: the next one of the order.
  network[RELAY] = () => null;
  rig.run(10_000);
  assert.equal(rig.peer.current, SSH);
  network[RELAY] = () => 300;
  rig.run(60_000);
  assert.equal(rig.peer.current, RELAY);
});

Deno.test("the order of kinds that is the default weighs the same when a user states it", () => {
  const rig = new Rig({ [A]: () => 300, [RELAY]: () => 20 });
  const costs = () => [...rig.peer.paths.values()].map((path) => rig.peer.cost(path));
  const before = costs();
  rig.peer.preference = { order: [...DEFAULT_PREFERENCE.order], exclude: [] };
  assert.deepEqual(costs(), before);
});
