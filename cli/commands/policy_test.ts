import assert from "node:assert/strict";
import { MeshError } from "../../core/errors.ts";
import { FIRST_POLICY_TEXT } from "../../core/policy/default.ts";
import { formatPrivateKey } from "../../core/identity/openssh.ts";
import { actor, keyOf } from "../../core/state/fake_mesh.ts";
import { policyHash } from "../../core/state/bodies.ts";
import { TestUser } from "../testing_command.ts";
import { ControlClient } from "../control_client.ts";
import { propose, stateProposal } from "../policy_change.ts";
import { textsOf } from "../policy_files.ts";
import { appliedPolicy } from "../policy_world.ts";

const POLICY = `# Ours
groups:
  dev: user:bob
rules:
  - { from: everyone, to: self, ports: any }
  - { from: everyone, to: everyone, ports: [ping, mesh] }
  - { from: group:dev, to: tag:server, ports: ssh, comment: Work }
tests:
  - from: user:bob
    allow: nas:22
    deny: laptop:22
`;
const WORSE = POLICY.replace("to: tag:server", "to: everyone");

/** The file of the private key of somebody. */
function keyFile(number: number): string {
  const seed = new Uint8Array(32);
  new DataView(seed.buffer).setUint32(0, number);
  return formatPrivateKey(seed, "", 1);
}

Deno.test("policy check names file, line and column and exits with 2", async () => {
  await using user = new TestUser();
  user.write("p/a.yaml", "groups:\n  dev: user:bob\n");
  user.write("p/sub/b.yml", "rules:\n  - { from: group:dve, to: nas, ports: htps }\n");
  user.write("p/.git/c.yaml", "nonsense: [");
  const { code, text } = await user.run("policy", "check", "p/");
  assert.equal(code, 2);
  assert.match(text, /^p\/sub\/b\.yml:2:7: rules\[0\]\.from names the group "dve".*"dev"\?\n/);
  assert.match(text, /\np\/sub\/b\.yml:2:33: rules\[0\]\.ports must be a port/);
  const json = await user.run("policy", "check", "p", "--json");
  assert.deepEqual(JSON.parse(json.text).problems[0].line, 2);
  assert.equal((await user.run("policy", "check", "p/a.yaml")).code, 0);
});

Deno.test("policy check tells every file that is no YAML", async () => {
  await using user = new TestUser();
  user.write("a.yaml", "rules: [\n");
  user.write("b.yaml", "rules: }\n");
  const { text } = await user.run("policy", "check", "a.yaml", "b.yaml");
  assert.match(text, /^a\.yaml:\d+:\d+: .*\nb\.yaml:1:8: .*\n$/);
});

Deno.test("policy plan tells who gains what, and CI whether anything differs", async () => {
  await using user = new TestUser();
  user.write("policy.yaml", POLICY);
  const plan = await user.run("policy", "plan", "policy.yaml", "--exit-code");
  assert.match(plan.text, /^group:dev gains tcp\/22 on tag:server\n/);
  assert.match(plan.text, /2 passed, 0 failed\n$/);
  assert.equal(plan.code, 5);
  assert.equal(user.mesh.state.policy, null);
  assert.equal((await user.run("policy", "apply", "policy.yaml", "--yes")).code, 0);
  const again = await user.run("policy", "plan", "policy.yaml", "--exit-code", "--json");
  assert.equal(again.code, 0);
  assert.deepEqual(JSON.parse(again.text).changes, []);
});

Deno.test("policy plan and apply stop at a failing test", async () => {
  await using user = new TestUser();
  user.write("policy.yaml", WORSE);
  const plan = await user.run("policy", "plan", "policy.yaml");
  assert.equal(plan.code, 1);
  assert.match(plan.text, /policy\.yaml:11:5: failed: deny laptop:22/);
  const applied = await user.run("policy", "apply", "policy.yaml", "--yes");
  assert.equal(applied.error?.code, "policy-unfit");
  assert.equal(user.mesh.state.policy, null);
});

Deno.test("policy apply asks, and without a terminal says what to add", async () => {
  await using user = new TestUser();
  user.write("policy.yaml", POLICY);
  const { code, error } = await user.run("policy", "apply", "policy.yaml");
  assert.equal(code, 2);
  assert.match(error!.hint!, /--yes/);
  assert.equal(user.mesh.state.policy, null);
});

Deno.test("policy apply with one bad line changes nothing and names it", async () => {
  await using user = new TestUser();
  user.write("policy.yaml", POLICY.replace("ports: ssh", "ports: shs"));
  const { code, error } = await user.run("policy", "apply", "policy.yaml", "--yes");
  assert.equal(code, 2);
  assert.match(error!.message, /policy\.yaml:7:\d+: rules\[2\]\.ports must be a port/);
  assert.equal(user.mesh.state.policy, null);
});

Deno.test("policy apply by nobody's key is refused with what to do", async () => {
  await using user = new TestUser();
  user.write("policy.yaml", POLICY);
  user.mesh.signer = actor(2);
  const { code, error } = await user.run("policy", "apply", "policy.yaml", "--yes");
  assert.equal(code, 4);
  assert.match(error!.hint!, /--key FILE/);
  user.write("key", keyFile(1), 0o600);
  const signed = await user.run("policy", "apply", "policy.yaml", "--yes", "--key", "key");
  assert.equal(signed.code, 0);
  assert.equal(user.mesh.policyText, POLICY);
});

Deno.test("policy apply signs again when another change came first, and nothing else than asked", async () => {
  await using user = new TestUser();
  user.write("policy.yaml", POLICY);
  user.write("key", keyFile(1), 0o600);
  const error = new MeshError("log-fork", "Cannot accept entry 6: another one is known");
  user.mesh.refusals.push({ path: "/v1/mesh/append", error });
  assert.equal((await user.run("policy", "apply", "policy.yaml", "-y", "--key", "key")).code, 0);
  user.mesh.lies = { type: "admin-add", user: actor(2).peerId, key: keyOf(actor(2)) };
  user.write("policy.yaml", `${POLICY}# More\n`);
  const lied = await user.run("policy", "apply", "policy.yaml", "-y", "--key", "key");
  assert.match(lied.error!.message, /drafted another change/);
  const wrong = await user.run("policy", "apply", "policy.yaml", "-y", "--key", "key.pub");
  assert.match(wrong.error!.hint!, /--key key$/);
});

Deno.test("policy diff shows lines, policy export writes what is applied", async () => {
  await using user = new TestUser();
  const first = await user.run("policy", "export");
  assert.equal(first.text, FIRST_POLICY_TEXT);
  user.write("policy.yaml", POLICY);
  await user.run("policy", "apply", "policy.yaml", "--yes");
  user.write("policy.yaml", WORSE);
  const diff = await user.run("policy", "diff", "policy.yaml", "--exit-code");
  assert.equal(diff.code, 5);
  assert.match(diff.text, /^--- a\/policy\.yaml\n\+\+\+ b\/policy\.yaml\n@@ -4,7 \+4,7 @@\n/);
  assert.match(diff.text, /\n- {2}- \{ from: group:dev, to: tag:server/);
  const refused = await user.run("policy", "export", ".");
  assert.match(refused.error!.message, /another text is there/);
  assert.equal((await user.run("policy", "export", "new/folder")).code, 0);
  assert.equal(user.read("new/folder/policy.yaml"), POLICY);
  await user.run("policy", "export", ".", "--force");
  assert.equal(user.read("policy.yaml"), POLICY);
  assert.equal((await user.run("policy", "diff", "policy.yaml", "--exit-code")).code, 0);
});

Deno.test("policy history lists, rollback plans and applies an earlier policy", async () => {
  await using user = new TestUser();
  assert.match((await user.run("policy", "history")).text, /the first one holds/);
  user.write("policy.yaml", POLICY);
  await user.run("policy", "apply", "policy.yaml", "--yes");
  const first = user.mesh.state.policy!;
  user.write("policy.yaml", `${POLICY}# More\n`);
  await user.run("policy", "apply", "policy.yaml", "--yes");
  const lines = (await user.run("policy", "history")).text.split("\n");
  assert.match(lines[1]!, /^\* +7 +2027-.* anna +[0-9a-f]{12} +policy\.yaml \+1 -0$/);
  assert.match(lines[2]!, /^ +6 .*policy\.yaml \+10 -19$/);
  const rollback = await user.run("policy", "rollback", first.hash.slice(0, 6), "--yes");
  assert.match(rollback.text, /Only the text changes/);
  assert.equal(user.mesh.policyText, POLICY);
  assert.equal((await user.run("policy", "rollback", "first", "--yes")).code, 0);
  assert.equal(user.mesh.policyText, FIRST_POLICY_TEXT);
  assert.match((await user.run("policy", "rollback", "99")).error!.hint!, /policy history/);
});

Deno.test("policy test and explain ask the applied policy", async () => {
  await using user = new TestUser();
  user.write("policy.yaml", POLICY);
  assert.match((await user.run("policy", "test")).text, /^0 passed, 0 failed/);
  await user.run("policy", "apply", "policy.yaml", "--yes");
  assert.match((await user.run("policy", "test")).text, /^2 passed, 0 failed/);
  user.write("worse.yaml", WORSE);
  assert.equal((await user.run("policy", "test", "worse.yaml")).code, 1);
  const one = await user.run("policy", "explain", "desk -> nas:22");
  assert.match(one.text, /^desk \(user:bob\) -> nas \(tag:server\) tcp\/22: allowed\n/);
  assert.match(one.text, /by policy\.yaml:7:5 .*\(Work\)/);
  assert.equal((await user.run("policy", "explain", "desk", "nas:22")).text, one.text);
  const all = await user.run("policy", "explain");
  assert.match(
    all.text,
    /\n {2}allow tcp\/22 from group:dev to tag:server {2}\[policy\.yaml:7:5\] {2}\(Work\)\n/,
  );
  assert.match((await user.run("policy", "explain", "nas")).error!.message, /who asks for what/);
  assert.match((await user.run("policy", "explain", "nas", "nas")).error!.message, /SUBJECT:PORTS/);
});

Deno.test("policy apply refuses what was planned against another policy", async () => {
  await using user = new TestUser();
  user.write("policy.yaml", POLICY);
  const { mesh } = user;
  // Somebody else is faster: between plan and statement another policy is applied.
  const report = mesh.report;
  const documents = [{ file: "policy.yaml", text: "rules: []\n" }];
  const proposal = propose(
    report,
    appliedPolicy(report),
    textsOf([{ file: "policy.yaml", text: POLICY }]),
  );
  mesh.mesh.say(actor(1), { type: "policy-set", documents, hash: policyHash(documents) });
  using client = await ControlClient.connect(mesh.socketPath);
  await assert.rejects(
    stateProposal(proposal, { client, meshId: report.meshId, signer: null }),
    /anna applied another one meanwhile, entry 6/,
  );
});

Deno.test("a policy that cannot be read any more can be replaced, and nodes can be revoked", async () => {
  await using user = new TestUser();
  const documents = [{ file: "policy.yaml", text: "rulez: []\n" }];
  user.mesh.mesh.say(actor(1), { type: "policy-set", documents, hash: policyHash(documents) });
  const test = await user.run("policy", "test");
  assert.match(test.error!.message, /policy\.yaml:1:1: unknown key "rulez"/);
  assert.equal((await user.run("group", "create", "x", "-y")).error!.code, "config-invalid");
  const revoked = await user.run("node", "revoke", "cam", "-y");
  assert.match(revoked.errors, /What it gives and takes is not known/);
  assert.equal(revoked.code, 0);
  user.write("policy.yaml", POLICY);
  const applied = await user.run("policy", "apply", "policy.yaml", "-y");
  assert.match(
    applied.text,
    /^Compared with no policy, as the applied one is wrong: policy\.yaml:1:1/,
  );
  assert.equal(user.mesh.policyText, POLICY);
});
