/**
 * Do people and programs get what each can read?
 * @module
 */
import assert from "node:assert/strict";
import { Output, wantsColor } from "./output.ts";
import { TestOutput } from "./testing_host.ts";

const COLUMNS = [{ title: "Name" }, { title: "Age", align: "right" as const }];
const ITEMS = [{ name: "anna", age: 7 }, { name: "bob", age: 12 }];

Deno.test("Output.list() writes a table, or an object per line", () => {
  const [text, json] = [new TestOutput(), new TestOutput(true)];
  for (const out of [text, json]) out.list(ITEMS, COLUMNS, ({ name, age }) => [name, String(age)]);
  assert.equal(text.written.join(""), "NAME  AGE\nanna    7\nbob    12\n");
  assert.deepEqual(json.written.map((line) => JSON.parse(line)), ITEMS);
});

Deno.test("Output.document() writes lines, or one document", () => {
  const [text, json] = [new TestOutput(), new TestOutput(true)];
  for (const out of [text, json]) out.document(ITEMS[0], () => ["one", "two"]);
  assert.equal(text.written.join(""), "one\ntwo\n");
  assert.deepEqual(JSON.parse(json.written.join("")), ITEMS[0]);
});

Deno.test("Output keeps text out of JSON, and warns as an object", () => {
  const out = new TestOutput(true);
  out.line("for people");
  out.warning("Careful", "Do this");
  assert.equal(out.written.join(""), "");
  assert.deepEqual(JSON.parse(out.errors.join("")), {
    warning: { message: "Careful", hint: "Do this" },
  });
});

Deno.test("Output colours when it is told to", () => {
  const write = () => {};
  const options = { isJson: false, isErrorColor: false, columns: 80, write, writeError: write };
  assert.equal(new Output({ ...options, isColor: true }).green("up"), "\x1b[32mup\x1b[39m");
  assert.equal(new Output({ ...options, isColor: false }).green("up"), "up");
});

const COLORS: [env: Record<string, string>, isTerminal: boolean, wants: boolean][] = [
  [{}, true, true],
  [{}, false, false],
  [{ NO_COLOR: "1" }, true, false],
  [{ NO_COLOR: "" }, true, true],
  [{ FORCE_COLOR: "1" }, false, true],
  [{ FORCE_COLOR: "0" }, true, false],
  [{ NO_COLOR: "1", FORCE_COLOR: "1" }, true, false],
  [{ TERM: "dumb" }, true, false],
];

for (const [env, isTerminal, wants] of COLORS) {
  Deno.test(`wantsColor(${JSON.stringify(env)}, ${isTerminal}) is ${wants}`, () => {
    assert.equal(wantsColor(env, isTerminal), wants);
  });
}
