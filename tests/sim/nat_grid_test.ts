import assert from "node:assert/strict";
import { natPage } from "../../scripts/gen_nat_doc.ts";
import { currentText } from "../../scripts/generated.ts";
import { natKind } from "./internet.ts";
import { problemOf, runGrid, runPair } from "./nat_grid.ts";
import { SOCKETS } from "../../core/path/punch.ts";
import { NatPair } from "./nat_pair.ts";

const GRID_SEED = 7;
const RUNS = 100;
/** The budget of a search, and what else a node sends meanwhile. */
const MOST_PACKETS_PER_SECOND = 200;

Deno.test("every pair of sites carries traffic by the best path; docs/nat.md says which", () => {
  const rows = [...runGrid(GRID_SEED)];
  for (const row of rows) {
    const names = row.kinds.map(({ name }) => name).join(" and ");
    assert.equal(problemOf(row), null, `${names}, seed ${GRID_SEED}`);
  }
  const { path, text } = natPage(rows, currentText("docs/nat.md"));
  const isCurrent = currentText(path) === text;
  assert.ok(isCurrent, `${path} is stale: run \`deno run -A scripts/gen_nat_doc.ts\``);
});

Deno.test(`a port-restricted NAT and a symmetric one meet in 10 s, mostly (${RUNS} runs)`, () => {
  const kinds = [natKind("port-restricted"), natKind("symmetric")] as const;
  const failed: number[] = [];
  for (let seed = 1; seed <= RUNS; seed++) {
    using pair = new NatPair(kinds, { seed });
    pair.waitForRelay();
    pair.countSearch();
    // The simple ways get three seconds before the search begins.
    pair.talk(14_000, 100);
    if (!pair.isDirect()) failed.push(seed);
    for (const host of [pair.a, pair.b]) {
      const { sockets } = host.paths.punched;
      assert.ok(sockets <= SOCKETS, `seed ${seed}: ${sockets} sockets`);
      const most = pair.mostPerSecond(host);
      assert.ok(most <= MOST_PACKETS_PER_SECOND, `seed ${seed}: ${most} packets in a second`);
    }
  }
  assert.ok(failed.length <= RUNS / 10, `not direct with seeds ${failed.join(", ")}`);
});

Deno.test("customers of one carrier reach each other, with and without hairpinning", () => {
  for (let seed = 1; seed <= 5; seed++) {
    const row = runPair([natKind("cgnat"), natKind("cgnat")], seed);
    assert.equal(problemOf(row), null, `seed ${seed}`);
  }
});
