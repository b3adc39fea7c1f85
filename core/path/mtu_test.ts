import assert from "node:assert/strict";
import { SeededRandom, unit } from "../random.ts";
import {
  BASE_SIZE,
  mtuOf,
  type MtuSearch,
  newMtuSearch,
  probeAnswered,
  probeDue,
  probeLost,
  probeSent,
} from "./mtu.ts";

const TIMEOUT = 300;

/** Lets a search run over a path that carries `real` bytes; returns the probes it took. */
function run(
  search: MtuSearch,
  real: () => number,
  from: number,
  until: number,
  loses: () => boolean = () => false,
): number {
  let probes = 0;
  for (let now = from; now < until; now += 50) {
    const size = probeDue(search, now);
    if (size === null) continue;
    probes++;
    probeSent(search, TIMEOUT, now);
    if (size <= real() && !loses()) probeAnswered(search, size, now);
    else probeLost(search, now);
  }
  return probes;
}

Deno.test("a search finds the largest usual size that passes, in few probes", () => {
  for (let real = BASE_SIZE; real <= 1500; real++) {
    const search = newMtuSearch(1480, 0);
    const probes = run(search, () => real, 0, 4_000);
    assert.ok(search.isDone, `${real}`);
    const found = mtuOf(search);
    assert.ok(found <= real && found > real - 50, `${real}: ${found}`);
    if (real >= 1480) assert.equal(found, 1480);
    assert.ok(probes <= 30, `${real}: ${probes} probes`);
  }
});

Deno.test("a search finds jumbo frames, and ends under loss", () => {
  const search = newMtuSearch(9000, 0);
  run(search, () => 9000, 0, 2_000);
  assert.equal(mtuOf(search), 9000);
  const random = new SeededRandom(1);
  for (let i = 0; i < 50; i++) {
    const lossy = newMtuSearch(1480, 0);
    run(lossy, () => 1400, 0, 30_000, () => unit(random) < 0.3);
    assert.ok(lossy.isDone && mtuOf(lossy) <= 1400, `${mtuOf(lossy)}`);
  }
});

Deno.test("a path that narrows is noticed within seconds, one that widens within minutes", () => {
  const search = newMtuSearch(1480, 0);
  run(search, () => 1480, 0, 10_000);
  run(search, () => 1300, 10_000, 20_000);
  assert.ok(mtuOf(search) <= 1300 && mtuOf(search) >= BASE_SIZE);
  run(search, () => 1480, 20_000, 700_000);
  assert.equal(mtuOf(search), 1480);
});
