/**
 * Are files replaced as a whole, privately, and never by accident?
 * @module
 */
import assert from "node:assert/strict";
import { exists, isOpenToOthers, readIfPresent, replaceFile } from "./files.ts";
import { tempDir } from "./testing_host.ts";

const OPTIONS = { owner: null };

Deno.test("replaceFile() writes privately and leaves nothing else behind", () => {
  const folder = tempDir();
  const path = `${folder}/a/b.txt`;
  replaceFile(path, "one", OPTIONS);
  replaceFile(path, "two", OPTIONS);
  assert.equal(readIfPresent(path), "two");
  assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
  assert.deepEqual([...Deno.readDirSync(`${folder}/a`)].map(({ name }) => name), ["b.txt"]);
  assert.equal(isOpenToOthers(path), false);
  Deno.chmodSync(path, 0o640);
  assert.equal(isOpenToOthers(path), true);
});

Deno.test("replaceFile() keeps a file that exists when asked for a new one", () => {
  const path = `${tempDir()}/b.txt`;
  replaceFile(path, "one", { ...OPTIONS, isNew: true });
  assert.throws(() => replaceFile(path, "two", { ...OPTIONS, isNew: true }), /it exists/);
  assert.equal(readIfPresent(path), "one");
});

Deno.test("replaceFile() replaces a link and does not follow it", () => {
  const folder = tempDir();
  Deno.writeTextFileSync(`${folder}/victim`, "precious");
  Deno.symlinkSync(`${folder}/victim`, `${folder}/link`);
  replaceFile(`${folder}/link`, "mine", OPTIONS);
  assert.equal(Deno.readTextFileSync(`${folder}/victim`), "precious");
  assert.equal(Deno.readTextFileSync(`${folder}/link`), "mine");
});

Deno.test("replaceFile() says why it cannot write", () => {
  assert.throws(() => replaceFile("/proc/nothing/file", "x", OPTIONS), /Cannot write \/proc/);
  assert.equal(readIfPresent("/nonexistent/file"), null);
  assert.equal(exists("/nonexistent/file"), false);
});
