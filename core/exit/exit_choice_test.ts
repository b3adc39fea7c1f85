import { strict as assert } from "node:assert";
import { NEVER } from "../machine.ts";
import { DOWN_MS, ExitChoice, START_MS, UP_MS } from "./exit_choice.ts";
import type { OnExitLoss } from "./client_plan.ts";

const A = "aaaaaaaaaaaaaaaa", B = "bbbbbbbbbbbbbbbb";
const BLOCK = [{ type: "block" }];

/** A choice that uses A since 0. */
function usingA(onLoss: OnExitLoss): ExitChoice {
  const choice = new ExitChoice();
  assert.deepEqual(choice.handle({ type: "configure", exits: [A, B], onLoss }, 0), BLOCK);
  assert.deepEqual(health(choice, A, true, 0), use(A));
  assert.deepEqual(health(choice, B, true, 0), []);
  return choice;
}

function health(choice: ExitChoice, exit: string, isHealthy: boolean, now: number) {
  return choice.handle({ type: "health", exit, health: isHealthy ? "up" : "down" }, now);
}

function use(exit: string) {
  return [{ type: "use", exit }];
}

function tick(choice: ExitChoice, now: number) {
  return choice.handle({ type: "tick" }, now);
}

Deno.test("ExitChoice blocks from the start until an exit is there", () => {
  const choice = new ExitChoice();
  const configure = { type: "configure", exits: [A, B], onLoss: "next" } as const;
  assert.deepEqual(choice.handle(configure, 0), BLOCK);
  assert.deepEqual(health(choice, B, true, 10), []);
  assert.equal(choice.deadline, START_MS);
  assert.deepEqual(tick(choice, START_MS), use(B));
});

Deno.test("ExitChoice prefers the first in the list at the start", () => {
  assert.equal(usingA("next").exit, A);
});

Deno.test("ExitChoice changes nothing for an exit that is away for a moment", () => {
  for (const onLoss of ["block", "direct", "next"] as const) {
    const choice = usingA(onLoss);
    assert.deepEqual(health(choice, A, false, 100), []);
    assert.equal(choice.deadline, 100 + DOWN_MS);
    assert.deepEqual(health(choice, A, true, 99 + DOWN_MS), []);
    assert.equal(choice.deadline, NEVER);
  }
});

Deno.test("ExitChoice does as asked when the exit is lost", () => {
  const expected = { block: BLOCK, direct: [{ type: "direct", isWanted: false }], next: use(B) };
  for (const onLoss of ["block", "direct", "next"] as const) {
    const choice = usingA(onLoss);
    health(choice, A, false, 0);
    assert.deepEqual(tick(choice, DOWN_MS), expected[onLoss], onLoss);
    if (onLoss !== "next") assert.deepEqual(health(choice, A, true, DOWN_MS + 1), use(A));
  }
});

Deno.test("ExitChoice leaves an exit at once that refuses, and takes it back when it is up", () => {
  const expected = { block: BLOCK, direct: [{ type: "direct", isWanted: false }], next: use(B) };
  for (const onLoss of ["block", "direct", "next"] as const) {
    const choice = usingA(onLoss);
    const refusal = { type: "health", exit: A, health: "refused" } as const;
    assert.deepEqual(choice.handle(refusal, 1), expected[onLoss], onLoss);
    if (onLoss !== "next") assert.deepEqual(health(choice, A, true, 2), use(A));
  }
});

Deno.test("ExitChoice returns to a better exit only when that has been healthy for long", () => {
  const choice = usingA("next");
  health(choice, A, false, 0);
  tick(choice, DOWN_MS);
  health(choice, A, true, 10_000);
  assert.equal(choice.deadline, 10_000 + UP_MS);
  // It flaps: the time counts anew.
  health(choice, A, false, 20_000);
  health(choice, A, true, 21_000);
  assert.deepEqual(tick(choice, 10_000 + UP_MS), []);
  assert.deepEqual(tick(choice, 21_000 + UP_MS), use(A));
});

Deno.test("ExitChoice blocks when no exit of the list is left, until one is back", () => {
  const choice = usingA("next");
  health(choice, A, false, 0);
  health(choice, B, false, 0);
  assert.deepEqual(tick(choice, DOWN_MS), BLOCK);
  assert.deepEqual(health(choice, B, true, 50_000), use(B));
});

Deno.test("ExitChoice goes direct when no exit ever comes and the user wants that", () => {
  const choice = new ExitChoice();
  assert.deepEqual(choice.handle({ type: "configure", exits: [A], onLoss: "direct" }, 0), BLOCK);
  assert.deepEqual(tick(choice, START_MS), [{ type: "direct", isWanted: false }]);
  assert.deepEqual(health(choice, A, true, 9_000), use(A));
});

Deno.test("ExitChoice keeps the exit in use when the list changes around it, and leaves it with it", () => {
  const choice = usingA("next");
  assert.deepEqual(choice.handle({ type: "configure", exits: [B, A], onLoss: "next" }, 1), []);
  // B has been healthy since 0.
  assert.deepEqual(tick(choice, UP_MS), use(B));
  assert.deepEqual(choice.handle({ type: "configure", exits: [A], onLoss: "next" }, UP_MS), use(A));
  const off = choice.handle({ type: "configure", exits: [], onLoss: "next" }, UP_MS);
  assert.deepEqual(off, [{ type: "direct", isWanted: true }]);
});
