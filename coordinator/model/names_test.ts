import assert from "node:assert/strict";
import { MeshError } from "../../core/errors.ts";
import { chooseAliases, chooseName } from "./names.ts";

const ME = "0000000000000001";
const OTHER = "0000000000000002";
const LONG = "x".repeat(63);

function holderOf(names: Record<string, string>) {
  return (name: string) => new Map(Object.entries(names)).get(name);
}

const CASES: [name: string, wanted: string, held: Record<string, string>, expected: string][] = [
  ["a free name", "a", {}, "a"],
  ["one's own name", "a", { a: ME }, "a"],
  ["a name of another", "a", { a: OTHER }, "a-2"],
  ["a name taken thrice", "a", { a: OTHER, "a-2": OTHER, "a-3": OTHER }, "a-4"],
  ["one's own number", "a", { a: OTHER, "a-2": ME }, "a-2"],
  ["the longest name", LONG, { [LONG]: OTHER }, `${"x".repeat(61)}-2`],
  ["a name with a hyphen where it is cut", "y".repeat(60) + "-zz", {
    ["y".repeat(60) + "-zz"]: OTHER,
  }, `${"y".repeat(60)}-2`],
];

for (const [name, wanted, held, expected] of CASES) {
  Deno.test(`chooseName() with ${name}`, () => {
    assert.equal(chooseName(wanted, ME, holderOf(held)), expected);
  });
}

Deno.test("names of the mesh itself are refused", () => {
  for (
    const run of [
      () => chooseName("this", ME, holderOf({})),
      () => chooseAliases(["www", "admin"], ME, holderOf({})),
    ]
  ) {
    assert.throws(run, (error) => error instanceof MeshError && error.code === "name-reserved");
  }
});

Deno.test("chooseAliases() drops repetitions and refuses those of others", () => {
  assert.deepEqual(chooseAliases(["b", "a", "b"], ME, holderOf({ a: ME })), ["b", "a"]);
  assert.throws(
    () => chooseAliases(["a"], ME, holderOf({ a: OTHER })),
    (error) => error instanceof MeshError && error.code === "name-taken",
  );
});
