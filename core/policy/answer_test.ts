import assert from "node:assert/strict";
import { meshOf, worldOf } from "./_world.ts";
import { answer } from "./answer.ts";

const WORLD = worldOf(
  {
    groups: { dev: ["user:alice", "user:bob"] },
    services: { app: "tcp/8000" },
    rules: [{ from: "dev", to: "tag:server", ports: ["app", "https"], comment: "Work" }],
    bindings: [{ to: "tag:server", right: "write", buckets: "logs" }],
    exits: [{ offer: "nas", use: "user:alice" }],
    routes: [{ prefix: "10.0.0.0/8", offer: "nas", use: "user:alice" }],
  },
  meshOf(["laptop alice", "phone alice", "desk bob", "nas - server"]),
);

const WORK = "    by policy#rules/0 [coordinator]: allow tcp/443, tcp/8000 from group:dev to " +
  "tag:server  (Work)";

const CASES: [from: string, target: string, text: string][] = [
  [
    "dev",
    "nas:443",
    "laptop (user:alice) -> nas (tag:server) tcp/443: allowed\n" + WORK.slice(2) +
    "\n  the same for 2 more",
  ],
  [
    "nas",
    "laptop:app",
    "nas (tag:server) -> laptop (user:alice) tcp/8000: denied\n  no rule allows it",
  ],
  [
    "nas",
    "nas:22",
    "no node sends to another one",
  ],
  [
    "nas",
    "bucket:logs/2026:write",
    "node:nas: allowed: write bucket:logs/2026\n  by the binding at policy#bindings/0",
  ],
  [
    "group:dev",
    "exit:nas",
    "laptop (user:alice) -> the Internet through nas (tag:server): allowed\n" +
    "  by policy#exits/0\n  the same for 1 more\n" +
    "desk (user:bob) -> the Internet through nas (tag:server): denied\n" +
    "  nothing in exits allows it",
  ],
  [
    "phone",
    "route:10.1.0.0/16",
    "phone (user:alice) -> 10.1.0.0/16 through nas (tag:server): allowed\n  by policy#routes/0",
  ],
  ["phone", "route:11.0.0.0/8", "nobody in the mesh is meant"],
  ["fone", "nas:22", "nobody in the mesh is fone"],
  ["phone", "this:22", "nobody in the mesh is this"],
  ["phone", "exit:nsa", "nobody in the mesh is nsa"],
];

for (const [from, target, text] of CASES) {
  Deno.test(`answer() of ${from} to ${target}`, () => {
    assert.deepEqual(answer(WORLD, from, target), { text, problems: null });
  });
}

Deno.test("answer() says what is wrong with a question", () => {
  const { problems } = answer(WORLD, "group:dve", "nas:htps");
  assert.equal(problems?.length, 2);
  assert.match(problems[0]!, /^question: from names the group "dve".*did you mean "dev"\?$/);
  assert.match(problems[1]!, /^question: to must be a port.*did you mean "https"\?$/);
});
