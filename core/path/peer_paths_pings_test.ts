import assert from "node:assert/strict";
import fc from "fast-check";
import { NEVER } from "../machine.ts";
import type { PathAddress } from "./address.ts";
import { A, B, lossy, type Network, NODE, RELAY, Rig, SSH, WANTED } from "./peer_paths_rig.ts";

Deno.test("nothing is sent without a session", () => {
  const rig = new Rig({ [A]: () => 20 });
  rig.peer.hasSession = false;
  rig.run(60_000);
  assert.deepEqual(rig.pings, []);
  assert.equal(rig.peer.deadline(rig.now), NEVER);
});

Deno.test("nothing is sent to a peer that nobody talks to", () => {
  const rig = new Rig({ [A]: () => 20 });
  rig.trafficEvery = null;
  rig.run(600_000);
  assert.deepEqual(rig.pings, []);
  assert.equal(rig.peer.deadline(rig.now), NEVER);
});

Deno.test("after the last traffic pings become rare, and end after two and a half minutes", () => {
  const rig = new Rig({ [A]: () => 20, [RELAY]: () => 40 }).run(10_000);
  rig.trafficEvery = null;
  const last = rig.now;
  rig.run(600_000);
  const pings = rig.pings.filter(({ at }) => at > last + 2_500);
  assert.ok(pings.length > 10 && pings.length < 25, `${pings.length}`);
  assert.ok(pings.every(({ at }) => at < last + 150_000));
  // NATs forget in 30 s, and later.
  for (const address of [A, RELAY]) {
    const at = rig.pings.filter(({ path }) => path === address).map(({ at }) => at);
    assert.ok(at.every((time, i) => i === 0 || time - at[i - 1]! < 30_000));
  }
  assert.equal(rig.peer.deadline(rig.now), NEVER);
  // The next traffic begins anew, with the path that was used.
  rig.trafficEvery = 500;
  const uses = rig.uses.length;
  rig.run(10_000);
  assert.equal(rig.uses.length, uses);
  assert.equal(rig.peer.current, A);
});

Deno.test("traffic after a pause has every path show at once that it works", () => {
  const rig = new Rig({ [A]: () => 20, [RELAY]: () => 40 }).run(10_000);
  rig.trafficEvery = null;
  rig.run(20_000);
  rig.trafficEvery = 500;
  const [before, at] = [rig.pings.length, rig.now];
  rig.run(0);
  const pings = rig.pings.slice(before);
  assert.ok(pings.every((ping) => ping.at === at));
  assert.deepEqual(new Set(pings.map(({ path }) => path)), new Set([A, RELAY]));
});

Deno.test("keep() has paths pinged now and then, as if the last traffic were over", () => {
  const rig = new Rig({ [A]: () => 20 });
  rig.trafficEvery = null;
  rig.peer.keep(rig.now);
  assert.ok(rig.peer.isKept(rig.now) && !rig.peer.isActive(rig.now));
  rig.run(60_000);
  assert.equal(rig.peer.current, A);
  assert.ok(rig.pingsOf(A) < 20, `${rig.pingsOf(A)}`);
  rig.peer.traffic(rig.now);
  rig.peer.keep(rig.now);
  assert.ok(rig.peer.isActive(rig.now), "what is active stays so");
});

Deno.test("pings under traffic: 4 a second in use, the best other one each 2 s, others each 5 s", () => {
  const rig = new Rig({ [A]: () => 20, [B]: () => 20, [RELAY]: () => 40 }).run(20_000);
  const [before, from] = [rig.pings.length, rig.now];
  rig.run(60_000);
  const count = (address: string) =>
    rig.pings.slice(before).filter(({ path }) => path === address).length;
  assert.equal(rig.peer.current, A);
  // Beside those, the MTU is confirmed each second.
  assert.ok(Math.abs(count(A) - (240 + 60)) <= 8, `${count(A)}`);
  assert.ok(Math.abs(count(B) - 30) <= 1, `${count(B)}`);
  assert.ok(Math.abs(count(RELAY) - 12) <= 1, `${count(RELAY)}`);
  assert.ok(rig.pings[before]!.at >= from);
});

Deno.test("use tells the packet size that both path and standby carry", () => {
  let isSilent = false;
  const rig = new Rig({ [A]: () => isSilent ? null : 20, [B]: () => 25 }).run(20_000);
  assert.equal(rig.uses.at(-1)!.mtu, WANTED - 28 - 32);
  isSilent = true;
  while (rig.peer.standby === null) rig.run(1);
  assert.equal(rig.uses.at(-1)!.mtu, WANTED - 48 - 32);
  rig.peer.forget(B);
  assert.equal(rig.peer.standby, null);
});

Deno.test("adopt() takes where a handshake came from, forget() drops what was in use", () => {
  const rig = new Rig({ [A]: () => null, [RELAY]: () => 40 });
  rig.peer.adopt(A);
  rig.tick();
  assert.deepEqual([rig.peer.current, rig.uses.length], [A, 1]);
  rig.peer.adopt("198.51.100.9:1");
  assert.equal(rig.peer.current, A, "a path that is not known cannot be used");
  rig.run(1_000);
  assert.equal(rig.peer.current, RELAY);
  rig.peer.forget(RELAY);
  assert.equal(rig.peer.current, null);
  rig.run(1_000);
  assert.equal(rig.peer.current, null);
});

Deno.test("linkDown() ends the use of a path at once, with the reason told", () => {
  const rig = new Rig({ [SSH]: () => 20, [RELAY]: () => 40 }).run(10_000);
  assert.equal(rig.peer.current, SSH);
  rig.peer.linkDown(SSH, "the connection was reset", rig.now);
  rig.peer.linkDown(A, "nobody knows this one", rig.now);
  rig.tick();
  assert.equal(rig.peer.current, RELAY);
  assert.equal(rig.uses.at(-1)!.why, "the connection was reset");
});

/** What may happen to a peer's paths: an action, a path it is about, and how long until the next. */
const ACTIONS = [
  "dies",
  "works",
  "loses",
  "slow",
  "traffic",
  "silence",
  "restart",
  "stray",
  "link down",
  "forget",
  "adopt",
  "session",
  "keep",
  "wait",
] as const;
const HISTORY = fc.array(
  fc.record({
    action: fc.constantFrom(...ACTIONS),
    path: fc.constantFrom(A, B, SSH, NODE, RELAY),
    rttMs: fc.double({ min: 1, max: 2_000, noNaN: true }),
    durationMs: fc.double({ min: 0, max: 20_000, noNaN: true }),
  }),
  { maxLength: 25 },
);

Deno.test("any history: deadlines move on, the path in use is known, and works if one does", () => {
  fc.assert(
    fc.property(HISTORY, fc.nat(), (history, seed) => {
      const network: Network = { [A]: () => 20, [RELAY]: () => 40 };
      const rig = new Rig(network);
      for (const { action, path, rttMs, durationMs } of history) {
        if (action === "dies") network[path] = () => null;
        else if (action === "works") network[path] = () => rttMs / 20;
        else if (action === "loses") network[path] = lossy(30, 0.3, seed);
        else if (action === "slow") network[path] = () => rttMs;
        else perform(rig, action, path);
        rig.run(durationMs);
        const { current, paths } = rig.peer;
        const isUp = current !== null && paths.get(current)!.state === "up";
        const others = [...paths.values()].filter(({ state }) => state === "up");
        if (others.length > 0) assert.ok(isUp, `${current} is used beside ${others[0]!.address}`);
      }
    }),
    { numRuns: 300 },
  );
});

function perform(rig: Rig, action: typeof ACTIONS[number], path: PathAddress): void {
  const { peer, now } = rig;
  switch (action) {
    case "traffic":
      rig.trafficEvery = 500;
      return;
    case "silence":
      rig.trafficEvery = null;
      return;
    case "restart":
      return peer.restart(now);
    case "stray":
      return void peer.at(path, true, now);
    case "link down":
      peer.linkDown(path, "the link ended", now);
      return rig.tick();
    case "forget":
      peer.forget(path);
      return rig.tick();
    case "adopt":
      peer.adopt(path);
      return rig.tick();
    case "session":
      peer.hasSession = !peer.hasSession;
      return;
    case "keep":
      return peer.keep(now);
  }
}
