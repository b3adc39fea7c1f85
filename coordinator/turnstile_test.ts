/**
 * Does everybody get a turn, one at a time, whatever the others do?
 * @module
 */
import assert from "node:assert/strict";
import { Turnstile } from "./turnstile.ts";

/** Enters and notes who is in. */
async function enter(turnstile: Turnstile, who: string, order: string[]): Promise<void> {
  await turnstile.enter(who);
  order.push(who);
}

Deno.test("Turnstile lets one in at a time, in the order in which they came", async () => {
  const turnstile = new Turnstile();
  const order: string[] = [];
  const all = ["a", "b", "c"].map((who) => enter(turnstile, who, order));
  await all[0];
  assert.deepEqual(order, ["a"]);
  turnstile.leave("b");
  turnstile.leave("a");
  await all[1];
  assert.deepEqual(order, ["a", "b"]);
  turnstile.leave("b");
  await all[2];
  turnstile.leave("c");
  await enter(turnstile, "d", order);
  assert.deepEqual(order, ["a", "b", "c", "d"]);
  turnstile.close();
});

Deno.test("Turnstile lets who is in read on, and goes on when somebody does not come back", async () => {
  const turnstile = new Turnstile();
  const order: string[] = [];
  await enter(turnstile, "a", order);
  await enter(turnstile, "a", order);
  await enter(turnstile, "b", order);
  assert.deepEqual(order, ["a", "a", "b"]);
  turnstile.close();
});

Deno.test("Turnstile sends everybody on when it closes", async () => {
  const turnstile = new Turnstile();
  const order: string[] = [];
  const all = ["a", "b", "c"].map((who) => enter(turnstile, who, order));
  turnstile.close();
  await Promise.all(all);
  assert.deepEqual(order.sort(), ["a", "b", "c"]);
  turnstile.close();
});
