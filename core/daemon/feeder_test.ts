import assert from "node:assert/strict";
import { admitted, EPOCH, identityOf, membership, meshLog } from "../../tests/mesh_fixture.ts";
import { meshAddress6, meshPrefix6 } from "../control/addressing.ts";
import { FeedMessage } from "../control/feed.ts";
import type { Netmap } from "../control/messages.ts";
import { NetmapView } from "../control/netmap.ts";
import { Roster } from "../control/roster.ts";
import { signNodeRecord } from "../identity/record.ts";
import { Feeder } from "./feeder.ts";

/** A node with members in its log, and what its feeder told. */
class Rig implements Disposable {
  readonly log = meshLog();
  readonly view: NetmapView;
  readonly told: FeedMessage[] = [];
  readonly feeder: Feeder;
  readonly coordinator = {
    urls: [],
    localUrl: "https://127.0.0.1",
    head: 0,
    tell: (message: FeedMessage) => void this.told.push(FeedMessage.parse(message)),
    onRestart: () => {},
  };

  constructor(head?: number) {
    for (const n of [0, 1]) admitted(this.log, identityOf(n));
    const { meshId } = this.log;
    const facts = { meshId, cidr4: "172.30.0.0/16", prefix6: meshPrefix6(meshId) };
    const roster = new Roster({ ...facts, isMember: membership(this.log) });
    this.view = new NetmapView(facts, roster);
    this.coordinator.head = head ?? this.log.head.seq;
    this.feeder = new Feeder({ coordinator: this.coordinator, log: this.log, view: this.view });
  }

  netmap(online: readonly boolean[], isFollower = false): void {
    const { meshId, cidr4, prefix6 } = this.view.facts;
    const peers = online.map((online, n) => {
      const addresses = [`172.30.0.${n + 1}`, meshAddress6(prefix6, identityOf(n).peerId)];
      const facts = { name: `n${n}`, addresses, aliases: [], meshId, seq: 0 };
      const record = signNodeRecord(identityOf(n), facts);
      return { record, endpoints: [], online, bootId: "b", lastSeen: EPOCH };
    });
    const netmap: Netmap = { version: 1, meshId, cidr4, prefix6, coordinators: [], peers };
    this.view.replace({ ...netmap, ...(isFollower ? { isFollower } : {}) });
    this.feeder.changed();
  }

  /** What was told since the last time, in short. */
  async next(): Promise<string[]> {
    await new Promise((resolve) => setTimeout(resolve, 80));
    return this.told.splice(0).map((message) => {
      if (message.type === "entries") return `entries ${message.entries.length}`;
      if (message.type === "alone") return "alone";
      const who = message.peers.map(({ record, online }) => {
        return `${JSON.parse(record.payload).name}${online ? "+" : "-"}`;
      });
      return `${message.isPresence ? "presence" : "records"} ${who.join(" ")}`;
    });
  }

  [Symbol.dispose](): void {
    this.feeder.close();
  }
}

Deno.test("Feeder tells entries that are missing, at once when there is another", async () => {
  using rig = new Rig(1);
  assert.deepEqual(await rig.next(), [`entries ${rig.log.head.seq - 1}`]);
  admitted(rig.log, identityOf(2));
  rig.feeder.changed();
  assert.equal(rig.told.length, 1, "a revocation does not wait");
  assert.deepEqual(await rig.next(), ["entries 1"]);
});

Deno.test("Feeder tells of peers what is news", async () => {
  using rig = new Rig();
  rig.netmap([true, false]);
  assert.deepEqual(await rig.next(), ["presence n0+ n1-"]);
  rig.netmap([true, false]);
  assert.deepEqual(await rig.next(), []);
  rig.netmap([true, true]);
  assert.deepEqual(await rig.next(), ["presence n1+"]);
});

Deno.test("Feeder tells nothing of presence that a follower says: it may come from here", async () => {
  using rig = new Rig();
  rig.netmap([true, true]);
  await rig.next();
  rig.netmap([true, false], true);
  assert.deepEqual(await rig.next(), ["alone", "records n0+ n1-"]);
  rig.netmap([false, true], true);
  assert.deepEqual(await rig.next(), []);
  rig.netmap([false, true]);
  assert.deepEqual(await rig.next(), ["presence n0- n1+"]);
});

Deno.test("Feeder tells all of it to a coordinator that started again", async () => {
  using rig = new Rig();
  rig.netmap([true, true]);
  await rig.next();
  rig.coordinator.head = 2;
  rig.coordinator.onRestart();
  assert.deepEqual(await rig.next(), [`entries ${rig.log.head.seq - 2}`, "presence n0+ n1+"]);
});
