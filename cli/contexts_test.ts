/**
 * Are contexts kept, chosen and written as they should be?
 * @module
 */
import assert from "node:assert/strict";
import { MeshError } from "../core/errors.ts";
import { checkContextName, Contexts } from "./contexts.ts";
import { contextsPath } from "./paths.ts";
import { cidrsOfOthers } from "./start.ts";
import { testHost } from "./testing_host.ts";

Deno.test("Contexts keeps what is put, the first becoming active", () => {
  const host = testHost();
  const contexts = Contexts.load(host);
  assert.equal(contexts.current(null), "default");
  contexts.put("work", { server: "https://a:8443" });
  contexts.put("home", { server: "https://b:8443", node: "anna" });
  contexts.put("home", { config: "/c.yaml" });

  const again = Contexts.load(host);
  assert.equal(again.active, "work");
  assert.equal(again.current(null), "work");
  assert.equal(again.current("other"), "other");
  assert.deepEqual(again.list().map(({ name, isActive }) => [name, isActive]), [
    ["home", false],
    ["work", true],
  ]);
  const { server, node, config, stateDir } = again.get("home");
  assert.deepEqual({ server, node, config, stateDir }, {
    server: "https://b:8443",
    node: "anna",
    config: "/c.yaml",
    stateDir: null,
  });
  assert.equal(Deno.statSync(contextsPath(host)).mode! & 0o777, 0o600);
  assert.equal(Deno.statSync(`${host.home}/.tunnelmesh`).mode! & 0o777, 0o700);
});

Deno.test("Contexts uses and removes", () => {
  const host = testHost();
  const contexts = Contexts.load(host);
  contexts.put("work", {});
  contexts.put("home", {});
  contexts.use("home");
  assert.equal(Contexts.load(host).active, "home");
  contexts.remove("home");
  assert.equal(Contexts.load(host).active, null);
  assert.equal(Contexts.load(host).has("home"), false);
});

Deno.test("Contexts names the nearest one when there is none of a name", () => {
  const contexts = Contexts.load(testHost());
  contexts.put("work", {});
  for (const run of [() => contexts.get("wrok"), () => contexts.use("wrok")]) {
    assert.throws(run, (error) => {
      assert(error instanceof MeshError);
      assert.equal(error.code, "context-unknown");
      assert.equal(error.hint, 'Did you mean "work"?');
      return true;
    });
  }
});

Deno.test("checkContextName() refuses what is unsafe in a path", () => {
  for (const name of ["", "../up", "a/b", "-a", "a b", "a".repeat(33), ".hidden"]) {
    assert.throws(() => checkContextName(name), /not a valid name/);
  }
  assert.throws(() => checkContextName("coordinator"), /meaning of its own/);
  assert.equal(checkContextName("Work_2-a"), "Work_2-a");
});

Deno.test("cidrsOfOthers() reads the ranges of other contexts, running or not", () => {
  const host = testHost();
  const contexts = Contexts.load(host);
  for (const [name, cidr4] of [["home", "172.30.0.0/16"], ["work", "10.142.0.0/16"]] as const) {
    const stateDir = `${host.home}/${name}`;
    Deno.mkdirSync(stateDir, { recursive: true });
    Deno.writeTextFileSync(`${stateDir}/mesh.json`, JSON.stringify({ reply: { cidr4 } }, null, 2));
    contexts.put(name, { stateDir });
  }
  contexts.put("new", { stateDir: `${host.home}/new` });
  assert.deepEqual(cidrsOfOthers(contexts, "work"), ["172.30.0.0/16"]);
  assert.deepEqual(cidrsOfOthers(contexts, "lab"), ["172.30.0.0/16", "10.142.0.0/16"]);
});

Deno.test("Contexts.readActive() sees what another process chose", () => {
  const host = testHost();
  const contexts = Contexts.load(host);
  assert.equal(contexts.readActive(), null);
  Contexts.load(host).put("work", {});
  assert.equal(contexts.readActive(), "work");
  Deno.writeTextFileSync(contextsPath(host), "{");
  assert.equal(contexts.readActive(), null);
});

Deno.test("Contexts says that a damaged file is damaged", () => {
  const host = testHost();
  for (const text of ["{", '{"version":2}', '{"version":1,"active":"../x","contexts":{}}']) {
    Deno.mkdirSync(`${host.home}/.tunnelmesh`, { recursive: true });
    Deno.writeTextFileSync(contextsPath(host), text);
    assert.throws(() => Contexts.load(host), /Cannot read contexts: .* is damaged/);
  }
});

Deno.test(
  "Contexts written by root under sudo belong to the user",
  { ignore: Deno.uid() !== 0 },
  () => {
    const host = testHost({ isRoot: true, owner: { uid: 12345, gid: 23456 } });
    Contexts.load(host).put("work", {});
    for (const path of [contextsPath(host), `${host.home}/.tunnelmesh`]) {
      const { uid, gid } = Deno.statSync(path);
      assert.deepEqual([uid, gid], [12345, 23456]);
    }
  },
);
