import assert from "node:assert/strict";
import fc from "fast-check";
import { parse } from "yaml";
import {
  addListed,
  addMembers,
  addNamed,
  membersIn,
  removeListed,
  removeMember,
  removeNamed,
} from "./policy_edit.ts";

const DOCUMENT = `# Who works here
groups:
    # Operations
    ops:   user:alice   # on call
    dev: [user:bob,  group:ops] # all developers

    film-club:
        - user:carol   # founder
        # The newest member
        - "user:dora"
    nobody:
    empty: []

# Who reaches what
rules:
  - { from: everyone, to: self, ports: any }
  # Work
  - from: group:dev
    to: tag:server
    ports: [https,ssh]    # not more

bindings:
- to: everyone
  right: read
  panels: map
# Films
- { to: group:film-club, right: write, buckets: films }
`;

/** An edit, and the lines of {@link DOCUMENT} that it changes. */
type Case = [name: string, edit: (text: string) => string, from: string, to: string];

const CASES: Case[] = [
  [
    "addNamed() puts a group behind the last one",
    (text) => addNamed(text, "groups", "web", ["user:alice"], "Web"),
    "    empty: []\n",
    "    empty: []\n    web: [user:alice] # Web\n",
  ],
  [
    "addNamed() makes a section that is not there",
    (text) => addNamed(text, "roles", "films", [{ right: "read", buckets: ["films", "*"] }]),
    "buckets: films }\n",
    `buckets: films }\nroles:\n  films: [{ right: read, buckets: [films, "*"] }]\n`,
  ],
  [
    "addMembers() makes a list of one",
    (text) => addMembers(text, "ops", ["user:bob"]),
    "ops:   user:alice   #",
    "ops:   [user:alice, user:bob]   #",
  ],
  [
    "addMembers() goes on in brackets",
    (text) => addMembers(text, "dev", ["user:eve", "tag:ci"]),
    "[user:bob,  group:ops] #",
    "[user:bob,  group:ops, user:eve, tag:ci] #",
  ],
  [
    "addMembers() goes on in lines",
    (text) => addMembers(text, "film-club", ["user:eve", "user:a#b"]),
    `        - "user:dora"\n`,
    `        - "user:dora"\n        - user:eve\n        - "user:a#b"\n`,
  ],
  [
    "addMembers() fills a group without a value",
    (text) => addMembers(text, "nobody", ["user:eve"]),
    "    nobody:\n",
    "    nobody: [user:eve]\n",
  ],
  [
    "addMembers() fills an empty list",
    (text) => addMembers(text, "empty", ["user:eve"]),
    "    empty: []\n",
    "    empty: [user:eve]\n",
  ],
  [
    "removeMember() takes the only one",
    (text) => removeMember(text, "ops", "user:alice"),
    "ops:   user:alice   #",
    "ops:   []   #",
  ],
  [
    "removeMember() takes the first of brackets",
    (text) => removeMember(text, "dev", "user:bob"),
    "[user:bob,  group:ops]",
    "[group:ops]",
  ],
  [
    "removeMember() takes the last of brackets",
    (text) => removeMember(text, "dev", "group:ops"),
    "[user:bob,  group:ops]",
    "[user:bob]",
  ],
  [
    "removeMember() takes a line",
    (text) => removeMember(text, "film-club", "user:dora"),
    `        - "user:dora"\n`,
    "",
  ],
  [
    "removeNamed() takes an entry of several lines",
    (text) => removeNamed(text, "groups", "film-club"),
    `    film-club:
        - user:carol   # founder
        # The newest member
        - "user:dora"\n`,
    "",
  ],
  [
    "removeNamed() takes a line",
    (text) => removeNamed(text, "groups", "nobody"),
    "    nobody:\n",
    "",
  ],
  [
    "addListed() goes on with the dashes where they are",
    (text) => addListed(text, "bindings", { to: "group:dev", role: "admin", comment: "Needs: it" }),
    "buckets: films }\n",
    `buckets: films }\n- { to: group:dev, role: admin, comment: "Needs: it" }\n`,
  ],
  [
    "removeListed() takes an entry of several lines",
    (text) => removeListed(text, "bindings", 0),
    "- to: everyone\n  right: read\n  panels: map\n",
    "",
  ],
  [
    "removeListed() takes an entry of one line",
    (text) => removeListed(text, "bindings", 1),
    "- { to: group:film-club, right: write, buckets: films }\n",
    "",
  ],
];

for (const [name, edit, from, to] of CASES) {
  Deno.test(name, () => {
    assert.equal(DOCUMENT.split(from).length, 2, "the test's own text stands once");
    assert.equal(edit(DOCUMENT), DOCUMENT.replace(from, () => to));
  });
}

Deno.test("edits begin an empty document and end one", () => {
  assert.equal(addNamed("", "groups", "a", []), "groups:\n  a: []\n");
  assert.equal(addNamed("# Ours", "groups", "a", []), "# Ours\ngroups:\n  a: []\n");
  assert.equal(
    addListed("rules: []\n", "bindings", { to: "a" }),
    "rules: []\nbindings:\n  - { to: a }\n",
  );
  assert.equal(
    removeNamed("# Ours\ngroups:\n  a: []\nrules: []\n", "groups", "a"),
    "# Ours\nrules: []\n",
  );
  assert.equal(removeListed("bindings:\n  - to: a\nrules: []\n", "bindings", 0), "rules: []\n");
  assert.equal(removeNamed("groups:\n  a: []\n", "groups", "a"), "");
});

Deno.test("edits rewrite a section in braces and keep its comments", () => {
  const text = "groups: { a: user:x, b: [user:y] } # ours\nrules: []\n";
  assert.deepEqual(parse(addNamed(text, "groups", "c", ["user:z"])), {
    groups: { a: "user:x", b: ["user:y"], c: ["user:z"] },
    rules: [],
  });
  assert.match(removeNamed(text, "groups", "a"), /# ours/);
  assert.equal(addMembers(text, "b", ["user:z"]), text.replace("[user:y]", "[user:y, user:z]"));
});

Deno.test("membersIn() reads what is written", () => {
  assert.deepEqual(membersIn(DOCUMENT, "ops"), ["user:alice"]);
  assert.deepEqual(membersIn(DOCUMENT, "film-club"), ["user:carol", "user:dora"]);
  assert.deepEqual(membersIn(DOCUMENT, "nobody"), []);
  assert.equal(membersIn(DOCUMENT, "toString"), null);
  assert.equal(membersIn("# nothing\n", "ops"), null);
});

const member = fc.constantFrom("user:a", "user:b", "tag:c", "node:x y", "user:#", "yes", "1", "*");

Deno.test("edits of groups mean what they say and undo each other", () => {
  const step = fc.record({ group: fc.constantFrom("ops", "dev", "film-club", "nobody"), member });
  fc.assert(fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
    const groups = (text: string) => parse(text).groups as Record<string, unknown>;
    let text = DOCUMENT;
    const added: typeof steps = [];
    for (const { group, member } of steps) {
      const before = membersIn(text, group)!;
      if (before.includes(member)) continue;
      text = addMembers(text, group, [member]);
      added.push({ group, member });
      assert.deepEqual(membersIn(text, group), [...before, member]);
    }
    for (const { group, member } of added.reverse()) text = removeMember(text, group, member);
    for (const name of Object.keys(groups(DOCUMENT))) {
      assert.deepEqual(membersIn(text, name), membersIn(DOCUMENT, name));
    }
    // What is not about members is untouched.
    const rest = (all: string) => all.slice(all.indexOf("# Who reaches what"));
    assert.equal(rest(text), rest(DOCUMENT));
  }));
});
