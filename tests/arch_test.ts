/**
 * The source keeps to the architecture; and the check would notice if it did not.
 * @module
 */
import assert from "node:assert/strict";
import { cycles, fileViolations, importsOf, readSources, violations } from "../scripts/arch.ts";
import { isPure, LAYERS } from "../scripts/layers.ts";
import plugin from "../scripts/lint_plugin.ts";

const ROOT = new URL("..", import.meta.url);
const DOC = "/**\n * What is it?\n * @module\n */\n";

Deno.test("the source has no violation of the layers, cycles, docs and sizes", () => {
  const files = readSources(ROOT);
  assert.ok(files.length > 20, "the source was found");
  assert.deepEqual(violations(files), []);
});

Deno.test("no pure file uses clocks, entropy, timers, files or sockets", () => {
  const files = readSources(ROOT).filter((file) => isPure(file.path));
  assert.ok(files.length > 20, "the pure files were found");
  const found = files.flatMap((file) =>
    Deno.lint.runPlugin(plugin, new URL(file.path, ROOT).pathname, file.text)
      .filter((diagnostic) => diagnostic.id === "tunnelmesh/pure-core")
      .map((diagnostic) => `${file.path}: ${diagnostic.message}`)
  );
  assert.deepEqual(found, []);
});

Deno.test("every row of the layer table imports only rows above it", () => {
  LAYERS.forEach((layer, row) => {
    const above = LAYERS.slice(0, row).map((each) => each.path);
    for (const name of [...layer.imports, ...layer.types ?? []]) {
      assert.ok(name === "*" || above.includes(name), `${layer.path} imports ${name}`);
    }
  });
});

const IMPORTS: [path: string, source: string, problem: RegExp | null][] = [
  ["core/a.ts", 'import { b } from "./b.ts";', null],
  ["core/a.ts", 'import { b } from "./daemon/b.ts";', /core may not import from core\/daemon/],
  ["core/x/a.ts", 'import type { B } from "../platform/b.ts";', /may not import from core\/plat/],
  ["core/a.ts", 'import { b } from "../storage/b.ts";', /may not import from storage/],
  ["core/a.ts", 'export * from "../cli/b.ts";', /may not import from cli/],
  ["core/a.ts", 'import "../cli/b.ts";', /may not import from cli/],
  ["core/daemon/a.ts", 'const b = await import("../../cli/b.ts");', /may not import from cli/],
  ["core/a.ts", 'import {\n  b,\n  c,\n} from "../cli/b.ts";', /may not import from cli/],
  ["core/daemon/a.ts", 'import { b } from "../platform/b.ts";', null],
  ["core/platform/a.ts", 'import { b } from "../daemon/b.ts";', /may not import from core\/dae/],
  ["core/daemon/a.ts", 'import { b } from "../../transports/b.ts";', /may not import from trans/],
  ["transports/a.ts", 'import { b } from "../storage/b.ts";', /may not import from storage/],
  ["coordinator/a.ts", 'import { b } from "../storage/state/b.ts";', null],
  ["coordinator/a.ts", 'import { b } from "../core/daemon/b.ts";', /may not import from core\/d/],
  ["coordinator/model/a.ts", 'import { b } from "../routes/b.ts";', /may not import from coord/],
  ["web/a.ts", 'import type { B } from "../coordinator/b.ts";', null],
  ["web/a.ts", 'import { type B } from "../coordinator/b.ts";', null],
  ["web/a.ts", 'import { b } from "../coordinator/b.ts";', /may not import values from coord/],
  ["cli/a.ts", 'import { b } from "../coordinator/routes/b.ts";', null],
  ["cli/a.ts", 'import { b } from "../scripts/b.ts";', /outside the product/],
  ["cli/a.ts", 'import meta from "../deno.json" with { type: "json" };', null],
  ["core/a.ts", 'import { z } from "zod";', null],
  ["core/a.ts", 'import { sha256 } from "@noble/hashes/sha2.js";', null],
  ["core/a.ts", 'import { parse } from "yaml";', /core may not use the package "yaml"/],
  ["core/dns/a.ts", 'import { decode } from "dns-packet";', null],
  ["core/a.ts", 'import { join } from "node:path";', /may not use the package "node:path"/],
  ["core/a.ts", 'import { z } from "npm:zod@4";', /name packages in deno.json/],
  ["coordinator/a.ts", 'import { Hono } from "hono/tiny";', null],
  ["storage/a.ts", 'import { Hono } from "hono";', /may not use the package "hono"/],
  ["core/a.ts", '// import { b } from "../cli/b.ts";', null],
  ["core/a_test.ts", 'import { b } from "../cli/b.ts";', null],
  ["tests/a.ts", 'import { b } from "../cli/b.ts";', null],
];

Deno.test("fileViolations() judges imports by the table", () => {
  for (const [path, source, problem] of IMPORTS) {
    const found = fileViolations({ path, text: DOC + source });
    if (problem === null) assert.deepEqual(found, [], `${path}: ${source}`);
    else assert.match(found.join("\n"), problem, `${path}: ${source}`);
  }
});

Deno.test("fileViolations() asks for a module doc and a bearable length", () => {
  const path = "core/a.ts";
  assert.match(fileViolations({ path, text: "export {};" })[0]!, /doc comment/);
  assert.match(fileViolations({ path, text: "/** A. */\nexport {};" })[0]!, /doc comment/);
  const long = DOC + "\nexport {};".repeat(396);
  assert.match(fileViolations({ path, text: long })[0]!, /has 401 lines, more than 400/);
});

Deno.test("cycles() finds circles of any length and only those", () => {
  const file = (path: string, ...to: string[]) => ({
    path,
    text: to.map((each) => `import "./${each}";`).join("\n"),
  });
  assert.deepEqual(cycles([file("a.ts", "b.ts", "c.ts"), file("b.ts", "c.ts"), file("c.ts")]), []);
  assert.deepEqual(
    cycles([file("a.ts", "b.ts"), file("b.ts", "c.ts"), file("c.ts", "a.ts")]),
    ["Cycle: a.ts -> b.ts -> c.ts -> a.ts"],
  );
  assert.equal(cycles([file("a.ts", "a.ts")]).length, 1);
  const lazy = { path: "a.ts", text: 'const b = () => import("./b.ts");' };
  assert.deepEqual(cycles([lazy, file("b.ts", "a.ts")]), []);
});

Deno.test("importsOf() tells type imports from others", () => {
  const text = `import a, { type B } from "./a.ts";
import type { C } from "./c.ts";
import { type D, type E } from "./d.ts";
export type { F } from "./f.ts";
export { g } from "./g.ts";
`;
  assert.deepEqual(importsOf(text).map(({ isTypeOnly }) => isTypeOnly), [
    false,
    true,
    true,
    true,
    false,
  ]);
});
