import assert from "node:assert/strict";
import type { ServerMessage } from "../../core/control/messages.ts";
import type { MeshLog } from "../../core/state/log.ts";
import type { LogSync, SyncEvent } from "../../core/state/sync.ts";
import {
  admission,
  admitted,
  COORDINATOR,
  copyOf,
  drafted,
  EPOCH,
  identityOf,
  keyOf,
  revoked,
  stated,
  syncOf,
} from "../../tests/mesh_fixture.ts";
import { assertRefused, Rig } from "../../tests/hub_rig.ts";
import { FLUSH_MS } from "./control_hub.ts";
import { SEEN_STEP_MS } from "./state.ts";

const [ZERO, ONE] = [0, 1].map((n) => identityOf(n).peerId) as [string, string];
const DAY_MS = 86_400_000;

/** A connected node's own copy of the log, level with the hub's as far as {@link exchange} goes. */
class Follower {
  readonly log: MeshLog;
  readonly others: ServerMessage[] = [];
  readonly #rig: Rig;
  readonly #connection: number;
  readonly #sync: LogSync;

  constructor(rig: Rig, n: number, connection: number) {
    this.#rig = rig;
    this.#connection = connection;
    this.log = copyOf(rig.world.log);
    this.#sync = syncOf(this.log, identityOf(n), () => EPOCH + rig.now);
    this.give({
      type: "connected",
      source: "c",
      key: keyOf(COORDINATOR),
      isCoordinator: true,
    });
    this.exchange();
  }

  give(event: SyncEvent): void {
    for (const effect of this.#sync.handle(event, this.#rig.now)) {
      if (effect.type !== "send") continue;
      const text = JSON.stringify(effect.message);
      this.#rig.say(this.#connection, { type: "log", text });
    }
  }

  /** Hands messages to and fro until both are silent. */
  exchange(): void {
    for (;;) {
      const messages = this.#rig.gotAll(this.#connection);
      this.others.push(...messages.filter(({ type }) => type !== "log"));
      const texts = messages.flatMap((each) => each.type === "log" ? each.text : []);
      if (texts.length === 0) return;
      for (const text of texts) this.give({ type: "message", source: "c", text });
    }
  }
}

/** Whom deltas remove. */
function removedBy(messages: readonly ServerMessage[]): string[] {
  return messages.flatMap((each) => each.type === "delta" ? each.remove : []);
}

Deno.test("ControlHub ends the connection of a revoked node at once, and tells the others", () => {
  const rig = new Rig();
  rig.join(0, 1);
  rig.join(1, 2);
  rig.advance(1000);
  rig.got(1);
  revoked(rig.world.log, ONE);
  rig.changed();
  assertRefused(rig, 2, "peer-unknown");
  assert.deepEqual(rig.told, [{ type: "gone", peers: [ONE] }]);
  assert.equal(rig.hub.isOnline(ONE), false);
  assert.deepEqual(removedBy(rig.got(1)), [ONE]);
  rig.say(3, rig.hello(1, rig.connect(3)));
  assertRefused(rig, 3, "peer-unknown");
  rig.say(4, rig.hello(0, rig.connect(4)));
  const netmap = rig.got(4).find(({ type }) => type === "netmap");
  assert.ok(netmap?.type === "netmap");
  assert.deepEqual(netmap.netmap.peers.map(({ record }) => record), [rig.record(0)]);
});

Deno.test("ControlHub takes a revocation that a node brings: kept, acted upon, passed on", () => {
  const rig = new Rig(3);
  rig.join(0, 1);
  rig.join(1, 2);
  rig.join(2, 3);
  const first = new Follower(rig, 0, 1);
  const third = new Follower(rig, 2, 3);
  // It came to this node by another coordinator.
  revoked(first.log, ONE);
  first.give({ type: "appended" });
  first.exchange();
  assertRefused(rig, 2, "peer-unknown");
  assert.ok(rig.world.log.state.revoked.has(ONE));
  assert.deepEqual(rig.world.kept.at(-1), first.log.entry(first.log.head.seq)!.signed);
  rig.advance(FLUSH_MS);
  third.exchange();
  assert.deepEqual(third.log.head, first.log.head);
  assert.deepEqual(removedBy(third.others), [ONE]);
});

Deno.test("ControlHub believes no node that says what it may not, and warns", () => {
  const rig = new Rig();
  rig.join(0, 1);
  const follower = new Follower(rig, 0, 1);
  const { head } = rig.world.log;
  const own = drafted(rig.world.log, admission(rig.world.log, identityOf(9)), {
    by: identityOf(0),
  });
  const other = copyOf(rig.world.log);
  admitted(other, identityOf(9));
  revoked(other, ONE);
  // It claims two entries more, and shows one of its own in their place.
  const sync = syncOf(other, identityOf(0));
  const connect = { type: "connected", source: "c", key: keyOf(COORDINATOR) } as const;
  for (const effect of sync.handle({ ...connect, isCoordinator: true }, 0)) {
    assert.ok(effect.type === "send");
    rig.say(1, { type: "log", text: JSON.stringify(effect.message) });
  }
  rig.say(1, { type: "log", text: JSON.stringify({ type: "entries", entries: [own] }) });
  assert.deepEqual(rig.world.log.head, head);
  assert.deepEqual(follower.log.head, head);
  assert.ok(
    rig.told.some((each) =>
      each.type === "alert" && each.alert.type === "refused" &&
      each.alert.code === "entry-forbidden"
    ),
  );
  rig.say(1, { type: "log", text: "no JSON" });
  assert.ok(!rig.closed.has(1), "the connection goes on");
});

Deno.test("ControlHub tells who coordinates when a tag of the log changes it", () => {
  const rig = new Rig();
  rig.join(0, 1);
  rig.advance(1000);
  rig.got(1);
  const { log } = rig.world;
  stated(log, { type: "tag-set", node: ONE, tags: ["coordinator"] });
  rig.changed();
  rig.advance(FLUSH_MS);
  const [delta] = rig.got(1);
  assert.ok(delta?.type === "delta");
  assert.deepEqual([delta.coordinators, delta.upsert, delta.remove], [[ONE], [], []]);
});

Deno.test("ControlHub refuses a node that was away for too long, and keeps when others were heard", () => {
  const rig = new Rig();
  const { log, registry } = rig.world;
  const expiresAfterMs = 2 * DAY_MS;
  for (const node of [ZERO, ONE]) {
    stated(log, { type: "node-expire-policy", node, expiresAfterMs });
  }
  rig.changed();
  rig.join(0, 1);
  const seenAt = () => registry.state.nodes.get(ZERO)!.seenAt;
  for (let id = 1; rig.now < 2 * DAY_MS; id++) {
    rig.advance(30_000);
    rig.say(1, { type: "ping", id });
    rig.gotAll(1);
    assert.ok(EPOCH + rig.now - seenAt() <= SEEN_STEP_MS, "kept within 6 h");
  }
  rig.close(1);
  rig.join(0, 2);
  rig.say(3, rig.hello(1, rig.connect(3)));
  assertRefused(rig, 3, "peer-unknown");
  const renewed = { type: "node-expire-policy", node: ONE, expiresAfterMs } as const;
  stated(log, renewed, { at: EPOCH + rig.now });
  rig.changed();
  rig.join(1, 4);
});
