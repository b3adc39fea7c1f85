/**
 * Tests of the table of test layers: which file runs where, and with which rights.
 * @module
 */
import assert from "node:assert/strict";
import { testLayerOf, testRuns } from "./test_layers.ts";

Deno.test("testLayerOf() goes by folder, and everything else is unit", () => {
  const cases: Record<string, string> = {
    "core/ip_test.ts": "unit",
    "tests/arch_test.ts": "unit",
    "tests/fuzz/a_test.ts": "unit",
    "tests/sim/mesh_test.ts": "sim",
    "tests/e2e/lab/join_test.ts": "e2e",
    "tests/interop/go_test.ts": "interop",
    "tests/vm/kernel_test.ts": "vm",
  };
  for (const [path, layer] of Object.entries(cases)) assert.equal(testLayerOf(path), layer, path);
});

Deno.test("testRuns() gives pure files no permission and the others all", () => {
  const [pure, others, ...more] = testRuns("unit", [
    "core/ip_test.ts",
    "core/daemon/state_dir_test.ts",
    "coordinator/model/apply_test.ts",
    "tests/sim/mesh_test.ts",
    "scripts/a_test.ts",
  ]);
  assert.deepEqual(pure!.files, ["core/ip_test.ts", "coordinator/model/apply_test.ts"]);
  assert.ok(!pure!.args.some((arg) => arg.startsWith("--allow")));
  assert.deepEqual(others!.files, ["core/daemon/state_dir_test.ts", "scripts/a_test.ts"]);
  assert.ok(others!.args.includes("--allow-all"));
  assert.deepEqual(more, []);
});

Deno.test("testRuns() runs each file of the laboratory once, some side by side", () => {
  const folder = new URL("../tests/e2e/", import.meta.url);
  const files = [...Deno.readDirSync(folder)].filter(({ name }) => name.endsWith("_test.ts"))
    .map(({ name }) => `tests/e2e/${name}`);
  const [alone, ...halves] = testRuns("e2e", files);
  assert.deepEqual([alone!, ...halves].flatMap((run) => run.files).sort(), files.sort());
  assert.deepEqual(halves.map(({ isBeside }) => isBeside), [false, true]);
  // A file that was renamed would take its time alone.
  for (const half of halves) assert.equal(half.files.length, 6);
});

Deno.test("testRuns() is empty for a layer without files", () => {
  assert.deepEqual(testRuns("vm", ["core/ip_test.ts"]), []);
});
