import assert from "node:assert/strict";
import { meshOf, worldOf } from "./_world.ts";
import { parseSubject } from "./subject.ts";

const MESH = meshOf(
  ["laptop alice", "phone alice mobile", "nas - server,backup", "desk bob", "bob carol"],
  { admins: ["alice"] },
);
const TREE = {
  groups: {
    ops: ["user:alice", "group:oncall"],
    oncall: ["tag:server", "desk"],
    "film-club": ["user:carol"],
    nobody: [],
  },
  tags: { mobile: {} },
};

const CASES: [subject: string, action: "allow" | "deny", nodes: string, users: string][] = [
  ["everyone", "allow", "laptop phone nas desk bob", "alice bob carol"],
  ["admins", "allow", "laptop phone", "alice"],
  ["user:alice", "allow", "laptop phone", "alice"],
  ["user:dora", "allow", "", ""],
  ["node:nas", "allow", "nas", ""],
  ["node:0000000000000003", "allow", "nas", ""],
  ["tag:server", "allow", "nas", ""],
  ["tag:serve", "allow", "", ""],
  ["group:ops", "allow", "laptop phone nas desk", "alice"],
  ["group:film-club", "allow", "bob", "carol"],
  ["group:nobody", "allow", "", ""],
  ["alice", "allow", "laptop phone", "alice"],
  ["nas", "allow", "nas", ""],
  ["self", "allow", "", ""],
  // "bob" is a user and a node of another user: nobody gains by such a name.
  ["bob", "allow", "", ""],
  ["bob", "deny", "desk bob", "bob"],
];

for (const [text, action, nodes, users] of CASES) {
  Deno.test(`MeshSubjects.resolve() of ${text} to ${action}`, () => {
    const world = worldOf(TREE, MESH);
    const found = world.resolve(parseSubject(text)!, action);
    const names = MESH.nodes.filter(({ id }) => found.nodes.has(id)).map(({ name }) => name);
    assert.equal(names.join(" "), nodes);
    assert.equal([...found.users].sort().join(" "), users);
  });
}

const REFUSED = ["", "user:", ":x", "role:x", "group:A B", "tag:ä", "a b", "a,b", "group:"];

for (const text of REFUSED) {
  Deno.test(`parseSubject() refuses "${text}"`, () => assert.equal(parseSubject(text), null));
}

Deno.test("parseSubject() takes users with colons in their names", () => {
  assert.deepEqual(parseSubject("user:svc:ci"), { kind: "user", name: "svc:ci" });
});
