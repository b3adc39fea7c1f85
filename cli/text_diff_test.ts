import assert from "node:assert/strict";
import fc from "fast-check";
import { diffLines, diffStat, unifiedDiff } from "./text_diff.ts";

const NUMBERS = Array.from({ length: 20 }, (_, i) => `${i + 1}\n`).join("");

Deno.test("unifiedDiff() shows changes with what is around them, as diff -u does", () => {
  const after = NUMBERS.replace("2\n", "two\n").replace("\n17\n", "\n17\n17b\n");
  assert.deepEqual(unifiedDiff("f", NUMBERS, after), [
    "--- a/f",
    "+++ b/f",
    ...["@@ -1,5 +1,5 @@", " 1", "-2", "+two", " 3", " 4", " 5"],
    ...["@@ -15,6 +15,7 @@", " 15", " 16", " 17", "+17b", " 18", " 19", " 20"],
  ]);
});

Deno.test("unifiedDiff() of a file that is new, gone, the same, or without a last line break", () => {
  assert.deepEqual(unifiedDiff("f", null, "a\n"), [
    "--- /dev/null",
    "+++ b/f",
    "@@ -0,0 +1 @@",
    "+a",
  ]);
  assert.deepEqual(unifiedDiff("f", "a\n", null), [
    "--- a/f",
    "+++ /dev/null",
    "@@ -1 +0,0 @@",
    "-a",
  ]);
  assert.deepEqual(unifiedDiff("f", NUMBERS, NUMBERS), []);
  assert.deepEqual(unifiedDiff("f", "a\n", "a").slice(3), [
    "-a",
    "+a",
    "\\ No newline at end of file",
  ]);
});

Deno.test("diffLines() holds both texts", () => {
  const text = fc.array(fc.constantFrom("a", "b", "c", ""), { maxLength: 12 })
    .map((lines) => lines.map((line) => `${line}\n`).join(""));
  fc.assert(fc.property(text, text, (before, after) => {
    const lines = diffLines(before, after);
    const side = (sign: "-" | "+") =>
      lines.filter((line) => line.sign === " " || line.sign === sign)
        .map((line) => `${line.text}\n`).join("");
    assert.equal(side("-"), before);
    assert.equal(side("+"), after);
    if (before === after) assert.deepEqual(diffStat(before, after), { removed: 0, added: 0 });
  }));
});

Deno.test("diffLines() of long texts that have little in common ends", () => {
  const long = (word: string) => Array.from({ length: 3000 }, (_, i) => `${word}${i}\n`).join("");
  assert.deepEqual(diffStat(long("a"), long("b")), { removed: 3000, added: 3000 });
});
