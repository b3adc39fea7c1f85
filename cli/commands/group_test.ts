import assert from "node:assert/strict";
import { FIRST_POLICY_TEXT } from "../../core/policy/default.ts";
import { actor, keyOf } from "../../core/state/fake_mesh.ts";
import { TestUser } from "../testing_command.ts";

const POLICY = `# Ours
groups:
  dev: user:bob # developers
rules:
  - { from: everyone, to: self, ports: any }
  # They work there
  - { from: group:dev, to: tag:server, ports: ssh }
`;

/** A mesh with {@link POLICY}. */
async function withPolicy(text = POLICY): Promise<TestUser> {
  const user = new TestUser();
  user.write("policy.yaml", text);
  const { code, error } = await user.run("policy", "apply", "policy.yaml", "--yes");
  assert.equal(code, 0, error?.message ?? "");
  return user;
}

Deno.test("group create begins with the first policy", async () => {
  await using user = new TestUser();
  const { text, error } = await user.run("group", "create", "dev", "bob", "nas", "-y");
  assert.equal(error, null);
  assert.match(text, /^Only the text changes/);
  assert.equal(user.mesh.state.policy!.documents[0]!.file, "policy.yaml");
  assert.equal(
    user.mesh.policyText,
    `${FIRST_POLICY_TEXT}groups:\n  dev: [user:bob, node:nas]\n`,
  );
});

Deno.test("group add-member and remove-member edit the document and show what follows", async () => {
  await using user = await withPolicy();
  const added = await user.run("group", "add-member", "dev", "anna", "cam", "-y");
  assert.match(added.text, /^user:anna, node:cam gain tcp\/22, udp\/22 on tag:server|gain/);
  assert.equal(
    user.mesh.policyText,
    POLICY.replace("user:bob #", "[user:bob, user:anna, node:cam] #"),
  );
  const removed = await user.run("group", "rm-member", "dev", "bob", "node:cam", "-y");
  assert.match(removed.text, /desk|user:bob/);
  assert.equal(user.mesh.policyText, POLICY.replace("user:bob #", "[user:anna] #"));
});

Deno.test("group add-member asks before anybody gains anything", async () => {
  await using user = await withPolicy();
  const { error } = await user.run("group", "add-member", "dev", "anna");
  assert.match(error!.hint!, /--yes/);
  assert.equal(user.mesh.policyText, POLICY);
});

const REFUSED: [words: string[], message: RegExp, hint: RegExp][] = [
  [["group", "create", "dev"], /it is at policy\.yaml:3:3 already/, /add-member/],
  [["group", "create", "admins"], /is built in/, /add-member/],
  [["group", "delete", "everyone"], /built in/, /of your own/],
  [["group", "delete", "dve"], /the policy has none/, /"dev"/],
  [
    ["group", "delete", "dev"],
    /policy\.yaml:\d+:\d+: rules\[1\]\.from names the group "dev"/,
    /check/,
  ],
  [["group", "add-member", "everyone", "bob"], /built in/, /of your own/],
  [["group", "add-member", "dev", "bbo"], /no user, node, tag or group/, /"bob"/],
  [["group", "add-member", "dev", "bob"], /it is in it/, /^$/],
  [["group", "remove-member", "dev", "anna"], /it is not in it/, /user:bob/],
  [["group", "members", "ops"], /the policy has none/, /group create ops/],
  [["group", "remove-member", "admins", "anna"], /there is no other/, /another user an admin/],
  [
    ["group", "grant", "dev", "bucket-wirte"],
    /names the role "bucket-wirte".*"bucket-write"/,
    /check/,
  ],
  [["role", "create", "admin", "bucket:a:read"], /built in/, /another name/],
  [["role", "create", "x", "bucket:a"], /Cannot read the right "bucket:a"/, /bucket:NAME:RIGHT/],
  [["role", "delete", "admin"], /built in/, /role list/],
  [["bind", "delete", "7"], /there is none/, /bind list/],
  [["bind", "create", "bob", "bucket:a:read", "panel:b:write"], /one binding gives one/, /role/],
];

for (const [words, message, hint] of REFUSED) {
  Deno.test(`tunnelmesh ${words.join(" ")} is refused with what to do`, async () => {
    await using user = await withPolicy();
    const { error } = await user.run(...words, ...words[1] === "members" ? [] : ["--yes"]);
    assert.match(error?.message ?? "", message);
    assert.match(error?.hint ?? "", hint);
    assert.equal(user.mesh.policyText, POLICY);
  });
}

Deno.test("group add-member admins makes an admin, remove-member ends that", async () => {
  await using user = new TestUser();
  const { text } = await user.run("group", "add-member", "admins", "bob", "-y");
  assert.match(text, /User bob is an admin now\n$/);
  assert.equal(user.mesh.state.users.get(actor(2).peerId)!.isAdmin, true);
  assert.match((await user.run("group", "members", "admins")).text, /Users {4}anna, bob\n/);
  await user.run("group", "remove-member", "admins", "bob", "-y");
  assert.equal(user.mesh.state.users.get(actor(2).peerId)!.isAdmin, false);
  assert.equal(user.mesh.state.policy, null);
});

Deno.test("group list and members tell what is written and what it comes to", async () => {
  await using user = await withPolicy();
  const list = (await user.run("group", "list")).text.split("\n");
  assert.match(list[2]!, /^admins +1 +1 +user:anna +built in$/);
  assert.match(list[3]!, /^dev +1 +1 +user:bob +policy\.yaml:3:3$/);
  const { text } = await user.run("group", "members", "group:dev", "--json");
  assert.deepEqual(JSON.parse(text), {
    name: "dev",
    written: "user:bob",
    users: ["bob"],
    nodes: ["desk"],
  });
});

Deno.test("role create, bind create, group grant and their ends give and take rights", async () => {
  await using user = await withPolicy();
  await user.run("role", "create", "crew", "bucket:films:write", "panel:*:read", "-y");
  const bound = await user.run("bind", "create", "dev", "crew", "-y");
  assert.match(bound.text, /group:dev|user:bob/);
  await user.run("group", "grant", "dev", "bucket-write", "-b", "builds/a", "-y");
  const denied = await user.run(
    "bind",
    "create",
    "cam",
    "nfs:*:read",
    "--deny",
    "--comment",
    "No",
    "-y",
  );
  assert.equal(denied.error, null);
  const ends = `roles:
  crew: [{ right: read, panels: ["*"] }, { right: write, buckets: [films] }]
bindings:
  - { to: group:dev, role: crew }
  - { to: group:dev, role: bucket-write, buckets: [builds/a] }
  - { to: node:cam, right: read, nfs: ["*"], action: deny, comment: No }
`;
  assert.equal(user.mesh.policyText, POLICY + ends);
  const list = (await user.run("bind", "list")).text.split("\n");
  assert.match(list[2]!, /^2 +allow write on bucket:builds\/a to group:dev +policy\.yaml:12:5$/);
  const roles = (await user.run("role", "list")).text;
  assert.match(roles, /crew +panel:\*:read, bucket:films:write +policy\.yaml\n/);
  const used = await user.run("role", "delete", "crew", "-y");
  assert.match(used.error!.message, /names the role "crew"/);
  await user.run("bind", "delete", "1", "-y");
  await user.run("role", "delete", "crew", "-y");
  await user.run("bind", "rm", "2", "-y");
  await user.run("bind", "rm", "1", "-y");
  assert.equal(user.mesh.policyText, POLICY);
});

Deno.test("an edit changes the file in which the thing is", async () => {
  await using user = new TestUser();
  user.write("p/a.yaml", "rules: []\n");
  user.write("p/b.yaml", "groups:\n  dev: []\n");
  await user.run("policy", "apply", "p", "-y");
  await user.run("group", "add-member", "dev", "bob", "-y");
  await user.run("role", "create", "r", "bucket:a:read", "-y");
  assert.deepEqual(user.mesh.state.policy!.documents.map(({ text }) => text), [
    "rules: []\nroles:\n  r: [{ right: read, buckets: [a] }]\n",
    "groups:\n  dev: [user:bob]\n",
  ]);
});

Deno.test("a bare name that a user and a node have is asked back", async () => {
  await using user = new TestUser();
  user.mesh.mesh.say(actor(1), { type: "user-add", name: "nas", key: keyOf(actor(20)) });
  const { error } = await user.run("group", "create", "x", "nas", "-y");
  assert.match(error!.message, /it is user:nas and node:nas/);
});
