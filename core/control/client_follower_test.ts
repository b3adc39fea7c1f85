import assert from "node:assert/strict";
import type { ControlEffect } from "./client.ts";
import { ATTEMPT_TIMEOUT_MS, IMPROVE_INTERVAL_MS } from "./dialer.ts";
import { entryOf, netmapOf, Rig } from "../../tests/client_rig.ts";

const LEADER = "wss://lead/api/v1/control";
const FOLLOWER = "wss://follow/api/v1/control";

/** Opens sockets to a follower, the leader having refused. */
function followed(urls = [LEADER, FOLLOWER]): Rig {
  const rig = new Rig({ urls });
  let dial = rig.wait().find((effect) => effect.type === "connect");
  while (dial && dial.url !== FOLLOWER) {
    rig.give({ type: "closed", connection: dial.connection, reason: "ECONNREFUSED" });
    dial = [...rig.effects, ...rig.wait()].find((effect) => effect.type === "connect");
  }
  rig.connection = dial!.connection;
  rig.give({ type: "open", connection: rig.connection });
  rig.say({ type: "challenge", nonce: "bm9uY2U" });
  rig.say({ type: "netmap", netmap: { ...netmapOf([entryOf()]), isFollower: true } });
  rig.say({ type: "pong", id: 1, time: 0 });
  return rig;
}

/** Waits for the next attempt at another coordinator, answering pings meanwhile. */
function nextAttempt(rig: Rig): Extract<ControlEffect, { type: "connect" }> {
  for (let i = 0; i < 10; i++) {
    for (const effect of rig.wait()) {
      if (effect.type === "connect") return effect;
      if (effect.type !== "send" || effect.message.type !== "ping") continue;
      rig.say({ type: "pong", id: effect.message.id, time: 0 });
    }
  }
  throw new Error("it tries nothing");
}

Deno.test("ControlClient on a follower looks for the leader, and stays until that one is there", () => {
  const rig = followed();
  const start = rig.now;
  for (let i = 1; i <= 3; i++) {
    const { url, connection } = nextAttempt(rig);
    assert.equal(url, LEADER);
    assert.equal(rig.now - start, i * IMPROVE_INTERVAL_MS);
    rig.give({ type: "closed", connection, reason: "ECONNREFUSED" });
    assert.equal(rig.client.report.state, "connected");
  }
  const { connection } = nextAttempt(rig);
  rig.give({ type: "open", connection });
  assert.deepEqual(rig.types().slice(0, 3), ["close", "log-closed", "state"]);
  rig.connection = connection;
  rig.say({ type: "challenge", nonce: "bm9uY2U" });
  rig.say({ type: "netmap", netmap: netmapOf([entryOf()], 7) });
  assert.equal(rig.client.report.state, "connected");
  assert.equal(rig.client.report.url, LEADER);
  assert.equal(rig.client.view.isFollowers, false);
});

Deno.test("ControlClient gives an attempt at the leader up that is swallowed, and stays", () => {
  const rig = followed();
  const { connection } = nextAttempt(rig);
  const start = rig.now;
  for (let i = 0; i < 5 && rig.now - start < ATTEMPT_TIMEOUT_MS; i++) rig.wait();
  assert.ok(rig.effects.some((effect) => {
    return effect.type === "close" && effect.connection === connection;
  }));
  assert.equal(rig.client.report.state, "connected");
});

Deno.test("ControlClient tries nothing that comes after the follower it has, nor beside the leader", () => {
  const rig = followed([FOLLOWER, LEADER]);
  for (let i = 0; i < 5; i++) {
    for (const effect of rig.wait()) {
      assert.notEqual(effect.type, "connect");
      if (effect.type !== "send" || effect.message.type !== "ping") continue;
      rig.say({ type: "pong", id: effect.message.id, time: 0 });
    }
  }
});
