import assert from "node:assert/strict";
import { policyOf } from "./_world.ts";
import { formatPolicy, policyLines } from "./words.ts";

const POLICY = policyOf({
  groups: { dev: ["user:bob", "tag:ci"], nobody: [] },
  rules: [{ from: "group:dev", to: "tag:server", ports: ["ssh", "https"], comment: "Work" }],
  exits: [{ action: "deny", offer: "everyone", use: "tag:untrusted" }],
  routes: [
    { prefix: "192.168.7.0/24", offer: "node:nas", use: "group:dev" },
    { prefix: "10.0.0.0/8", offer: "node:nas", use: "user:bob", ports: "https" },
  ],
  roles: { crew: [{ right: "write", buckets: "films" }, { right: "read", panels: "*" }] },
  bindings: [{ to: "group:dev", role: "crew" }],
});

Deno.test("formatPolicy() tells every part with its place and its reason", () => {
  assert.deepEqual(formatPolicy(POLICY).slice(0, -1), [
    "groups:",
    "  dev: user:bob, tag:ci  [policy#groups/dev]",
    "  nobody: nobody  [policy#groups/nobody]",
    "rules:",
    "  allow tcp/22, tcp/443 from group:dev to tag:server  [policy#rules/0]  (Work)",
    "exits:",
    "  deny the Internet through everyone to tag:untrusted  [policy#exits/0]",
    "routes:",
    "  allow 192.168.7.0/24 through node:nas to group:dev  [policy#routes/0]",
    "  allow tcp/443 on 10.0.0.0/8 through node:nas to user:bob  [policy#routes/1]",
    "bindings:",
    "  allow write on bucket:films; read on panel:* to group:dev  [policy#bindings/0]",
  ]);
  assert.equal(policyLines(POLICY).length, 7);
});
