/**
 * Tests of the lint plugin: each rule with what it refuses and what it lets pass.
 * @module
 */
import assert from "node:assert/strict";
import plugin from "./lint_plugin.ts";

/** The rules that a source breaks, in order. */
function broken(source: string, path = "core/example.ts"): string[] {
  const file = new URL(`../${path}`, import.meta.url).pathname;
  return Deno.lint.runPlugin(plugin, file, source)
    .map((diagnostic) => diagnostic.id.replace("tunnelmesh/", ""));
}

const CASES: [source: string, expected: string[]][] = [
  ["class A { #x = 1; get x() { return this.#x; } }", []],
  ["class A { private x = 1; }", ["hash-private"]],
  ["class A { public x() {} }", ["hash-private"]],
  ["class A { protected x() {} }", ["hash-private"]],
  ["class A { constructor(private readonly x: number) {} }", ["hash-private"]],
  ["class A { private constructor() {} }", []],
  ["export function f() {}", []],
  ["export const f = () => 1;", ["top-level-function"]],
  ["const f = function () {};", ["top-level-function"]],
  ["function f() { const g = () => 1; return g; }", []],
  ["const list = [1].map((x) => x);", []],
  ["enum A { B }", ["no-enum"]],
  ["export const enum A { B }", ["no-enum"]],
  ["export default 1;", ["no-default-export"]],
  ["export default function f() {}", ["no-default-export"]],
  ['throw new MeshError("system", "Cannot open door: locked");', []],
  ['throw new MeshError("system", "cannot open door");', ["error-wording"]],
  ['throw new MeshError("system", "Cannot open door.");', ["error-wording"]],
  ['throw new MeshError("system", `Door ${1} is locked`);', ["error-wording"]],
  ["throw new MeshError(code, `${what}: locked`);", []],
  ["const now = Date.now();", ["pure-core"]],
  ["const x = Math.random();", ["pure-core"]],
  ["const x = Math.max(1, 2);", []],
  ["Deno.exit(1);", ["pure-core"]],
  ["crypto.getRandomValues(bytes);", ["pure-core"]],
  ["setTimeout(f, 1);", ["pure-core"]],
  ["const { fetch } = ports;", ["pure-core"]],
  ["ports.fetch();", []],
  ["const x = { fetch: 1, Date: 2 };", []],
  ["interface A { fetch(): void; crypto: string }", []],
  ["let x: Date;", ["pure-core"]],
  ["async function f() {}", ["pure-core"]],
  ["const f = [async () => {}];", ["pure-core"]],
  ["// Date, Deno and fetch in a comment", []],
  ['const x = "Date.now()";', []],
  [`function f() {${"\n".repeat(59)}}`, []],
  [`function f() {${"\n".repeat(60)}}`, ["function-length"]],
  [`class A { f() {${"\n".repeat(60)}} }`, ["function-length"]],
];

Deno.test("the lint plugin refuses exactly what each rule names", () => {
  for (const [source, expected] of CASES) {
    assert.deepEqual(broken(source), expected, source);
  }
});

Deno.test("pure-core holds in pure layers only, and not in their tests", () => {
  const source = "const now = Date.now();";
  for (const path of ["core/wireguard/x.ts", "coordinator/model/x.ts", "storage/model/x.ts"]) {
    assert.deepEqual(broken(source, path), ["pure-core"], path);
  }
  for (
    const path of [
      "core/daemon/x.ts",
      "core/platform/linux/x.ts",
      "core/x_test.ts",
      "coordinator/x.ts",
      "cli/x.ts",
      "scripts/x.ts",
      "tests/e2e/x_test.ts",
      "main.ts",
    ]
  ) {
    assert.deepEqual(broken(source, path), [], path);
  }
});

Deno.test("function-length names the function and the limit", () => {
  const file = new URL("../core/example.ts", import.meta.url).pathname;
  const source = `const table = { handle: () => {${"\n".repeat(70)}} };`;
  const [diagnostic] = Deno.lint.runPlugin(plugin, file, source);
  assert.match(diagnostic!.message, /^handle has 71 lines, more than 60$/);
});
