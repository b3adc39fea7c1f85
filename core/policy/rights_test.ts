import assert from "node:assert/strict";
import { meshOf, nodeNamed, worldOf } from "./_world.ts";
import { explainRight, formatRight } from "./explain_right.ts";
import { type ObjectKind, parseObjectPath, type PolicyObject, type Right } from "./objects.ts";
import { may } from "./rights.ts";
import { mayAssignTag, type MeshSubjects, type Principal } from "./subjects.ts";

const MESH = meshOf(["laptop alice", "phone alice untrusted", "cam - untrusted", "desk bob"], {
  admins: ["bob"],
});

/** "Nodes tagged untrusted get read-only bucket access and no NFS mounts". */
const UNTRUSTED = {
  bindings: [
    { to: "everyone", role: ["bucket-write", "nfs-write"] },
    { to: "tag:untrusted", role: "bucket-read" },
    { to: "tag:untrusted", action: "deny", role: ["bucket-write", "nfs-read"] },
  ],
};

const PREFIXES = {
  bindings: [
    { to: "user:alice", right: "write", buckets: ["media/films", "logs"], comment: "Film club" },
    { to: "user:alice", right: "read", buckets: "*" },
    { to: "user:alice", action: "deny", right: "admin", panels: "*" },
    { to: "everyone", role: "panel-viewer", panels: "map" },
  ],
};

function object(text: string): PolicyObject {
  const [kind, path] = text.split(":") as [ObjectKind, string];
  return { kind, path: parseObjectPath(kind, path)! };
}

function who(world: MeshSubjects, text: string): Principal {
  const [kind, name] = text.split(":") as [string, string];
  return kind === "user" ? { user: name } : { node: nodeNamed(world, name).id };
}

const CASES: [
  tree: typeof UNTRUSTED | typeof PREFIXES,
  who: string,
  right: Right,
  object: string,
  isAllowed: boolean,
][] = [
  [UNTRUSTED, "node:cam", "read", "buckets:media", true],
  [UNTRUSTED, "node:cam", "write", "buckets:media", false],
  [UNTRUSTED, "node:cam", "read", "nfs:default", false],
  [UNTRUSTED, "node:phone", "write", "buckets:media", false],
  [UNTRUSTED, "node:phone", "read", "nfs:default", false],
  [UNTRUSTED, "node:laptop", "write", "buckets:media", true],
  [UNTRUSTED, "node:laptop", "write", "nfs:default", true],
  [UNTRUSTED, "user:alice", "write", "buckets:media", true],
  [UNTRUSTED, "node:laptop", "admin", "buckets:media", false],
  [PREFIXES, "user:alice", "write", "buckets:media/films", true],
  [PREFIXES, "user:alice", "write", "buckets:media/films/2026/a.mkv", true],
  [PREFIXES, "user:alice", "write", "buckets:media/films-2/a.mkv", false],
  [PREFIXES, "user:alice", "write", "buckets:media", false],
  [PREFIXES, "user:alice", "read", "buckets:media/films-2/a.mkv", true],
  [PREFIXES, "user:alice", "read", "buckets:_tunnelmesh/auth", false],
  [PREFIXES, "user:bob", "admin", "buckets:_tunnelmesh/auth", true],
  [PREFIXES, "node:desk", "admin", "panels:filter", true],
  [PREFIXES, "user:alice", "read", "panels:map", true],
  [PREFIXES, "user:alice", "read", "panels:filter", false],
  [PREFIXES, "node:cam", "read", "panels:map", true],
  [PREFIXES, "node:cam", "read", "buckets:logs", false],
  [PREFIXES, "user:nobody", "read", "panels:map", false],
];

for (const [tree, name, right, text, isAllowed] of CASES) {
  Deno.test(`may() ${isAllowed ? "lets" : "does not let"} ${name} ${right} ${text}`, () => {
    const world = worldOf(tree, MESH);
    assert.equal(may(world, who(world, name), right, object(text)).isAllowed, isAllowed);
  });
}

Deno.test("may() counts bindings that others made as well", () => {
  const world = worldOf({}, MESH);
  const own = worldOf(PREFIXES, MESH).policy.bindings;
  const bucket = object("buckets:logs");
  assert.equal(may(world, { user: "alice" }, "write", bucket).isAllowed, false);
  assert.equal(may(world, { user: "alice" }, "write", bucket, own).isAllowed, true);
});

const TEXTS: [who: string, right: Right, object: string, text: string][] = [
  [
    "user:alice",
    "write",
    "buckets:media/films",
    "user:alice: allowed: write bucket:media/films\n" +
    "  by the binding at policy#bindings/0  (Film club)",
  ],
  [
    "user:alice",
    "write",
    "buckets:media/series",
    "user:alice: denied: write bucket:media/series\n" +
    "  no binding gives it; the most given is read\n" +
    "  bindings that nearly decided otherwise:\n" +
    "    policy#bindings/0 (Film club): is for other objects\n" +
    "    policy#bindings/1: gives no more than read",
  ],
  [
    "node:cam",
    "read",
    "buckets:logs",
    "node:cam: denied: read bucket:logs\n" +
    "  no binding gives it\n" +
    "  bindings that nearly decided otherwise:\n" +
    "    policy#bindings/0 (Film club): is for others\n" +
    "    policy#bindings/1: is for others",
  ],
  [
    "user:alice",
    "admin",
    "panels:map",
    "user:alice: denied: admin panel:map\n" +
    "  by the binding at policy#bindings/2",
  ],
];

for (const [name, right, text, expected] of TEXTS) {
  Deno.test(`explainRight() tells why ${name} may or may not ${right} ${text}`, () => {
    const world = worldOf(PREFIXES, MESH);
    assert.equal(formatRight(explainRight(world, who(world, name), right, object(text))), expected);
  });
}

Deno.test("mayAssignTag() lets owners and admins", () => {
  const world = worldOf({ tags: { server: { owners: "user:alice" }, other: {} } }, MESH);
  const may = (user: string, tag: string) => mayAssignTag(world, user, tag);
  assert.deepEqual([may("alice", "server"), may("alice", "other"), may("bob", "other")], [
    true,
    false,
    true,
  ]);
});
