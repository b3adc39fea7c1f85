/**
 * Does the file that `init` writes hold every key, once, so that it can be uncommented?
 * @module
 */
import assert from "node:assert/strict";
import { exampleFile } from "./example.ts";
import { PeerFile, ServerFile, settingsOf } from "./schema.ts";

for (const [name, schema] of [["PeerFile", PeerFile], ["ServerFile", ServerFile]] as const) {
  Deno.test(`exampleFile() holds every key of ${name} but old spellings`, () => {
    const text = exampleFile(schema, { title: ["Title"], values: {} });
    const keys = [...text.matchAll(/^\s*#?(?:- )?([a-z0-9_]+):/gm)].map(([, key]) => key!);
    const settings = settingsOf(schema).filter(({ path, node }) =>
      !node.aliasFor && !/(^|\.)location\./.test(path)
    );
    for (const { path } of settings) {
      const key = path.split(".").at(-1)!;
      assert(keys.includes(key), `${path} is not in the file`);
    }
    assert(text.split("\n").every((line) => line.length <= 100));
  });
}

Deno.test("exampleFile() writes given values uncommented", () => {
  const text = exampleFile(PeerFile, {
    title: ["Title", ""],
    values: { "name": "anna", "tun.mtu": 1300, "dns.listen": ":53", "servers": ["a", "b c"] },
  });
  assert.match(text, /^# Title\n#\n/);
  assert.match(text, /^name: anna$/m);
  assert.match(text, /^tun:$/m);
  assert.match(text, /^ {2}mtu: 1300$/m);
  assert.match(text, /^ {2}listen: ":53"$/m);
  assert.match(text, /^servers: \[a, "b c"\]$/m);
});
