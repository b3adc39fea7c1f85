/**
 * Do the examples of docs/policy.md parse, hold their own tests, and print what the page shows?
 * @module
 */
import assert from "node:assert/strict";
import { yamlSource } from "../core/daemon/yaml_source.ts";
import type { Source } from "../core/config/source.ts";
import { meshOf } from "../core/policy/_world.ts";
import { checkPolicy, formatCheck } from "../core/policy/check.ts";
import { FIRST_POLICY_TEXT, FIRST_POLICY_TREE, firstPolicy } from "../core/policy/default.ts";
import { parsePolicy } from "../core/policy/parse.ts";
import { formatPlan, planOf } from "../core/policy/plan.ts";
import type { Policy } from "../core/policy/policy.ts";
import { MeshSubjects } from "../core/policy/subjects.ts";

const PAGE = Deno.readTextFileSync(new URL("../docs/policy.md", import.meta.url));
const EXAMPLES = [...PAGE.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text]) => text!);
const MESH = meshOf(
  [
    "laptop alice",
    "desk bob",
    "tablet bob",
    "nas - server",
    "web - server",
    "cam - untrusted",
    "old carol untrusted",
  ],
  { admins: ["alice"] },
);

function policySource(name: string, text: string): Source {
  return yamlSource({ name, text }, { keepsNulls: true });
}

function policyFrom(...texts: string[]): Policy {
  const sources = texts.map((text, i) => policySource(`policy${i || ""}.yaml`, text));
  const { policy, problems } = parsePolicy(sources);
  assert.equal(problems, null);
  return policy!;
}

Deno.test("docs/policy.md has examples", () => assert.ok(EXAMPLES.length >= 5));

EXAMPLES.forEach((text, i) => {
  Deno.test(`docs/policy.md: example ${i + 1} holds its tests`, () => {
    const report = checkPolicy(new MeshSubjects(policyFrom(text), MESH));
    assert.deepEqual([...report.failures, ...report.empty, ...report.warnings], []);
    assert.equal(report.passed > 0, text.includes("tests:"));
  });
});

Deno.test("docs/policy.md shows the first policy, which is what its text says", () => {
  assert.ok(EXAMPLES.includes(FIRST_POLICY_TEXT));
  const source = policySource("first-policy.yaml", FIRST_POLICY_TEXT);
  assert.deepEqual(source.tree, FIRST_POLICY_TREE);
  assert.deepEqual(firstPolicy(), parsePolicy([source]).policy);
});

Deno.test("docs/policy.md shows what a failing test prints", () => {
  const text = "rules:\n  - { from: user:alice, to: tag:server, ports: ssh, comment: Repairs }\n" +
    "tests:\n  - from: laptop\n    deny: [nas:22]\n";
  const report = checkPolicy(new MeshSubjects(policyFrom(text), MESH));
  assert.ok(PAGE.includes("```\n" + formatCheck(report) + "\n```"), formatCheck(report));
});

Deno.test("docs/policy.md shows lines of the plan from the first policy to the team's", () => {
  const team = EXAMPLES.find((text) => text.includes("services:"))!;
  const plan = planOf(
    new MeshSubjects(firstPolicy(), MESH),
    new MeshSubjects(policyFrom(team), MESH),
  );
  const shown = /team's above:\n\n```\n([\s\S]*?)\n```/.exec(PAGE)![1]!.split("\n");
  const lines = formatPlan(plan);
  assert.deepEqual(shown.filter((line) => !lines.includes(line)), [], lines.join("\n"));
});

Deno.test("a policy in YAML names file, line and column of what is wrong", () => {
  const text = "rules:\n  - from: everyone\n    to: everyone\n    ports: htps\n";
  const { problems } = parsePolicy([policySource("policy.yaml", text)]);
  assert.match(problems![0]!, /^policy\.yaml:4:5: rules\[0\]\.ports must be a port/);
});

Deno.test("a policy with a key that has no value is refused: without `action` it allows", () => {
  const text = "rules:\n  - { from: everyone, to: everyone, ports: ssh, action: }\ntests:\n";
  const { problems } = parsePolicy([policySource("policy.yaml", text)]);
  assert.match(problems![0]!, /^policy\.yaml:2:49: rules\[0\]\.action must be /);
  assert.equal(problems![1], "policy.yaml:3:1: tests must be a list, not null");
});

Deno.test("a policy in several files names the file of each problem", () => {
  const { problems } = parsePolicy([
    policySource("a.yaml", "groups:\n  ops: user:alice\n"),
    policySource("b.yaml", "# Ours\ngroups:\n  ops: user:bob\nrulez: []\n"),
  ]);
  assert.deepEqual(problems, [
    "b.yaml:3:3: groups.ops is defined at a.yaml:2:3 already",
    'b.yaml:4:1: unknown key "rulez"; did you mean "rules"?',
  ]);
});
