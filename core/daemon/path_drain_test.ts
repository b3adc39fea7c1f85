import assert from "node:assert/strict";
import type { Train } from "../link.ts";
import { PathDrains } from "./path_drain.ts";

const RELAY = "relay:mesh.example.com:8443";
const DIRECT = "192.0.2.1:51820";
const OTHER = "192.0.2.2:51820";

/** Notes what a move does, in its order. */
class Rig {
  readonly done: string[] = [];
  readonly drains = new PathDrains({
    mark: (peer, path, number) => this.done.push(`mark ${peer} ${path} ${number}`),
    send: (peer, path, { bytes }) => this.done.push(`send ${peer} ${path} ${bytes[0]}`),
    moved: (peer) => this.done.push(`moved ${peer}`),
    number: () => 7,
  });
}

function train(number: number, length = 10): Train {
  return { bytes: new Uint8Array(length).fill(number), segment: length };
}

Deno.test("PathDrains holds what follows until the marker was answered, and forwards after that", () => {
  const { drains, done } = new Rig();
  assert.equal(drains.takes(1, RELAY, train(0)), false);
  drains.begin(1, RELAY, DIRECT);
  assert.ok(drains.isMoving(1));
  const sent = train(1);
  assert.ok(drains.takes(1, RELAY, sent));
  // Only valid during the call.
  sent.bytes.fill(9);
  assert.ok(drains.takes(1, RELAY, train(2)));
  assert.equal(drains.takes(1, OTHER, train(3)), false, "another path's are not held");
  assert.equal(drains.takes(2, RELAY, train(3)), false, "nor another peer's");
  assert.equal(drains.answered(1, 8), false);
  assert.equal(drains.answered(2, 7), false);
  assert.ok(drains.answered(1, 7));
  assert.equal(drains.isMoving(1), false);
  assert.ok(drains.takes(1, RELAY, train(4)));
  drains.close();
  assert.equal(drains.takes(1, RELAY, train(5)), false);
  assert.deepEqual(done, [
    `mark 1 ${RELAY} 7`,
    `send 1 ${DIRECT} 1`,
    `send 1 ${DIRECT} 2`,
    "moved 1",
    `send 1 ${DIRECT} 4`,
  ]);
});

Deno.test("PathDrains holds no longer than it may, nor more", async () => {
  const { drains, done } = new Rig();
  drains.begin(1, RELAY, DIRECT);
  drains.takes(1, RELAY, train(1));
  while (drains.isMoving(1)) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(done.slice(1), [`send 1 ${DIRECT} 1`, "moved 1"]);
  drains.begin(1, RELAY, DIRECT);
  let count = 0;
  for (; drains.isMoving(1); count++) drains.takes(1, RELAY, train(2, 60_000));
  assert.ok(count > 50 && count < 100, `${count}`);
  drains.close();
});

Deno.test("PathDrains sends what it holds when another path is chosen meanwhile", () => {
  const { drains, done } = new Rig();
  drains.begin(1, RELAY, DIRECT);
  drains.takes(1, RELAY, train(1));
  drains.begin(1, RELAY, OTHER);
  drains.takes(1, RELAY, train(2));
  drains.end(1);
  assert.deepEqual(done, [
    `mark 1 ${RELAY} 7`,
    `send 1 ${DIRECT} 1`,
    "moved 1",
    `mark 1 ${RELAY} 7`,
    `send 1 ${OTHER} 2`,
    "moved 1",
  ]);
});
