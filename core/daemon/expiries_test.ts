import assert from "node:assert/strict";
import type { ControlState } from "../control/client.ts";
import type { MeshPeer } from "../control/netmap.ts";
import type { Identity } from "../identity/keys.ts";
import type { PeerId } from "../ids.ts";
import { DAY_MS } from "../state/expiry.ts";
import { actor, admitBody, FakeMesh, START } from "../state/fake_mesh.ts";
import type { Body } from "../state/bodies.ts";
import { expiryWarnings, lastSeenOf, nextExpiry, type Onlooker } from "./expiries.ts";

const [OWN, NAS, DESK] = [actor(1), actor(11), actor(12)];
const NAMES = new Map([[OWN.peerId, "laptop"], [NAS.peerId, "nas"], [DESK.peerId, "desk"]]);

/** A mesh of nodes that may be away for 100 days and were seen last on the given days. */
function onlooker(
  seenOn: readonly (readonly [Identity, day: number])[],
  day: number,
  state: ControlState = "connected",
): Onlooker {
  const mesh = new FakeMesh();
  for (const [node] of seenOn) {
    mesh.say(actor(1), {
      ...admitBody(node, { tags: ["web"] }),
      expiresAfterMs: 100 * DAY_MS,
    } as Body);
  }
  const peers = seenOn.map(([{ peerId: id }, day]) => {
    const peer = { record: { name: NAMES.get(id) ?? id }, lastSeen: START + day * DAY_MS };
    return [id, peer as MeshPeer] as const;
  });
  return {
    own: OWN.peerId,
    state: mesh.log.state,
    view: { peers: new Map<PeerId, MeshPeer>(peers) },
    control: { state },
    now: START + day * DAY_MS + 1000,
  };
}

Deno.test("expiryWarnings() names to an admin who expires soon, the soonest first, and how to renew", () => {
  const seen = onlooker([[OWN, 90], [NAS, 8], [DESK, 4]], 96);
  assert.deepEqual(expiryWarnings(seen, true), [
    "Node desk expires in 7 days, for nobody hears of it; keep it with: tunnelmesh node renew desk",
    "Node nas expires in 11 days, for nobody hears of it; keep it with: tunnelmesh node renew nas",
  ]);
  assert.deepEqual(expiryWarnings(seen, false), [], "who is no admin could do nothing");
  assert.equal(nextExpiry(seen), START + 104 * DAY_MS);
});

Deno.test("expiryWarnings() says nothing of who is used, and of who has expired", () => {
  const seen = onlooker([[OWN, 0], [NAS, 300], [DESK, 1]], 300);
  assert.deepEqual(expiryWarnings(seen, true), []);
  assert.equal(nextExpiry(seen), START + 400 * DAY_MS);
  assert.equal(nextExpiry({ ...seen, state: new FakeMesh().log.state }), null);
});

Deno.test("expiryWarnings() tells a node that hears nobody that it will expire itself", () => {
  const alone = onlooker([[OWN, 0], [NAS, 1]], 95, "disconnected");
  const [own, ...others] = expiryWarnings(alone, false);
  assert.match(own!, /^This node expires in 5 days, for it hears nobody: .* node renew laptop$/);
  assert.deepEqual(others, []);
  assert.equal(expiryWarnings(alone, true).length, 2);
});

Deno.test("lastSeenOf() takes what a node hears of anybody for its own sign of life", () => {
  const seen = onlooker([[OWN, 1], [NAS, 80]], 95, "disconnected");
  assert.equal(lastSeenOf(seen, OWN.peerId), START + 80 * DAY_MS);
  assert.equal(lastSeenOf(seen, NAS.peerId), START + 80 * DAY_MS);
  const connected = { ...seen, control: { state: "connected" as const } };
  assert.equal(lastSeenOf(connected, OWN.peerId), seen.now);
  assert.equal(lastSeenOf(connected, DESK.peerId), 0);
});

Deno.test("expiryWarnings() names few of many", () => {
  const many = Array.from({ length: 8 }, (_, i) => [actor(100 + i), i] as const);
  const warnings = expiryWarnings(onlooker(many, 99), true);
  assert.equal(warnings.length, 6);
  assert.equal(warnings.at(-1), "3 more expire soon; see: tunnelmesh node list");
});
